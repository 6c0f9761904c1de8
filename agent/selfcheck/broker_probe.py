"""Whether a broker does what the health feed relies on: it publishes a will, keeps a message, and lets it expire (MQTT 5).

Two short connections of the room's user, on topics of the room's own that say nothing of it. Nothing of it stays at the broker.
"""

import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from drivers.mqtt import REFUSED, Broker, FeedFault, Link, MqttMessage, Will

EXPIRY_S = 1
EXPIRED_S = 2.3  # brokers count whole seconds
OPEN_S = 4.0
ANSWER_S = 1.0  # for what must come
QUIET_S = 0.3  # for what must not come
SCHEMA = "interview-room-feed/1"  # as agent.feed.contract has it, which stands above this room
TOPICS = "interview-room/v1/{centre}/{room}/probe/"
WILL, KEPT = "will", "kept"


@dataclass(frozen=True, slots=True)
class BrokerProbe:
    """What was found. answer_s: how long the first connection took to open.

    refused: the broker lets this user write or read no probe, so that nothing was found out.
    """

    answer_s: float = 0.0
    publishes_will: bool = False
    keeps: bool = False
    lets_expire: bool = False
    refused: bool = False


def probe(broker: Broker, centre: str, room: str) -> BrokerProbe:
    """Takes some 3 s. Raises FeedFault where a connection fails."""
    return _Probing(broker, centre, room).run()


class _Probing:
    """One probe. ``_one`` breaks its connection off, ``_other`` looks on."""

    def __init__(self, broker: Broker, centre: str, room: str) -> None:
        token = secrets.token_hex(8)  # another self-check of this room may be under way
        body = {"schema": SCHEMA, "type": "probe", "centre": centre, "room": room, "token": token}
        self._payload = json.dumps(body).encode()
        self._root = TOPICS.format(centre=centre, room=room)
        self._came: set[tuple[str, bool]] = set()  # topic and whether it was retained
        self._answers: list[int] = []
        client = f"probe-{centre}-{room}-{token}"
        will = Will(self._root + WILL, self._payload, retained=False)
        self._one = Link(broker, f"{client}-1", will=will)
        self._other = Link(broker, f"{client}-2", on_message=self._take)
        self._other.on_ack = lambda _, reason: self._answers.append(reason)

    def run(self) -> BrokerProbe:
        try:
            began = time.monotonic()
            self._one.open(OPEN_S)
            answer_s = time.monotonic() - began
            self._other.open(OPEN_S)
            found = self._found()
            self._other.close()
            return replace(found, answer_s=answer_s)
        finally:
            self._one.drop()
            self._other.drop()

    def _found(self) -> BrokerProbe:
        if not self._subscribed(WILL):
            return BrokerProbe(refused=True)
        self._other.publish(self._root + KEPT, self._payload, retain=True, expiry_s=EXPIRY_S)
        expired_s = time.monotonic() + EXPIRED_S
        if not self._until(lambda: bool(self._answers), ANSWER_S) or self._answers[0] >= REFUSED or not self._subscribed(KEPT):
            return BrokerProbe(refused=True)
        keeps = self._until(lambda: (KEPT, True) in self._came, ANSWER_S)
        self._one.drop()
        published = self._until(lambda: (WILL, False) in self._came, ANSWER_S)
        found = BrokerProbe(publishes_will=published, keeps=keeps, lets_expire=True)
        if not keeps:
            return found
        self._until(lambda: False, expired_s - time.monotonic())
        self._came.clear()
        self._subscribed(KEPT)  # anew, upon which a broker gives what it keeps
        if not self._until(lambda: (KEPT, True) in self._came, QUIET_S):
            return found
        self._other.publish(self._root + KEPT, b"", retain=True)  # what does not go by itself is taken away
        self._until(lambda: len(self._answers) > 1, QUIET_S)
        return replace(found, lets_expire=False)

    def _subscribed(self, name: str) -> bool:
        """Whether the broker lets this user read the topic. Raises FeedFault where it does not answer."""
        self._other.subscribed = False
        self._other.subscribe(self._root + name)
        if not self._until(lambda: self._other.subscribed or self._other.read_refused is not None, ANSWER_S):
            broker = self._other.broker
            raise FeedFault("broker-acknowledges-nothing", "check-broker-load-and-disk", host=broker.host, port=broker.port)
        return self._other.read_refused is None

    def _until(self, condition: Callable[[], bool], limit_s: float) -> bool:
        """Whether it came true in time."""
        deadline = time.monotonic() + limit_s
        while not condition():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self._other.poll(left)
        return True

    def _take(self, message: MqttMessage) -> None:
        if message.payload == self._payload:
            self._came.add((message.topic.removeprefix(self._root), message.retained))
