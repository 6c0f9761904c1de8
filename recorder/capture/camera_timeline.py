"""A camera's timestamps as one rising count, whatever its clock does. Pure.

Its clock may be set in small steps (NTP) as well as by hours. A step shows twice, and only what shows twice is one: in the
stamps, which advance by more or less than the pictures that came account for, and in the arrivals, whose earliest move against
the stamps by as much. Pictures that are lost show in the stamps alone; a network that is slow, or that is quick again, in the
arrivals alone. So a delay that lasts, and its end, are the network's, and the fit of time follows: no stamps lie apart by it.
"""

from collections import deque
from itertools import pairwise
from statistics import median

from recorder.clock.instants import MS_NS, SECOND_NS

STEP_NS = 60 * MS_NS  # a clock's step is longer
BEGINNING_NS = SECOND_NS  # so long after a connection's first picture the earliest arrival is not known yet…
LEAP_NS = 5 * SECOND_NS  # …and only more than this is a step: cameras begin with a key frame that they have kept
LATE_NS = SECOND_NS  # pictures that all come late for so long are not made up for by a burst
BACK_NS = SECOND_NS  # pictures in decoding order step back by less than this…
BACK_PICTURES = 4  # …and behind so many at most
SAME_NS = 10 * MS_NS  # stamps so little apart are of one time, or of a camera that rounds them
LATEST = 8  # pictures among which none may have another's time
RECENT = 100  # pictures by whose stamps a step is judged
WINDOW_NS = 5 * SECOND_NS  # the earliest arrivals are looked for in the current and the previous window
WRAP = 1 << 32
APART_NS = MS_NS  # between two pictures that claim the same time: what a Matroska file can tell apart


class CameraTimeline:
    """Places each timestamp on a count that has neither jumps nor two pictures of one time.

    A step forwards is told by the first picture that comes early; one back by the first that is behind more pictures than
    reordering puts before it (learnt in a connection's first second), or, where the stamps still rise, by a second of pictures
    that are all late. After it the count goes on where the arrival says. ``jumped_ns`` is the last placed timestamp's step, 0
    for none.
    """

    def __init__(self, ns_per_tick: float) -> None:
        self._ns_per_tick = ns_per_tick
        self._shift = 0
        self._newest: int | None = None
        self._latest: deque[int] = deque(maxlen=LATEST)
        self._recent: deque[int] = deque(maxlen=RECENT)
        self._floors: deque[float] = deque(maxlen=2)  # smallest (arrival − count) of the previous and the current window
        self._window_ns = 0
        self._opened_ns = self._began_ns = 0  # arrival of the connection's first picture, and of the first since the last step
        self._behind = 0  # behind so many pictures reordering puts one…
        self._back_ns = 0.0  # …and so far back
        self._late: tuple[int, float] | None = None  # since when all come late, and their smallest (arrival − count)
        self._give_ns = 0.0  # how far the count may still be moved back after a step
        self._steps_ns: deque[int] = deque(maxlen=2)  # arrivals of the last steps
        self.jumped_ns = 0

    def place(self, stamp: int, arrival_ns: int) -> int:
        """The count of a timestamp, in the camera's ticks. arrival_ns: on a monotonic clock."""
        placed = stamp + self._shift
        self.jumped_ns = 0
        if self._newest is None:
            self._opened_ns = self._began_ns = arrival_ns
        elif self._off(placed, arrival_ns, self._newest):
            placed = self._unwrapped(placed, self._newest)
            if self._off(placed, arrival_ns, self._newest):
                placed = self._rebased(placed, arrival_ns, self._newest)
        elif self._give_ns:
            placed = self._eased(placed, arrival_ns, self._newest)
        while placed in self._latest:
            placed += self._apart
        self._latest.append(placed)
        self._recent.append(placed)
        self._newest = placed if self._newest is None else max(self._newest, placed)
        self._keep(arrival_ns - placed * self._ns_per_tick, arrival_ns)
        return placed

    def _off(self, placed: int, arrival_ns: int, newest: int) -> bool:
        """Whether the clock was set before this picture."""
        excess = arrival_ns - placed * self._ns_per_tick
        early_ns = min(self._floors) - excess
        return self._early(placed, early_ns, arrival_ns) or self._back(placed, arrival_ns, newest) or self._slow(placed, excess)

    def _early(self, placed: int, early_ns: float, arrival_ns: int) -> bool:
        """No network brings a picture earlier than all before; where all were delayed, the stamps are as far apart as ever."""
        if early_ns <= STEP_NS or arrival_ns - self._began_ns < BEGINNING_NS:
            return early_ns > LEAP_NS
        # Of a picture that comes before those it is shown after, these are missing in the count.
        return early_ns > LEAP_NS or self._beyond_ns(placed) > STEP_NS + self._back_ns

    def _back(self, placed: int, arrival_ns: int, newest: int) -> bool:
        back_ns = (newest - placed) * self._ns_per_tick
        same = SAME_NS / self._ns_per_tick
        behind = sum(each - placed > same for each in self._recent) if back_ns > SAME_NS else 0
        if back_ns > BACK_NS or behind <= self._behind:
            return back_ns > BACK_NS
        opening = arrival_ns - self._opened_ns < BEGINNING_NS or len(self._latest) < LATEST
        often = len(self._steps_ns) == 2 and arrival_ns - self._steps_ns[0] < BEGINNING_NS  # the camera began to reorder
        if behind > BACK_PICTURES or not (opening or often):
            return True
        self._behind, self._back_ns = behind, max(self._back_ns, back_ns)
        return False

    def _slow(self, placed: int, excess: float) -> bool:
        """All late, and the stamps behind by as much: not the network's delay."""
        if self._late is None:
            return False
        late_ns = min(self._late[1], excess) - min(self._floors)
        if late_ns <= STEP_NS or excess + placed * self._ns_per_tick - self._late[0] < LATE_NS:
            return False
        beyond_ns = self._beyond_ns(placed)
        return beyond_ns < -STEP_NS and abs(late_ns + beyond_ns) <= STEP_NS

    def _beyond_ns(self, placed: int) -> float:
        """By how much the stamps, this one included, advanced further than the number of pictures accounts for."""
        stamps = sorted((*self._recent, placed))[BACK_PICTURES:]  # among the oldest some came before
        if len(stamps) < BACK_PICTURES:
            return 0.0
        usual = median(later - one for one, later in pairwise(stamps))
        return (stamps[-1] - stamps[0] - usual * (len(stamps) - 1)) * self._ns_per_tick

    def _rebased(self, placed: int, arrival_ns: int, newest: int) -> int:
        """After a step: where the arrival says that the count goes on."""
        expected = max(newest + self._apart, round((arrival_ns - min(self._floors)) / self._ns_per_tick))
        self.jumped_ns = round((placed - expected) * self._ns_per_tick)
        self._shift += expected - placed
        self._floors.clear()
        self._recent.clear()
        self._late = None
        self._began_ns = arrival_ns
        self._steps_ns.append(arrival_ns)
        self._give_ns = 2 * self._back_ns
        return expected

    def _eased(self, placed: int, arrival_ns: int, newest: int) -> int:
        """A step's first picture may be one that comes after those it is shown before, and so late: the count is set back."""
        if arrival_ns - self._began_ns > BEGINNING_NS:
            self._give_ns = 0.0
        early_ns = min(self._floors) - (arrival_ns - placed * self._ns_per_tick)
        back = min(round(min(early_ns, self._give_ns) / self._ns_per_tick), placed - newest - self._apart)
        if back <= 0:
            return placed
        self._give_ns -= back * self._ns_per_tick
        self._shift -= back
        self._recent = deque((each - back for each in self._recent), RECENT)
        return placed - back

    def _unwrapped(self, placed: int, newest: int) -> int:
        """RTP counts modulo 2³² (RFC 3550, 5.1): of the counts that a timestamp may mean, the one nearest to the newest."""
        nearest = newest + (placed - newest + WRAP // 2) % WRAP - WRAP // 2
        self._shift += nearest - placed
        return nearest

    @property
    def _apart(self) -> int:
        return max(1, round(APART_NS / self._ns_per_tick))

    def _keep(self, excess: float, arrival_ns: int) -> None:
        if not self._floors or arrival_ns - self._window_ns > WINDOW_NS:
            self._floors.append(excess)
            self._window_ns = arrival_ns
        else:
            self._floors[-1] = min(self._floors[-1], excess)
        if excess - min(self._floors) <= STEP_NS:
            self._late = None
        else:
            self._late = (arrival_ns, excess) if self._late is None else (self._late[0], min(self._late[1], excess))
