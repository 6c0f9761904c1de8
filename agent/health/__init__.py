"""How the room and each device is now, and what has happened since the last look.

``look`` puts statuses, disk and clocks into one ``room_view``. ``devices`` judges each device, and ``events`` tells what has
changed, such as a new gap or a disk that runs low. These are values only: nothing is sent and nothing is decided here.
"""
