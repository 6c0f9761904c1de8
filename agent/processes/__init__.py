"""Keeping the room's processes alive where systemd does not.

``supervisor`` starts a dead process again, and ``heartbeat`` tells a hung process from one that was stopped or that is busy.
Nothing here knows a session.
"""
