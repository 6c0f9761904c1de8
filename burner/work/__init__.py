"""The burner's process: jobs, drives, burning, reading back.

``burning`` does one job on all drives at once: it refuses a disc with content, and compares each burned disc with what was
sent. ``drive`` speaks to xorriso, ``jobs`` has the files that ask and answer. What a disc holds is decided in ``burner.disc``.
"""
