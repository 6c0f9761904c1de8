"""Each camera answers over ONVIF and accepts the password."""

from agent.config.settings import camera, camera_address_now
from agent.selfcheck.check import Check, Outcome, Scene, cameras, failed, passed, skipped, warned
from agent.selfcheck.result import NOTHING, of_fault
from recorder.capture.camera_identity import moved
from wording import Fault
from wording.sentence import sentence, verbatim


def look(scene: Scene, device: str) -> Outcome:
    """GetDeviceInformation, asked in a child process."""
    section = camera(scene.config, device)
    if section.rtsp:
        return skipped(sentence("camera-plain-rtsp-login-untested"))
    threshold = sentence("answers-and-accepts-user", user=section.user or "-")
    try:
        found = scene.description(device)
    except Fault as fault:
        return failed(NOTHING, threshold, *of_fault(fault))
    now = camera_address_now(scene.config, device)
    if (now.host, now.port) != (section.host, section.port):
        found_at, configured = f"{now.host}:{now.port}", f"{section.host}:{section.port}"
        return warned(verbatim(found_at), threshold, *of_fault(moved(device, found_at, configured)))
    named = (
        " ".join(part for part in (found.manufacturer, found.model, found.firmware) if part) or f"{section.host}:{section.port}"
    )
    return passed(verbatim(named), threshold)


CHECK = Check("camera-login", "connections", "camera-login", ("W-6.2.2.4.5", "W-8.1.3"), look, cameras)
