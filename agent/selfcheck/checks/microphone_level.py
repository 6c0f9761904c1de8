"""The microphone hears something: even an empty room has a noise, a dead capsule has none."""

from agent.selfcheck.check import Check, Outcome, Scene, failed, microphone, passed, skipped, warned
from agent.selfcheck.judge import loudness
from agent.selfcheck.samples import NothingArrivesError
from wording.sentence import sentence


def look(scene: Scene, _: str) -> Outcome:
    """The loudest half second of three seconds."""
    limit = scene.config.selfcheck.silence_dbfs
    try:
        sample = scene.sound()
    except NothingArrivesError:
        return skipped(sentence("no-sound-to-check"))
    heard = loudness(sample.samples, sample.format.rate_hz)
    value, threshold = sentence("sound-level-measured", level=heard.loudest_dbfs), sentence("sound-level-required", limit=limit)
    mend = sentence("check-microphone-and-speak")
    if heard.loudest_dbfs < limit:
        return failed(value, threshold, sentence("microphone-silent"), mend)
    if heard.dead_channels:
        numbers = tuple(map(str, heard.dead_channels))
        return warned(value, threshold, sentence("microphone-channel-silent", numbers=numbers), mend)
    if heard.inverted_channels:
        numbers = tuple(map(str, heard.inverted_channels))
        found = sentence("microphone-channel-inverted", numbers=numbers)
        return warned(value, threshold, found, sentence("swap-wires-of-inverted-channel"))
    return passed(value, threshold)


CHECK = Check("microphone-level", "sound", "microphone-level-check", ("W-6.2.2.4.5", "W-8.1.3"), look, microphone)
