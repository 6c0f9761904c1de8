"""Each camera's own clock is about right: a picture it stamps itself would otherwise contradict the overlay."""

from agent.config.settings import camera
from agent.selfcheck.check import Check, Outcome, Scene, cameras, never, passed, skipped, warned
from wording import Fault
from wording.sentence import sentence


def look(scene: Scene, device: str) -> Outcome:
    """GetSystemDateAndTime against our clock; recordings do not depend on it."""
    limit = scene.config.clock.max_camera_offset_s
    try:
        offset = None if camera(scene.config, device).rtsp else scene.description(device).clock_offset_s
    except Fault:
        offset = None
    if offset is None:
        return skipped(sentence("camera-clock-not-told"))
    value, threshold = sentence("clock-offset-seconds", offset=offset), sentence("clock-offset-limit", limit=limit)
    if abs(offset) > limit:
        return warned(
            value,
            threshold,
            sentence("camera-clock-off", offset=offset),
            sentence("set-camera-time-server-and-zone"),
        )
    return passed(value, threshold)


CHECK = Check("camera-clock", "connections", "camera-clock", ("W-7.3.5",), look, cameras, never)
