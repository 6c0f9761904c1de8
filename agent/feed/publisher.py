"""What is published on one connection, in which order, and what becomes of each message. One Publisher a connection, one thread.

Order: what was sent before without an answer, then events, then what is due of the room as it is; so numbers go out in order.
A refused message keeps its number and is tried again; until then nothing new is said on its topic, so no number is lost.
"""

import logging
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field

from agent.feed import messages
from agent.feed.contract import CHANNELS, topic_root
from agent.feed.messages import STATE, Body, Retained
from agent.feed.outbox import EVENT, Draft, Outbox, Row
from drivers.mqtt import REFUSED, FeedFault, Link
from recorder.clock.instants import SECOND_NS
from wording import Fault

log = logging.getLogger(__name__)

ACK_NS = 10 * SECOND_NS  # a broker that leaves a message unanswered for so long is lost
REFUSED_RETRY_NS = 10 * SECOND_NS  # how often a refused topic is tried again
HISTORICAL_NS = 2 * SECOND_NS  # an event sent later than this after it happened is marked


class Schedule:
    """When a retained topic is due: never sent on this connection, changed, or its period is over. Pure."""

    def __init__(self) -> None:
        self._sent: dict[str, tuple[Hashable, int]] = {}

    def due(self, topic: str, key: Hashable, period_s: float | None, now_ns: int) -> bool:
        """key: what makes it due when it differs from the one sent last."""
        if topic not in self._sent:
            return True
        sent, at_ns = self._sent[topic]
        return key != sent or (period_s is not None and now_ns - at_ns >= period_s * SECOND_NS)

    def sent(self, topic: str, key: Hashable, now_ns: int) -> None:
        """Notes that the topic was sent now, with this key."""
        self._sent[topic] = (key, now_ns)

    def forget(self, topic: str) -> None:
        """The topic is due again."""
        self._sent.pop(topic, None)


@dataclass(slots=True)
class _Blocked:
    """A topic that the broker refuses, with the refused message and the time of the next attempt."""

    rows: list[Row] = field(default_factory=list)
    retry_ns: int = 0


class Publisher:
    """refused: the fault while the broker refuses any topic."""

    def __init__(self, centre: str, room: str, link: Link, outbox: Outbox, *, boottime: Callable[[], int]) -> None:
        self.refused: Fault | None = None
        self._centre, self._room, self._root = centre, room, topic_root(centre, room)
        self._link, self._outbox, self._boottime = link, outbox, boottime
        self._schedule = Schedule()
        self._again = deque(outbox.unacknowledged())
        self._in_flight: dict[int, tuple[Row, int]] = {}
        self._blocked: dict[str, _Blocked] = {}
        self._done: list[int] = []
        self._too_large: set[str] = set()  # topics

    @property
    def in_flight(self) -> int:
        """How many messages have no answer yet."""
        return len(self._in_flight)

    def publish(self, retained: Iterable[Retained]) -> bool:
        """Sends what is due, as far as the broker's window allows; True where nothing is left to send. Raises FeedFault."""
        self._publish_again()
        if self._again:
            return False
        self._publish_events()
        now, free = self._boottime(), self._free()
        due = [topic for topic in retained if self._due(topic, now)]
        for topic in due[:free]:
            self._schedule.sent(topic.topic, topic.key, now)
        self._issue([Draft(topic.topic, topic.body()) for topic in due[:free]])
        return len(due) <= free

    def _due(self, retained: Retained, now_ns: int) -> bool:
        period_s = CHANNELS[retained.topic.split("/", 1)[0]].period_s
        return retained.topic not in self._blocked and self._schedule.due(retained.topic, retained.key, period_s, now_ns)

    def publish_last(self, retained: Iterable[Retained], body: Body) -> bool:
        """Before a stop: what is due, then this state. False while it must be called again. Raises FeedFault."""
        if not self.publish(retained) or self._free() <= 0 or STATE in self._blocked:
            return False
        self._issue([Draft(STATE, body)])
        return True

    def check_answers(self) -> None:
        """Raises FeedFault where the broker leaves a message unanswered for too long."""
        if self._in_flight and self._boottime() - min(at for _, at in self._in_flight.values()) > ACK_NS:
            raise FeedFault(
                "broker-acknowledges-nothing",
                "check-broker-load-and-disk",
                host=self._link.broker.host,
                port=self._link.broker.port,
            )

    def settle(self) -> None:
        """Removes from the outbox what the broker has acknowledged."""
        if self._done:
            done, self._done = self._done, []
            self._outbox.acknowledge(done)

    def _free(self) -> int:
        return self._link.window - len(self._in_flight)

    def _publish_again(self) -> None:
        now = self._boottime()
        for topic, blocked in self._blocked.items():
            if blocked.rows and now >= blocked.retry_ns:
                log.info("a refused topic is tried again", extra={"topic": topic})
                self._again.extend(blocked.rows)
                blocked.rows.clear()
        while self._again and self._free() > 0:
            self._send(self._again.popleft(), again=True)

    def _publish_events(self) -> None:
        if EVENT not in self._blocked and (free := self._free()) > 0:
            for row in self._outbox.issue(self._outbox.unsent(free), []):
                self._send(row)

    def _issue(self, drafts: Sequence[Draft]) -> None:
        for row in self._outbox.issue([], drafts):
            self._send(row)

    def _send(self, row: Row, *, again: bool = False) -> None:
        """Sends one message. again: the broker may have it already, and it may be out of date; it is not sent to be retained."""
        now = self._boottime()
        channel = CHANNELS[row.topic.split("/", 1)[0]]
        historical = again or row.boot != self._outbox.boot or now - row.boottime_ns > HISTORICAL_NS
        payload = messages.encode(row, self._centre, self._room, historical=historical)
        if fault := self._link.too_large(f"{self._root}/{row.topic}", payload):
            self._leave_out(row, fault)
            return
        self._too_large.discard(row.topic)
        retain = channel.retained and not again
        mid = self._link.publish(
            f"{self._root}/{row.topic}", payload, retain=retain, expiry_s=channel.expiry_s if retain else None
        )
        self._in_flight[mid] = (row, now)

    def _leave_out(self, row: Row, fault: FeedFault) -> None:
        """The broker would end the connection over this message: its number is missing at the readers, the others go on."""
        if row.topic not in self._too_large:
            log.error("a message is left out", extra={"fault": str(fault)})
        self._too_large.add(row.topic)
        self._done.append(row.id)
        self.refused = fault

    def acknowledged(self, mid: int, reason: int) -> None:
        """The broker's answer to a message."""
        row, _ = self._in_flight.pop(mid, (None, 0))
        if row is None:
            return
        if reason >= REFUSED:
            self._refuse(row, reason)
            return
        self._done.append(row.id)
        accepted = self._blocked.pop(row.topic, None)
        if accepted is not None:
            self._again.extend(accepted.rows)
            self.refused = self.refused if self._blocked or self._too_large else None

    def _refuse(self, row: Row, reason: int) -> None:
        blocked = self._blocked.setdefault(row.topic, _Blocked())
        blocked.rows.append(row)
        blocked.retry_ns = self._boottime() + REFUSED_RETRY_NS
        self._schedule.forget(row.topic)
        fault = FeedFault(
            "broker-refuses-topic",
            "allow-user-to-write-topics",
            topic=f"{self._root}/{row.topic}",
            user=self._link.broker.user or "-",
            code=reason,
            root=self._root,
        )
        if self.refused is None:
            log.error("the broker refuses a topic", extra={"fault": str(fault)})
        self.refused = fault
