"""Packets, pictures and sound as values: decoding, measuring, resampling, and the live stream to the composer.

``live`` sends a track's packets to the composer and the self-check, and drops pictures for a slow reader rather than hold the
track up. No device and no session is known here.
"""
