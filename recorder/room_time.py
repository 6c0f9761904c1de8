"""One time line for everything: CLOCK_BOOTTIME tied to UTC.

Room time is a number of nanoseconds: UTC since 1970 as it was at the epoch's tie, carried on by CLOCK_BOOTTIME, so a step of the
wall clock moves nothing. Every boot of the PC has one epoch a session, made by whichever process needs it first.
"""

import time
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, tzinfo
from functools import cache
from pathlib import Path
from typing import Literal

from recorder.durable import create_json, make_folder, read_json
from recorder.faults import EvidenceFault
from recorder.session_files import ahead_ns, stored_until_ns

SECOND_NS = 1_000_000_000
MS_NS = 1_000_000
CLOCK_STEP_NS = SECOND_NS // 2  # a wall clock that moves more than this against CLOCK_BOOTTIME was set, not slewed
MAX_PPM = 2_000  # a source's clock is wrong by some 500 ppm; a fit beyond this is none
PICTURE_NS = 40_000_000  # 25 pictures a second

TieSource = Literal["ntp", "unsynchronised", "floor"]


@cache
def boot_id() -> str:
    """The kernel's identity of this boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def boottime_ns() -> int:
    """CLOCK_BOOTTIME: monotonic, runs through suspend, untouched by clock steps."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, slots=True)
class Tie:
    """The wall clock read at an instant of CLOCK_BOOTTIME.

    offset_s: wall clock minus its reference, in seconds, where a reference answered. source: "ntp" (the kernel says it is
    synchronised), "unsynchronised", or "floor" (the wall clock was earlier than data already recorded: a lower bound was taken).
    ahead_ns: what was added to the wall clock to go on with the room time of the session's earlier boots.
    """

    boot_id: str
    boottime_ns: int
    utc_ns: int
    source: TieSource
    offset_s: float | None = None
    ahead_ns: int = 0


@dataclass(frozen=True, slots=True)
class Epoch:
    """Room time within one boot: room = boottime + shift."""

    tie: Tie

    @property
    def shift_ns(self) -> int:
        return self.tie.utc_ns - self.tie.boottime_ns

    def room_ns(self, boottime: int) -> int:
        """Room time of an instant of CLOCK_BOOTTIME."""
        return boottime + self.shift_ns

    def boottime_ns(self, room: int) -> int:
        """The inverse of room_ns."""
        return room - self.shift_ns


def epoch_path(session: Path) -> Path:
    """Where the session's epoch of this boot lies."""
    return session / "epochs" / f"{boot_id()}.json"


def session_epoch(session: Path, tie: Callable[[], Tie], *, floor_ns: int = 0) -> Epoch:
    """The session's epoch for this boot, from ``epochs/<boot>.json``; created once by whoever comes first (exclusive create).

    Room time goes on as in the earlier boots: where their clock was set during the session, it stays as far from it as it was. A
    clock behind what is recorded already, or behind floor_ns (the official start), is not believed. Raises StorageFault,
    EvidenceFault.
    """
    path = epoch_path(session)
    make_folder(path.parent)
    if not path.exists():
        first = tie()
        ahead = ahead_ns(session, first.boot_id, synchronised=True)
        first = replace(first, utc_ns=first.utc_ns + ahead, ahead_ns=ahead)
        floor_ns = max(floor_ns, stored_until_ns(session, first.boot_id))
        if first.utc_ns <= floor_ns:
            first = replace(first, utc_ns=floor_ns + SECOND_NS, source="floor", ahead_ns=0)
        create_json(path, asdict(first))
    return Epoch(read_tie(path))


def read_tie(path: Path) -> Tie:
    """One stored tie. Raises NotFound, EvidenceFault."""
    try:
        return Tie(**read_json(path))  # type: ignore[arg-type]  # written by session_epoch alone
    except TypeError as error:
        raise EvidenceFault(
            "{path} is not readable JSON: {why}.",
            "Restore the file from a copy; do not edit it by hand.",
            path=path,
            why="no tie",
        ) from error


def snap_start(now_ns: int) -> int:
    """The official start for a start command at now_ns: back on the picture grid of the UTC second, never on its first slot.

    With whole seconds between start and end, the first picture then shows the official start's second and the last one,
    40 ms before the end, shows the official end's second.
    """
    start = now_ns - now_ns % PICTURE_NS
    return start - PICTURE_NS if start % SECOND_NS == 0 else start


def snap_end(start_ns: int, now_ns: int) -> int:
    """The official end for a stop command at now_ns: the first whole number of seconds after start_ns, at least one."""
    seconds = max(1, -(-(now_ns - start_ns) // SECOND_NS))
    return start_ns + seconds * SECOND_NS


def rfc3339(room_ns: int, zone: tzinfo = UTC) -> str:
    """Room time as RFC 3339 with milliseconds in the zone."""
    seconds, rest = divmod(room_ns, SECOND_NS)
    moment = datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest // 1000)
    return moment.astimezone(zone).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def believed_rate(ppm: float) -> float:
    """Seconds of room time in a second of a source's clock, by the fit that its journal tells; 1 where that is none."""
    return 1 + ppm * 1e-6 if abs(ppm) <= MAX_PPM else 1.0


@dataclass(frozen=True, slots=True)
class Line:
    """room-or-boot time (ns) = origin_ns + ticks · ns_per_tick · (1 + ppm·10⁻⁶)."""

    origin_ns: float
    ns_per_tick: float
    ppm: float = 0.0

    def at(self, ticks: int) -> int:
        """Time of a tick count, in ns."""
        return round(self.origin_ns + ticks * self.ns_per_tick * (1 + self.ppm * 1e-6))


class EnvelopeFit:
    """The line through the earliest arrivals of (ticks, arrival): network jitter only ever delays, so it does not enter.

    Points are kept as the minimum of (arrival − ticks) in buckets of five seconds, over the last 20 minutes. Below half a
    minute of points the slope is taken as zero (at 200 ppm that is 6 ms); above it is the slope of the lower convex hull
    over the middle of the points, limited to ±max_ppm. A plain least-squares line was off by up to 44 ppm where this was
    off by 0.4.
    """

    BUCKET_NS = 5 * SECOND_NS
    SPAN_NS = 30 * SECOND_NS

    def __init__(self, ns_per_tick: float, *, max_ppm: float = 1000.0, buckets: int = 240) -> None:
        self._ns_per_tick = ns_per_tick
        self._max_ppm = max_ppm
        self._minima: deque[tuple[float, float]] = deque(maxlen=buckets)  # (nominal time, arrival − nominal time), ns
        self._bucket = -1
        self._base: tuple[int, int] | None = None  # (ticks, arrival) of the first point, so that floats stay small
        self._line = Line(0.0, ns_per_tick)

    def add(self, ticks: int, arrival_ns: int) -> None:
        """One arrival on a monotonic clock."""
        if self._base is None:
            self._base = (ticks, arrival_ns)
        nominal = (ticks - self._base[0]) * self._ns_per_tick
        excess = arrival_ns - self._base[1] - nominal
        bucket = int(nominal // self.BUCKET_NS)
        if bucket > self._bucket or not self._minima:
            self._bucket = bucket
            self._minima.append((nominal, excess))
            self._refit()
        elif excess < self._minima[-1][1]:
            # Reordered pictures step back over a bucket's border: the points stay sorted all the same.
            self._minima[-1] = (nominal if bucket == self._bucket else self._minima[-1][0], excess)
            self._refit()

    def _refit(self) -> None:
        assert self._base is not None
        points = list(self._minima)
        slope = self._slope(points)
        lowest = min(excess - slope * nominal for nominal, excess in points)
        ppm = slope * 1e6
        scale = self._ns_per_tick * (1 + slope)
        self._line = Line(self._base[1] + lowest - self._base[0] * scale, self._ns_per_tick, ppm)

    def _slope(self, points: Sequence[tuple[float, float]]) -> float:
        if points[-1][0] - points[0][0] < self.SPAN_NS:
            return 0.0
        hull = lower_hull(points)
        middle = (points[0][0] + points[-1][0]) / 2
        right = min(max(bisect_right([x for x, _ in hull], middle), 1), len(hull) - 1)
        (x0, y0), (x1, y1) = hull[right - 1], hull[right]
        limit = self._max_ppm * 1e-6
        return min(max((y1 - y0) / (x1 - x0), -limit), limit)

    @property
    def line(self) -> Line:
        """The current line."""
        return self._line


def lower_hull(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The lower convex hull of points sorted by x (Andrew's monotone chain)."""
    hull: list[tuple[float, float]] = []
    for point in points:
        while len(hull) >= 2:
            (x0, y0), (x1, y1) = hull[-2], hull[-1]
            if (x1 - x0) * (point[1] - y0) - (y1 - y0) * (point[0] - x0) <= 0:
                hull.pop()
            else:
                break
        hull.append(point)
    return hull
