"""What every process of the data plane shares: one lock, a status every second, an orderly end on SIGTERM."""

import ctypes
import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from recorder.clock.instants import SECOND_NS, boot_id, boottime_ns
from recorder.disk.durable import make_folder
from recorder.disk.locks import exclusive
from recorder.faults import StorageFault
from recorder.process.status import Status
from recorder.process.systemd import notify

STATUS_EVERY_NS = SECOND_NS * 8 // 10
BEAT_NS = SECOND_NS // 5  # the status file's time of change is the heartbeat; a process without one counts as hung
DISK_WAIT_S = 60

log = logging.getLogger(__name__)


def keep_memory_small() -> None:
    """Lets glibc give large freed blocks (pictures) back at once, and keep two arenas instead of eight a processor.

    mallopt(3): M_MMAP_THRESHOLD −3 fixed at 256 KiB, M_ARENA_MAX −8. Does nothing where the C library has no mallopt.
    """
    with suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(-3, 256 << 10)
        mallopt(-8, 2)


def name_thread(name: str) -> None:
    """What the kernel calls the calling thread, at most 15 characters, so that ps and top tell them apart."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).pthread_setname_np(ctypes.c_ulong(threading.get_ident()), name.encode()[:15])


@contextmanager
def process(name: str, run: Path) -> Iterator[threading.Event]:
    """Holds ``<run>/lock/<name>.lock`` and gives an event that SIGTERM and SIGINT set. Raises AlreadyRunning, StorageFault."""
    stop = threading.Event()

    def ask(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    keep_memory_small()
    make_folder(run / "status")
    with exclusive(run / "lock" / f"{name}.lock", name):
        previous = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            log.info("process started", extra={"of": name})
            notify("READY=1")
            name_thread(name)
            yield stop
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
            log.info("process stopped", extra={"of": name})


class Reporter:
    """Writes a status every 0.8 s, and at once after a change of state or fault; touches it five times a second.

    A failure to write is logged once.
    """

    def __init__(self, status: Status, run: Path) -> None:
        self.status = status
        status.pid, status.boot_id = os.getpid(), boot_id()
        self._folder = run / "status"
        self._written: tuple[str, object, str | None] | None = None
        self._last_ns = self._beat_ns = 0
        self._failing = False

    def state(self, state: str) -> None:
        """The process's state, with the time of its change."""
        if state != self.status.state:
            self.status.state, self.status.since_ns = state, boottime_ns()
            log.info("state changed", extra={"of": self.status.name, "state": state, "session": self.status.session})

    def due(self) -> bool:
        """Whether ``report`` would write now; the caller measures only then. Each call also counts as a heartbeat."""
        self._beat()
        status = self.status
        return (status.state, status.fault, status.session) != self._written or boottime_ns() - self._last_ns >= STATUS_EVERY_NS

    def report(self) -> None:
        """Writes the status if it is due."""
        if not self.due():
            return
        status = self.status
        self._last_ns = status.at_ns = boottime_ns()
        status.seq += 1
        self._written = (status.state, status.fault, status.session)
        try:
            status.write(self._folder)
            self._failing = False
        except StorageFault as fault:
            if not self._failing:
                log.error("status cannot be written", extra={"of": self.status.name, "fault": str(fault)})
            self._failing = True

    def _beat(self) -> None:
        now = boottime_ns()
        if now - self._beat_ns >= BEAT_NS:
            self._beat_ns = now
            notify("WATCHDOG=1")
            with suppress(OSError):  # there is none before the first status
                os.utime(self._folder / f"{self.status.name}.json")

    @contextmanager
    def waiting_for_disk(self) -> Iterator[None]:
        """While the block runs, the status says that the process waits for its disk, so that it does not count as hung."""
        watchdog_us = os.environ.get("WATCHDOG_USEC")
        self.status.waiting = "disk"
        self._last_ns = 0
        if watchdog_us:
            notify(f"WATCHDOG_USEC={DISK_WAIT_S}000000")
        self.report()
        try:
            yield
        finally:
            self.status.waiting = ""
            self._last_ns = 0
            self.report()
            if watchdog_us:
                notify(f"WATCHDOG_USEC={watchdog_us}")

    def remove(self) -> None:
        """Removes the status file at an orderly end."""
        with suppress(OSError):
            (self._folder / f"{self.status.name}.json").unlink(missing_ok=True)
