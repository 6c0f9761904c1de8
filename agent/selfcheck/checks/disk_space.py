"""Room on the data disk for a session of the planned length (invariant 7)."""

import os

from agent.selfcheck.check import Check, Outcome, Scene, failed, passed
from agent.session.capacity import composite_bps, gigabytes, needed_bytes
from recorder.disk.durable import storage_fault
from recorder.session.tracks import TRACKS
from wording.sentence import sentence


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
    value = sentence("free-disk-space", free=gigabytes(free))
    threshold = sentence(
        "needed-disk-space-with-reserve",
        sum=gigabytes(needed + reserve),
        needed=gigabytes(needed),
        minutes=minutes,
        reserve=gigabytes(reserve),
    )
    if free < needed + reserve:
        return failed(
            value,
            threshold,
            sentence("disk-too-full-for-session", root=config.storage.root),
            sentence("free-disk-or-reduce-planned-setting"),
        )
    return passed(value, threshold)


CHECK = Check("disk-space", "devices", "data-disk-free-space", ("W-7.3.5", "W-8.1.4"), look, place=1)
