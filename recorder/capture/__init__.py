"""Connecting to a camera or the microphone, and delivering its packets with their times.

``source`` connects again after each loss and names the cause. ``camera`` and ``microphone`` are the two kinds of sources.
``camera_identity`` finds a camera that changed its address, ``camera_timeline`` takes the jumps of its clock out, ``latency``
knows its delay. Nothing here writes into a session.
"""
