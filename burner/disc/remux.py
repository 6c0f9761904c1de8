"""From the recorder's files to plain MP4 without touching a packet, and the proof of it.

A digest over packets: SHA-256 over, for each packet in the file's order, its length (8 bytes, big-endian) and its bytes.
"""

import hashlib
import signal
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import ffmpeg

from burner.faults import BurnFault, Stopped
from recorder.clock.fit import believed_rate
from recorder.clock.instants import SECOND_NS
from recorder.disk.digest import file_sha256
from recorder.evidence.sealed_segments import SealedSegment
from recorder.faults import EvidenceFault
from recorder.media.decoding import address

VIDEO_TICKS = Fraction(1, 90_000)


@dataclass(frozen=True, slots=True)
class StreamDigest:
    """All packets of one stream. kind: "video" or "audio"."""

    kind: str
    packets: int
    sha256: str


class _Counting:
    def __init__(self, kind: str) -> None:
        self.kind, self.packets, self._sha = kind, 0, hashlib.sha256()

    def add(self, packet: "av.Packet[Any]") -> None:
        self.packets += 1
        self._sha.update(packet.size.to_bytes(8, "big"))
        self._sha.update(packet)

    def result(self) -> StreamDigest:
        return StreamDigest(self.kind, self.packets, self._sha.hexdigest())


def digests(
    paths: Sequence[Path], *, stopped: Callable[[], bool] = lambda: False, within: Fraction | None = None
) -> tuple[StreamDigest, ...]:
    """The packets of files read one after another, a digest a stream. Raises EvidenceFault (unreadable), Stopped.

    within: those alone that begin before so many seconds of each file's own time.
    """
    counting: dict[int, _Counting] = {}
    for path in paths:
        with _opened(path) as container:
            for stream in container.streams:
                counting.setdefault(stream.index, _Counting(stream.type))
            try:
                for number, packet in enumerate(container.demux()):
                    if packet.size and (within is None or (packet.pts or 0) * packet.time_base < within):
                        counting[packet.stream.index].add(packet)
                    if number % 1024 == 0 and stopped():
                        raise Stopped
            except av.error.FFmpegError as error:
                raise _unreadable(path, error) from error
    return tuple(counting[index].result() for index in sorted(counting))


def _unreadable(path: Path, error: Exception) -> EvidenceFault:
    return EvidenceFault("recording-file-unreadable", "verify-session-first", path=path, why=error)


def format_key(path: Path) -> tuple[object, ...]:
    """What must be equal for two segments to share one MP4. Raises EvidenceFault."""
    with _opened(path) as container:
        if not container.streams:
            raise _unreadable(path, ValueError("no stream"))
        codec = container.streams[0].codec_context
        if container.streams[0].type == "audio":  # FLAC's STREAMINFO also counts samples: no part of the format
            return codec.name, codec.sample_rate, codec.layout.name, codec.format.name
        return codec.name, codec.width, codec.height, codec.extradata


def segments_to_mp4(
    folder: Path, sources: Sequence[SealedSegment], target: Path, *, stopped: Callable[[], bool], done: Callable[[int], object]
) -> StreamDigest:
    """Writes the packets of a run of segments into one MP4, its index in front, and returns their digest.

    The MP4's time 0 is the first segment's first packet; every segment stands where its room time says. folder: the session's.
    done: called with the bytes of each finished segment. Raises EvidenceFault where a segment is not what its journal says,
    BurnFault where the MP4 cannot be written, Stopped.
    """
    counting: _Counting | None = None
    # The index is written in front of the data: room for it is kept, generously counted.
    options = {"moov_size": str(64 * 1024 + 48 * sum(s.packets for s in sources))}
    try:
        with av.open(f"file:{target}", "w", format="mp4", options=options) as out:
            out.metadata["creation_time"] = datetime.fromtimestamp(sources[0].first_ns // SECOND_NS, UTC).isoformat()
            line: _Line | None = None
            for segment in sources:
                path = folder / segment.path
                if _file_sha256(path) != segment.sha256:
                    raise EvidenceFault("file-differs-from-its-journal", "verify-session-first", path=path)
                with _opened(path) as container:
                    packets = _read(container, path, segment)
                    stream = container.streams[0]
                    if line is None or counting is None:
                        line, counting = _Line(out, stream, sources[0].first_ns), _Counting(stream.type)
                    for packet in packets:
                        counting.add(packet)
                    line.mux(segment, packets)
                done(segment.bytes)
                if stopped():
                    raise Stopped
    except (av.error.FFmpegError, OSError) as error:
        raise _not_made(target, error) from error
    assert counting is not None
    return counting.result()


def _file_sha256(path: Path) -> str:
    try:
        return file_sha256(path)
    except OSError as error:
        raise _unreadable(path, error) from error


def _opened(path: Path) -> Any:
    try:
        return av.open(address(path))
    except (av.error.FFmpegError, OSError) as error:
        raise _unreadable(path, error) from error


def _read(container: Any, path: Path, segment: SealedSegment) -> "list[av.Packet[Any]]":
    """A segment's packets, some MB. Raises EvidenceFault where it does not hold as many as its journal says."""
    packets: list[av.Packet[Any]] = []
    try:
        packets.extend(p for p in container.demux(container.streams[0]) if p.size)
    except (av.error.FFmpegError, IndexError) as error:
        if not (segment.recovered and packets):  # a recovered file may be torn behind its last whole packet
            raise _unreadable(path, error) from error
    if len(packets) != segment.packets or not packets:
        raise EvidenceFault(
            "packet-count-differs-from-journal",
            "verify-session-first",
            path=path,
            found=len(packets),
            said=segment.packets,
        )
    return packets


class _Line:
    """Puts packets on the MP4's time line."""

    def __init__(self, out: Any, template: Any, zero_ns: int) -> None:
        self._out, self._zero_ns = out, zero_ns
        self._stream = out.add_stream_from_template(template)
        if template.type == "video":
            self._stream.time_base = VIDEO_TICKS
            if template.codec_context.name == "hevc":
                self._stream.codec_context.codec_tag = "hvc1"  # many players take no other
        else:
            self._stream.time_base = Fraction(1, template.codec_context.sample_rate)
        self._ticks_per_s = int(1 / self._stream.time_base)
        self._last_dts: int | None = None

    def mux(self, segment: SealedSegment, packets: "Sequence[av.Packet[Any]]") -> None:
        """The segment's packets: from its first_ns on, at its own timestamps' distances, the source's clock error taken out."""
        times = _room_times(segment, packets)
        for packet, (pts_ns, dts_ns) in zip(packets, times, strict=True):
            dts = self._ticks(dts_ns)
            if self._last_dts is not None:
                dts = max(dts, self._last_dts + 1)
            self._last_dts = dts
            packet.stream, packet.time_base = self._stream, self._stream.time_base
            packet.pts, packet.dts = max(self._ticks(pts_ns), dts), dts
            packet.duration = 0
        packets[-1].duration = max(1, self._ticks(segment.end_ns) - self._last_dts if self._last_dts is not None else 1)
        for packet in packets:
            self._out.mux(packet)

    def _ticks(self, room_ns: int) -> int:
        return ((room_ns - self._zero_ns) * self._ticks_per_s + SECOND_NS // 2) // SECOND_NS


def _room_times(segment: SealedSegment, packets: "Sequence[av.Packet[Any]]") -> list[tuple[int, int]]:
    """Room time of each packet's presentation and decoding."""
    rate = believed_rate(segment.ppm)

    base: Fraction = packets[0].time_base

    def ns(ticks: int | None, other: int | None) -> int:
        return (ticks if ticks is not None else other or 0) * base.numerator * SECOND_NS // base.denominator

    plain = [(ns(p.pts, p.dts), ns(p.dts, p.pts)) for p in packets]
    first = plain[0][0]
    return [
        (segment.first_ns + round((pts - first) * rate), segment.first_ns + round((dts - first) * rate)) for pts, dts in plain
    ]


def part_to_mp4_arguments(source: str, target: Path, within: Fraction | None = None) -> list[str]:
    """Pure: ffmpeg's arguments from a fragmented part to a plain MP4 with its index in front, every stream copied.

    source: recorder.media.decoding.address of the part. within: as digests has it. A part's first picture is at 0, and no
    picture is stored out of its order. copyts: without it the encoder delay of the sound would shift the pictures by 21 ms.
    """
    end = {} if within is None else {"t": f"{within.numerator * 1_000_000 // within.denominator}us"}
    output = ffmpeg.input(source).output(f"file:{target}", map="0", c="copy", copyts=None, movflags="+faststart", f="mp4", **end)
    program, *rest = ffmpeg.compile(output, overwrite_output=True)
    return [program, "-nostdin", "-hide_banner", "-loglevel", "error", *rest]


def part_to_mp4(
    source: Path, target: Path, *, stopped: Callable[[], bool], timeout_s: float, within: Fraction | None = None
) -> None:
    """Runs ffmpeg. within: as digests has it.

    Raises BurnFault where it fails or is killed, EvidenceFault (unreadable), Stopped.
    """
    try:
        arguments = part_to_mp4_arguments(address(source), target, within)
    except OSError as error:
        raise _unreadable(source, error) from error
    try:
        process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    except OSError as error:
        raise BurnFault("ffmpeg-cannot-start", "install-ffmpeg", why=error.strerror) from error
    waited_s = 0.0
    while True:
        try:
            _, messages = process.communicate(timeout=0.5)  # drains its messages as well
            break
        except subprocess.TimeoutExpired:
            waited_s += 0.5
            if stopped() or waited_s > timeout_s:
                process.kill()
                process.communicate()
                if stopped():
                    raise Stopped from None
                raise _not_made(target, f"ffmpeg took longer than {timeout_s:.0f} s") from None
    if process.returncode < 0:
        raise _not_made(target, f"ffmpeg was ended by {signal.Signals(-process.returncode).name}")
    if process.returncode:
        raise _not_made(target, messages.decode(errors="replace").strip() or f"ffmpeg exit code {process.returncode}")


def _not_made(target: Path, why: object) -> BurnFault:
    return BurnFault("delivery-file-not-made", "check-disk-space-then-burn", path=target, why=why)
