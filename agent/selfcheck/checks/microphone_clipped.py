"""The microphone is not overdriven."""

from agent.selfcheck.check import Check, Outcome, Scene, failed, microphone, passed, skipped
from agent.selfcheck.judge import loudness
from agent.selfcheck.samples import NothingArrivesError
from wording.sentence import sentence


def look(scene: Scene, _: str) -> Outcome:
    """The share of samples at full scale over three seconds."""
    limit = scene.config.selfcheck.clipped_pct
    try:
        sample = scene.sound()
    except NothingArrivesError:
        return skipped(sentence("no-sound-to-check"))
    heard = loudness(sample.samples, sample.format.rate_hz)
    value = sentence("sound-clipping-and-peak-measured", percent=heard.clipped_pct, peak=heard.peak_dbfs)
    threshold = sentence("sound-clipping-limit", limit=limit)
    if heard.clipped_pct > limit:
        return failed(value, threshold, sentence("sound-overdriven"), sentence("turn-microphone-gain-down"))
    return passed(value, threshold)


CHECK = Check("microphone-clipped", "sound", "sound-overdrive-check", ("W-8.1.3",), look, microphone)
