"""Stand-in equipment of an interview room that speaks the real protocols: cameras, microphone, sensor, broker, clock, drives.

The product never knows that it talks to them. ``StandInRoom`` (room.py) starts it all; so does ``python -m tests.equipment``.
"""
