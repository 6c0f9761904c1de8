"""The configuration file, the places of all files, and the settings of each process made from them.

``model`` has every key with its default and its limits, ``places`` every path, ``settings`` what each process is given.
Nothing here acts on a device or a session.
"""
