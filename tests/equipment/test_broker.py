"""The broker, spoken to with paho as the product and the command room speak to it."""

import queue
from collections.abc import Iterator
from contextlib import contextmanager

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from tests.equipment.broker import StandInBroker
from tests.equipment.process import wait_for
from tests.equipment.room import StandInRoom

TREE = "interview-room/v1/centre-01/room-01"


class Client:
    def __init__(self, broker: StandInBroker, user: str, password: str) -> None:
        self.refusals: queue.Queue[str] = queue.Queue()
        self.messages: queue.Queue[tuple[str, bytes]] = queue.Queue()
        self.acknowledged: queue.Queue[int] = queue.Queue()
        self.subscribed: queue.Queue[object] = queue.Queue()
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self.client.username_pw_set(user, password)
        assert broker.ca_file
        self.client.tls_set(str(broker.ca_file))
        self.client.on_connect = lambda _c, _u, _f, reason, _p: self.refusals.put(str(reason))
        self.client.on_message = lambda _c, _u, message: self.messages.put((message.topic, bytes(message.payload)))
        self.client.on_publish = lambda _c, _u, _m, reason, _p: self.acknowledged.put(reason.value)
        self.client.on_subscribe = lambda _c, _u, _m, reasons, _p: self.subscribed.put(reasons)
        self.client.reconnect_delay_set(1, 1)
        self.client.connect(broker.host, broker.port, keepalive=5)
        self.client.loop_start()

    def publish(self, topic: str, payload: str, *, retain: bool = False) -> int:
        """The reason code of the acknowledgement."""
        self.client.publish(topic, payload, qos=1, retain=retain)
        return self.acknowledged.get(timeout=5)

    def subscribe(self, topic: str) -> None:
        """Returns when the broker has taken it."""
        self.client.subscribe(topic, qos=1)
        self.subscribed.get(timeout=5)


@contextmanager
def connected(broker: StandInBroker, user: str, password: str | None = None) -> Iterator[Client]:
    client = Client(broker, user, broker.passwords[user] if password is None else password)
    try:
        yield client
    finally:
        client.client.disconnect()
        client.client.loop_stop()


def test_the_room_writes_its_tree_and_the_command_room_reads_it(room: StandInRoom) -> None:
    broker = room.broker
    with connected(broker, "room-01") as agent, connected(broker, "command-room") as watcher:
        watcher.subscribe("interview-room/v1/#")
        agent.subscribe(f"{TREE}/guidance")
        assert agent.refusals.get(timeout=5) == "Success"
        assert agent.publish(f"{TREE}/state", "online") in (0, 16)
        assert watcher.messages.get(timeout=5) == (f"{TREE}/state", b"online")
        assert agent.publish("interview-room/v1/centre-01/room-02/state", "false") == 135
        assert watcher.publish(f"{TREE}/state", "false") == 135
        assert watcher.publish(f"{TREE}/guidance", "ask again") in (0, 16)
        assert agent.messages.get(timeout=5) == (f"{TREE}/guidance", b"ask again")
        assert watcher.messages.get(timeout=5)[0] == f"{TREE}/guidance"


@pytest.mark.parametrize(("user", "password"), [("room-01", "wrong"), ("nobody", "")])
def test_a_wrong_user_or_password_is_refused(room: StandInRoom, user: str, password: str) -> None:
    with connected(room.broker, user, password) as client:
        assert client.refusals.get(timeout=5) == "Not authorized"


def test_it_comes_back_after_an_outage_with_what_it_had_retained(room: StandInRoom) -> None:
    with connected(room.broker, "room-01") as agent:
        assert agent.publish(f"{TREE}/health", "retained", retain=True) in (0, 16)
        room.fault("broker", "gone")
        wait_for(lambda: not agent.client.is_connected(), "the loss of the connection")
        room.fault("broker", "back")
        wait_for(agent.client.is_connected, "the connection", 8)
    with connected(room.broker, "command-room") as watcher:
        watcher.subscribe(f"{TREE}/health")
        assert watcher.messages.get(timeout=5) == (f"{TREE}/health", b"retained")
