"""Whether what is said to each camera is encrypted, and the certificate that the configuration could name."""

from agent.config.settings import camera, camera_address_now
from agent.selfcheck.check import Check, Outcome, Scene, cameras, never, passed, warned
from drivers.stream_address import rtsp_place
from wording.sentence import sentence

HTTPS_PORT = 443
LOOK_S = 2.0


def look(scene: Scene, device: str) -> Outcome:
    """The certificate's fingerprint at the port of HTTPS, or of RTSPS, unless one is configured."""
    from drivers.tls import met_at

    section, now = camera(scene.config, device), camera_address_now(scene.config, device)
    if section.tls_fingerprint:
        return passed(sentence("camera-encrypted-and-known", fingerprint=section.tls_fingerprint))
    host, port = now.host, HTTPS_PORT
    if section.rtsp:
        host, named = rtsp_place(section.rtsp)
        port = named if section.rtsp.lower().startswith("rtsps:") else HTTPS_PORT
    met = met_at(host, port, LOOK_S)
    value = (
        sentence("camera-could-be-encrypted", fingerprint=met, port=port) if met else sentence("camera-not-encrypted", port=port)
    )
    if section.allow_basic:
        what, mend = sentence("camera-password-goes-in-clear", name=device), sentence("encrypt-camera-or-use-digest", name=device)
        return warned(value, sentence(""), what, mend)
    return passed(value)


CHECK = Check("camera-encryption", "connections", "camera-encryption", ("W-6.1.2",), look, cameras, never)
