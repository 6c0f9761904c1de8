"""One track's process: from the source's packets to segments and a journal on the disk.

``process`` gives packets their times and tells the track's status. ``storing`` is the thread that writes, and goes on by
itself after a full or failing disk. ``recording`` and ``segments`` write, close and recover segments, and tell the
silences between pictures. ``last_picture`` finds out whether the last one before a loss is whole. No other process writes into
the track's folder, and this one never writes into another's.
"""
