"""A camera's timestamps as one rising count, whatever its clock does. Pure."""

from collections import deque

from recorder.room_time import SECOND_NS

EARLY_NS = SECOND_NS // 2  # no network brings a picture so much earlier than those before it: the camera's clock jumped
BACK_NS = SECOND_NS  # pictures in decoding order step back by less than this
WINDOW_NS = 5 * SECOND_NS  # the earliest arrivals are looked for in the current and the previous window
WRAP = 1 << 32
STEP_NS = SECOND_NS // 1000  # between two pictures that claim the same time: what a Matroska file can tell apart


class CameraTimeline:
    """Places each timestamp on a count that has neither jumps nor two pictures of one time.

    A jump is told from the arrivals: a picture cannot come early, and does not step back by a second. After it the count goes
    on where the arrival says. ``jumped_ns`` is the last placed timestamp's jump, 0 for none.
    """

    def __init__(self, ns_per_tick: float) -> None:
        self._ns_per_tick = ns_per_tick
        self._shift = 0
        self._newest: int | None = None
        self._latest: deque[int] = deque(maxlen=8)
        self._floors: deque[float] = deque(maxlen=2)  # smallest (arrival − count) of the previous and the current window
        self._window_ns = 0
        self.jumped_ns = 0

    def place(self, stamp: int, arrival_ns: int) -> int:
        """The count of a timestamp, in the camera's ticks. arrival_ns: on a monotonic clock."""
        placed = stamp + self._shift
        self.jumped_ns = 0
        if self._newest is not None and self._off(placed, arrival_ns, self._newest):
            placed = self._unwrapped(placed, self._newest)
            if self._off(placed, arrival_ns, self._newest):
                placed = self._rebased(placed, arrival_ns, self._newest)
        while placed in self._latest:
            placed += self._step
        self._latest.append(placed)
        self._newest = placed if self._newest is None else max(self._newest, placed)
        self._keep_floor(arrival_ns - placed * self._ns_per_tick, arrival_ns)
        return placed

    def _off(self, placed: int, arrival_ns: int, newest: int) -> bool:
        """Whether no picture can have this time: it would have come early, or steps back too far."""
        early_ns = min(self._floors) - (arrival_ns - placed * self._ns_per_tick)
        return early_ns > EARLY_NS or (newest - placed) * self._ns_per_tick > BACK_NS

    def _rebased(self, placed: int, arrival_ns: int, newest: int) -> int:
        """After a jump: where the arrival says that the count goes on."""
        expected = max(newest + self._step, round((arrival_ns - min(self._floors)) / self._ns_per_tick))
        self.jumped_ns = round((placed - expected) * self._ns_per_tick)
        self._shift += expected - placed
        self._floors.clear()
        return expected

    def _unwrapped(self, placed: int, newest: int) -> int:
        """RTP counts modulo 2³² (RFC 3550, 5.1): of the counts that a timestamp may mean, the one nearest to the newest."""
        nearest = newest + (placed - newest + WRAP // 2) % WRAP - WRAP // 2
        self._shift += nearest - placed
        return nearest

    @property
    def _step(self) -> int:
        return max(1, round(STEP_NS / self._ns_per_tick))

    def _keep_floor(self, excess: float, arrival_ns: int) -> None:
        if not self._floors or arrival_ns - self._window_ns > WINDOW_NS:
            self._floors.append(excess)
            self._window_ns = arrival_ns
        else:
            self._floors[-1] = min(self._floors[-1], excess)
