"""The health feed over MQTT, from the room to the command room.

``messages`` builds every message and strikes the names of people and cases out of it. ``outbox`` keeps events on the disk
until the broker has them, ``publisher`` sends what is due, ``room`` keeps the connection, and ``watch`` is the command room's
reader. Nothing that comes from the broker can command the room.
"""
