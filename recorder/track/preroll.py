"""The last seconds in memory, so that a session can begin before its start command. Pure.

Bounded whatever comes: of a camera that sends no key frame for a minute or never again (intra refresh) the newest pictures are
kept without one. What is being recorded does not miss it, and nobody breaks such a connection off: pictures come all the time.
"""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, Protocol, TypeVar


class Arrived(Protocol):
    """One packet. arrival_ns: on a monotonic clock."""

    @property
    def key(self) -> bool: ...

    @property
    def arrival_ns(self) -> int: ...


GROUP_NS = 60_000_000_000  # a group of pictures is kept whole so far before the span

Kept = TypeVar("Kept", bound=Arrived)


class Preroll(Generic[Kept]):
    """Whole groups of pictures covering at least span_ns; of one longer than GROUP_NS more the newest pictures."""

    def __init__(self, span_ns: int) -> None:
        self._span_ns = span_ns
        self._groups: deque[deque[Kept]] = deque()

    def add(self, packet: Kept) -> None:
        """Takes the newest packet. Packets before a connection's first key frame cannot be decoded and are not kept."""
        if packet.key:
            self._groups.append(deque([packet]))
        elif self._groups:
            self._groups[-1].append(packet)
        else:
            return
        while len(self._groups) > 1 and packet.arrival_ns - self._groups[1][0].arrival_ns >= self._span_ns:
            self._groups.popleft()
        while packet.arrival_ns - self._groups[0][0].arrival_ns > self._span_ns + GROUP_NS:
            self._groups[0].popleft()
            if not self._groups[0]:
                self._groups.popleft()

    def clear(self) -> None:
        """After a new connection."""
        self._groups.clear()

    def since(self, start_ns: int, time_of: Callable[[Kept], int]) -> Iterator[Kept]:
        """Everything from the key frame at or before start_ns on; from the oldest key frame where all are later.

        Where that key frame is no longer kept, from start_ns on.
        """
        groups = list(self._groups)
        first = 0
        for index, group in enumerate(groups):
            if time_of(group[0]) <= start_ns:
                first = index
        for group in groups[first:]:
            yield from group if group[0].key else [packet for packet in group if time_of(packet) >= start_ns]

    def newest(self) -> list[Kept]:
        """The last two groups of pictures; one where no more are kept."""
        return [packet for group in list(self._groups)[-2:] for packet in group]

    def __len__(self) -> int:
        return sum(len(group) for group in self._groups)
