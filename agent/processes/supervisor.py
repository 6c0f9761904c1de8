"""Keeps the room's processes alive where there is no systemd.

Starts them detached, takes up those that live, restarts the dead and the frozen. They record on without it.
"""

import logging
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from agent.config.places import Places
from agent.processes.heartbeat import Heartbeat
from recorder.clock.instants import SECOND_NS, boottime_ns
from recorder.disk.durable import storage_fault
from recorder.disk.locks import lock_holder
from recorder.faults import StorageFault
from wording import Exit

POLL_S = 0.2
BACKOFF_S = (0.0, 0.5, 1.0, 2.0, 5.0)
STEADY_NS = 30 * SECOND_NS  # a process that lived so long is restarted at once again
HUNG_NS = 10 * SECOND_NS
STOP_S = 10.0
LOG_BYTES = 1 << 20

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """One process that the supervisor keeps alive. name: also that of its lock, its status and its log.

    hung_ns: a process without a heartbeat for so long is replaced, see agent.processes.heartbeat.
    """

    name: str
    arguments: tuple[str, ...]
    hung_ns: int = HUNG_NS


def room_agent(config: Path, *words: str) -> tuple[str, ...]:
    """The arguments that run one of the product's own commands with this interpreter."""
    return (sys.executable, "-P", "-m", "agent", "--config", str(config.absolute()), *words)


def backoff_ns(failures: int) -> int:
    """How long to wait before the next start after so many deaths in a row (the first counts as 1)."""
    return round(BACKOFF_S[min(max(failures - 1, 0), len(BACKOFF_S) - 1)] * SECOND_NS)


class Child:
    """One process over all its lives. Used by the supervisor's thread alone."""

    def __init__(self, spec: ChildSpec, places: Places, now: Callable[[], int] = boottime_ns) -> None:
        self.spec = spec
        self._places, self._now = places, now
        self._process: subprocess.Popen[bytes] | None = None  # None where it was taken up
        self._pidfd: int | None = None
        self._heartbeat: Heartbeat | None = None
        self._since_ns = 0
        self._failures = 0
        self._start_ns = 0
        self._killed = False  # it hung and was killed; the kernel may take its time
        self.pid: int | None = None

    def poll(self) -> None:
        """Sees to it that the process lives. Raises StorageFault where its log cannot be written."""
        if self._pidfd is not None and self._dead():
            self._reap()
        if self._pidfd is None:
            if self._now() >= self._start_ns and not self._take_up():
                self._start()
        elif not self._killed and self._heartbeat is not None:
            self._check_heartbeat(self._heartbeat)

    def _check_heartbeat(self, pulse: Heartbeat) -> None:
        """A process that was stopped goes on and has lost nothing; one that hangs is killed, and another one goes on."""
        if pulse.stopped():
            log.error("process was stopped, continued", extra={"child": self.spec.name, "pid": self.pid})
            self.send(signal.SIGCONT)
        elif pulse.hung():
            log.error("process hangs, killed", extra={"child": self.spec.name, "pid": self.pid})
            self.send(signal.SIGKILL)
            self._killed = True

    def watch(self, poller: select.poll) -> None:
        """Lets the poller wake up at the process's death."""
        if self._pidfd is not None:
            poller.register(self._pidfd, select.POLLIN)

    def _take_up(self) -> bool:
        pid = lock_holder(self._places.lock(self.spec.name))
        if pid is None:
            return False
        with suppress(ProcessLookupError):
            self._live(pid)
            log.info("process taken up", extra={"child": self.spec.name, "pid": pid})
            return True
        return False

    def _start(self) -> None:
        path = self._places.log(self.spec.name)
        packages = str(Path(__file__).resolve().parents[2])  # where the package agent lies
        path_list = os.pathsep.join(filter(None, (packages, os.environ.get("PYTHONPATH", ""))))
        try:
            with path.open("ab") as output:
                self._process = subprocess.Popen(
                    self.spec.arguments,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                    cwd="/",
                    env={**os.environ, "PYTHONPATH": path_list},
                )
        except OSError as error:
            self._start_ns = self._now() + backoff_ns(len(BACKOFF_S))
            raise storage_fault(path, error) from error
        self._live(self._process.pid)
        log.info("process started", extra={"child": self.spec.name, "pid": self.pid})

    def _live(self, pid: int) -> None:
        self._pidfd = os.pidfd_open(pid)
        self.pid, self._since_ns, self._killed = pid, self._now(), False
        self._heartbeat = Heartbeat(self._places.status / f"{self.spec.name}.json", pid, self.spec.hung_ns, self._now)

    def _dead(self) -> bool:
        assert self._pidfd is not None
        poller = select.poll()
        poller.register(self._pidfd, select.POLLIN)
        return bool(poller.poll(0))

    def _reap(self) -> None:
        code = self._process.wait() if self._process else None
        if self._now() - self._since_ns >= STEADY_NS:
            self._failures = 0
        self._failures += 1
        wait_ns = 0 if code == Exit.ALREADY_RUNNING else backoff_ns(self._failures)
        self._start_ns = self._now() + wait_ns
        log.warning(
            "process ended", extra={"child": self.spec.name, "pid": self.pid, "code": code, "again_in_s": wait_ns / SECOND_NS}
        )
        self._forget()

    def _forget(self) -> None:
        if self._pidfd is not None:
            os.close(self._pidfd)
        self._pidfd = self._process = self._heartbeat = self.pid = None

    def send(self, number: signal.Signals) -> None:
        """Sends a signal, to this very process and never to one that got its id."""
        if self._pidfd is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def wait_dead(self, timeout_s: float) -> bool:
        """Waits for the process's death; True where it is dead."""
        if self._pidfd is None:
            return True
        poller = select.poll()
        poller.register(self._pidfd, select.POLLIN)
        if not poller.poll(timeout_s * 1000):
            return False
        if self._process:
            self._process.wait()
        self._forget()
        return True

    def trim_log(self) -> None:
        """Keeps the log below two times its bound: the old half moves to ``<name>.log.1``."""
        path = self._places.log(self.spec.name)
        with suppress(OSError):
            if path.stat().st_size > LOG_BYTES:
                path.with_name(path.name + ".1").write_bytes(path.read_bytes())
                os.truncate(path, 0)  # the process appends: it goes on at the beginning


class Supervisor:
    """A thread over all children."""

    def __init__(self, specs: Sequence[ChildSpec], places: Places, *, poll_s: float = POLL_S) -> None:
        self.children = [Child(spec, places) for spec in specs]
        self._poll_s = poll_s
        self._stop = threading.Event()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC)
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)

    def start(self) -> None:
        """Starts the thread that keeps the processes alive."""
        self._thread.start()

    def leave(self) -> None:
        """Ends supervising; the processes go on."""
        self._stop.set()
        os.eventfd_write(self._wake, 1)
        if self._thread.is_alive():
            self._thread.join(5.0)

    def stop(self) -> None:
        """Ends supervising and the processes: SIGTERM, and SIGKILL for those that do not end within 10 s."""
        self.leave()
        for child in self.children:
            child.send(signal.SIGTERM)
        deadline = boottime_ns() + round(STOP_S * SECOND_NS)
        for child in self.children:
            if not child.wait_dead(max(0.0, (deadline - boottime_ns()) / SECOND_NS)):
                log.error("process does not end, killed", extra={"child": child.spec.name, "pid": child.pid})
                child.send(signal.SIGKILL)
                child.wait_dead(2.0)

    def _run(self) -> None:
        rounds, failing = 0, False
        while not self._stop.is_set():
            try:
                for child in self.children:
                    child.poll()
                    if rounds % 120 == 0:
                        child.trim_log()
                failing = False
            except StorageFault as fault:
                if not failing:
                    log.error("a process cannot be started", extra={"fault": str(fault)})
                failing = True
            except Exception:  # the top of this thread: supervising never ends
                log.exception("supervisor failed")
            rounds += 1
            self._rest()

    def _rest(self) -> None:
        """Until a process dies, the supervisor is to stop, or the next look is due."""
        poller = select.poll()
        poller.register(self._wake, select.POLLIN)
        for child in self.children:
            child.watch(poller)
        poller.poll(self._poll_s * 1000)
