"""The composite's encoder gives back the pictures it is given, fast enough."""

from agent.config.settings import encoder_settings
from agent.selfcheck.check import Check, Outcome, Scene, failed, never, passed, skipped, warned
from agent.selfcheck.result import NOTHING, of_fault
from recorder.composite.encoder import EncoderFault
from recorder.composite.encoder_trial import PSNR_DB, try_encoder
from recorder.process.status import ComposerStatus
from wording import Fault
from wording.sentence import sentence

PICTURES = 25
LIMIT_S = 8.0
SPEED = 2.0  # times real time, of hardware…
SOFTWARE_SPEED = 1.0  # …and of software, whose speed also says what else the PC does at this moment


def look(scene: Scene, _: str) -> Outcome:
    """A second of test pictures through the configured encoder into an MP4 and back. A session can do without hardware."""
    composer = scene.statuses().get("composer")
    if composer is not None and composer.state == "recording":
        return skipped(sentence("encoder-not-checked-while-recording"))
    settings = encoder_settings(scene.config)
    hardware = settings.kind != "software"
    least = SPEED if hardware else SOFTWARE_SPEED
    threshold = sentence("encoder-speed-and-quality-required", speed=least, psnr=PSNR_DB)
    try:
        trial = try_encoder(settings, PICTURES, limit_s=LIMIT_S)
    except EncoderFault as fault:
        return failed(NOTHING, threshold, *of_fault(fault))
    value = sentence("encoder-speed-and-quality-measured", encoder=settings.kind, speed=trial.speed, psnr=trial.psnr_db)
    if trial.speed < least and not hardware:
        return warned(
            value,
            threshold,
            sentence("pc-encodes-slower-than-real-time"),
            sentence("reduce-load-or-change-encoder-settings"),
        )
    if trial.speed < least:
        return failed(
            value,
            threshold,
            sentence("encoder-too-slow", encoder=settings.kind),
            sentence("reduce-gpu-load-or-encode-software"),
        )
    if hardware and isinstance(composer, ComposerStatus) and composer.encoder == "software" and composer.fault is not None:
        return warned(value, threshold, *of_fault(Fault.from_dict(composer.fault)))
    return passed(value, threshold)


CHECK = Check("encoder", "devices", "composite-encoder-check", ("W-8.1.3",), look, required=never)
