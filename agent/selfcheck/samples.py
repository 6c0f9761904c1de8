"""Some seconds of a track's live stream, as values to judge: exactly what would be recorded at this moment."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import av
import numpy as np
from numpy.typing import NDArray

from recorder.clock.instants import SECOND_NS
from recorder.media.decoding import video_decoder
from recorder.media.live import LiveKind, LiveMessage, LiveReader
from recorder.media.packets import Format

SILENCE_S = 1.6  # a track gives its device up after 1.5 s of silence
KEPT = 8  # decoded pictures, spread over the time: a 4K plane has 8 MB
PLANAR = ("yuv420p", "yuvj420p", "nv12", "yuv422p", "yuvj422p")

Luma = NDArray[np.uint8]
Samples = NDArray[np.int16]
One = TypeVar("One")


class NothingArrivesError(Exception):
    """The track gives nothing away: its process is dead, or its device is lost."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The stream of a camera over some seconds. Times are the camera's own timestamps as ns, in decoding order.

    keys: times of the key frames. bits_per_s: over the span. stalled: packets stopped coming while it was watched.
    """

    format: Format
    times_ns: tuple[int, ...]
    keys_ns: tuple[int, ...]
    bits_per_s: float
    stalled: bool

    @property
    def fps(self) -> float:
        """Pictures a second; 0 below two pictures."""
        span = (max(self.times_ns) - min(self.times_ns)) / SECOND_NS
        return (len(self.times_ns) - 1) / span if span > 0 else 0.0

    @property
    def key_distance_s(self) -> float | None:
        """The longest distance of key frames; None where only one was seen."""
        return max((b - a for a, b in zip(self.keys_ns, self.keys_ns[1:], strict=False)), default=0) / SECOND_NS or None

    @property
    def since_key_s(self) -> float:
        """From the last key frame seen to the newest picture."""
        return (max(self.times_ns) - self.keys_ns[-1]) / SECOND_NS if self.keys_ns else 0.0


@dataclass(frozen=True, slots=True)
class PictureSample:
    """What was seen and decoded, all of it, and at most KEPT of the pictures: key pictures where there are two or more, else any.

    lumas: planes of full size; black is 0 and white 255 where full_range, else 16 and 235. damaged: pictures of which the decoder
    says that something is wrong, or that it had to make something up. interlaced: of two fields.
    """

    seen: Seen
    lumas: tuple[Luma, ...]
    full_range: bool = False
    damaged: int = 0
    interlaced: bool = False

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the decoded pictures; (0, 0) where none could be decoded."""
        return (self.lumas[0].shape[1], self.lumas[0].shape[0]) if self.lumas else (0, 0)


@dataclass(frozen=True, slots=True)
class SoundSample:
    """Some seconds of sound: samples of shape (frames, channels). span_s: from the first sample's count to the last one's."""

    format: Format
    samples: Samples
    span_s: float
    stalled: bool


def _messages(path: Path, track: str, window_s: float) -> Iterator[LiveMessage | None]:
    """Messages until window_s have passed, each as it comes; None at the end where the live stream stopped earlier.

    Raises NothingArrivesError where there is no live stream.
    """
    try:
        reader = LiveReader(path, track, timeout_s=SILENCE_S)
    except OSError as error:
        raise NothingArrivesError from error
    with reader:
        deadline = time.monotonic() + window_s
        while time.monotonic() < deadline:
            try:
                message = reader.read()
            except TimeoutError:
                message = None
            yield message
            if message is None:
                return


def _collect(path: Path, track: str, window_s: float) -> tuple[Format, list[LiveMessage], bool]:
    """What came in the newest format, from the first key packet on (every block of sound is one), and whether it stopped coming.

    Raises NothingArrivesError.
    """
    format_: Format | None = None
    data: list[LiveMessage] = []
    stalled = False
    for message in _messages(path, track, window_s):
        if message is None or message.kind is LiveKind.LOST:
            stalled = True
            break
        if message.kind is LiveKind.FORMAT:
            format_, data = message.format, []
        elif data or message.key:
            data.append(message)
    if format_ is None or not data:
        raise NothingArrivesError
    return format_, data, stalled


def take_pictures(path: Path, track: str, *, window_s: float) -> PictureSample:
    """Watches a camera's live stream, then decodes. Raises NothingArrivesError."""
    format_, data, stalled = _collect(path, track, window_s)
    tick_ns = format_.time_base * SECOND_NS
    times = tuple(round(m.pts * tick_ns) for m in data)
    keys = tuple(round(m.pts * tick_ns) for m in data if m.key)
    span_s = (max(times) - min(times)) / SECOND_NS
    bits = 8 * sum(len(m.payload) for m in data[:-1])
    seen = Seen(format_, times, keys, bits / span_s if span_s > 0 else 0.0, stalled)
    decoded = decode(format_, data)
    return PictureSample(seen, decoded.lumas, decoded.full_range, decoded.damaged, decoded.interlaced)


@dataclass(slots=True)
class Decoded:
    """What a decoder makes of the messages; the fields are those of PictureSample."""

    lumas: tuple[Luma, ...] = ()
    full_range: bool = False
    damaged: int = 0
    interlaced: bool = False


def decode(format_: Format, data: Sequence[LiveMessage]) -> Decoded:
    """Every message decoded, and luma planes spread over them. Of damaged pictures none is kept."""
    keys = [n for n, m in enumerate(data) if m.key]
    kept = set(spread(keys) if len(keys) > 1 else spread(range(len(data))))
    codec = video_decoder(format_)
    found = Decoded()
    lumas: dict[int, Luma] = {}
    for number, message in enumerate((*data, None)):
        packet = None
        if message is not None:
            packet = av.Packet(message.payload)
            packet.pts = number
        try:
            frames = codec.decode(packet)
        except av.error.InvalidDataError:
            found.damaged += 1
            continue
        for frame in frames:
            found.damaged += frame.is_corrupt
            found.interlaced = found.interlaced or frame.interlaced_frame
            found.full_range = found.full_range or frame.format.name.startswith("yuvj") or frame.color_range == 2
            if frame.pts in kept and not frame.is_corrupt:
                lumas[frame.pts] = _luma(frame)
    found.lumas = tuple(lumas[n] for n in sorted(lumas))
    return found


def spread(items: Sequence[One]) -> list[One]:
    """At most KEPT of the items, the first and the last included, evenly spread."""
    if len(items) <= KEPT:
        return list(items)
    return [items[round(n * (len(items) - 1) / (KEPT - 1))] for n in range(KEPT)]


def _luma(frame: av.VideoFrame) -> Luma:
    plane = (frame if frame.format.name in PLANAR else frame.reformat(format="gray")).planes[0]
    rows: Luma = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
    return rows[: frame.height, : frame.width].copy()


def take_sound(path: Path, track: str, *, window_s: float) -> SoundSample:
    """Listens to the microphone's live stream. Raises NothingArrivesError."""
    format_, data, stalled = _collect(path, track, window_s)
    samples = np.frombuffer(b"".join(m.payload for m in data), "<i2").astype(np.int16).reshape(-1, format_.channels)
    span = data[-1].pts - data[0].pts + len(data[-1].payload) // (2 * format_.channels)
    return SoundSample(format_, samples, span / format_.rate_hz, stalled)
