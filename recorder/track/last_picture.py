"""The last picture before a connection was lost: where it stands, and whether it is whole, found out beside the recording."""

import logging
import os
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from recorder.clock.instants import SECOND_NS, boottime_ns
from recorder.evidence.continuity import Span
from recorder.media.packets import Format, Packet
from recorder.media.wholeness import last_is_whole
from recorder.process.runner import name_thread
from wording.sentence import Sentence, sentence

LIMIT_NS = 10 * SECOND_NS  # for finding it out
AT_ONCE = 3  # are looked at; of a further one it is not found out
NICE = 19

log = logging.getLogger(__name__)


def last_picture(times_ns: Sequence[int], length_ns: int, end_ns: int) -> Span | None:
    """Where the last of some pictures stands; None without any. Pure.

    times_ns: of the newest pictures in the order in which they came. length_ns: how long one stands. end_ns: of all that is
    stored. A picture may be shown before others that came before it: the span ends there then.
    """
    if not times_ns:
        return None
    *others, at = times_ns
    before = max((ns for ns in others if ns < at), default=None)
    after = min((ns for ns in others if ns > at), default=end_ns)
    return Span(at if before is None else min(at, before + length_ns), after)


@dataclass(frozen=True, slots=True)
class LastPicture:
    """Where a connection's last picture lies: in which segment, and when. Room time."""

    file: str
    span: Span


@dataclass(frozen=True, slots=True)
class Cut:
    """A stored picture that does not count, and why."""

    picture: LastPicture
    why: Sentence


class _Look(threading.Thread):
    """One picture, in a thread that takes only time which nobody else wants. whole: None where it cannot be found out."""

    def __init__(self, picture: LastPicture, format_: Format, packets: Sequence[Packet]) -> None:
        super().__init__(name="last-picture", daemon=True)
        self.picture, self._format, self._packets = picture, format_, packets
        self._until_ns = boottime_ns() + LIMIT_NS
        self.whole: bool | None = None

    @property
    def late(self) -> bool:
        return boottime_ns() >= self._until_ns

    def give_up(self) -> None:
        self._until_ns = 0

    def run(self) -> None:
        name_thread(self.name)
        with suppress(OSError):  # the priority of this thread alone
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
        try:
            self.whole = last_is_whole(self._format, self._packets, lambda: self.late)
        except Exception:  # the top of this thread: then it was not found out
            log.exception("the last picture could not be looked at")
        self._packets = ()


class LastPictures:
    """Those that are being looked at. One thread owns it."""

    def __init__(self) -> None:
        self._looks: deque[_Look] = deque()

    def look(self, picture: LastPicture, format_: Format, packets: Sequence[Packet]) -> None:
        """Begins. packets: as last_is_whole takes them. format_: the connection's, where the last packet tells no other."""
        look = _Look(picture, (packets[-1].format if packets else None) or format_, packets)
        if sum(each.is_alive() for each in self._looks) < AT_ONCE:
            look.start()
        self._looks.append(look)

    @property
    def pending(self) -> bool:
        """Whether there is one whose verdict was not taken yet."""
        return bool(self._looks)

    def take(self, wait_s: float = 0.0) -> list[Cut]:
        """Those that are known now not to be whole, or not to be found out. wait_s: for each that is not known yet."""
        found: list[Cut] = []
        while self._looks:
            look = self._looks[0]
            if look.is_alive() and wait_s:
                look.join(wait_s)
                look.give_up()
            if look.is_alive() and not look.late:
                break
            self._looks.popleft()
            if not look.whole:
                found.append(Cut(look.picture, _why(look.whole)))
        return found


def _why(whole: bool | None) -> Sentence:
    return sentence("last-picture-not-checked") if whole is None else sentence("last-picture-not-whole")
