"""``wanted.json`` as the agent keeps it: what stands there now, written where something else is wanted."""

import logging
from pathlib import Path

from recorder.faults import EvidenceFault, StorageFault
from recorder.wanted import Wanted

log = logging.getLogger(__name__)


class WantedState:
    """now: what was read or written last. Used by the session's keeper, the one writer of that file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._on_disk = False
        self.now = Wanted()

    def read(self) -> None:
        """What an agent before left. A file that cannot be read is made anew by the next ``put``."""
        try:
            self.now = Wanted.read(self._path)
            self._on_disk = self._path.exists()
        except (EvidenceFault, StorageFault, TypeError) as error:
            log.error("wanted state unreadable, made anew from the sessions", extra={"fault": str(error)})

    def put(self, wanted: Wanted) -> None:
        """Sees to it that this stands in the file. Raises StorageFault."""
        if wanted != self.now or not self._on_disk:
            wanted.write(self._path)
            self.now, self._on_disk = wanted, True

    def doubt(self) -> None:
        """A write that failed may have arrived all the same: the next ``put`` writes in any case."""
        self._on_disk = False
