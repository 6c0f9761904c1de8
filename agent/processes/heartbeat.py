"""Whether a process still moves: its heart beats, and the kernel says what its threads wait for."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from recorder.clock.instants import SECOND_NS, boot_id
from recorder.disk.durable import file_stamp
from recorder.process.status import read_status

STARTING_NS = 20 * SECOND_NS  # how long a new process may take to its first status
WORKING_NS = 6 * SECOND_NS  # one that computes, or waits inside the kernel, is not helped by a restart
DISK_NS = 60 * SECOND_NS  # one that has said that it waits for the disk
LOOK_NS = SECOND_NS // 2  # between two looks; what is longer was the looker's own pause, and nobody else's


def thread_states(pid: int, proc: Path = Path("/proc")) -> frozenset[str]:
    """The states of a process's threads (proc(5), /proc/pid/stat): R, S, D, T (stopped), t (traced)…; empty where it is gone."""
    states = set()
    with suppress(OSError):
        for thread in (proc / str(pid) / "task").iterdir():
            states.add(_state(thread))
    return frozenset(states - {""})


def _state(process: Path) -> str:
    """The state letter of the process with this folder of /proc; "" where the process is gone."""
    try:
        return (process / "stat").read_text(encoding="ascii", errors="replace").rpartition(") ")[2][:1]
    except OSError:
        return ""


class Heartbeat:
    """Looks at one process some times a second.

    hung_ns: how long its heartbeat (the time of change of its status file) may fail to come while it neither computes nor waits
    for the disk.
    """

    def __init__(self, status: Path, pid: int, hung_ns: int, now: Callable[[], int]) -> None:
        self._status, self._pid, self._hung_ns, self._now = status, pid, hung_ns, now
        self._told = False  # it has written a status of its own
        self._stamp: tuple[int, int] | None = None
        self._beat_ns = self._looked_ns = now()

    def stopped(self) -> bool:
        """Somebody stopped it (SIGSTOP): it goes on where it was when it is continued."""
        if _state(Path(f"/proc/{self._pid}")) != "T":  # one look for most processes, most of the time
            return False
        return thread_states(self._pid) == {"T"}

    def hung(self) -> bool:
        """It has not moved for longer than anything explains. With a lost device it would still move."""
        now = self._now()
        self._beat_ns += max(0, now - self._looked_ns - LOOK_NS)
        self._looked_ns = now
        self._look(now)
        silent_ns = now - self._beat_ns
        if silent_ns <= self._hung_ns:
            return False
        if not self._told:
            return silent_ns > STARTING_NS
        status = read_status(self._status)
        if status is not None and status.waiting:
            return silent_ns > DISK_NS
        return silent_ns > WORKING_NS or thread_states(self._pid).isdisjoint("RD")

    def _look(self, now: int) -> None:
        stamp = file_stamp(self._status)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        if not self._told:
            status = read_status(self._status)
            self._told = status is not None and status.pid == self._pid and status.boot_id == boot_id()
        if self._told:
            self._beat_ns = now
