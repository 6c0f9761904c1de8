"""The films of a disc, packet by packet, against what the recorder wrote of its segments while it recorded.

A film is an MP4 that holds the packets of some segments, one after another, each shown when its segment shows it. The journals,
which the seal covers, have the number of packets, their digest and their times of each segment. So a film that anybody made
differently is found without trusting whoever made the disc.
"""

import hashlib
import queue
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av

from recorder.clock.instants import SECOND_NS
from recorder.evidence.findings import Finding, bad, good, note
from recorder.evidence.sealed_segments import SealedSegment
from recorder.media.packets import FOREIGN_TEXT

PIECES = 8  # that wait for the reading thread
BUFFER_BYTES = 1 << 20
FIRST_NS = 2_000_000  # a film's ticks and a segment's own milliseconds are rounded
LAST_NS = 100_000_000  # the source's clock is fitted while a segment grows: its last time was told by an older fit


@dataclass(frozen=True, slots=True)
class Piece:
    """The packets of a film that should be one segment's. Of the first and of the latest: ns since the film's time 0."""

    packets: int
    sha256: str
    first_ns: int
    last_ns: int


@dataclass(frozen=True, slots=True)
class FilmRead:
    """pieces: as many as were asked for. more: packets behind them. why: what kept the film from being read to its end, or ""."""

    pieces: tuple[Piece, ...]
    more: int = 0
    why: str = ""


class FilmReader:
    """Reads a film as its bytes come, in a thread of its own. The film's index must stand before its data."""

    def __init__(self, counts: Sequence[int]) -> None:
        """counts: how many packets the film should have of each segment."""
        self._counts = counts
        self._pieces: queue.Queue[bytes] = queue.Queue(PIECES)
        self._rest = b""
        self._ended = False
        self._done = False  # the demuxer takes nothing any more
        self._found = FilmRead((), 0, "nothing was read")
        self._thread = threading.Thread(target=self._run, name="film", daemon=True)
        self._thread.start()

    def feed(self, data: bytes) -> None:
        """The next bytes of the file."""
        while not self._done and data:
            try:
                self._pieces.put(data, timeout=0.2)
                return
            except queue.Full:
                continue

    def end(self) -> FilmRead:
        """No byte follows: what was found."""
        while self._thread.is_alive():
            try:
                self._pieces.put(b"", timeout=0.2)
                break
            except queue.Full:
                continue
        self._thread.join()
        return self._found

    def read(self, size: int) -> bytes:
        """For the demuxer: up to so many of the next bytes, b"" at the end."""
        if not self._rest and not self._ended:
            self._rest = self._pieces.get()
            self._ended = not self._rest
        data, self._rest = self._rest[:size], self._rest[size:]
        return data

    def _run(self) -> None:
        pieces: list[Piece] = []
        try:
            with av.open(self, "r", format="mp4", buffer_size=BUFFER_BYTES, metadata_errors=FOREIGN_TEXT) as container:
                more = _take(container, self._counts, pieces)
            self._found = FilmRead(tuple(pieces), more)
        except (av.error.FFmpegError, ValueError, IndexError, OverflowError, MemoryError) as error:
            self._found = FilmRead(tuple(pieces), 0, str(error) or type(error).__name__)
        finally:
            self._done = True


def _take(container: Any, counts: Sequence[int], pieces: list[Piece]) -> int:
    """Adds a piece for each count, the last one maybe shorter; how many packets lie behind them."""
    packets = (p for p in container.demux(container.streams[0]) if p.size)
    for count in counts:
        if count <= 0:
            raise ValueError(f"a segment of {count} packets")
        digest, taken, first, last = hashlib.sha256(), 0, 0, 0
        for taken, packet in enumerate(packets, 1):
            digest.update(packet)
            at = _ns(packet)
            first, last = (at, at) if taken == 1 else (first, max(last, at))
            if taken == count:
                break
        pieces.append(Piece(taken, digest.hexdigest(), first, last))
        if taken < count:
            return 0
    return sum(1 for _ in packets)


def _ns(packet: Any) -> int:
    at = (packet.pts or 0) * (packet.time_base or Fraction(1)) * SECOND_NS
    return round(at)


def judge(path: str, first_ns: int, sources: Sequence[SealedSegment], read: FilmRead) -> Iterable[Finding]:
    """What is wrong with a film. first_ns: room time of its time 0. sources: the segments that it was made from, in its order."""
    if read.why:
        yield bad("film-cannot-be-read", path=path, why=read.why)
        return
    if read.more or len(read.pieces) < len(sources):
        yield bad("film-is-longer-or-shorter", path=path)
        return
    for source, piece in zip(sources, read.pieces, strict=True):
        zero = source.first_ns - first_ns
        if piece.packets != source.packets or (source.packets_sha256 and piece.sha256 != source.packets_sha256):
            yield bad("film-differs-from-segment", path=path, segment=source.path)
        elif abs(piece.first_ns - zero) > FIRST_NS or (
            source.last_ns is not None and abs(piece.last_ns - piece.first_ns - (source.last_ns - source.first_ns)) > LAST_NS
        ):
            yield bad("film-shows-segment-at-another-time", path=path, segment=source.path)


def judge_all(films: Mapping[str, FilmRead], made_of: Mapping[str, tuple[int, Sequence[SealedSegment]]]) -> Iterable[Finding]:
    """made_of: by path, each film's first_ns and its segments. Those that are missing on the disc are told elsewhere."""
    wrong = [
        finding for path, (at, sources) in made_of.items() if path in films for finding in judge(path, at, sources, films[path])
    ]
    yield from wrong
    packets = sum(s.packets for path, (_, sources) in made_of.items() if path in films for s in sources)
    if any(not s.packets_sha256 for _, sources in made_of.values() for s in sources):
        yield note("films-without-packet-digests")
    elif films and not wrong:
        yield good("films-hold-the-recorded-packets", films=len(films), packets=packets)
