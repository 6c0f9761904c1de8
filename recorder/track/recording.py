"""One track's recording of one session: its folder, its journal, its segments. Nothing here knows devices or clocks."""

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av

from recorder.clock.instants import GAP_FLOOR_NS, SECOND_NS
from recorder.disk.durable import Json, make_folder, settle
from recorder.disk.journal import PatientJournal
from recorder.faults import StorageFault
from recorder.media.packets import Format, Packet
from recorder.session.lines import (
    BackLine,
    BeginLine,
    EmptyLine,
    EndLine,
    Line,
    LostLine,
    SegmentLine,
    SegmentOpenLine,
    cause_fields,
    usable,
)
from recorder.track.segments import SegmentFacts, open_writer, recover
from recorder.track.video_writer import SegmentWriter
from wording import Fault
from wording.sentence import Sentence

HOLE_INTERVALS = 5  # a silence longer than so many picture intervals, and than GAP_FLOOR_NS, ends a segment and is a gap


@dataclass(slots=True)
class _Open:
    """The segment being written; times are room time, ns."""

    writer: SegmentWriter
    format: Format
    first_ns: int
    last_ns: int
    first_pts: int
    last_pts: int


@dataclass(frozen=True, slots=True)
class Identity:
    """What the ``begin`` line says: which process, boot and device write here."""

    track: str
    session: str
    boot_id: str
    software: str


def process_ended(lines: Iterable[Line], boot_id: str) -> Fault:
    """Why a folder was left without an ``end``: the boot tells a power cut from a crash."""
    boots = [line.boot_id for line in lines if isinstance(line, BeginLine)]
    if boots and boots[-1] != boot_id:
        return Fault("pc-restarted-or-lost-power", "check-power-supply-and-system-log")
    return Fault("recording-process-ended-unexpectedly", "restarted-look-at-process-log")


class Recording:
    """The one writer of ``tracks/<name>/`` (invariant 2).

    Opening it again after any death continues: torn segments are read, listed as recovered and kept (invariant 3).
    """

    def __init__(
        self, folder: Path, identity: Identity, start_ns: int, segment_ns: int, *, device: dict[str, Any] | None = None
    ) -> None:
        """Creates the track's folder and opens its journal. Raises StorageFault, EvidenceFault."""
        self.folder = make_folder(folder)
        self.identity = identity
        self.segment_ns = segment_ns
        self.segments = self.packets = self.bytes = self.gaps = 0
        self.end_ns: int | None = None  # where what is stored ends
        self.last_ns: int | None = None  # time of the last stored packet
        self.next_sample: tuple[Format, int] | None = None  # of sound: the first count that no closed segment has
        self.ended = False
        self.gap_open = False
        self.device = device or {}  # what the device says of itself now
        self._told_device = self.device
        self._open: _Open | None = None
        self._interval_ns = 40_000_000
        self._start_ns = start_ns
        self._journal = PatientJournal(self.folder / "journal.jsonl")
        try:
            self._resume(self.device)
        except BaseException:
            self._journal.close()
            raise

    def _resume(self, device: dict[str, Any]) -> None:
        lines = list(usable(self._journal.entries()))
        self._replay(lines)
        names = [p.name for p in self.folder.glob("*.mkv")] + [line.file for line in lines if isinstance(line, SegmentOpenLine)]
        self._next = 1 + max((int(n[:-4]) for n in names if n[:-4].isdigit()), default=-1)
        if self.ended:
            return
        before = self._read_anew(lines)
        if lines or before:
            self._continue(lines)
        self._journal.keep(
            "begin",
            session=self.identity.session,
            track=self.identity.track,
            start_ns=self._start_ns,
            boot_id=self.identity.boot_id,
            software=self.identity.software,
            device=device,
        )

    def _read_anew(self, lines: Iterable[Line]) -> bool:
        """After a journal that could not be gone on with: its segments count by what lies on the disk, at the times it told.

        As long as the present journal lacks one, whoever comes goes on with it. True where there was such a journal.
        """
        aside = usable(self._journal.told_aside())
        told = {line.file: line for line in aside if isinstance(line, SegmentOpenLine | SegmentLine)}
        listed = {line.file for line in lines if isinstance(line, SegmentLine | EmptyLine | SegmentOpenLine)}
        for name in sorted(told.keys() - listed):
            self._list_torn(self.folder / name, told[name].first_ns, told[name].codec)
        return bool(told)

    def _replay(self, lines: Iterable[Line]) -> None:
        for line in lines:
            match line:
                case SegmentLine():
                    self._count(line)
                case LostLine():
                    self.gap_open = True
                    self.gaps += 1
                case BackLine():
                    self.gap_open = False
                case EndLine():
                    self.ended = True

    def _count(self, facts: SegmentLine | SegmentFacts) -> None:
        self.segments += 1
        self.packets += facts.packets
        self.bytes += facts.bytes
        self.end_ns = max(self.end_ns or 0, facts.end_ns)
        self.last_ns = max(self.last_ns or 0, facts.last_ns or facts.first_ns)

    def _continue(self, lines: Sequence[Line]) -> None:
        listed = {line.file for line in lines if isinstance(line, SegmentLine | EmptyLine)}
        for line in lines:
            if isinstance(line, SegmentOpenLine) and line.file not in listed:
                self._list_torn(self.folder / line.file, line.first_ns, line.codec)
        if not self.gap_open:
            self._lost(process_ended(lines, self.identity.boot_id))

    def _list_torn(self, path: Path, first_ns: int, codec: str) -> None:
        kind, fields = self._read_back(path, first_ns, codec)
        self._journal.keep(kind, **fields)

    def _read_back(self, path: Path, first_ns: int, codec: str) -> tuple[str, Json]:
        """The journal's line about a segment that was cut off. One that no disk gives back any more holds nothing."""
        settle(path)
        try:
            facts = recover(path, first_ns, codec)
        except (StorageFault, OSError):
            facts = None
        if facts is None:
            return "empty", {"file": path.name, "first_ns": first_ns, "present": os.access(path, os.F_OK)}
        self._count(facts)
        return "segment", facts.as_dict()

    def flush(self) -> None:
        """Journal lines that could not be written before. Raises StorageFault."""
        self._journal.flush()

    def hole_ns(self) -> int:
        """The longest silence between packets that is no gap."""
        return max(HOLE_INTERVALS * self._interval_ns, GAP_FLOOR_NS)

    def write(self, packet: Packet, room_ns: int, format_: Format, ppm: float) -> None:
        """Stores one packet of the time. Raises StorageFault; call ``give_up`` then."""
        self.flush()
        segment = self._open
        if segment is not None and segment.format is not format_:
            self._close(segment.last_ns + self._interval_ns, ppm)
            segment = None
        if segment is not None:
            since_last = room_ns - segment.last_ns
            if since_last > self.hole_ns():
                self._close(segment.last_ns + self._interval_ns, ppm)
                self._lost(
                    Fault(
                        "connected-device-delivered-nothing",
                        "check-device-load-and-cable",
                        seconds=round(since_last / SECOND_NS, 2),
                    )
                )
                segment = None
            elif packet.key and room_ns - segment.first_ns >= self.segment_ns:
                self._close(room_ns, ppm)
                segment = None
            elif since_last > 0 and format_.media == "video":
                self._interval_ns = round(0.9 * self._interval_ns + 0.1 * since_last)
        if segment is None:
            segment = self._begin_segment(packet, room_ns, format_)
        segment.writer.write(packet)
        segment.last_ns = max(segment.last_ns, room_ns)
        segment.last_pts = packet.pts
        if format_.media == "audio":
            self._interval_ns = _block_ns(packet, format_)

    def _begin_segment(self, packet: Packet, room_ns: int, format_: Format) -> _Open:
        name = f"{self._next:06d}.mkv"
        if format_.media == "video" and format_.fps > 0:
            self._interval_ns = round(SECOND_NS / format_.fps)
        self._journal.announce("open", file=name, first_ns=room_ns, codec=format_.codec)
        self._next += 1
        writer = open_writer(self.folder / name, format_)
        self._open = _Open(writer, format_, room_ns, room_ns, packet.pts, packet.pts)
        if self.gap_open:
            self.gap_open = False
            changed = {} if self.device == self._told_device else {"device": self.device}
            self._told_device = self.device
            self._journal.keep("back", at_ns=room_ns, cause="", **changed)
        return self._open

    def _close(self, end_ns: int, ppm: float) -> None:
        segment = self._open
        if segment is None:
            return
        segment.writer.finish()
        digest = segment.writer.sink.close()
        self._open = None
        last = segment.last_pts
        facts = SegmentFacts(
            file=segment.writer.sink.path.name,
            bytes=segment.writer.sink.bytes,
            sha256=digest,
            packets=segment.writer.packets,
            keyframes=segment.writer.keyframes,
            first_ns=segment.first_ns,
            last_ns=segment.last_ns,
            end_ns=end_ns,
            first_pts=segment.first_pts,
            last_pts=last,
            time_base=str(segment.format.time_base),
            ppm=round(ppm, 3),
            codec=segment.format.codec,
            samples=_samples(segment, self._interval_ns),
        )
        self._count(facts)
        self._stored_sound(segment, facts.samples)
        self._journal.keep("segment", **facts.as_dict())

    def _stored_sound(self, segment: _Open, samples: int) -> None:
        if segment.format.media == "audio":
            self.next_sample = segment.format, segment.first_pts + samples

    def _lost(self, fault: Fault) -> None:
        self.gap_open = True
        self.gaps += 1
        self._journal.keep("lost", from_ns=self.end_ns or self._start_ns, **cause_fields(Sentence(fault.code, fault.values)))

    def lost(self, fault: Fault, ppm: float) -> None:
        """The source stopped: the segment is closed where its last packet ends. Raises StorageFault."""
        if self._open is not None:
            self._close(self._open.last_ns + self._interval_ns, ppm)
        if not self.gap_open and not self.ended:
            self._lost(fault)

    def jumped(self, at_ns: int, by_ns: int) -> None:
        """The device's clock jumped, which moves nothing in the recording: noted. Raises StorageFault: the line waits then."""
        self._journal.keep("jump", at_ns=at_ns, seconds=round(by_ns / SECOND_NS, 3))

    def sync(self) -> bool:
        """Data to stable storage, and any journal line that could not be written before. Raises StorageFault."""
        self.flush()
        return self._open is not None and self._open.writer.sink.sync()

    def give_up(self, fault: Fault) -> None:
        """After a failed write: what is really on the disk is read back and listed as recovered; nothing is believed."""
        segment, self._open = self._open, None
        if segment is not None:
            self._abandon(segment, fault)
        if not self.gap_open and not self.ended:
            self.gap_open = True
            self.gaps += 1
            self._journal.later("lost", from_ns=self.end_ns or self._start_ns, **cause_fields(Sentence(fault.code, fault.values)))

    def _abandon(self, segment: _Open, fault: Fault) -> None:
        sink = segment.writer.sink
        sink.error = sink.error or OSError(5, str(fault))
        with suppress(StorageFault, OSError, av.error.FFmpegError):  # what is wrong is known; an encoder may have ended before
            segment.writer.finish()
        with suppress(StorageFault):
            sink.close()
        kind, fields = self._read_back(sink.path, segment.first_ns, segment.format.codec)
        self._journal.later(kind, **fields)
        self._stored_sound(segment, int(str(fields.get("samples", 0))))

    def end(self, stop_ns: int, ppm: float) -> None:
        """The official end is reached: last segment closed, ``end`` journalled. Raises StorageFault."""
        if self.ended:
            return
        if self._open is not None:
            self._close(
                max(stop_ns, self._open.last_ns) if self._reaches(stop_ns) else self._open.last_ns + self._interval_ns, ppm
            )
        self._journal.announce(
            "end", stop_ns=stop_ns, segments=self.segments, packets=self.packets, boot_id=self.identity.boot_id
        )
        self.ended = True

    def _reaches(self, stop_ns: int) -> bool:
        return self._open is not None and stop_ns - self._open.last_ns <= self.hole_ns()

    @property
    def bytes_now(self) -> int:
        """Bytes of this session on their way to the disk or there."""
        return self.bytes + (self._open.writer.sink.bytes if self._open else 0)

    @property
    def packets_now(self) -> int:
        """Packets of this session, the open segment's included."""
        return self.packets + (self._open.writer.packets if self._open else 0)

    def close(self) -> None:
        """Closes the journal's file."""
        self._journal.close()


def _block_ns(packet: Packet, format_: Format) -> int:
    return len(packet.data) // (2 * format_.channels) * SECOND_NS // format_.rate_hz


def _samples(segment: _Open, block_ns: int) -> int:
    if segment.format.media != "audio":
        return 0
    return segment.last_pts - segment.first_pts + round(block_ns * segment.format.rate_hz / SECOND_NS)
