"""Room on the data disk for a session of the planned length (invariant 7)."""

import os

from agent.config.model import TRACKS
from agent.selfcheck.check import Check, Outcome, Scene, failed, passed
from agent.selfcheck.result import both
from agent.session.capacity import composite_bps, gigabytes, needed_bytes
from recorder.disk.durable import storage_fault


def look(scene: Scene, _: str) -> Outcome:
    """Measured bit rates of the tracks and the composite's expected one, for the planned minutes, and the reserve."""
    config = scene.config
    minutes = config.recording.planned_minutes
    needed = needed_bytes({name: scene.track(name) for name in TRACKS}, composite_bps(config), minutes * 60)
    reserve = round(config.storage.reserve_gib * (1 << 30))
    try:
        disk = os.statvfs(config.storage.root)
    except OSError as error:
        raise storage_fault(config.storage.root, error) from error
    free = disk.f_bavail * disk.f_frsize
    value = both("{free} GB free", free=gigabytes(free))
    threshold = both(
        "{sum} GB: {needed} GB for {minutes} minutes and {reserve} GB in reserve",
        sum=gigabytes(needed + reserve),
        needed=gigabytes(needed),
        minutes=minutes,
        reserve=gigabytes(reserve),
    )
    if free < needed + reserve:
        return failed(
            value,
            threshold,
            both("The disk of {root} has no room for a session of the planned length.", root=config.storage.root),
            both("Make room on it, or plan fewer minutes in recording.planned_minutes."),
        )
    return passed(value, threshold)


CHECK = Check("disk-space", "devices", "Free space on the data disk", ("W-7.3.5", "W-8.1.4"), look)
