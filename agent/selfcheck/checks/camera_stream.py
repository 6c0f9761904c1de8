"""Each camera delivers the promised picture size, rate and codec."""

from agent.config.settings import camera
from agent.selfcheck.check import Check, Outcome, Scene, cameras, failed, passed, warned
from agent.selfcheck.result import NOTHING, of_fault
from agent.selfcheck.samples import NothingArrivesError
from wording import Fault
from wording.sentence import Sentence, sentence

COMPOSER = "composer"
CODECS = {"h264": "H.264", "hevc": "H.265"}


def look(scene: Scene, device: str) -> Outcome:
    """Measured on the packets and decoded pictures of the track's feed, against camera.<name> of the configuration."""
    promised = camera(scene.config, device)
    least = promised.fps * (1 - scene.config.selfcheck.fps_tolerance_pct / 100)
    threshold = sentence("camera-stream-required", width=promised.width, height=promised.height, fps=least)
    try:
        sample = scene.pictures(device)
    except NothingArrivesError:
        return failed(NOTHING, threshold, *why_nothing(scene, device))
    seen, (width, height) = sample.seen, sample.size
    value = sentence(
        "camera-stream-measured",
        width=width,
        height=height,
        fps=seen.fps,
        codec=CODECS.get(seen.format.codec, seen.format.codec),
        mbit=seen.bits_per_s / 1e6,
    )
    if seen.format.codec not in CODECS:
        what, mend = sentence("stream-codec-wrong", codec=seen.format.codec), sentence("set-main-stream-codec")
    elif not sample.lumas:
        what, mend = sentence("camera-pictures-undecodable"), sentence("set-main-stream-codec")
    elif seen.stalled:
        what, mend = sentence("camera-stopped-while-watched"), sentence("check-network-cable-and-load")
    elif (width, height) != (promised.width, promised.height):
        what = sentence("picture-size-wrong", width=width, height=height)
        mend = sentence("set-or-correct-picture-size", name=device)
    elif sample.damaged:
        what = sentence("pictures-damaged", damaged=sample.damaged, pictures=len(seen.times_ns))
        mend = sentence("lower-bit-rate-or-update-firmware")
    elif seen.fps < least:
        what = sentence("picture-rate-low", fps=seen.fps)
        mend = sentence(
            "check-or-correct-picture-rate",
            name=device,
        )
    elif sample.interlaced:
        return warned(value, threshold, sentence("picture-is-interlaced"), sentence("set-camera-to-progressive"))
    else:
        return passed(value, threshold)
    return failed(value, threshold, what, mend)


def why_nothing(scene: Scene, device: str) -> tuple[Sentence, Sentence]:
    """Why nothing of a track is seen: what its own status says, or that there is no composer, which passes it on."""
    status = scene.track(device)
    if status is None:
        return sentence("this-track-process-not-running"), sentence("start-service-and-check-log")
    if status.fault:
        return of_fault(Fault.from_dict(status.fault))
    if COMPOSER not in scene.statuses():
        return sentence("composer-not-running-shows-nothing"), sentence("start-service-and-check-log")
    return sentence("nothing-arrives-from-device"), sentence("check-power-and-cable-recheck")


CHECK = Check("camera-stream", "picture", "camera-stream-as-promised", ("W-6.2.2.4.5", "W-8.1.3"), look, cameras)
