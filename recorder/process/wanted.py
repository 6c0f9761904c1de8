"""TODO docstring."""

import logging
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

from recorder.disk.durable import Json, file_stamp, read_json, write_json
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
        return cls(**_known(cls, data))

    def write(self, path: Path) -> None:
        """Durably; the agent's session machine is the one caller. Raises StorageFault."""
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


def _known(cls: Any, data: Json) -> dict[str, Any]:
    names = {f.name for f in fields(cls)}
    return {k: v for k, v in data.items() if k in names}
