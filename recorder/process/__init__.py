"""What every process of the data plane has: lock, status file, what it is asked to do, sockets, systemd.

``wanted`` is what the agent asks for, ``status`` what each process tells and when that is too old to be believed, ``runner``
an orderly start and end. No media is known here.
"""
