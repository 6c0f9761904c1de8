"""How much of the console one user may have, so that no user can take it from another. Pure: the clock is given.

A connection is *plain* where its user has fewer than ``PLACES`` of them and makes no more than ``PER_S`` a second. Beyond that it
is *hurried*: its command must be there within half a second, and only those of ``URGENT`` are taken. Of hurried connections that
have not sent their command yet, a user has ``KEPT``, and the oldest makes room for the next once it has had ``CHANCE_S``. What
comes faster than that is *crowded*: its command must be there already, as it is where a client had to wait for its turn. So
whoever sends a whole command at once is heard, however many half ones the same user sends.
"""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["plain", "hurried", "crowded"]

PLACES = 4
PER_S, BURST = 50.0, 25.0
KEPT, CHANCE_S = 16, 0.02
STOP = "session.stop"
URGENT = frozenset({STOP, "session.status"})
URGENT_MOST = 8  # hurried commands of one user that wait for their answer
LOOKS_PER_S, LOOKS = 10.0, 10.0  # hurried commands of one user that only look; a stop is never counted
FORGOTTEN_S = 60.0  # a user without a connection is forgotten after this


@dataclass(slots=True)
class Allowance:
    """So many a second, after ``most`` at once."""

    per_s: float
    most: float
    at_s: float
    left: float = field(init=False)

    def __post_init__(self) -> None:
        self.left = self.most

    def take(self, now_s: float) -> bool:
        """Whether one more is allowed now."""
        self.left = min(self.most, self.left + (now_s - self.at_s) * self.per_s)
        self.at_s = now_s
        if self.left < 1:
            return False
        self.left -= 1
        return True


@dataclass(slots=True)
class _User:
    """What one user has. coming: new plain connections; looks: hurried commands that only look."""

    coming: Allowance
    looks: Allowance
    seen_s: float
    plain: int = 0
    urgent: int = 0
    hurried: OrderedDict[Hashable, float] = field(default_factory=OrderedDict)  # since when each is there

    @property
    def idle(self) -> bool:
        return not (self.plain or self.urgent or self.hurried)


class Quota:
    """Every user's part, by user id. Connections are named by whatever the caller tells them apart by."""

    def __init__(self) -> None:
        self._users: dict[int, _User] = {}
        self._swept_s = 0.0

    def enter(self, uid: int, connection: Hashable, now_s: float) -> tuple[Kind, Hashable | None]:
        """The kind of a new connection, and the connection that has to go for it."""
        self._sweep(now_s)
        user = self._users.get(uid)
        if user is None:
            user = self._users[uid] = _User(Allowance(PER_S, BURST, now_s), Allowance(LOOKS_PER_S, LOOKS, now_s), now_s)
        user.seen_s = now_s
        if user.plain < PLACES and user.coming.take(now_s):
            user.plain += 1
            return "plain", None
        oldest = None
        if len(user.hurried) >= KEPT:
            oldest, since_s = next(iter(user.hurried.items()))
            if now_s - since_s < CHANCE_S:
                return "crowded", None
            del user.hurried[oldest]
        user.hurried[connection] = now_s
        return "hurried", oldest

    def commanded(self, uid: int, connection: Hashable, command: str, now_s: float) -> bool:
        """Whether the command of one that is not plain is taken; the connection then counts as one that waits for its answer."""
        user = self._users[uid]
        user.hurried.pop(connection, None)
        if command not in URGENT or user.urgent >= URGENT_MOST:
            return False
        if command != STOP and not user.looks.take(now_s):
            return False
        user.urgent += 1
        return True

    def leave(self, uid: int, connection: Hashable, kind: Kind, *, waiting: bool) -> None:
        """A connection is over. waiting: it was not plain and its command had been taken."""
        user = self._users[uid]
        if kind == "plain":
            user.plain -= 1
        elif waiting:
            user.urgent -= 1
        else:
            user.hurried.pop(connection, None)

    def largest(self) -> Hashable | None:
        """The oldest hurried connection of the user who has most of them; None where nobody has any."""
        user = max(self._users.values(), key=lambda each: len(each.hurried), default=None)
        return next(iter(user.hurried)) if user is not None and user.hurried else None

    @property
    def known(self) -> int:
        """How many users it remembers."""
        return len(self._users)

    def _sweep(self, now_s: float) -> None:
        if now_s - self._swept_s < FORGOTTEN_S:
            return
        self._swept_s = now_s
        for uid in [uid for uid, user in self._users.items() if user.idle and now_s - user.seen_s > FORGOTTEN_S]:
            del self._users[uid]
