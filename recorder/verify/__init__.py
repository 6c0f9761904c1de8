"""Whether a session is what was recorded: everything is read again, and what was found is told.

``session`` checks a session's folder, and ``after_seal`` what was added after the seal. It needs no daemon, no network and no
configuration, and changes nothing.
"""
