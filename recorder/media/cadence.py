"""Which distances between pictures are silences, judged by their stamps, whatever rate a camera tells. Pure.

A camera may change its rate at any time: by night, by its shutter, by a "smart" codec. So a long distance alone proves nothing.
It is regular where the ones after it are as long; it is a silence where the former rate comes back after it.
"""

from bisect import insort
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median_low

from recorder.clock.instants import GAP_FLOOR_NS

LONGER = 2.5  # a silence is so many times longer than the longest regular distance…
RECENT = 10  # …of so many
ANEW = 3  # so many long distances in a row are a new rate
UNTOLD_NS = 40_000_000  # a picture's length before any distance is known
DEEPEST = 16  # H.264 and H.265 reorder no more pictures than that


@dataclass(frozen=True, slots=True)
class Stamp:
    """A picture's time by its camera's count and on room time, both ns."""

    ns: int
    room_ns: int


@dataclass(frozen=True, slots=True)
class Silence:
    """Nothing came between two pictures. length_ns: of the one before, as long as regular ones stand; room time, ns."""

    last_ns: int
    next_ns: int
    length_ns: int

    @property
    def from_ns(self) -> int:
        """Where the picture before it ends."""
        return min(self.last_ns + self.length_ns, self.next_ns)


class Cadence:
    """Takes each picture of a connection in the order in which it came, and tells the silences between them.

    A distance is judged when the pictures after it are known: the next one where the rate stays, ``ANEW`` of them where it
    changes. Pictures may come in decoding order: how many come before one that is shown earlier is learnt.
    """

    def __init__(self) -> None:
        self._regular: deque[int] = deque(maxlen=RECENT)
        self._waiting: list[tuple[int, int]] = []  # (stamp, room time), rising; the first one is judged already
        self._depth = 0  # so many pictures came before one that is shown earlier

    @property
    def known(self) -> bool:
        """Whether enough regular distances are known to call one usual."""
        return len(self._regular) >= ANEW

    @property
    def usual_ns(self) -> int:
        """How long a picture stands: the median of the regular distances."""
        return median_low(self._regular) if self._regular else UNTOLD_NS

    @property
    def limit_ns(self) -> int:
        """The longest distance that is surely none of a silence."""
        return max(GAP_FLOOR_NS, round(LONGER * max(self._regular, default=0)))

    def add(self, stamp: Stamp) -> list[Silence]:
        """The silences that this picture makes sure."""
        new = (stamp.ns, stamp.room_ns)
        if self._waiting and new <= self._waiting[0]:  # shown before one that is judged: it only makes a distance shorter
            self._depth = min(DEEPEST, max(self._depth, len(self._waiting)))
            return []
        insort(self._waiting, new)
        behind = len(self._waiting) - 1 - self._waiting.index(new)
        self._depth = min(DEEPEST, max(self._depth, behind))
        return self._judge(len(self._waiting) - self._depth, last=False)

    def interrupted(self) -> list[Silence]:
        """The connection ends, or the recording does: what waits is judged as it is. The rate stays known."""
        found = self._judge(len(self._waiting), last=True)
        self._waiting.clear()
        return found

    def _judge(self, sure: int, *, last: bool) -> list[Silence]:
        """sure: between so many of the waiting pictures no other one can come."""
        found: list[Silence] = []
        while sure > 1:
            distances = [later[0] - one[0] for one, later in pairwise(self._waiting[:sure])]
            limit = self.limit_ns
            long = distances[: next((n for n, distance in enumerate(distances) if distance <= limit), len(distances))]
            if not long:
                self._regular.append(distances[0])
                done = 1
            elif len(long) < len(distances) or (last and len(long) == 1):
                found += self._silences(long, limit)
                done = len(long)
            elif len(long) >= ANEW or last:
                found += self._anew(long)
                done = len(long)
            else:
                break
            del self._waiting[:done]
            sure -= done
        return found

    def _anew(self, distances: Sequence[int]) -> list[Silence]:
        """A rate that is learnt anew from long distances; those that are long even for it are silences.

        Before the first one the former rate may still have held; a picture behind one of the new rate stands as long as that.
        """
        usual = median_low(distances)
        limit = max(GAP_FLOOR_NS, round(LONGER * usual))
        first = next((n for n, distance in enumerate(distances) if distance <= limit), len(distances))
        found = self._silences(distances, limit, [self.usual_ns] * (first + 1) + [usual] * len(distances))
        self._regular.clear()
        self._regular.extend(distance for distance in distances if distance <= limit)
        return found

    def _silences(self, distances: Sequence[int], limit: int, lengths: Sequence[int] = ()) -> list[Silence]:
        """Those of the first waiting distances that are longer than the limit. lengths: of the pictures before them."""
        return [
            Silence(self._waiting[n][1], self._waiting[n + 1][1], lengths[n] if lengths else self.usual_ns)
            for n, distance in enumerate(distances)
            if distance > limit
        ]
