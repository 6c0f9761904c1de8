"""A session as it lies on the disk: its record, tracks, journal lines, files and time.

``record`` says of each field whether it is sealed, private, or told to a stranger. ``lines`` gives each journal line its type,
and reads the cause that it names. ``epoch`` ties room time to the wall clock, and does not believe a wall clock that is behind
what was recorded. All other rooms take their words from here; nothing is recorded here.
"""
