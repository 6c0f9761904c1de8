"""Digests of packets, as a segment's file holds them.

SHA-256 over the bytes of each packet, one after another in the file's order, with nothing between them. An MP4 that is made from
segments holds the same packets in the same order, so ``ffmpeg -i film.mp4 -c copy -f streamhash -hash sha256 -`` prints the
digest that a run of segments has.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from recorder.clock.instants import SECOND_NS
from recorder.media.decoding import address
from recorder.media.packets import FOREIGN_TEXT


@dataclass(frozen=True, slots=True)
class PacketsRead:
    """What a segment's file holds. span_ns: the latest of its own timestamps less the first packet's, ns."""

    packets: int
    sha256: str
    span_ns: int


class PacketReader:
    """Takes packets one after another."""

    def __init__(self) -> None:
        self._own = hashlib.sha256()
        self._first: int | None = None
        self._last = 0
        self._base = Fraction(1, 1000)
        self.packets = 0

    def add(self, packet: Any) -> None:
        """The next packet of the file."""
        self._own.update(packet)
        self.packets += 1
        stamp = packet.pts if packet.pts is not None else packet.dts or 0
        self._base = packet.time_base or self._base
        self._last = stamp if self._first is None else max(self._last, stamp)
        self._first = stamp if self._first is None else self._first

    @property
    def read(self) -> PacketsRead:
        """What was added so far."""
        span = self._base * (self._last - (self._first or 0))
        return PacketsRead(self.packets, self._own.hexdigest(), span.numerator * SECOND_NS // span.denominator)


def packets_of(path: Path) -> Iterator[Any]:
    """The packets of a segment's file, in its order. Raises OSError, av.error.FFmpegError; what came before it counts."""
    with av.open(address(path), "r", format="matroska", metadata_errors=FOREIGN_TEXT) as container:
        if container.streams:
            yield from (packet for packet in container.demux(container.streams[0]) if packet.size)


class RunDigest:
    """The digest over a run of segments: one process, one format, one after another."""

    def __init__(self) -> None:
        self.since = ""  # the file that the run begins with
        self._all = hashlib.sha256()

    def add(self, path: Path) -> tuple[PacketsRead, str]:
        """Reads the next segment: what it holds, and the digest of the run so far.

        Raises OSError, av.error.FFmpegError; the run is then not to be gone on with.
        """
        own = PacketReader()
        for packet in packets_of(path):
            own.add(packet)
            self._all.update(packet)
        self.since = self.since or path.name
        return own.read, self._all.hexdigest()
