"""The life of a session: start, stop, seal, transcript and discs.

``rules`` says what may follow what: why a start or a stop is refused, and who counts as a second person. ``keeper`` does it on
the disk: it gives out the official start and end, gives the composite up when the disk fills, and alone writes session.json
and wanted.json. ``cameras`` asks a person to accept a camera that changed. ``transcripts`` judges a transcript and takes the
exception of a second person. ``discs`` orders discs and takes an order back; ``author_tickets`` knows who may say that an image
was made. ``seal_wait``, ``closing`` and ``sealing`` bring a session to its seal. Nothing here reads a socket or the feed.
"""
