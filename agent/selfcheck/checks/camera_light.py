"""Each picture is neither black nor washed out."""

from agent.selfcheck.check import Check, Outcome, Scene, cameras, failed, passed, skipped
from agent.selfcheck.judge import light
from agent.selfcheck.result import both
from agent.selfcheck.samples import NothingArrivesError


def look(scene: Scene, device: str) -> Outcome:
    """Luma percentiles of decoded pictures, 0 black to 255 white."""
    limits = scene.config.selfcheck
    try:
        sample = scene.pictures(device)
    except NothingArrivesError:
        return skipped(both("There is no picture to look at."))
    if not sample.lumas:
        return skipped(both("There is no picture to look at."))
    found = light(sample.lumas, full_range=sample.full_range)
    value = both("brightness {low:.0f} to {high:.0f}", low=found.low, high=found.high)
    threshold = both(
        "bright parts at least {dark:g}, dark parts at most {bright:g}, of 255", dark=limits.luma_dark, bright=limits.luma_bright
    )
    if found.high < limits.luma_dark:
        return failed(
            value,
            threshold,
            both("The picture is dark."),
            both("Switch the light on; take the cover off the lens; check the exposure."),
        )
    if found.low > limits.luma_bright:
        return failed(
            value,
            threshold,
            both("The picture is overexposed."),
            both("Turn the camera away from the light or the window; set its exposure to automatic."),
        )
    return passed(value, threshold)


CHECK = Check("camera-light", "picture", "Brightness", ("W-6.1.3", "W-8.1.3"), look, cameras)
