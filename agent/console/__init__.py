"""The agent's socket: commands come in here, each passes the one gate, and each is answered.

``server`` reads lines, as many of each user as ``quota`` allows, and makes a ``request`` of each; ``sent_file``, with the program
``receive``, takes the open file that comes with some. ``handlers`` carries them out, ``status`` puts the answer to
``session status`` together, and ``client`` is the side that asks. Nothing here changes anything before the gate has let it pass.
"""
