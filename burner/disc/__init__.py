"""What lies on a disc: MP4s, records, the page, the bag, and the image as a stream.

``remux`` makes an MP4 without touching a packet, ``page`` shows the recording with its gaps, ``label`` gives a disc its name
once, and ``damage`` leaves out what was damaged after the seal. ``signing`` signs a disc, and ``kit`` and ``verify_page`` put on
it what a stranger checks it with. Nothing here knows a drive.
"""
