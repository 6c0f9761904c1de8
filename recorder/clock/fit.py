"""The line fitted to a device's clock: its tick counts against the PC's monotonic time. Pure."""

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from recorder.clock.instants import SECOND_NS

MAX_PPM = 2_000  # a source's clock is wrong by some 500 ppm; a fit beyond this is none


def believed_rate(ppm: float) -> float:
    """Seconds of room time in a second of a source's clock, by the fit that its journal tells; 1 where that is none."""
    return 1 + ppm * 1e-6 if abs(ppm) <= MAX_PPM else 1.0


@dataclass(frozen=True, slots=True)
class FittedLine:
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
        self._line = FittedLine(0.0, ns_per_tick)

    def add(self, ticks: int, arrival_ns: int) -> None:
        """Takes one arrival: the source's tick count, and when it came by a monotonic clock, ns."""
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
        self._line = FittedLine(self._base[1] + lowest - self._base[0] * scale, self._ns_per_tick, ppm)

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
    def line(self) -> FittedLine:
        """The line through the arrivals so far."""
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
