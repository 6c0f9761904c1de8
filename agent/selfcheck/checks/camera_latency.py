"""Each camera's delay is known, so that lips and voice agree. A room that was never calibrated may record all the same."""

from agent.config.settings import camera
from agent.selfcheck.check import Check, Outcome, Scene, cameras, never, passed, warned
from recorder.capture.latency import CalibratedDevice, read
from wording.sentence import sentence
from wording.times import in_zone


def look(scene: Scene, device: str) -> Outcome:
    """What is in force; a warning where another camera, or against another delay of the microphone, was measured."""
    configured_ms = camera(scene.config, device).latency_ms
    if configured_ms is not None:
        return passed(sentence("camera-delay-configured", ms=configured_ms))
    found = read(scene.places.calibration).get(device)
    if found is None:
        return passed(sentence("camera-delay-not-calibrated"))
    value = sentence("camera-delay-measured", ms=found.latency_ms, date=in_zone(found.at, scene.config.room.zone))
    track = scene.track(device)
    there = CalibratedDevice(track.manufacturer, track.model, track.serial) if track else CalibratedDevice()
    if found.device.differs(there):
        return warned(
            value,
            sentence("calibrated-on-this-camera"),
            sentence("calibrated-on-another-camera", then=found.device, now=there),
            sentence("calibrate-again"),
        )
    if abs(found.microphone_ms - scene.config.microphone.latency_ms) >= 1:
        return warned(
            value,
            sentence("expected-microphone-latency", ms=found.microphone_ms),
            sentence(
                "calibrated-with-other-microphone-latency",
                then=found.microphone_ms,
                now=scene.config.microphone.latency_ms,
            ),
            sentence("calibrate-again"),
        )
    return passed(value)


CHECK = Check("camera-latency", "picture", "picture-sound-synchrony", ("W-5.4",), look, cameras, never)
