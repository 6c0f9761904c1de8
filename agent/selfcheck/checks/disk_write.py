"""The data disk takes data and puts it on stable storage in time."""

import os
import tempfile
import time

from agent.selfcheck.check import Check, Outcome, Scene, failed, passed
from recorder.disk.durable import storage_fault
from wording.sentence import sentence

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
    value = sentence("disk-write-time", seconds=seconds)
    threshold = sentence("at-most-seconds", limit=LIMIT_S)
    if not same:
        return failed(value, threshold, sentence("disk-read-back-differs", root=root), sentence("replace-disk"))
    if seconds > LIMIT_S:
        return failed(
            value,
            threshold,
            sentence("disk-too-slow-to-record", root=root),
            sentence("check-disk-load-and-health"),
        )
    return passed(value, threshold)


CHECK = Check("disk-write", "devices", "disk-write-check", ("W-7.3.5", "W-8.1.3"), look, place=2)
