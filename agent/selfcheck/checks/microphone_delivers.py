"""The microphone delivers without a hole."""

from agent.selfcheck.check import Check, Outcome, Scene, failed, microphone, passed, warned
from agent.selfcheck.checks.camera_stream import why_nothing
from agent.selfcheck.result import NOTHING, of_fault
from agent.selfcheck.samples import NothingArrivesError
from wording import Fault
from wording.sentence import sentence

HOLE_S = 0.1
LEAST_S = 2.0


def look(scene: Scene, device: str) -> Outcome:
    """Samples that came in three seconds against their own count."""
    promised = scene.config.microphone
    threshold = sentence("microphone-format-required", rate=promised.rate_hz, channels=promised.channels)
    try:
        sample = scene.sound()
    except NothingArrivesError:
        return failed(NOTHING, threshold, *why_nothing(scene, device))
    form = sample.format
    seconds = len(sample.samples) / form.rate_hz
    value = sentence("microphone-format-measured", rate=form.rate_hz, channels=form.channels, seconds=seconds)
    if (form.rate_hz, form.channels) != (promised.rate_hz, promised.channels):
        return failed(
            value,
            threshold,
            sentence("microphone-format-differs-from-configuration"),
            sentence("correct-microphone-rate-and-channels"),
        )
    status = scene.track(device)
    if sample.stalled or seconds < LEAST_S or sample.span_s - seconds > HOLE_S:
        if status is not None and not status.direct:
            indirect = sentence("sound-has-gaps-behind-sound-server", rate=form.rate_hz, name=status.model)
            return failed(value, threshold, indirect, sentence("find-rate-behind-sound-server"))
        return failed(
            value,
            threshold,
            sentence("microphone-sound-has-gaps"),
            sentence("check-microphone-plug-and-pc-load"),
        )
    if status is not None and status.fault and status.fault.get("code") == "several-microphones-of-one-name":
        return warned(value, threshold, *of_fault(Fault.from_dict(status.fault)))
    return passed(value, threshold)


CHECK = Check("microphone-delivers", "sound", "microphone-delivery-check", ("W-6.2.2.4.5", "W-8.1.3"), look, microphone)
