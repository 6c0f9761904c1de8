"""Each camera's delay is known, so that lips and voice agree. A room that was never calibrated may record all the same."""

from agent.config.settings import camera
from agent.selfcheck.check import Check, Outcome, Scene, cameras, never, passed, warned
from agent.selfcheck.result import both
from recorder.capture.latency import Device, read


def look(scene: Scene, device: str) -> Outcome:
    """What is in force; a warning where another camera, or against another delay of the microphone, was measured."""
    configured_ms = camera(scene.config, device).latency_ms
    if configured_ms is not None:
        return passed(both("{ms:.0f} ms, configured", ms=configured_ms))
    found = read(scene.places.calibration).get(device)
    if found is None:
        return passed(both("not calibrated: lips and voice may differ by the camera's delay; `room-agent calibrate` measures it"))
    value = both("{ms:.0f} ms, measured {date}", ms=found.latency_ms, date=found.at[:10])
    track = scene.track(device)
    there = Device(track.manufacturer, track.model, track.serial) if track else Device()
    if found.device.differs(there):
        return warned(
            value,
            both("this camera's"),
            both("The delay was measured on another camera: {then}; this one is {now}.", then=found.device, now=there),
            both("Calibrate again: `room-agent calibrate`."),
        )
    if abs(found.microphone_ms - scene.config.microphone.latency_ms) >= 1:
        return warned(
            value,
            both("microphone.latency_ms of {ms:g}", ms=found.microphone_ms),
            both(
                "It was measured while microphone.latency_ms was {then:g}; it is {now:g}.",
                then=found.microphone_ms,
                now=scene.config.microphone.latency_ms,
            ),
            both("Calibrate again: `room-agent calibrate`."),
        )
    return passed(value)


CHECK = Check("camera-latency", "picture", "Picture and sound together", ("W-5.4",), look, cameras, never)
