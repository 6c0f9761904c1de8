"""Segments: files of some seconds, written forward only, hashed on the way, listed when on stable storage (invariant 3)."""

from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from recorder.clock.instants import SECOND_NS
from recorder.disk.digest import stored_sha256
from recorder.disk.durable import Json, storage_fault
from recorder.disk.sink import Sink
from recorder.faults import StorageFault
from recorder.media.packet_digest import PacketReader
from recorder.media.packets import FOREIGN_TEXT, Format
from recorder.track.video_writer import SegmentWriter, VideoWriter


@dataclass(frozen=True, slots=True)
class SegmentFacts:
    """What a journal says of a closed segment (recorder.session.lines.SegmentLine); times are room time, ns."""

    file: str
    bytes: int
    sha256: str
    packets: int
    keyframes: int
    first_ns: int
    last_ns: int
    end_ns: int
    first_pts: int
    last_pts: int
    time_base: str
    ppm: float
    codec: str
    samples: int = 0
    recovered: bool = False
    packets_sha256: str = ""
    run_sha256: str = ""
    run_since: str = ""

    def as_dict(self) -> Json:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def open_writer(path: Path, format_: Format) -> SegmentWriter:
    """The writer for a medium. Raises StorageFault."""
    sink = Sink(path)
    try:
        if format_.media == "video":
            return VideoWriter(sink, format_)
        from recorder.track.sound_writer import SoundWriter

        return SoundWriter(sink, format_)
    except av.error.FFmpegError as error:
        with suppress(StorageFault):
            sink.close()
        sink.check()
        raise storage_fault(path, OSError(str(error))) from error


def _samples(packet: Any) -> int:
    """The samples in a packet of sound, counted by decoding it, since timestamps are not exact; 0 where that fails."""
    try:
        return sum(frame.samples for frame in packet.decode())
    except av.error.FFmpegError:
        return 0


def stamps(path: Path, first_ns: int) -> list[int]:
    """Room time of each packet in a file, in the file's order, as far as it can be read. first_ns: of its first packet."""
    found: list[int] = []
    try:
        with av.open(str(path), "r", format="matroska", metadata_errors=FOREIGN_TEXT) as container:
            stream = container.streams[0]
            found.extend(int(p.pts * p.time_base * SECOND_NS) for p in container.demux(stream) if p.size and p.pts is not None)
    except (av.error.FFmpegError, IndexError):
        pass  # the torn tail
    return [first_ns + at - found[0] for at in found]


def recover(path: Path, first_ns: int, format_codec: str) -> SegmentFacts | None:
    """What a torn segment holds, up to its last whole packet; the file itself stays as it is. None where it holds no packet.

    first_ns: room time of its first packet, from the journal's ``open`` line; later times follow the file's own timestamps.
    Raises StorageFault where it has packets, and its digest cannot be read.
    """
    reader = PacketReader()
    keyframes = samples = 0
    first: int | None = None
    last: int | None = None
    end: int | None = None
    time_base = Fraction(1, 1000)
    rate = 0
    try:
        with av.open(str(path), "r", format="matroska", metadata_errors=FOREIGN_TEXT) as container:
            stream: Any = container.streams[0]
            time_base = stream.time_base or time_base
            rate = getattr(stream.codec_context, "sample_rate", 0) or 0
            for packet in container.demux(stream):
                if packet.pts is None or packet.size == 0:
                    continue
                samples += _samples(packet) if rate else 0
                reader.add(packet)
                keyframes += packet.is_keyframe
                first = packet.pts if first is None else min(first, packet.pts)
                previous, last = last, packet.pts if last is None else max(last, packet.pts)
                length = packet.duration or (last - previous if previous is not None else 0)
                end = last + length
    except av.error.FFmpegError:
        pass  # the torn tail; whatever was read before it counts
    if first is None or last is None or end is None:
        return None

    def room(ticks: int) -> int:
        return first_ns + int((ticks - first) * time_base * 1_000_000_000)

    return SegmentFacts(
        file=path.name,
        bytes=path.stat().st_size,
        sha256=stored_sha256(path),
        packets=reader.packets,
        keyframes=keyframes,
        first_ns=first_ns,
        last_ns=room(last),
        end_ns=room(end),
        first_pts=first,
        last_pts=last,
        time_base=str(time_base),
        ppm=0.0,
        codec=format_codec,
        samples=samples,
        recovered=True,
        packets_sha256=reader.read.sha256,
    )
