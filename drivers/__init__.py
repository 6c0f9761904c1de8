"""The room's hardware, its time server and its broker, one module a kind of device.

``optical`` tells a blank disc from one with content, ``clock`` whether the PC's clock is synchronised, ``discovery`` which
cameras are in the network. Vendor libraries of devices are imported here and nowhere else. Nothing here knows a session.
"""
