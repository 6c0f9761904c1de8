"""``wanted.json`` as the agent keeps it: what stands there now, written where something else is wanted or stands there."""

import logging
from pathlib import Path

from recorder.disk.durable import file_stamp
from recorder.faults import EvidenceFault, StorageFault
from recorder.process.wanted import Wanted

log = logging.getLogger(__name__)


class WantedState:
    """now: what was read or written last. Used by the session's keeper, the one writer of that file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None  # of the file with what is ``now``; None: it is written in any case
        self.now = Wanted()

    def read(self) -> None:
        """What an agent before left. A file that cannot be read is made anew by the next ``put``."""
        stamp = file_stamp(self._path)
        try:
            self.now, self._stamp = Wanted.read(self._path), stamp
        except (EvidenceFault, StorageFault, TypeError) as error:
            log.error("wanted state unreadable, made anew from the sessions", extra={"fault": str(error)})

    def put(self, wanted: Wanted) -> None:
        """Sees to it that this stands in the file, whoever removed or replaced it. Raises StorageFault: it may stand there."""
        if self._stamp is not None:
            if file_stamp(self._path) != self._stamp:
                log.warning("wanted state was removed or replaced by somebody, written again", extra={"session": wanted.session})
            elif wanted == self.now:
                return
        self._stamp = None
        wanted.write(self._path)
        self.now, self._stamp = wanted, file_stamp(self._path)
