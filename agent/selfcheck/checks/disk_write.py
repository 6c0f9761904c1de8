"""The data disk takes data and puts it on stable storage in time."""

import os
import tempfile
import time

from agent.selfcheck.check import Check, Outcome, Scene, failed, passed
from agent.selfcheck.result import both
from recorder.disk.durable import storage_fault

PROBE_BYTES = 4 << 20  # some seconds of every track
LIMIT_S = 2.0


def look(scene: Scene, _: str) -> Outcome:
    """Writes a nameless file, syncs it and reads it back; it is gone when closed, or when the process dies."""
    root = scene.config.storage.root
    data = os.urandom(PROBE_BYTES)
    try:
        with tempfile.TemporaryFile(dir=root) as probe:
            began = time.monotonic()
            probe.write(data)
            probe.flush()
            os.fsync(probe.fileno())
            seconds = time.monotonic() - began
            probe.seek(0)
            same = probe.read() == data
    except OSError as error:
        raise storage_fault(root, error) from error
    value = both("4 MiB on stable storage in {seconds:.2f} s", seconds=seconds)
    threshold = both("at most {limit:g} s", limit=LIMIT_S)
    if not same:
        return failed(
            value, threshold, both("What was written to {root} was read back different.", root=root), both("Replace the disk.")
        )
    if seconds > LIMIT_S:
        return failed(
            value,
            threshold,
            both("The disk of {root} is too slow to record on.", root=root),
            both("Look what else writes on it; check the disk's health (smartctl)."),
        )
    return passed(value, threshold)


CHECK = Check("disk-write", "devices", "Data disk takes and keeps data", ("W-7.3.5", "W-8.1.3"), look)
