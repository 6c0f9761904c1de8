"""Packets and blocks as plain values, between a source and whoever stores or shows them."""

import queue
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal, TypeVar

from recorder.clock.instants import SECOND_NS

# For av.open: titles and names beside a stream may be in any encoding, such as GBK, and nothing depends on them.
FOREIGN_TEXT = "replace"


@dataclass(frozen=True, slots=True)
class Format:
    """What a connection delivers.

    media "video": codec "h264" or "hevc", extradata as the decoder wants it, time_base of pts in seconds.
    media "audio": signed 16-bit little-endian samples, interleaved; pts counts samples, time_base is 1/rate_hz.
    template: a demuxed stream for a muxer to copy parameters from; None for audio and on the far side of a feed.
    """

    media: Literal["video", "audio"]
    codec: str
    time_base: Fraction
    extradata: bytes = b""
    width: int = 0
    height: int = 0
    fps: float = 0.0
    rate_hz: int = 0
    channels: int = 0
    template: Any = None

    def ns(self, pts: int) -> int:
        """A timestamp in ns by the source's own count."""
        return pts * self.time_base.numerator * SECOND_NS // self.time_base.denominator


@dataclass(frozen=True, slots=True)
class Packet:
    """One access unit as the camera sent it, or one block of samples. arrival_ns: CLOCK_BOOTTIME when it was complete here.

    format: what it is encoded as, where that may change within a connection; None: as the connection says.
    """

    pts: int
    key: bool
    data: bytes
    arrival_ns: int
    format: Format | None = None


@dataclass(frozen=True, slots=True)
class Connected:
    """A source delivers from here on, with pts of its own. device: what it says of itself."""

    format: Format
    device: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Jumped:
    """The device's clock jumped; pts go on as if it had not, on a time line to be fitted anew. by_ns: forwards above zero."""

    by_ns: int


@dataclass(frozen=True, slots=True)
class Changed:
    """The device says something else of itself than before, in the same connection. device: what it says now.

    changes: each with ``what``, ``before`` and ``now``.
    """

    device: dict[str, Any]
    changes: tuple[dict[str, str], ...]


@dataclass(frozen=True, slots=True)
class Lost:
    """A source stopped delivering. fault: wording.Fault.as_dict()."""

    fault: dict[str, Any]


Item = Connected | Packet | Jumped | Changed | Lost
Waiting = TypeVar("Waiting")


def waiting(items: queue.Queue[Waiting], wait_s: float, most: int) -> Iterator[Waiting]:
    """What waits in a queue, at most so many; the first of them is waited for so long."""
    for number in range(most):
        try:
            item = items.get(timeout=wait_s) if wait_s and not number else items.get_nowait()
        except queue.Empty:
            return
        yield item
