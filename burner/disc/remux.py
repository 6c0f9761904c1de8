"""From the recorder's files to plain MP4 without touching a packet or moving a picture, and the proof of it.

An MP4 is a pure function of its segments: each picture is shown when its segment says, and the decoding times are made here. The
n-th packet is decoded when the n-th picture is shown, less a delay that is the same for the whole file, so that no packet is
decoded after it is to be shown (ISO/IEC 14496-12, 8.6.1: composition offset; an edit list takes the delay out again).

Two digests, both SHA-256 over something of each packet in the file's order: its length (8 bytes, big-endian) and its bytes; and
its time (8 bytes, big-endian, two's complement) in microseconds since the file's time 0, rounded to the nearest.
"""

import hashlib
import heapq
import signal
import subprocess
from collections import deque
from collections.abc import Callable, Iterator, Sequence
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
from recorder.media.cadence import DEEPEST
from recorder.media.decoding import address
from recorder.media.packets import FOREIGN_TEXT
from recorder.media.parameter_sets import KINDS

VIDEO_TICKS = Fraction(1, 90_000)
MICROSECONDS = 1_000_000
LENGTH_BYTES = 4  # of a NAL unit, before it, in Matroska as in MP4
# ISO/IEC 14496-15, 5.4.2 and 8.4.1. Those of H.264 and H.265 with parameter sets in the stream are taken by fewer players.
TAGS = {("h264", False): "avc1", ("h264", True): "avc3", ("hevc", False): "hvc1", ("hevc", True): "hev1"}


@dataclass(frozen=True, slots=True)
class StreamDigest:
    """All packets of one stream. kind: "video" or "audio". times_sha256: "" where version 0.1.0 wrote it."""

    kind: str
    packets: int
    sha256: str
    times_sha256: str = ""


class _Counting:
    def __init__(self, kind: str) -> None:
        self.kind, self.packets, self._sha, self._times = kind, 0, hashlib.sha256(), hashlib.sha256()

    def add(self, packet: "av.Packet[Any]", pts: int, time_base: Fraction) -> None:
        self.packets += 1
        self._sha.update(packet.size.to_bytes(8, "big"))
        self._sha.update(packet)
        self._times.update(round(pts * time_base * MICROSECONDS).to_bytes(8, "big", signed=True))

    def result(self) -> StreamDigest:
        return StreamDigest(self.kind, self.packets, self._sha.hexdigest(), self._times.hexdigest())


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
                        counting[packet.stream.index].add(packet, packet.pts or 0, packet.time_base)
                    if number % 1024 == 0 and stopped():
                        raise Stopped
            except av.error.FFmpegError as error:
                raise _unreadable(path, error) from error
    return tuple(counting[index].result() for index in sorted(counting))


def _unreadable(path: Path, error: Exception) -> EvidenceFault:
    return EvidenceFault("recording-file-unreadable", "verify-session-first", path=path, why=error)


@dataclass(frozen=True, slots=True)
class SegmentFormat:
    """kind: codec and size, or codec, rate, channels and sample format. sets: the parameter sets that a file's header would have.

    own_sets: the segment's first picture brings them with it, so that a header with others does no harm.
    """

    kind: tuple[object, ...]
    sets: bytes = b""
    own_sets: bool = False


def segment_format(path: Path) -> SegmentFormat:
    """Raises EvidenceFault."""
    with _opened(path) as container:
        if not container.streams:
            raise _unreadable(path, ValueError("no stream"))
        codec = container.streams[0].codec_context
        if container.streams[0].type == "audio":  # FLAC's STREAMINFO also counts samples: no part of the format
            return SegmentFormat((codec.name, codec.sample_rate, codec.layout.name, codec.format.name))
        try:
            first = next((bytes(p) for p in container.demux(container.streams[0]) if p.size), b"")
        except av.error.FFmpegError as error:
            raise _unreadable(path, error) from error
        return SegmentFormat((codec.name, codec.width, codec.height), codec.extradata or b"", _brings_sets(first, codec.name))


def _brings_sets(unit: bytes, codec: str) -> bool:
    """Whether an access unit of NAL units behind their lengths (4 bytes) has every kind of parameter set. Pure."""
    kinds, at = set(), 0
    while at + LENGTH_BYTES < len(unit):
        head = unit[at + LENGTH_BYTES]
        kinds.add(head & 31 if codec == "h264" else head >> 1 & 63)
        at += LENGTH_BYTES + int.from_bytes(unit[at : at + LENGTH_BYTES], "big")
    return kinds.issuperset(KINDS.get(codec, ()))


def segments_to_mp4(
    folder: Path,
    sources: Sequence[SealedSegment],
    target: Path,
    *,
    stopped: Callable[[], bool],
    done: Callable[[int], object],
    mixed: bool = False,
) -> StreamDigest:
    """Writes the packets of a run of segments into one MP4, its index in front, and returns their digest.

    The MP4's time 0 is the first segment's first packet; every segment stands where its room time says. folder: the session's.
    done: called with the bytes of each finished segment. mixed: the parameter sets change on the way, and stand in the stream.
    Raises EvidenceFault where a segment is not what its journal says, BurnFault where the MP4 cannot be written, Stopped.
    """
    delay = _delay(folder, sources[:1])
    try:
        return _write(folder, sources, target, delay, mixed=mixed, stopped=stopped, done=done)
    except _TooShort:  # the camera began to reorder its pictures, or reordered more of them, later
        return _write(folder, sources, target, _delay(folder, sources), mixed=mixed, stopped=stopped, done=done)


def _write(
    folder: Path,
    sources: Sequence[SealedSegment],
    target: Path,
    delay: int,
    *,
    mixed: bool,
    stopped: Callable[[], bool],
    done: Callable[[int], object],
) -> StreamDigest:
    """Raises as segments_to_mp4, and _TooShort."""
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
                        line, counting = _Line(out, stream, sources[0].first_ns, delay, mixed=mixed), _Counting(stream.type)
                    times = line.times(segment, packets)
                    for packet, pts in zip(packets, times, strict=True):
                        counting.add(packet, pts, line.time_base)
                    line.mux(packets, times, segment.end_ns)
                done(segment.bytes)
                if stopped():
                    raise Stopped
            assert line is not None
            line.finish()
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
        return av.open(address(path), metadata_errors=FOREIGN_TEXT)
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


class _TooShort(Exception):
    """A packet would be decoded after it is to be shown."""


class _DecodingTimes:
    """The n-th packet's is the n-th smallest presentation time, less the delay, and later than the one before. Pure."""

    def __init__(self, delay: int) -> None:
        self._delay = delay
        self._shown: list[int] = []  # a heap of presentation times that are no packet's decoding time yet
        self._last: int | None = None

    def add(self, pts: int) -> int | None:
        """Takes the next packet's presentation time; gives the next decoding time, once no smaller one can come."""
        heapq.heappush(self._shown, pts)
        return self._next() if len(self._shown) > DEEPEST else None

    def rest(self) -> Iterator[int]:
        """Those of the last packets."""
        while self._shown:
            yield self._next()

    def _next(self) -> int:
        due = heapq.heappop(self._shown) - self._delay
        self._last = due if self._last is None else max(due, self._last + 1)
        return self._last


def decoding_delay(shown: Sequence[int]) -> int:
    """Pure: the smallest delay with which no packet is decoded after its presentation time. shown: those times in file order."""
    times = _DecodingTimes(0)
    decoded = [each for each in map(times.add, shown) if each is not None] + list(times.rest())
    return max((at - pts for at, pts in zip(decoded, shown, strict=True)), default=0)


def _delay(folder: Path, sources: Sequence[SealedSegment]) -> int:
    """The delay that these segments need, in ticks of the MP4. Raises EvidenceFault."""
    shown: list[int] = []
    for segment in sources:
        with _opened(folder / segment.path) as container:
            packets = _read(container, folder / segment.path, segment)
            shown += _ticks(segment, packets, sources[0].first_ns, _time_base(container.streams[0]))
    return max(0, decoding_delay(shown))


def _time_base(stream: Any) -> Fraction:
    """Of the MP4's track for a segment's stream, in seconds."""
    return VIDEO_TICKS if stream.type == "video" else Fraction(1, stream.codec_context.sample_rate)


def _ticks(segment: SealedSegment, packets: "Sequence[av.Packet[Any]]", zero_ns: int, time_base: Fraction) -> list[int]:
    """Pure: each packet's presentation time in the MP4: the segment's first_ns, and its own timestamps' distances from there on.

    The source's clock error is taken out.
    """
    rate = believed_rate(segment.ppm)
    base: Fraction = packets[0].time_base

    def ns(packet: "av.Packet[Any]") -> int:
        stamp = packet.pts if packet.pts is not None else packet.dts or 0
        return stamp * base.numerator * SECOND_NS // base.denominator

    first = ns(packets[0])
    return [_rounded(segment.first_ns + round((ns(p) - first) * rate) - zero_ns, time_base) for p in packets]


def _rounded(ns: int, time_base: Fraction) -> int:
    return (ns * time_base.denominator + SECOND_NS // 2) // SECOND_NS


class _Line:
    """Puts packets on the MP4's time line."""

    def __init__(self, out: Any, template: Any, zero_ns: int, delay: int, *, mixed: bool) -> None:
        self._out, self._zero_ns = out, zero_ns
        self._stream = out.add_stream_from_template(template)
        self._stream.time_base = self.time_base = _time_base(template)
        if template.type == "video":
            self._stream.codec_context.codec_tag = TAGS[template.codec_context.name, mixed]
        self._decoding = _DecodingTimes(delay)
        self._waiting: deque[Any] = deque()  # packets without a decoding time yet
        self._last = 0

    def times(self, segment: SealedSegment, packets: "Sequence[av.Packet[Any]]") -> list[int]:
        """Each packet's presentation time, in ticks."""
        return _ticks(segment, packets, self._zero_ns, self.time_base)

    def mux(self, packets: "Sequence[av.Packet[Any]]", times: Sequence[int], end_ns: int) -> None:
        """The segment's packets, shown at these times. Raises _TooShort."""
        for packet, pts in zip(packets, times, strict=True):
            packet.stream, packet.time_base = self._stream, self.time_base
            packet.pts, packet.duration = pts, 0
            self._waiting.append(packet)
            if (dts := self._decoding.add(pts)) is not None:
                self._out_with(dts)
        self._last = max(_rounded(end_ns - self._zero_ns, self.time_base), *times)

    def finish(self) -> None:
        """The packets that wait. Raises _TooShort."""
        for dts in self._decoding.rest():
            if len(self._waiting) == 1:
                self._waiting[0].duration = max(1, self._last - self._waiting[0].pts)
            self._out_with(dts)

    def _out_with(self, dts: int) -> None:
        packet = self._waiting.popleft()
        if dts > packet.pts:
            raise _TooShort
        packet.dts = dts
        self._out.mux(packet)


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
