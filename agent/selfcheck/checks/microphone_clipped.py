"""The microphone is not overdriven."""

from agent.selfcheck.check import Check, Outcome, Scene, failed, microphone, passed, skipped
from agent.selfcheck.judge import loudness
from agent.selfcheck.result import both
from agent.selfcheck.samples import NothingArrivesError


def look(scene: Scene, _: str) -> Outcome:
    """The share of samples at full scale over three seconds."""
    limit = scene.config.selfcheck.clipped_pct
    try:
        sample = scene.sound()
    except NothingArrivesError:
        return skipped(both("There is no sound to listen to."))
    heard = loudness(sample.samples, sample.format.rate_hz)
    value = both("{percent:.2f} % at full scale, peak {peak:.0f} dBFS", percent=heard.clipped_pct, peak=heard.peak_dbfs)
    threshold = both("at most {limit:g} %", limit=limit)
    if heard.clipped_pct > limit:
        return failed(value, threshold, both("The sound is overdriven and distorted."), both("Turn the microphone's gain down."))
    return passed(value, threshold)


CHECK = Check("microphone-clipped", "sound", "Sound is not overdriven", ("W-8.1.3",), look, microphone)
