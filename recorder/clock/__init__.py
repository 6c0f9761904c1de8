"""Time as arithmetic: boot time, the grid of pictures, and the line fitted to a device's clock.

``instants`` puts the official start (T0) on the grid and the official end (T1) whole seconds after it. ``fit`` finds how fast
a device's clock runs. No file of a session is read or written here.
"""
