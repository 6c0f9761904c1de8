"""The composer's process: one picture every 40 ms from both cameras, with overlay and sound, encoded into parts.

``picture`` lays out the picture. ``overlay`` knows what the overlay line says: mark, clock, temperature, humidity, room, case
number; ``plates`` draws it, with the ``letters`` of OpenCV and of the PC's ``fonts``. ``inputs`` takes what the tracks send,
``process`` keeps the time, ``recording`` writes parts and journal. ``encoder_trial`` says which encoder works. No other process
writes into ``composite/``, and this one writes nowhere else in a session but for its epoch.
"""
