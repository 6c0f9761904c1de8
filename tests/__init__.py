"""Tests mirror the packages; ``equipment`` holds the stand-ins for a room's devices."""
