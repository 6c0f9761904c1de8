"""The last seconds in memory, so that a session can begin before its start command. Pure."""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, Protocol, TypeVar


class Arrived(Protocol):
    """One packet. arrival_ns: on a monotonic clock."""

    @property
    def key(self) -> bool: ...

    @property
    def arrival_ns(self) -> int: ...


Kept = TypeVar("Kept", bound=Arrived)


class Preroll(Generic[Kept]):
    """Whole groups of pictures covering at least span_ns; nothing is dropped before a key frame that makes it needless."""

    def __init__(self, span_ns: int) -> None:
        self._span_ns = span_ns
        self._groups: deque[list[Kept]] = deque()

    def add(self, packet: Kept) -> None:
        """Takes the newest packet. Packets before a connection's first key frame cannot be decoded and are not kept."""
        if packet.key:
            self._groups.append([packet])
        elif self._groups:
            self._groups[-1].append(packet)
        else:
            return
        while len(self._groups) > 1 and packet.arrival_ns - self._groups[1][0].arrival_ns >= self._span_ns:
            self._groups.popleft()

    def clear(self) -> None:
        """After a new connection."""
        self._groups.clear()

    def since(self, start_ns: int, time_of: Callable[[Kept], int]) -> Iterator[Kept]:
        """Everything from the key frame at or before start_ns on; from the oldest key frame where all are later."""
        groups = list(self._groups)
        first = 0
        for index, group in enumerate(groups):
            if time_of(group[0]) <= start_ns:
                first = index
        for group in groups[first:]:
            yield from group

    def __len__(self) -> int:
        return sum(len(group) for group in self._groups)
