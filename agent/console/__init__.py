"""The agent's socket: commands come in here, each passes the one gate, and each is answered.

``server`` reads requests, ``handlers`` carries them out, ``status`` puts the answer to ``session status`` together, and
``client`` is the side that asks. Nothing here changes anything before the gate has let it pass.
"""
