"""Each camera's own clock is about right: a picture it stamps itself would otherwise contradict the overlay."""

from agent.config.settings import camera
from agent.selfcheck.check import Check, Outcome, Scene, cameras, never, passed, skipped, warned
from agent.selfcheck.result import both
from wording import Fault


def look(scene: Scene, device: str) -> Outcome:
    """GetSystemDateAndTime against our clock; recordings do not depend on it."""
    limit = scene.config.clock.max_camera_offset_s
    try:
        offset = None if camera(scene.config, device).rtsp else scene.description(device).clock_offset_s
    except Fault:
        offset = None
    if offset is None:
        return skipped(both("The camera did not tell its clock."))
    value, threshold = both("{offset:+.1f} s", offset=offset), both("at most ±{limit:g} s", limit=limit)
    if abs(offset) > limit:
        return warned(
            value,
            threshold,
            both("The camera's clock is {offset:+.1f} s off ours. The recording is not touched by it.", offset=offset),
            both("Enter the centre's time server (NTP) in the camera, and its time zone."),
        )
    return passed(value, threshold)


CHECK = Check("camera-clock", "connections", "Camera clock", ("W-7.3.5",), look, cameras, never)
