"""Brokers that cannot do what a room needs are told as that."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from drivers.mqtt import Broker, FeedFault, Link
from tests.equipment.process import HOST

UNSUPPORTED = bytes([0x20, 3, 0, 132, 0])  # CONNACK with the reason code "Unsupported Protocol Version" (MQTT 5, 3.2.2.2)
OLD_UNSUPPORTED = bytes([0x20, 2, 0, 1])  # as MQTT 3.1.1 has it, 3.2.2.3


@contextmanager
def answering(answer: bytes) -> Iterator[Broker]:
    """A broker that gives each connection this answer, and ends it."""
    server = socket.create_server((HOST, 0))

    def serve() -> None:
        while True:
            try:
                line, _ = server.accept()
            except OSError:
                return
            with line:
                line.recv(4096)
                line.sendall(answer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield Broker(HOST, server.getsockname()[1], tls=False)
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join(5)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (UNSUPPORTED, "mqtt-broker-does-not-speak-version-5"),
        (OLD_UNSUPPORTED, "mqtt-broker-does-not-speak-version-5"),
        (b"", "mqtt-broker-hangs-up-at-once"),
    ],
)
def test_a_broker_without_mqtt_5(answer: bytes, code: str) -> None:
    with answering(answer) as broker, pytest.raises(FeedFault) as caught:
        Link(broker, "room").open(timeout_s=2.0)
    assert caught.value.code == code
    assert "5" in caught.value.say("en") + caught.value.say_mend("en")
    assert "mqtt.user" not in caught.value.say_mend("en")
