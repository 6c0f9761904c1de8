"""No writing of the camera's own lies under the overlay line: neither could be read there."""

from collections.abc import Sequence

from agent.config.model import Config
from agent.selfcheck.check import Check, Outcome, Scene, never, passed, skipped, warned
from agent.selfcheck.samples import NothingArrivesError
from agent.selfcheck.writing import found_under_strip
from recorder.composite.picture import HEIGHT, STRIP_HEIGHT
from wording.sentence import sentence


def look(scene: Scene, device: str) -> Outcome:
    """What stands still in the decoded pictures where the strip will lie, and is shaped like a line of letters."""
    try:
        lumas = scene.pictures(device).lumas
    except NothingArrivesError:
        lumas = ()
    if len(lumas) < 2:
        return skipped(sentence("no-picture-to-examine"))
    threshold = sentence("overlay-place-required", percent=100 * STRIP_HEIGHT / HEIGHT)
    found = found_under_strip(lumas)
    if found is None:
        return passed(sentence("overlay-place-free"), threshold)
    return warned(
        sentence("overlay-place-signs", count=found.signs, left=100 * found.left, right=100 * found.right),
        threshold,
        sentence("overlay-place-taken"),
        sentence("switch-camera-writing-off"),
    )


def main_camera(config: Config) -> Sequence[str]:
    """The camera on whose picture the overlay line lies."""
    return (config.composite.main,)


CHECK = Check("overlay-place", "picture", "overlay-place-check", ("W-6.2.2.4.6", "W-8.1.3"), look, main_camera, never)
