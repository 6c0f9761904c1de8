"""The composer's process: one picture every 40 ms from both cameras, with overlay and sound, encoded into parts.

``picture`` lays out the picture and writes the overlay line: clock, temperature, humidity, room, case number. ``inputs`` takes
what the tracks send, ``process`` keeps the time, ``recording`` writes parts and journal. ``encoder_trial`` says which encoder
works. No other process writes into ``composite/``, and this one writes nowhere else in a session but for its epoch.
"""
