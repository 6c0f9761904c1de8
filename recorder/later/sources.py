"""The originals of a span, read from the sealed segments as the composer once got them from its live streams."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from recorder.clock.instants import SECOND_NS
from recorder.composite.inputs import VideoInput, VideoInputSettings
from recorder.composite.picture import Rect
from recorder.disk.digest import stored_sha256
from recorder.evidence.sealed_segments import VERIFY, SealedSegment
from recorder.faults import EvidenceFault
from recorder.media.live import LiveKind, LiveMessage, format_message
from recorder.media.mixdown import Mixdown
from recorder.media.packets import FOREIGN_TEXT, Format
from recorder.media.resampling import Samples, SoundLine

AHEAD_NS = SECOND_NS // 2  # reordered pictures and the taps of the resampler need what comes after an instant
BEFORE_NS = SECOND_NS
SOUND_KEEP_S = 4.0
JUMP_S = 0.005  # timestamps of Matroska are rounded to the millisecond; a larger step is a hole


def needed(
    segments: Sequence[SealedSegment], from_ns: int, to_ns: int, *, keyed: Callable[[SealedSegment], bool] = lambda _: True
) -> tuple[SealedSegment, ...]:
    """Pure: those that show in [from_ns, to_ns), and from the last one on whose last picture may still stand and be decoded.

    keyed: whether a segment begins with a key frame; without one it needs the segment before.
    """
    last = sum(s.first_ns <= from_ns for s in segments) - 1
    first = last
    while first > 0 and not keyed(segments[first]):
        first -= 1
    return tuple(
        s
        for n, s in enumerate(segments)
        if first <= n <= last or (s.first_ns < to_ns + AHEAD_NS and s.end_ns > from_ns - BEFORE_NS)
    )


def begins_keyed(folder: Path, segment: SealedSegment) -> bool:
    """Whether a segment begins with a key frame, as every sound does; False where it cannot be read."""
    try:
        with av.open(f"file:{folder / segment.path}", metadata_errors=FOREIGN_TEXT) as container:
            return next(container.demux(container.streams[0])).is_keyframe
    except (av.error.FFmpegError, OSError, LookupError, StopIteration):
        return False


@contextmanager
def _opened(folder: Path, segment: SealedSegment) -> Iterator[Any]:
    """The segment's container, its digest compared first. Raises EvidenceFault, StorageFault."""
    path = folder / segment.path
    if not path.is_file() or stored_sha256(path) != segment.sha256:
        raise EvidenceFault("file-differs-from-its-journal", VERIFY, path=path)
    try:
        with av.open(f"file:{path}", metadata_errors=FOREIGN_TEXT) as container:
            yield container
    except av.error.FFmpegError as error:
        if not segment.recovered:  # a recovered file may be torn behind its last whole packet
            raise EvidenceFault("recording-file-unreadable", VERIFY, path=path, why=error) from error


def video_messages(folder: Path, segments: Iterable[SealedSegment]) -> Iterator[LiveMessage]:
    """A camera's packets with their room times, as its track's live stream gives them.

    Where the format changes, a FORMAT comes before, timed like the packet after it. Raises EvidenceFault, StorageFault.
    """
    known: LiveMessage | None = None
    for segment in segments:
        with _opened(folder, segment) as container:
            stream = container.streams.video[0]
            size = stream.codec_context
            format_ = Format(
                "video",
                segment.codec,
                stream.time_base,
                bytes(size.extradata or b""),
                size.width,
                size.height,
            )
            message = format_message(format_)
            if known is None or known.payload != message.payload:
                known = message
                yield replace(message, time_ns=segment.first_ns)
            first: int | None = None
            for packet in container.demux(stream):
                if packet.size and packet.pts is not None:
                    first = packet.pts if first is None else first
                    time_ns = segment.room_ns((packet.pts - first) * stream.time_base)
                    yield LiveMessage(LiveKind.DATA, packet.is_keyframe, time_ns, packet.pts, 0, bytes(packet))


def from_last_key(messages: Iterator[LiveMessage], from_ns: int) -> Iterator[LiveMessage]:
    """The messages without the groups of pictures that were over before from_ns; the last such group stays."""
    format_: LiveMessage | None = None
    held: list[LiveMessage] = []
    for message in messages:
        if message.time_ns > from_ns:
            yield from held
            yield message
            yield from messages
            return
        if message.kind is LiveKind.FORMAT:
            format_, held = message, [message]
        elif message.key:
            held = [format_, message] if format_ else [message]
        else:
            held.append(message)
    yield from held


class CameraOfSegments:
    """A camera's stored pictures. ``input`` is what the composer shows them with; its thread is never started."""

    def __init__(self, folder: Path, name: str, segments: Sequence[SealedSegment], rect: Rect, from_ns: int) -> None:
        """segments: ``needed`` ones. from_ns: the first instant that will be shown."""
        self.input = VideoInput(VideoInputSettings(name, 0), rect)
        self._messages = from_last_key(video_messages(folder, segments), from_ns)
        self._next = next(self._messages, None)

    def advance(self, due_ns: int) -> None:
        """Hands over what the picture of this instant may need; instants rise. Raises EvidenceFault, StorageFault."""
        while self._next is not None:
            if self._next.time_ns > due_ns + AHEAD_NS:
                return
            self.input.take(self._next)
            self._next = next(self._messages, None)


@dataclass(frozen=True, slots=True)
class _Block:
    """Mono samples, −1…1. new: their count has nothing to do with that of the block before."""

    new: bool
    rate_hz: int
    count: int
    time_ns: int
    ppb: int
    samples: Samples


def _blocks(folder: Path, segments: Iterable[SealedSegment]) -> Iterator[_Block]:
    due: int | None = None  # the count that follows without a hole
    mixdown: Mixdown | None = None
    for segment in segments:
        with _opened(folder, segment) as container:
            stream = container.streams.audio[0]
            count = segment.first_pts
            for first_pts, frame in _frames(container, stream, skip_damaged=segment.recovered):
                rate = frame.sample_rate
                stamped = segment.first_pts + round((frame.pts - first_pts) * stream.time_base * rate)
                count = stamped if abs(stamped - count) > JUMP_S * rate else count
                if mixdown is None:
                    mixdown = Mixdown(frame.layout.nb_channels, rate)
                samples = mixdown.mono(_channels(frame))
                time_ns = segment.room_ns(Fraction(count - segment.first_pts, rate))
                yield _Block(count != due, rate, count, time_ns, round(segment.ppm * 1000), samples)
                due = count = count + samples.size


def _frames(container: Any, stream: Any, *, skip_damaged: bool) -> Iterator[tuple[int, Any]]:
    """Each decoded frame, with the pts of the file's first packet."""
    first_pts: int | None = None
    for packet in container.demux(stream):
        first_pts = packet.pts if first_pts is None else first_pts
        try:
            for frame in packet.decode():
                yield first_pts or 0, frame
        except av.error.FFmpegError:
            if not skip_damaged:
                raise


def _channels(frame: "av.AudioFrame") -> Samples:
    """A decoded frame, −1…1, shape (frames, channels)."""
    data = frame.to_ndarray().astype(np.float32)
    data = data.T if frame.format.is_planar else data.reshape(-1, frame.layout.nb_channels)
    full: float = 1.0 if "flt" in frame.format.name else float(1 << (8 * frame.format.bytes - 1))
    return data / np.float32(full)


class SoundOfSegments:
    """The microphone's stored samples on room time."""

    def __init__(self, folder: Path, segments: Sequence[SealedSegment], rate_hz: int) -> None:
        """segments: ``needed`` ones. rate_hz: of what is read."""
        self._line = SoundLine(rate_hz, keep_s=SOUND_KEEP_S)
        self._blocks = _blocks(folder, segments)
        self._next = next(self._blocks, None)

    def read(self, time_ns: int, count: int) -> tuple[Samples, int]:
        """See SoundLine.read; instants rise. Raises EvidenceFault, StorageFault."""
        while (block := self._next) is not None and block.time_ns <= time_ns + AHEAD_NS:
            if block.new:
                self._line.begin(block.rate_hz)
            self._line.add(block.count, block.time_ns, block.ppb, block.samples)
            self._next = next(self._blocks, None)
        return self._line.read(time_ns, count)
