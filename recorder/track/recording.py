"""One track's recording of one session: its folder, its journal, its segments. Nothing here knows devices or clocks."""

import os
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av

from recorder.clock.instants import GAP_FLOOR_NS, PICTURE_NS, SECOND_NS
from recorder.disk.durable import Json, make_folder, settle
from recorder.disk.journal import PatientJournal
from recorder.faults import StorageFault
from recorder.media.cadence import DEEPEST, Cadence, Silence, Stamp
from recorder.media.packet_digest import RunDigest
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
    SilenceLine,
    cause_fields,
    usable,
)
from recorder.track.last_picture import Cut, LastPicture, last_picture
from recorder.track.segments import SegmentFacts, open_writer, recover, stamps
from recorder.track.video_writer import SegmentWriter
from wording import Fault
from wording.sentence import Sentence

HOLE_BLOCKS = 5  # of sound: a silence longer than so many blocks, and than GAP_FLOOR_NS, ends a segment and is a gap
SILENCES = 1000  # told ones that are remembered, so that none is told twice
VIDEO = ("h264", "hevc")


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
        self._cadence = Cadence()  # of pictures
        self._times_ns: deque[int] = deque(maxlen=DEEPEST + 1)  # of the newest pictures of a connection, as they came; room time
        self._sound = False  # what is stored is sound
        self._block_ns = PICTURE_NS  # of sound, its last block
        self._on_disk: list[SegmentLine | SegmentFacts] = []  # the last segment that the journal lists, and recovered ones
        self._silences: deque[Silence] = deque(maxlen=SILENCES)  # that the journal tells, the newest ones
        self._start_ns = start_ns
        self._run = RunDigest()
        self._run_of: tuple[object, ...] = ()  # the format of its segments
        self._run_end_ns = 0
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
            self._tell_silences_on_disk()
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
                    self._on_disk = [line]
                case SilenceLine():
                    self.gaps += 1
                    self._silences.append(Silence(line.from_ns, line.to_ns, 0))
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

    def _tell_silences_on_disk(self) -> None:
        """What a process that died did not come to judge, read from the files themselves."""
        cadence = Cadence()
        before_ns: int | None = None
        for facts in self._on_disk:
            if facts.codec not in VIDEO:
                return
            if facts.first_ns != before_ns:
                self._silent(cadence.interrupted())
            for ns in stamps(self.folder / facts.file, facts.first_ns):
                self._silent(cadence.add(Stamp(ns, ns)))
            before_ns = facts.end_ns
        self._silent(cadence.interrupted())

    def _silent(self, silences: Iterable[Silence]) -> None:
        """Tells those that are not told yet. The line waits where the disk does not take it."""
        for each in silences:
            if any(told.last_ns < each.next_ns and each.last_ns < told.next_ns for told in self._silences):
                continue
            self.gaps += 1
            self._silences.append(each)
            cause = cause_fields(_said(_nothing_for(each.next_ns - each.last_ns)))
            self._journal.later("silence", from_ns=each.from_ns, to_ns=each.next_ns, **cause)

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
        self._on_disk.append(facts)
        return "segment", facts.as_dict()

    def flush(self) -> None:
        """Journal lines that could not be written before. Raises StorageFault."""
        self._journal.flush()

    @property
    def interval_ns(self) -> int:
        """How long a packet lasts: a picture as long as the regular ones stand, a block of sound by its samples."""
        return self._block_ns if self._sound else self._cadence.usual_ns

    @property
    def _hole_ns(self) -> int:
        """The longest silence behind a packet that is no gap."""
        return max(HOLE_BLOCKS * self._block_ns, GAP_FLOOR_NS) if self._sound else self._cadence.limit_ns

    def write(self, packet: Packet, room_ns: int, format_: Format, ppm: float) -> None:
        """Stores one packet of the time. Raises StorageFault; call ``give_up`` then."""
        self.flush()
        segment = self._open
        self._sound = format_.media == "audio"
        if segment is not None and segment.format is not format_:
            self._close(segment.last_ns + self.interval_ns, ppm)
            segment = None
        if segment is not None and self._sound and room_ns - segment.last_ns > self._hole_ns:
            self._close(segment.last_ns + self.interval_ns, ppm)
            self._lost(_nothing_for(room_ns - segment.last_ns))
            segment = None
        if segment is not None and packet.key and room_ns - segment.first_ns >= self.segment_ns:
            self._close(room_ns, ppm)
            segment = None
        if segment is None:
            segment = self._begin_segment(packet, room_ns, format_)
        segment.writer.write(packet)
        segment.last_ns = max(segment.last_ns, room_ns)
        segment.last_pts = packet.pts
        if self._sound:
            self._block_ns = _block_ns(packet, format_)
        else:
            self._times_ns.append(room_ns)
            self._silent(self._cadence.add(Stamp(format_.ns(packet.pts), room_ns)))

    def _begin_segment(self, packet: Packet, room_ns: int, format_: Format) -> _Open:
        name = f"{self._next:06d}.mkv"
        self._journal.announce("open", file=name, first_ns=room_ns, codec=format_.codec)
        self._next += 1
        writer = open_writer(self.folder / name, format_)
        self._open = _Open(writer, format_, room_ns, room_ns, packet.pts, packet.pts)
        if self.gap_open:
            self.gap_open = False
            changed = {} if self.device == self._told_device else {"device": self.device}
            self._told_device = self.device
            self._journal.keep("back", at_ns=max(room_ns, self.end_ns or room_ns), cause="", **changed)
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
            samples=_samples(segment, self.interval_ns),
            **self._packet_digests(segment, end_ns),
        )
        self._count(facts)
        self._stored_sound(segment, facts.samples)
        self._journal.keep("segment", **facts.as_dict())

    def _packet_digests(self, segment: _Open, end_ns: int) -> dict[str, Any]:
        """The fields of a segment's line about its packets, read from the file; none where the disk does not give them back.

        A run ends where a disc's film ends: at a gap, and at another format.
        """
        format_ = segment.format
        kind = (format_.codec, format_.width, format_.height, format_.rate_hz, format_.channels)
        if kind != self._run_of or abs(segment.first_ns - self._run_end_ns) > GAP_FLOOR_NS:
            self._run, self._run_of = RunDigest(), kind
        self._run_end_ns = end_ns
        try:
            own, run = self._run.add(segment.writer.sink.path)
        except (OSError, av.error.FFmpegError):
            self._run_of = ()
            return {}
        return {"packets_sha256": own.sha256, "run_sha256": run, "run_since": self._run.since}

    def _stored_sound(self, segment: _Open, samples: int) -> None:
        if segment.format.media == "audio":
            self.next_sample = segment.format, segment.first_pts + samples

    def _lost(self, fault: Fault) -> None:
        self.gap_open = True
        self.gaps += 1
        self._journal.keep("lost", from_ns=self.end_ns or self._start_ns, **cause_fields(_said(fault)))

    def lost(self, fault: Fault, ppm: float) -> LastPicture | None:
        """The source stopped: the segment is closed where its last packet ends. Raises StorageFault.

        Gives the last picture, which may be cut off; None for sound, and where nothing was being stored.
        """
        self._silent(self._cadence.interrupted())
        last = None
        if self._open is not None:
            end_ns = self._open.last_ns + self.interval_ns
            span = last_picture(self._times_ns, self.interval_ns, end_ns)
            last = LastPicture(self._open.writer.sink.path.name, span) if span else None
            self._close(end_ns, ppm)
        self._times_ns.clear()
        if not self.gap_open and not self.ended:
            self._lost(fault)
        return last

    def cut(self, cuts: Iterable[Cut]) -> None:
        """The last pictures before losses do not count. Raises StorageFault: the lines wait then."""
        for cut in cuts:
            file, span = cut.picture.file, cut.picture.span
            self._journal.later("cut", file=file, from_ns=span.from_ns, to_ns=span.to_ns, **cause_fields(cut.why))
        self.flush()

    def jumped(self, at_ns: int, by_ns: int) -> None:
        """The device's clock jumped, which moves nothing in the recording: noted. Raises StorageFault: the line waits then."""
        self._journal.keep("jump", at_ns=at_ns, seconds=round(by_ns / SECOND_NS, 3))

    def changed(self, at_ns: int, device: dict[str, Any], changes: Sequence[dict[str, str]]) -> None:
        """The device says something else of itself than before: noted. Raises StorageFault: the line waits then."""
        self.device = device
        if not self.gap_open:  # else the line ``back`` tells it as well
            self._told_device = device
        self._journal.keep("device", at_ns=at_ns, changes=list(changes), device=device)

    def sync(self) -> bool:
        """Data to stable storage, and any journal line that could not be written before. Raises StorageFault."""
        self.flush()
        return self._open is not None and self._open.writer.sink.sync()

    def give_up(self, fault: Fault) -> None:
        """After a failed write: what is really on the disk is read back and listed as recovered; nothing is believed."""
        segment, self._open = self._open, None
        self._run_of = ()
        self._silent(self._cadence.interrupted())
        if segment is not None:
            self._abandon(segment, fault)
        if not self.gap_open and not self.ended:
            self.gap_open = True
            self.gaps += 1
            self._journal.later("lost", from_ns=self.end_ns or self._start_ns, **cause_fields(_said(fault)))

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
        self._silent(self._cadence.interrupted())
        if self._open is not None:
            reached_ns = max(stop_ns, self._open.last_ns) if self._reaches(stop_ns) else self._open.last_ns + self.interval_ns
            self._close(reached_ns, ppm)
        self._journal.announce(
            "end", stop_ns=stop_ns, segments=self.segments, packets=self.packets, boot_id=self.identity.boot_id
        )
        self.ended = True

    def _reaches(self, stop_ns: int) -> bool:
        return self._open is not None and stop_ns - self._open.last_ns <= self._hole_ns

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


def _said(fault: Fault) -> Sentence:
    return Sentence(fault.code, fault.values)


def _nothing_for(ns: int) -> Fault:
    return Fault("connected-device-delivered-nothing", "check-device-load-and-cable", seconds=round(ns / SECOND_NS, 2))


def _block_ns(packet: Packet, format_: Format) -> int:
    return len(packet.data) // (2 * format_.channels) * SECOND_NS // format_.rate_hz


def _samples(segment: _Open, block_ns: int) -> int:
    if segment.format.media != "audio":
        return 0
    return segment.last_pts - segment.first_pts + round(block_ns * segment.format.rate_hz / SECOND_NS)
