"""``wanted.json``: what the agent wants recorded. The agent writes it, and the recording processes watch it."""

import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from recorder.disk.durable import file_stamp, read_json, write_json
from recorder.disk.typed import WrongField, typed
from recorder.faults import EvidenceFault, NotFound, StorageFault

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which session is to be recorded, in room time (ns since 1970, see recorder.clock.instants).

    session: its id, None where the room is only armed. start_ns: official start T0. stop_ns: official end T1, None until it is
    stopping. case_number: for the overlay. composite: False where the composite was given up (invariant 7).
    """

    session: str | None = None
    start_ns: int = 0
    stop_ns: int | None = None
    case_number: str = ""
    composite: bool = True

    @classmethod
    def read(cls, path: Path) -> Self:
        """The wanted state; nothing wanted where there is no file. Raises EvidenceFault, StorageFault."""
        try:
            data = read_json(path)
        except NotFound:
            return cls()
        try:
            return typed(cls, data)
        except WrongField as error:
            raise EvidenceFault("wanted-state-field-invalid", "agent-writes-it-anew", path=path, field=error.field) from error

    def write(self, path: Path) -> None:
        """Writes the file durably. Only the agent's session keeper calls this. Raises StorageFault."""
        write_json(path, asdict(self))


class WantedFile:
    """``wanted.json`` as a process watches it, ten times a second: read again only when it was replaced."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None
        self._wanted = Wanted()
        self._failing = False

    def read(self) -> Wanted:
        """See Wanted.read; but where a session was wanted, a file that cannot be read any more leaves it wanted.

        A file that is not there wants nothing. Raises EvidenceFault, StorageFault where no session was wanted before.
        """
        seen = file_stamp(self._path)
        if seen is not None and seen == self._seen:
            return self._wanted
        try:
            self._wanted, self._seen, self._failing = Wanted.read(self._path), seen, False
        except (EvidenceFault, StorageFault) as fault:
            if self._wanted.session is None:
                raise
            if not self._failing:
                log.error("wanted state unreadable, the last one holds", extra={"fault": str(fault)})
            self._failing = True
        return self._wanted


class WantedState:
    """The writing side of ``wanted.json``, for the session's keeper. now: what was read or written last."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None  # of the file that holds ``now``; None: the next ``put`` writes it
        self.now = Wanted()

    def read(self) -> None:
        """Reads what an earlier agent left. The next ``put`` replaces a file that cannot be read."""
        stamp = file_stamp(self._path)
        try:
            self.now, self._stamp = Wanted.read(self._path), stamp
        except (EvidenceFault, StorageFault) as error:
            log.error("wanted state unreadable, made anew from the sessions", extra={"fault": str(error)})

    def put(self, wanted: Wanted) -> None:
        """Writes the file unless it holds this already; somebody may have removed or replaced it.

        Raises StorageFault: the file may have been written all the same.
        """
        if self._stamp is not None:
            if file_stamp(self._path) != self._stamp:
                log.warning("wanted state was removed or replaced by somebody, written again", extra={"session": wanted.session})
            elif wanted == self.now:
                return
        self._stamp = None
        wanted.write(self._path)
        self.now, self._stamp = wanted, file_stamp(self._path)
