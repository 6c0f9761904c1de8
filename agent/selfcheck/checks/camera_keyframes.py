"""Key frames come often enough: segments are cut there, and "smart" codecs stretch their distance to minutes."""

from agent.selfcheck.check import Check, Outcome, Scene, cameras, failed, passed, skipped
from agent.selfcheck.samples import NothingArrivesError
from wording.sentence import sentence

SLACK_S = 0.1  # a late picture or two is no stretched group


def look(scene: Scene, device: str) -> Outcome:
    """The longest distance seen; where no second key frame came, the time since the first one."""
    limit = scene.config.selfcheck.keyframe_max_s
    try:
        seen = scene.pictures(device).seen
    except NothingArrivesError:
        return skipped(sentence("no-picture-to-examine"))
    threshold = sentence("at-most-seconds", limit=limit)
    distance = max(seen.key_distance_s or 0.0, seen.since_key_s)
    if distance > limit + SLACK_S:
        more = seen.key_distance_s is None or seen.since_key_s >= distance
        value = sentence("more-than-seconds", seconds=distance) if more else sentence("seconds-measured", seconds=distance)
        return failed(
            value,
            threshold,
            sentence("key-frames-too-far-apart"),
            sentence("shorten-key-frame-interval"),
        )
    if seen.key_distance_s is None:
        return failed(
            sentence("not-seen"),
            threshold,
            sentence("too-few-pictures-to-measure"),
            sentence("check-camera-cable-and-load"),
        )
    return passed(sentence("seconds-measured", seconds=seen.key_distance_s), threshold)


CHECK = Check("camera-keyframes", "picture", "key-frame-distance", ("W-7.3.5",), look, cameras)
