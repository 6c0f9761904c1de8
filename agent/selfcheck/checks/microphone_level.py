"""The microphone hears something: even an empty room has a noise, a dead capsule has none."""

from agent.selfcheck.check import Check, Outcome, Scene, failed, microphone, passed, skipped, warned
from agent.selfcheck.judge import loudness
from agent.selfcheck.result import both
from agent.selfcheck.samples import NothingArrivesError


def look(scene: Scene, _: str) -> Outcome:
    """The loudest half second of three seconds."""
    limit = scene.config.selfcheck.silence_dbfs
    try:
        sample = scene.sound()
    except NothingArrivesError:
        return skipped(both("There is no sound to listen to."))
    heard = loudness(sample.samples, sample.format.rate_hz)
    value, threshold = both("{level:.0f} dBFS", level=heard.loudest_dbfs), both("at least {limit:g} dBFS", limit=limit)
    mend = both("Check that the microphone is switched on, plugged in and not muted, and its gain; speak while it is checked.")
    if heard.loudest_dbfs < limit:
        return failed(value, threshold, both("The microphone is silent."), mend)
    if heard.dead_channels:
        numbers = ", ".join(map(str, heard.dead_channels))
        return warned(value, threshold, both("Channel {numbers} of the microphone is silent.", numbers=numbers), mend)
    return passed(value, threshold)


CHECK = Check("microphone-level", "sound", "Microphone hears", ("W-6.2.2.4.5", "W-8.1.3"), look, microphone)
