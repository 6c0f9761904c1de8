"""Burning a stream to several drives at once through xorriso, and reading back what lies on the discs.

Each drive has an xorriso of its own, a bounded queue before it and a thread that feeds it; a drive that dies or stands still is
given up and the others go on. xorriso's word is never taken for the disc: the digest of what is read back decides.
Formats: xorrisofs(1), xorriso(1) ``-as cdrecord``, ``-pkt_output``, ``-pacifier``.
"""

import hashlib
import os
import queue
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from burner.faults import BurnFault, DiscSpoiled, Stopped
from burner.work.jobs import NEW_DISC, stopped_fault
from drivers.optical import MIB, cycle_tray, stdio_path
from wording import Fault

QUEUE_BLOCKS = 4  # of at most 1 MiB before each drive
STALL_S = 300.0  # formatting and power calibration keep a drive silent for minutes; longer is a dead drive
CLOSING_S = 1800.0  # writing the lead-out and the borders


@dataclass(frozen=True, slots=True)
class XorrisoProgress:
    """written_mb of total_mb; total_mb is None while the drive does not say."""

    written_mb: int
    total_mb: int | None


@dataclass(frozen=True, slots=True)
class XorrisoMessage:
    """A message of xorriso or libburn. severity: NOTE, HINT, WARNING, SORRY, MISHAP, FAILURE, FATAL, ABORT."""

    program: str
    severity: str
    text: str


BAD = ("SORRY", "MISHAP", "FAILURE", "FATAL", "ABORT")

_PROGRESS = re.compile(r"UPDATE : +([0-9]{1,12})(?: of +([0-9]{1,12}))? MB written")
_EVENT = re.compile(r"(\w+) : ([A-Z]+) : (.*)")


def burn_arguments(device: str, image_bytes: int) -> list[str]:
    """Pure. tsize makes a stream that ends early a failure instead of a short disc."""
    return [
        *("xorriso", "-no_rc", "-pkt_output", "on", "-pacifier", "interval=0.5"),
        *("-as", "cdrecord", "-v", f"dev={device}", "fs=8m", f"tsize={image_bytes}", "padsize=0", "-"),
    ]


def parse_line(line: str) -> XorrisoProgress | XorrisoMessage | None:
    """Pure: one line of xorriso's output; None where it is neither progress nor an event."""
    text = re.sub(r"^[RIM]:\d+: ?", "", line.rstrip("\n"))
    if progress := _PROGRESS.search(text):
        return XorrisoProgress(int(progress.group(1)), int(progress.group(2)) if progress.group(2) else None)
    if event := _EVENT.fullmatch(text):
        return XorrisoMessage(event.group(1), event.group(2), event.group(3).strip())
    return None


@dataclass(frozen=True, slots=True)
class BurnOutcome:
    """How one drive ended. written_bytes: what it took. fault: None where xorriso said success."""

    device: str
    written_bytes: int
    fault: Fault | None


class DriveBurn:
    """One drive while it burns."""

    def __init__(self, device: str, image_bytes: int, *, stall_s: float = STALL_S) -> None:
        """Starts xorriso. Raises BurnFault where it cannot be started."""
        self.device = device
        self.pid: int
        self.written_bytes = 0
        self._stall_s = stall_s
        self._given_up: Fault | None = None
        self._events: list[XorrisoMessage] = []
        self._queue: queue.Queue[bytes | None] = queue.Queue(QUEUE_BLOCKS)
        try:
            self._process = subprocess.Popen(
                burn_arguments(device, image_bytes),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a Ctrl-C for the worker is not one for a disc
            )
        except OSError as error:
            raise BurnFault("burning-program-cannot-start", "install-burning-program", why=error.strerror) from error
        self.pid = self._process.pid
        self._feeder = threading.Thread(target=self._feed, name=f"feed {device}", daemon=True)
        self._listener = threading.Thread(target=self._listen, name=f"listen {device}", daemon=True)
        self._feeder.start()
        self._listener.start()

    @property
    def alive(self) -> bool:
        """Whether the drive still takes data."""
        return self._feeder.is_alive() and self._given_up is None

    def write(self, data: bytes, stopped: Callable[[], bool]) -> None:
        """Hands the block on, waiting while the drive is busy; after stall_s without a byte taken the drive is given up."""
        deadline = time.monotonic() + self._stall_s
        while self.alive:
            try:
                self._queue.put(data, timeout=0.2)
                return
            except queue.Full:
                if stopped():
                    return
                if time.monotonic() > deadline:
                    self.give_up(_stalled(self.device, self._stall_s))

    def give_up(self, fault: Fault) -> None:
        """Ends xorriso; the disc is lost. fault: why, for the outcome."""
        self._given_up = self._given_up or fault
        self._process.kill()

    def finish(self, stopped: Callable[[], bool]) -> BurnOutcome:
        """After the last block: waits until the disc is closed."""
        deadline = time.monotonic() + CLOSING_S
        while self._feeder.is_alive():
            try:
                self._queue.put(None, timeout=0.2)
                break
            except queue.Full:
                if stopped() or time.monotonic() > deadline:
                    self.give_up(_stalled(self.device, CLOSING_S))
        while self._process.poll() is None:
            if stopped():
                self.give_up(stopped_fault(self.device))
            elif time.monotonic() > deadline:
                self.give_up(_stalled(self.device, CLOSING_S))
            try:
                self._process.wait(0.2)
            except subprocess.TimeoutExpired:
                continue
        self._feeder.join()
        self._listener.join()
        return BurnOutcome(self.device, self.written_bytes, self._fault())

    def _fault(self) -> Fault | None:
        code = self._process.returncode
        told = [e.text for e in self._events if e.severity in BAD and "-abort_on" not in e.text]
        if self._given_up is not None:
            return self._given_up
        if code == 0 and not told:
            return None
        ended = f"xorriso was ended by {signal.Signals(-code).name}" if code < 0 else f"xorriso exit code {code}"
        why = "; ".join([*dict.fromkeys(told[:3]), ended])
        if self.written_bytes == 0:
            return BurnFault("disc-not-burned", "check-drive-and-disc-then-burn", device=self.device, why=why)
        return DiscSpoiled("disc-spoiled", NEW_DISC, device=self.device, why=why)

    def _feed(self) -> None:
        pipe = self._process.stdin
        assert pipe is not None
        try:
            while (data := self._queue.get()) is not None:
                pipe.write(data)
                self.written_bytes += len(data)
            pipe.close()
        except OSError:  # xorriso is gone: its exit code and messages say why
            try:
                pipe.close()
            except OSError:
                return

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as output:
            for line in output:
                parsed = parse_line(line.decode(errors="replace"))
                if isinstance(parsed, XorrisoMessage) and len(self._events) < 1000:
                    self._events.append(parsed)


def _stalled(device: str, seconds: float) -> DiscSpoiled:
    template = "drive-stalled-disc-spoiled"
    return DiscSpoiled(template, NEW_DISC, device=device, seconds=round(seconds))


class Fanout:
    """One stream to several drives. Use as the sink of an ImagePlan."""

    def __init__(self, burns: Sequence[DriveBurn], stopped: Callable[[], bool]) -> None:
        self._burns = burns
        self._stopped = stopped
        self.sent = 0

    def __call__(self, data: bytes) -> None:
        """Raises Stopped when asked to stop or when no drive is left."""
        for burn in self._burns:
            burn.write(data, self._stopped)
        self.sent += len(data)
        if self._stopped() or not any(b.alive for b in self._burns):
            raise Stopped


def read_back(
    device: str,
    length: int,
    *,
    progress: Callable[[int], object] = lambda _: None,
    stopped: Callable[[], bool] = lambda: False,
    by_hand: Callable[[Fault | None], object] = lambda _: None,
) -> str:
    """SHA-256 of exactly length bytes as they lie on the medium, not in a cache. Real drives have their tray cycled before.

    progress: called with the bytes read. by_hand: as in drivers.optical.cycle_tray. Raises DiscSpoiled (unreadable, too short),
    DeviceFault (the tray), Stopped.
    """

    def wait(seconds: float) -> None:
        time.sleep(seconds)
        if stopped():
            raise Stopped

    cycle_tray(device, by_hand=by_hand, wait=wait)
    digest = hashlib.sha256()
    at = 0
    try:
        fd = os.open(stdio_path(device) or device, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            while at < length:
                if stopped():
                    raise Stopped
                data = os.read(fd, min(MIB, length - at))
                if not data:
                    raise DiscSpoiled("burned-disc-ends-early", NEW_DISC, device=device, at=at, length=length)
                digest.update(data)
                at += len(data)
                progress(at)
        finally:
            os.close(fd)
    except OSError as error:
        raise _unreadable(device, at, error.strerror) from error
    return digest.hexdigest()


def _unreadable(device: str, at: int, why: str | None) -> DiscSpoiled:
    return DiscSpoiled("burned-disc-unreadable-at-byte", NEW_DISC, device=device, at=at, why=why)
