"""The one gate: which acts there are, who may ask for them, and the journal of those that were done.

An act is anything that changes something: a session, a disc, the room's measured delays, the self-check on which a session may
start. Where an act's work is done by the command itself (composing, authoring, measuring), the command asks here first.
"""

import logging
import os
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Literal

from agent.authority.person import Person
from recorder.disk.journal import PatientJournal
from recorder.faults import StorageFault
from wording import Exit, Fault

Who = Literal["group", "service"]

# group: whoever may open the socket. service: the user of the agent itself, and root.
ACTS: Mapping[str, Who] = {
    "session.start": "group",
    "session.override": "group",
    "session.stop": "group",
    "session.seal": "group",
    "session.complete": "service",
    "transcript.attach": "group",
    "transcript.accept": "group",
    "disc.author": "service",
    "disc.burn": "group",
    "disc.extra": "group",
    "disc.cancel": "group",
    "selfcheck.store": "service",
    "calibration.store": "service",
    "camera.accept": "group",
}
WAITING_MOST = 1000  # lines that a refusing disk keeps in memory

log = logging.getLogger(__name__)


class Gate:
    """Used by the agent's thread. The journal is ``<root>/acts.jsonl``; a disk that refuses it keeps no act from being done."""

    def __init__(self, path: Path, *, own_uid: int | None = None) -> None:
        self._path = path
        self._own_uid = os.getuid() if own_uid is None else own_uid
        self._journal: PatientJournal | None = None
        self._waiting: deque[Mapping[str, object]] = deque(maxlen=WAITING_MOST)
        self._failing = False

    def check(self, act: str, person: Person) -> None:
        """Raises Fault where this person may not ask for the act. act: one of ACTS."""
        if ACTS[act] == "service" and person.uid not in (0, self._own_uid):
            log.warning("an act was refused", extra={"act": act, "uid": person.uid, "login": person.login})
            text, mend = "act-not-allowed", "run-as-service-user"
            raise Fault(text, mend, exit_code=Exit.REFUSED, act=act, uid=person.uid)

    def done(self, act: str, person: Person, **fields: object) -> None:
        """Writes down that it was done. fields: what it was done to; names and reasons stand in the session's own records."""
        self._waiting.append({"act": act, **person.as_json(), **fields})
        self.flush()

    def flush(self) -> None:
        """Writes what waits; where the disk refuses it, the next call tries again."""
        try:
            while self._waiting:
                if self._journal is None:
                    self._journal = PatientJournal(self._path)
                    self._journal.flush()
                self._journal.announce("act", **self._waiting[0])
                self._waiting.popleft()
            self._failing = False
        except StorageFault as fault:
            if not self._failing:
                log.error("the journal of acts cannot be written yet", extra={"fault": str(fault)})
            self._failing = True

    def close(self) -> None:
        """Closes the journal of acts; a later act opens it again."""
        if self._journal is not None:
            with suppress(StorageFault):
                self._journal.close()
            self._journal = None
