"""Which cameras the room's sessions may begin with: as they were accepted. What changed of one, a person accepts by name."""

import logging
from collections.abc import Mapping
from pathlib import Path

from agent.authority.person import Person
from agent.session.rules import text_faults
from recorder.capture.camera_changes import (
    Accepted,
    AcceptedFile,
    Change,
    Identity,
    since_accepted,
    store,
)
from recorder.clock.instants import SECOND_NS, boottime_ns
from recorder.disk.journal import utc_now
from recorder.faults import StorageFault
from recorder.process.status import Status, TrackStatus
from recorder.session.tracks import CAMERAS
from wording import Exit, Fault
from wording.refusals import Refused, refusal

RETRY_NS = 10 * SECOND_NS  # after the disk refused to remember a camera that was seen first

log = logging.getLogger(__name__)


def seen(statuses: Mapping[str, Status]) -> dict[str, Identity]:
    """The cameras that have delivered something, as they say who they are."""
    tracks = {name: status for name in CAMERAS if isinstance(status := statuses.get(name), TrackStatus)}
    return {name: Identity.out_of(status) for name, status in tracks.items() if status.address}


class AcceptedCameras:
    """Used by the agent's thread, which alone writes the file."""

    def __init__(self, path: Path) -> None:
        self._file = AcceptedFile(path)
        self._again_ns = 0

    def changed(self, statuses: Mapping[str, Status]) -> dict[str, tuple[Change, ...]]:
        """What of each camera nobody has accepted yet; cameras of which nothing changed are left out."""
        accepted = self._file.read()
        found = {name: since_accepted(accepted, name, now) for name, now in seen(statuses).items()}
        return {name: told for name, told in found.items() if told}

    def take_first(self, statuses: Mapping[str, Status]) -> None:
        """A camera that was never seen is taken as it is, and the file says so. A disk that refuses is asked again later."""
        accepted = self._file.read()
        if accepted is None or boottime_ns() < self._again_ns:
            return
        first = {name: Accepted(now, "first-seen", utc_now()) for name, now in seen(statuses).items() if name not in accepted}
        if not first:
            return
        try:
            store(self._file.path, first)
        except StorageFault as fault:
            self._again_ns = boottime_ns() + RETRY_NS
            log.warning("cameras seen first cannot be remembered", extra={"fault": str(fault)})
            return
        for name, entry in first.items():
            log.info("camera seen first, taken as it is", extra={"camera": name, "serial": entry.identity.serial})

    def accept(self, name: str, statuses: Mapping[str, Status], by: str, reason: str, person: Person) -> tuple[Change, ...]:
        """All that changed of a camera, by a person's word. Raises Refused, StorageFault."""
        reasons = text_faults(by=by, reason=reason)
        now, found = seen(statuses).get(name), self.changed(statuses).get(name, ())
        if name not in CAMERAS:
            reasons.append(refusal("camera-unknown", "name-overview-or-closeup", camera=name[:80]))
        elif now is None:
            text, mend = "camera-not-seen-to-accept", "check-device-and-cable-with-selfcheck"
            reasons.append(Fault(text, mend, exit_code=Exit.DEVICE, name=name))
        elif not found:
            reasons.append(refusal("camera-as-accepted", "nothing-to-accept", name=name))
        if reasons or now is None:
            raise Refused("camera-acceptance-refused", reasons)
        store(self._file.path, {name: Accepted(now, "accepted", utc_now(), by.strip(), reason.strip(), person.as_json())})
        log.warning("changed camera accepted", extra={"camera": name, "uid": person.uid, "serial": now.serial})
        return found
