"""Each camera delivers the promised picture size, rate and codec."""

from agent.config.settings import camera
from agent.selfcheck.check import Check, Outcome, Scene, cameras, failed, passed
from agent.selfcheck.result import NOTHING, Text, both, of_fault
from agent.selfcheck.samples import NothingArrivesError
from wording import Fault

CODECS = {"h264": "H.264", "hevc": "H.265"}


def look(scene: Scene, device: str) -> Outcome:
    """Measured on the packets and decoded pictures of the track's feed, against camera.<name> of the configuration."""
    promised = camera(scene.config, device)
    least = promised.fps * (1 - scene.config.selfcheck.fps_tolerance_pct / 100)
    threshold = both(
        "{width}×{height}, at least {fps:.1f} a second, H.264 or H.265", width=promised.width, height=promised.height, fps=least
    )
    try:
        sample = scene.pictures(device)
    except NothingArrivesError:
        return failed(NOTHING, threshold, *why_nothing(scene, device))
    seen, (width, height) = sample.seen, sample.size
    value = both(
        "{width}×{height}, {fps:.1f} a second, {codec}, {mbit:.1f} Mbit/s",
        width=width,
        height=height,
        fps=seen.fps,
        codec=CODECS.get(seen.format.codec, seen.format.codec),
        mbit=seen.bits_per_s / 1e6,
    )
    if seen.format.codec not in CODECS:
        what, mend = both("The stream is {codec}.", codec=seen.format.codec), both("Set the main stream to H.264 or H.265.")
    elif not sample.lumas:
        what, mend = both("The pictures of the camera cannot be decoded."), both("Set the main stream to H.264 or H.265.")
    elif seen.stalled:
        what, mend = both("The camera stopped delivering while it was watched."), both("Check its network cable and its load.")
    elif (width, height) != (promised.width, promised.height):
        what = both("The pictures are {width}×{height}.", width=width, height=height)
        mend = both("Set this size in the camera, or correct camera.{name}.width and camera.{name}.height.", name=device)
    elif seen.fps < least:
        what = both("Only {fps:.1f} pictures a second arrive.", fps=seen.fps)
        mend = both(
            "Check the camera's rate setting, its night mode (long exposure) and the network; or correct camera.{name}.fps.",
            name=device,
        )
    else:
        return passed(value, threshold)
    return failed(value, threshold, what, mend)


def why_nothing(scene: Scene, device: str) -> tuple[Text, Text]:
    """Why a track gives nothing away: what its own status says."""
    status = scene.track(device)
    if status is None:
        return both("The process of this track does not run."), both("Start its service and look at its log.")
    if status.fault:
        return of_fault(Fault.from_dict(status.fault))
    return both("Nothing arrives from the device."), both("Check its power and its cable, then check again.")


CHECK = Check("camera-stream", "picture", "Picture arrives as promised", ("W-6.2.2.4.5", "W-8.1.3"), look, cameras)
