"""What the seal waits for, judged by statuses and locks.

It also holds the locks of tracks that were left behind, so that they cannot write while the seal is made.
"""

import logging
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import Literal

from agent.config.places import Places
from agent.session.closing import composer_done, unfinished, waited_for
from recorder.disk.locks import exclusive, lock_holder
from recorder.faults import AlreadyRunning
from recorder.process.status import ComposerStatus, Status
from recorder.session.record import Session

log = logging.getLogger(__name__)


class SealWait:
    """Used by the session's keeper. waiting_for: names of tracks, or ``composer``."""

    def __init__(self, places: Places, required: Sequence[str]) -> None:
        self._places, self._required = places, required
        self._finished_ns: int | None = None  # when the last track had finished
        self._held: dict[str, ExitStack] = {}  # the locks of tracks that are left behind
        self._ended: set[int] = set()  # processes that were killed for it
        self.waiting_for: list[str] = []

    def reset(self) -> None:
        """Forgets what was waited for; for a room in which nothing is being sealed."""
        self.release()
        self._finished_ns, self.waiting_for = None, []

    def look(
        self, session: Session, statuses: Mapping[str, Status], *, composite: bool, now_ns: int
    ) -> Literal["finished", "wait", "give up"]:
        """Tells whether every track and the composer have ended the session.

        composite: what wanted.json says of it. "give up": the keeper must give the composite up.
        """
        self.waiting_for = waited_for(session, self._required, statuses)
        if self.waiting_for:
            self._finished_ns = None
            return "wait"
        self._finished_ns = self._finished_ns or now_ns
        status = statuses.get("composer")
        status = status if isinstance(status, ComposerStatus) else None
        locked = status is None and lock_holder(self._places.lock("composer")) is not None
        waited_ns = now_ns - self._finished_ns
        decision = composer_done(session, status, locked=locked, wanted=composite, waited_ns=waited_ns)
        if decision != "finished":
            self.waiting_for = ["composer"]
        return decision

    def hold_left(self, session: Session, statuses: Mapping[str, Status]) -> bool:
        """Sees to it that no track that is left behind has a process, until ``release``: its lock is held here.

        One that still has a process loses it; inside the kernel, waiting for its disk, that ends when the disk answers. False
        until all are held. Raises StorageFault.
        """
        left = [name for name in unfinished(session, self._required, statuses) if name in session.left_tracks]
        self.waiting_for = [name for name in left if name not in self._held and not self._hold(name)]
        return not self.waiting_for

    def _hold(self, name: str) -> bool:
        path, lock = self._places.lock(name), ExitStack()
        try:
            lock.enter_context(exclusive(path, name, named=False))
        except AlreadyRunning:
            self._end(name, lock_holder(path))
            return False
        self._held[name] = lock
        return True

    def _end(self, name: str, pid: int | None) -> None:
        if pid is None or pid in self._ended:
            return
        self._ended.add(pid)
        log.warning("process of a track that is left behind, killed", extra={"track": name, "pid": pid})
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)

    def release(self) -> None:
        """Releases the locks of the tracks that were left behind, so that their processes may start again.

        They find the seal, or go on recording where there is none yet.
        """
        for lock in self._held.values():
            lock.close()
        self._held.clear()
        self._ended.clear()
