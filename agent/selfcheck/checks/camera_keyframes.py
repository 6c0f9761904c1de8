"""Key frames come often enough: segments are cut there, and "smart" codecs stretch their distance to minutes."""

from agent.selfcheck.check import Check, Outcome, Scene, cameras, failed, passed, skipped
from agent.selfcheck.result import both
from agent.selfcheck.samples import NothingArrivesError

SLACK_S = 0.1  # a late picture or two is no stretched group


def look(scene: Scene, device: str) -> Outcome:
    """The longest distance seen; where no second key frame came, the time since the first one."""
    limit = scene.config.selfcheck.keyframe_max_s
    try:
        seen = scene.pictures(device).seen
    except NothingArrivesError:
        return skipped(both("There is no picture to look at."))
    threshold = both("at most {limit:g} s", limit=limit)
    distance = max(seen.key_distance_s or 0.0, seen.since_key_s)
    if distance > limit + SLACK_S:
        more = seen.key_distance_s is None or seen.since_key_s >= distance
        value = both("more than {seconds:.1f} s", seconds=distance) if more else both("{seconds:.1f} s", seconds=distance)
        return failed(
            value,
            threshold,
            both("Key frames are too far apart: a recording could only begin, and be cut, at one of them."),
            both("Set the key frame interval (I-frame interval, GOP) to 1 s and switch “smart” coding (H.264+, H.265+) off."),
        )
    if seen.key_distance_s is None:
        return failed(
            both("not seen"),
            threshold,
            both("Too few pictures came to measure it."),
            both("Check the camera's network cable and its load."),
        )
    return passed(both("{seconds:.1f} s", seconds=seen.key_distance_s), threshold)


CHECK = Check("camera-keyframes", "picture", "Key frame distance", ("W-7.3.5",), look, cameras)
