"""Each picture is neither black nor washed out."""

from agent.selfcheck.check import Check, Outcome, Scene, cameras, failed, passed, skipped
from agent.selfcheck.judge import light
from agent.selfcheck.samples import NothingArrivesError
from wording.sentence import sentence


def look(scene: Scene, device: str) -> Outcome:
    """Luma percentiles of decoded pictures, 0 black to 255 white."""
    limits = scene.config.selfcheck
    try:
        sample = scene.pictures(device)
    except NothingArrivesError:
        return skipped(sentence("no-picture-to-examine"))
    if not sample.lumas:
        return skipped(sentence("no-picture-to-examine"))
    found = light(sample.lumas, full_range=sample.full_range)
    value = sentence("brightness-range-measured", low=found.low, high=found.high)
    threshold = sentence("brightness-range-required", dark=limits.luma_dark, bright=limits.luma_bright)
    if found.high < limits.luma_dark:
        return failed(
            value,
            threshold,
            sentence("picture-dark"),
            sentence("switch-light-on-uncover-lens"),
        )
    if found.low > limits.luma_bright:
        return failed(
            value,
            threshold,
            sentence("picture-overexposed"),
            sentence("turn-camera-from-light"),
        )
    return passed(value, threshold)


CHECK = Check("camera-light", "picture", "brightness", ("W-6.1.3", "W-8.1.3"), look, cameras)
