"""Connecting to a camera or the microphone, and delivering its packets with their times.

``source`` connects again after each loss and names the cause. ``camera`` and ``microphone`` are the two kinds of sources.
``rtsp_relay`` speaks to a camera on FFmpeg's behalf, ``camera_identity`` finds one that changed its address, ``camera_changes``
tells whether it is the accepted one, ``camera_timeline`` takes the jumps of its clock out, ``latency`` knows its delay. Nothing
here writes into a session.
"""
