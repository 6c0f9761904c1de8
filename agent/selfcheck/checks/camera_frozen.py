"""Each picture lives: a hung camera repeats its last picture and looks alive to everything else."""

from agent.selfcheck.check import Check, Outcome, Scene, cameras, failed, passed, skipped, warned
from agent.selfcheck.judge import moving_share
from agent.selfcheck.result import both
from agent.selfcheck.samples import NothingArrivesError

LITTLE = 0.005  # a clock that the camera itself draws is about so much of the picture


def look(scene: Scene, device: str) -> Outcome:
    """How much of the picture changes between the decoded pictures; a live sensor's noise changes nearly all of it."""
    try:
        share = moving_share(scene.pictures(device).lumas)
    except NothingArrivesError:
        share = None
    if share is None:
        return skipped(both("There is no picture to look at."))
    value, threshold = (
        both("{percent:.1f} % of the picture changes", percent=100 * share),
        both("more than {percent:g} %", percent=100 * LITTLE),
    )
    mend = both("Restart the camera; hold a hand before the lens and check again.")
    if share == 0:
        return failed(value, threshold, both("The picture is frozen: the camera sends the same picture again and again."), mend)
    if share <= LITTLE:
        return warned(value, threshold, both("Hardly anything in the picture changes; it may be frozen."), mend)
    return passed(value, threshold)


CHECK = Check("camera-frozen", "picture", "Picture lives", ("W-8.1.3",), look, cameras)
