"""Each camera is the one that was accepted: what it says of itself, and where it answers."""

from collections.abc import Iterator, Mapping

from agent.config.settings import camera, camera_address_now
from agent.selfcheck.check import Check, Outcome, Scene, cameras, failed, passed, skipped
from agent.selfcheck.result import NOTHING, of_fault
from recorder.capture.camera_changes import Accepted, Identity, changed, changes, read, since_accepted
from recorder.capture.camera_identity import remembered
from wording import Fault
from wording.sentence import Sentence, sentence, verbatim
from wording.times import in_zone


def look(scene: Scene, device: str) -> Outcome:
    """What the camera answers now, and what its track knows, against accepted-cameras.json."""
    seen = list(_seen(scene, device))
    if not seen:
        return skipped(sentence("camera-identity-not-told"))
    accepted = read(scene.places.accepted_cameras)
    found = {change.what: change for now in seen for change in since_accepted(accepted, device, now)}
    if accepted is not None and device not in accepted:  # the agent has not seen it yet
        known = remembered(scene.places.cameras / f"{device}.json")
        before = Identity.of(known) if known is not None else seen[0]
        found = {change.what: change for now in seen for change in changes(before, now)}
    threshold = _threshold(scene, device, accepted)
    if found:
        return failed(NOTHING, threshold, *of_fault(changed(device, tuple(found.values()))))
    return passed(_named(scene, device, accepted, seen[0]), threshold)


def _seen(scene: Scene, device: str) -> Iterator[Identity]:
    """What is known of the camera now: what it answers, and what its track tells."""
    if not camera(scene.config, device).rtsp:
        try:
            now = camera_address_now(scene.config, device)
            yield Identity.of(scene.description(device), f"{now.host}:{now.port}")
        except Fault:
            pass  # that it does not answer is another check's
    status = scene.track(device)
    if status is not None and status.address:
        yield Identity.out_of(status)


def _threshold(scene: Scene, device: str, accepted: Mapping[str, Accepted] | None) -> Sentence:
    known = (accepted or {}).get(device)
    if known is None or known.how != "accepted":
        return NOTHING
    return sentence("camera-as-accepted-by", by=known.by, at=in_zone(known.at, scene.config.room.zone))


def _named(scene: Scene, device: str, accepted: Mapping[str, Accepted] | None, now: Identity) -> Sentence:
    who = " ".join(part for part in (now.manufacturer, now.model, now.firmware, now.serial, now.hardware) if part)
    known = (accepted or {}).get(device)
    if known is None:
        return sentence("camera-seen-now", camera=who or now.address)
    if known.how == "accepted":
        return verbatim(who or now.address)
    return sentence("camera-seen-first", camera=who or now.address, at=in_zone(known.at, scene.config.room.zone))


CHECK = Check("camera-identity", "devices", "camera-identity", ("W-8.1.3",), look, cameras)
