"""Each picture lives: a hung camera repeats its last picture and looks alive to everything else."""

from agent.selfcheck.check import Check, Outcome, Scene, cameras, failed, passed, skipped, warned
from agent.selfcheck.judge import moving_share
from agent.selfcheck.samples import NothingArrivesError
from wording.sentence import sentence

LITTLE = 0.005  # a clock that the camera itself draws is about so much of the picture


def look(scene: Scene, device: str) -> Outcome:
    """How much of the picture changes between the decoded pictures; a live sensor's noise changes nearly all of it."""
    try:
        share = moving_share(scene.pictures(device).lumas)
    except NothingArrivesError:
        share = None
    if share is None:
        return skipped(sentence("no-picture-to-examine"))
    value, threshold = (
        sentence("picture-change-percent", percent=100 * share),
        sentence("picture-change-minimum", percent=100 * LITTLE),
    )
    mend = sentence("restart-camera-and-test-motion")
    if share == 0:
        return failed(value, threshold, sentence("picture-frozen"), mend)
    if share <= LITTLE:
        return warned(value, threshold, sentence("picture-hardly-changes"), mend)
    return passed(value, threshold)


CHECK = Check("camera-frozen", "picture", "picture-liveness", ("W-8.1.3",), look, cameras)
