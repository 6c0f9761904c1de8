"""Segments: files of some seconds, written forward only, hashed on the way, listed when on stable storage (invariant 3)."""

import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import av

from recorder.durable import Json, fsync_folder, storage_fault
from recorder.faults import StorageFault
from recorder.media import Format, Packet

# The muxer keeps a cluster in memory until it is closed, after 100 ms or 32 KiB: a power cut costs it, and what is not synced.
REORDER_S = 1  # pictures in decoding order step back by less than this
MATROSKA = {"flush_packets": "1", "cluster_time_limit": "100", "live": "1"}


class Sink:
    """A file that only grows: counts and hashes what is written. A failed write is remembered, since muxers may swallow it."""

    def __init__(self, path: Path) -> None:
        """Creates the file; never reuses a name. Raises StorageFault."""
        self.path = path
        self.bytes = 0
        self.synced = 0
        self.error: OSError | None = None
        self._digest = hashlib.sha256()
        try:
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        except OSError as error:
            raise storage_fault(path, error) from error

    def write(self, data: bytes) -> int:
        """The muxer's call."""
        if self.error is not None:
            return len(data)
        view = memoryview(data)
        try:
            while view:
                count = os.write(self._fd, view)
                self._digest.update(view[:count])
                self.bytes += count
                view = view[count:]
        except OSError as error:
            self.error = error
        return len(data)

    def check(self) -> None:
        """Raises StorageFault where a write failed."""
        if self.error is not None:
            raise storage_fault(self.path, self.error) from self.error

    def sync(self) -> bool:
        """Data, and at first the file's name, to stable storage; True where there was something new. Raises StorageFault."""
        self.check()
        if self.synced == self.bytes:
            return False
        goal = self.bytes
        try:
            os.fdatasync(self._fd)
            if self.synced == 0:
                fsync_folder(self.path.parent)
        except OSError as error:
            self.error = error
            self.check()
        self.synced = goal
        return True

    def close(self) -> str:
        """fsync file, fsync folder; the SHA-256 in hexadecimal. Raises StorageFault; the file is closed in any case.

        After a fault it may be called again: the descriptor's number may be another file's by then.
        """
        try:
            self.check()
            os.fsync(self._fd)
            fsync_folder(self.path.parent)
        except OSError as error:
            self.error = error
            raise storage_fault(self.path, error) from error
        finally:
            fd, self._fd = self._fd, -1
            if fd >= 0:
                os.close(fd)
        return self._digest.hexdigest()


class Writer(Protocol):
    """Puts packets of one medium into one file."""

    sink: Sink
    packets: int
    keyframes: int

    def write(self, packet: Packet) -> None:
        """One packet. Raises StorageFault."""

    def finish(self) -> None:
        """Everything into the sink."""


class VideoWriter:
    """The camera's packets, unchanged, in Matroska (invariant 1). Timestamps are the camera's, to the millisecond."""

    def __init__(self, sink: Sink, format_: Format) -> None:
        self.sink = sink
        self.packets = 0
        self.keyframes = 0
        self._time_base = format_.time_base
        self._container = av.open(self.sink, "w", format="matroska", options=MATROSKA)
        self._stream = self._container.add_stream_from_template(format_.template)
        self._reorder = round(REORDER_S / self._time_base)
        self._dts: int | None = None

    def write(self, packet: Packet) -> None:
        """One packet. Matroska keeps no decoding times: for the muxer they have to rise and to lie before the picture's."""
        self._dts = packet.pts - self._reorder if self._dts is None else max(packet.pts - self._reorder, self._dts + 1)
        out = av.Packet(packet.data)
        out.pts, out.dts, out.time_base = packet.pts, self._dts, self._time_base
        out.is_keyframe = packet.key
        out.stream = self._stream
        self._container.mux(out)
        self.sink.check()
        self.packets += 1
        self.keyframes += packet.key

    def finish(self) -> None:
        self._container.close()


@dataclass(frozen=True, slots=True)
class SegmentFacts:
    """What a journal says of a closed segment; times are room time, ns."""

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

    def as_dict(self) -> Json:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def open_writer(path: Path, format_: Format) -> Writer:
    """The writer for a medium. Raises StorageFault."""
    sink = Sink(path)
    try:
        if format_.media == "video":
            return VideoWriter(sink, format_)
        from recorder.sound_writer import SoundWriter  # numpy, which only the microphone's process needs

        return SoundWriter(sink, format_)
    except av.error.FFmpegError as error:
        with suppress(StorageFault):
            sink.close()
        sink.check()
        raise storage_fault(path, OSError(str(error))) from error


def file_sha256(path: Path) -> str:
    """SHA-256 of a file as it lies there. Raises StorageFault."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise storage_fault(path, error) from error


def _samples(packet: Any) -> int:
    """Of a packet of sound, to the sample, which timestamps are not; 0 where no decoder takes it."""
    try:
        return sum(frame.samples for frame in packet.decode())
    except av.error.FFmpegError:
        return 0


def recover(path: Path, first_ns: int, format_codec: str) -> SegmentFacts | None:
    """What a torn segment holds, up to its last whole packet; the file itself stays as it is. None where it holds no packet.

    first_ns: room time of its first packet, from the journal's ``open`` line; later times follow the file's own timestamps.
    Raises StorageFault where it has packets, and its digest cannot be read.
    """
    packets = keyframes = samples = 0
    first: int | None = None
    last: int | None = None
    end: int | None = None
    time_base = Fraction(1, 1000)
    rate = 0
    try:
        with av.open(str(path), "r", format="matroska") as container:
            stream: Any = container.streams[0]
            time_base = stream.time_base or time_base
            rate = getattr(stream.codec_context, "sample_rate", 0) or 0
            for packet in container.demux(stream):
                if packet.pts is None or packet.size == 0:
                    continue
                samples += _samples(packet) if rate else 0
                packets += 1
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
        sha256=file_sha256(path),
        packets=packets,
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
    )
