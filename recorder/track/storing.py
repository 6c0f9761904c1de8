"""One track's way to the disk: a thread of its own, so that a slow disk holds up neither the device nor those who look on.

It keeps the pre-roll in memory, compares what is wanted with what it does, and goes on with a session by itself after any death.
"""

import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import av

from recorder.capture.latency import Latency
from recorder.clock.fit import EnvelopeFit
from recorder.clock.instants import SECOND_NS, boot_id, boottime_ns
from recorder.disk.durable import storage_fault
from recorder.faults import EvidenceFault, StorageFault
from recorder.media.packets import Changed, Connected, Format, Item, Jumped, Packet, waiting
from recorder.process.runner import name_thread
from recorder.process.wanted import Wanted, WantedFile
from recorder.session.epoch import Epoch, session_epoch
from recorder.session.files import is_sealed
from recorder.session.wall_clock import read_tie_now
from recorder.track.last_picture import LastPictures
from recorder.track.preroll import Preroll
from recorder.track.recording import Identity, Recording
from wording import Fault

SYNC_NS = SECOND_NS // 2  # with what the muxer holds back, a power cut costs a second at most
WANTED_NS = SECOND_NS // 10
SETTLE_NS = 700_000_000  # a new connection begins with a burst; its time line stands when that has passed
STOP_GRACE_NS = 1_200_000_000  # how long after T1 a packet at or past T1 is waited for
REORDER_NS = SECOND_NS // 2  # a picture comes before others that are to be shown up to so long before it
RETRY_DISK_NS = SECOND_NS
DISK_SILENT_NS = 2 * SECOND_NS  # a call to the disk that takes longer is told
TAKE_ITEMS = 200  # between two looks at what is wanted
INBOX_ITEMS = 6000  # minutes of packets wait in memory for a disk that does not answer
MARGIN_ITEMS = 500  # put between two looks at ``full``
DRAIN_S = 8.0  # at an orderly end
LOOK_S = 1.5  # for a picture that is being looked at then

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Timing:
    """The time line of one connection. fit: grows with every packet. latency: the device's own delay, taken off."""

    fit: EnvelopeFit
    latency: Latency

    def at(self, pts: int) -> int:
        """CLOCK_BOOTTIME of a timestamp, ns, as far as it is known now."""
        return self.fit.line.at(pts) - self.latency.ns

    @property
    def ppm(self) -> float:
        """How far a tick of the device's clock is longer than it says, in parts per million, as fitted."""
        return self.fit.line.ppm


@dataclass(frozen=True, slots=True)
class Timed:
    """One item of a source with the time line that holds for it."""

    item: Item
    timing: Timing


@dataclass(frozen=True, slots=True)
class _Kept:
    """A packet of the pre-roll."""

    packet: Packet
    timing: Timing

    @property
    def key(self) -> bool:
        return self.packet.key

    @property
    def arrival_ns(self) -> int:
        return self.packet.arrival_ns

    @property
    def boottime_ns(self) -> int:
        return self.timing.at(self.packet.pts)


@dataclass(frozen=True, slots=True)
class Stored:
    """What is on the disk of the wanted session; times are CLOCK_BOOTTIME. fault: why nothing is stored now."""

    session: str | None = None
    ended: bool = False
    last_disk_ns: int | None = None
    bytes: int = 0
    packets: int = 0
    segments: int = 0
    gaps: int = 0
    fault: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class StoringSettings:
    """name: the track's. root: the data folder."""

    name: str
    root: Path
    segment_ns: int
    preroll_ns: int
    version: str


class DiskWriter(threading.Thread):
    """``put`` gives it what the source delivers; ``stored`` tells what became of it."""

    def __init__(self, settings: StoringSettings, *, now: Callable[[], int] = boottime_ns) -> None:
        super().__init__(name="storing", daemon=True)
        self._settings = settings
        self._now = now
        self._inbox: queue.Queue[Timed] = queue.Queue(INBOX_ITEMS)
        self._ending = threading.Event()
        self._preroll: Preroll[_Kept] = Preroll(settings.preroll_ns)
        self._wanted = Wanted()
        self._wanted_file = WantedFile(settings.root / "wanted.json")
        self._wanted_at_ns = 0
        self._connection: Connected | None = None
        self._timing = Timing(EnvelopeFit(1.0), Latency(0))
        self._settled_at_ns: int | None = None
        self._source_fault: Fault | None = None
        self._recording: Recording | None = None
        self._epoch: Epoch | None = None
        self._sealed: str | None = None  # a wanted session that has its seal: nothing is written there
        self._newest_pts: int | None = None
        self._reorders = False  # this connection's pictures do not come in the order of their times (B-frames)
        self._beyond: list[_Kept] = []  # at or past T1, until it is sure that no picture before T1 follows
        self._flowing = False  # packets go from the inbox straight into the recording
        self._stored_of: Connected | None = None  # the connection whose pictures were stored last
        self._last_pictures = LastPictures()  # of this session's lost connections
        self._disk_fault: dict[str, Any] | None = None
        self._disk_retry_ns = 0
        self._sync_at_ns = 0
        self._last_disk_ns: int | None = None
        self._busy_since_ns: int | None = None
        self._stored = Stored()

    # -- for the track's thread --

    def put(self, timed: Timed) -> None:
        """One item more; ``full`` must be asked before."""
        self._inbox.put_nowait(timed)

    @property
    def full(self) -> bool:
        """The disk has not answered for minutes: what comes has to wait where it is."""
        return self._inbox.qsize() >= INBOX_ITEMS - MARGIN_ITEMS

    @property
    def stored(self) -> Stored:
        """What is on the disk."""
        return self._stored

    @property
    def stuck(self) -> Fault | None:
        """The disk has not answered a call for too long."""
        since = self._busy_since_ns
        if since is None or self._now() - since < DISK_SILENT_NS:
            return None
        return StorageFault(
            "disk-does-not-answer",
            "check-data-disk-health",
            seconds=(self._now() - since) // SECOND_NS,
        )

    def end(self) -> None:
        """Stores what was put, closes what is open, and ends. A disk that does not answer is waited for some seconds."""
        self._ending.set()
        self.join(DRAIN_S)

    # -- the thread --

    def run(self) -> None:
        name_thread(self.name)
        while not (self._ending.is_set() and self._inbox.empty()):
            try:
                self.turn(wait_s=0.05)
            except Exception as error:  # the top of this thread: whatever it was, storing is tried again
                log.exception("storing failed", extra={"track": self._settings.name})
                self._refused(self._unforeseen(error))
                self._tell()
        self.leave()

    def turn(self, *, wait_s: float = 0.0) -> None:
        """One round: what has come, what is wanted, what is due."""
        self._take(wait_s)
        self._guarded(self._tell_cuts)
        self._guarded(self._reconcile)
        self._guarded(self._sync)
        self._tell()

    def leave(self) -> None:
        """An orderly end: what is open is closed, and the journal says why."""
        self._guarded(self._close)
        self._tell()

    def _take(self, wait_s: float) -> None:
        for timed in waiting(self._inbox, wait_s, TAKE_ITEMS):
            self._busy_since_ns = self._busy_since_ns or self._now()
            self._handle(timed)
        self._busy_since_ns = self._now()

    def _tell(self) -> None:
        recording = self._recording
        self._busy_since_ns = None
        if recording is None:
            self._stored = Stored(session=self._sealed, ended=self._sealed is not None, fault=self._disk_fault)
            return
        self._stored = Stored(
            session=recording.identity.session,
            ended=recording.ended,
            last_disk_ns=self._last_disk_ns,
            bytes=recording.bytes_now,
            packets=recording.packets_now,
            segments=recording.segments,
            gaps=recording.gaps,
            fault=self._disk_fault,
        )

    def _handle(self, timed: Timed) -> None:
        item, self._timing = timed.item, timed.timing
        if isinstance(item, Packet):
            self._packet(item)
        elif isinstance(item, Connected):
            self._connection, self._source_fault = item, None
            if self._recording is not None:
                self._recording.device = item.device
            self._preroll.clear()
            self._settled_at_ns, self._flowing = None, False
            self._newest_pts, self._reorders = None, False
        elif isinstance(item, Jumped):
            self._guarded(lambda: self._jumped(item))
        elif isinstance(item, Changed):
            self._guarded(lambda: self._changed(item))
        else:
            self._lost(Fault.from_dict(item.fault))

    def _packet(self, packet: Packet) -> None:
        if self._connection is None:
            return
        if self._settled_at_ns is None:
            self._settled_at_ns = packet.arrival_ns + SETTLE_NS
        self._reorders = self._reorders or (self._newest_pts is not None and packet.pts < self._newest_pts)
        self._newest_pts = packet.pts if self._newest_pts is None else max(self._newest_pts, packet.pts)
        kept = _Kept(packet, self._timing)
        self._preroll.add(kept)
        if self._flowing:
            self._guarded(lambda: self._store(kept))

    def _jumped(self, item: Jumped) -> None:
        log.warning("the device's clock jumped", extra={"track": self._settings.name, "seconds": item.by_ns / SECOND_NS})
        if self._recording is not None and self._epoch is not None and not self._recording.ended:
            self._recording.jumped(self._epoch.room_ns(self._now()), item.by_ns)

    def _changed(self, item: Changed) -> None:
        if self._connection is not None:
            self._connection = replace(self._connection, device=item.device)
        if self._recording is not None and self._epoch is not None and not self._recording.ended:
            self._recording.changed(self._epoch.room_ns(self._now()), item.device, item.changes)

    def _lost(self, fault: Fault) -> None:
        connection, self._connection, self._source_fault, self._flowing = self._connection, None, fault, False
        recording = self._recording
        if recording is not None:
            self._guarded(lambda: self._interrupted(recording, fault, connection))

    def _interrupted(self, recording: Recording, fault: Fault, connection: Connected | None) -> None:
        last = recording.lost(fault, self._timing.ppm)
        if last is not None and connection is not None and not self._beyond:
            self._last_pictures.look(last, connection.format, [kept.packet for kept in self._preroll.newest()])

    def _tell_cuts(self, wait_s: float = 0.0) -> None:
        cuts = self._last_pictures.take(wait_s)
        if cuts and self._recording is not None:
            log.warning("a last picture does not count", extra={"track": self._settings.name, "why": cuts[-1].why.say()})
            self._recording.cut(cuts)

    def _store(self, kept: _Kept) -> None:
        recording, connection, epoch = self._recording, self._connection, self._epoch
        if recording is None or connection is None or epoch is None or recording.ended:
            return
        room_ns = epoch.room_ns(kept.boottime_ns)
        stop_ns = self._wanted.stop_ns
        if stop_ns is not None and room_ns >= stop_ns:
            self._beyond.append(kept)
            if room_ns >= stop_ns + (REORDER_NS if self._reorders else 0):
                self._end(recording, stop_ns, kept.timing)
            return
        for each in [*self._beyond, kept]:  # a picture before T1 is decoded by way of those that came before it
            recording.write(
                each.packet, epoch.room_ns(each.boottime_ns), each.packet.format or connection.format, each.timing.ppm
            )
        self._beyond.clear()
        self._stored_of = connection

    def _end(self, recording: Recording, stop_ns: int, timing: Timing) -> None:
        """Not before it is known what the pictures before it are: it is asked for again until then."""
        if not self._last_pictures.pending:
            recording.end(stop_ns, timing.ppm)
            self._disk_fault = None

    def _guarded(self, act: Callable[[], None]) -> None:
        """A disk that refuses stops storing, not the process: what is in memory is stored when it is back."""
        try:
            act()
        except (StorageFault, EvidenceFault) as fault:
            self._refused(fault)
        except (OSError, av.error.FFmpegError) as error:
            self._refused(self._unforeseen(error))

    def _unforeseen(self, error: Exception) -> StorageFault:
        why = error if isinstance(error, OSError) else OSError(f"{type(error).__name__}: {error}")
        return storage_fault(self._settings.root, why)

    def _refused(self, fault: Fault) -> None:
        if self._disk_fault is None:
            log.error("disk refuses", extra={"track": self._settings.name, "fault": str(fault)})
        self._disk_fault, self._flowing = fault.as_dict(), False
        self._disk_retry_ns = self._now() + RETRY_DISK_NS
        if self._recording is not None:
            self._recording.give_up(fault)

    def _reconcile(self) -> None:
        now = self._now()
        if now < self._wanted_at_ns or now < self._disk_retry_ns:
            return
        self._wanted_at_ns = now + WANTED_NS
        self._wanted = wanted = self._wanted_file.read()
        if wanted.session is None:
            self._leave()
            self._disk_fault = None
            return
        if self._recording is None or self._recording.identity.session != wanted.session:
            self._leave()
            self._enter(wanted, wanted.session)
        recording, epoch = self._recording, self._epoch
        if recording is None or epoch is None or recording.ended:
            return
        recording.flush()
        settled = self._connection is not None and self._settled_at_ns is not None and now >= self._settled_at_ns
        if settled and not self._flowing:
            self._flow(recording, epoch, wanted)
        grace_ns = STOP_GRACE_NS + self._timing.latency.ns
        if wanted.stop_ns is not None and epoch.room_ns(now) > wanted.stop_ns + grace_ns and self._inbox.empty():
            self._end(recording, wanted.stop_ns, self._timing)
        elif self._connection is None:
            self._disk_fault = None  # the journal's lines are taken again, and nothing else is to be stored

    def _enter(self, wanted: Wanted, session: str) -> None:
        folder = self._settings.root / "sessions" / session
        if not folder.is_dir():
            raise StorageFault(
                "session-folder-missing",
                "mount-data-disk",
                session=session,
                root=self._settings.root,
            )
        if is_sealed(folder):  # the agent died after the seal and before it wrote that nothing is wanted
            self._sealed = session
            return
        epoch = session_epoch(folder, read_tie_now, floor_ns=wanted.start_ns)
        identity = Identity(self._settings.name, session, boot_id(), self._settings.version)
        device = self._connection.device if self._connection else {}
        self._recording = Recording(
            folder / "tracks" / self._settings.name, identity, wanted.start_ns, self._settings.segment_ns, device=device
        )
        self._epoch, self._last_disk_ns = epoch, None
        self._disk_fault = None
        if self._connection is None and self._source_fault is not None:
            self._recording.lost(self._source_fault, 0.0)

    def _flow(self, recording: Recording, epoch: Epoch, wanted: Wanted) -> None:
        """From memory into the recording, then straight on: no packet between the two is lost or written twice."""
        self._flowing = True
        self._beyond.clear()
        stored, connection = recording.next_sample, self._connection
        if stored is not None and connection is not None and connection.format is stored[0]:
            kept_packets = self._from_sample(*stored)
        elif recording.last_ns is None:
            kept_packets = self._kept_since(epoch.boottime_ns(wanted.start_ns))
        else:
            kept_packets = self._behind(epoch.boottime_ns(recording.last_ns + recording.interval_ns // 2))
            self._flowing = bool(kept_packets)
        for kept in kept_packets:
            self._store(kept)

    def _behind(self, after_ns: int) -> list[_Kept]:
        """What is in memory and was not stored yet. after_ns: CLOCK_BOOTTIME up to which all is stored.

        A new connection may begin with a key frame that the camera kept, from before the loss. What comes behind it is not to be
        decoded without it, so that it is stored with all that was sent since, unless a key frame comes first.
        """
        kept_packets = self._kept_since(after_ns)
        new = [kept for kept in kept_packets if kept.boottime_ns > after_ns]
        needed = bool(new) and not new[0].key and kept_packets[0].key and self._connection is not self._stored_of
        return kept_packets if needed else new

    def _kept_since(self, boottime: int) -> list[_Kept]:
        return list(self._preroll.since(boottime, lambda kept: kept.boottime_ns))

    def _from_sample(self, format_: Format, count: int) -> list[_Kept]:
        """The blocks of sound in memory from a count on, the first one cut to it."""
        frame_bytes = 2 * format_.channels
        found = []
        for kept in self._kept_since(0):
            packet = kept.packet
            behind = count - packet.pts
            if behind <= 0:
                found.append(kept)
            elif behind * frame_bytes < len(packet.data):
                cut = replace(packet, pts=count, data=packet.data[behind * frame_bytes :])
                found.append(replace(kept, packet=cut))
        return found

    def _leave(self) -> None:
        if self._recording is not None and not self._recording.ended:
            log.warning("session no longer wanted before its end", extra={"track": self._settings.name})
        self._close()

    def _close(self) -> None:
        if self._recording is not None:
            self._guarded(lambda: self._tell_cuts(LOOK_S))
            self._recording.lost(_stopped(), self._timing.ppm)  # which says nothing of a session that has ended
            self._recording.close()
        self._recording, self._epoch, self._sealed, self._flowing = None, None, None, False

    def _sync(self) -> None:
        now = self._now()
        if self._recording is None or now < self._sync_at_ns:
            return
        self._sync_at_ns = now + SYNC_NS
        if self._recording.sync():
            self._last_disk_ns = self._now()
            self._disk_fault = None


def _stopped() -> Fault:
    return Fault("recording-process-asked-to-stop", "start-service-again")
