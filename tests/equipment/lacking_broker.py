"""A broker that speaks MQTT 5 and leaves out what it is told to leave out: wills, kept messages, their expiry.

It takes everybody, without TLS. Messages go on at QoS 0.
"""

import socketserver
import struct
import threading
import time
from dataclasses import dataclass
from io import BufferedIOBase
from typing import Any, Self

from tests.equipment.process import HOST

CONNECT, PUBLISH, SUBSCRIBE, PINGREQ, DISCONNECT = 1, 3, 8, 12, 14  # MQTT 5, 2.1.2
CONNACK = bytes([0x20, 3, 0, 0, 0])
PINGRESP = bytes([0xD0, 0])
EXPIRY = 2  # Message Expiry Interval, 2.2.2.2
FIXED = {1: 1, 2: 4, 17: 4, 23: 1, 24: 4, 33: 2, 34: 2, 35: 2, 36: 1, 37: 1, 39: 4}  # properties with so many bytes


@dataclass(frozen=True, slots=True)
class _Kept:
    """A retained message. until_s: monotonic, None for ever."""

    payload: bytes
    until_s: float | None


class _Packet:
    """The body of one packet, read from its beginning."""

    def __init__(self, kind: int, flags: int, body: bytes) -> None:
        self.kind, self.flags, self._body, self._at = kind, flags, body, 0

    def take(self, count: int) -> bytes:
        self._at += count
        return self._body[self._at - count : self._at]

    def number(self, count: int) -> int:
        return int.from_bytes(self.take(count))

    def text(self) -> bytes:
        return self.take(self.number(2))

    def length(self) -> int:
        """A variable byte integer (MQTT 5, 1.5.5)."""
        value = shift = 0
        while True:
            byte = self.number(1)
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def properties(self) -> dict[int, bytes]:
        end = self.length() + self._at
        found: dict[int, bytes] = {}
        while self._at < end:
            name = self.number(1)
            if name in FIXED:
                found[name] = self.take(FIXED[name])
            elif name == 11:  # a subscription's number
                self.length()
            else:
                found[name] = self.text()
                if name == 38:  # a pair
                    self.text()
        return found

    @property
    def rest(self) -> bytes:
        return self.take(len(self._body) - self._at)

    @property
    def ended(self) -> bool:
        return self._at >= len(self._body)


def _read(stream: BufferedIOBase) -> _Packet | None:
    """The next packet; None at the end of the connection."""
    first = stream.read(1)
    size = shift = 0
    while first and (byte := stream.read(1)):
        size |= (byte[0] & 127) << shift
        shift += 7
        if byte[0] < 128:
            return _Packet(first[0] >> 4, first[0] & 15, stream.read(size))
    return None


def _packet(first: int, body: bytes) -> bytes:
    size, length = len(body), b""
    while True:
        size, low = size >> 7, size & 127
        length += bytes([low | (128 if size else 0)])
        if not size:
            return bytes([first]) + length + body


class LackingBroker:
    """The stand-in; ``with`` serves it at ``port``. keeps is what is still kept, by topic."""

    def __init__(self, *, wills: bool = True, keeps: bool = True, expires: bool = True) -> None:
        self.wills, self.keeps, self.expires = wills, keeps, expires
        self.kept: dict[bytes, _Kept] = {}
        self._readers: list[tuple[bytes, _Client]] = []
        self._lock = threading.Lock()
        self._server = _Server((HOST, 0), _Client)
        self._server.broker = self
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def publish(self, topic: bytes, payload: bytes, *, retain: bool, expiry_s: int | None = None) -> None:
        """To everybody who reads the topic now, and, where it is to be kept, for those who come later."""
        with self._lock:
            readers = [client for name, client in self._readers if name == topic]
            if retain and self.keeps and payload:
                until = None if expiry_s is None or not self.expires else time.monotonic() + expiry_s
                self.kept[topic] = _Kept(payload, until)
            elif retain:
                self.kept.pop(topic, None)
        for client in readers:
            client.send_message(topic, payload, retained=False)

    def subscribe(self, topic: bytes, client: "_Client") -> None:
        """From now on; what is kept of it comes at once."""
        with self._lock:
            self._readers.append((topic, client))
            kept = self.kept.get(topic)
            if kept is not None and kept.until_s is not None and kept.until_s <= time.monotonic():
                del self.kept[topic]
                kept = None
        if kept is not None:
            client.send_message(topic, kept.payload, retained=True)

    def leave(self, client: "_Client") -> None:
        """It reads no more."""
        with self._lock:
            self._readers = [each for each in self._readers if each[1] is not client]


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    block_on_close = False
    broker: LackingBroker

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no event."""


class _Client(socketserver.StreamRequestHandler):
    """One client's connection."""

    server: _Server

    def setup(self) -> None:
        super().setup()
        self._sending = threading.Lock()
        self._will: tuple[bytes, bytes, bool] | None = None

    def handle(self) -> None:
        broker = self.server.broker
        try:
            while (packet := _read(self.rfile)) and packet.kind != DISCONNECT:
                self._answer(packet)
            if packet is not None:
                self._will = None
        finally:
            broker.leave(self)
            if self._will is not None and broker.wills:
                topic, payload, retain = self._will
                broker.publish(topic, payload, retain=retain)

    def _answer(self, packet: _Packet) -> None:
        if packet.kind == CONNECT:
            self._connected(packet)
        elif packet.kind == SUBSCRIBE:
            number = packet.take(2)
            packet.properties()
            topics = []
            while not packet.ended:
                topics.append(packet.text())
                packet.take(1)
            self._send(_packet(0x90, number + b"\0" + bytes(len(topics))))
            for topic in topics:
                self.server.broker.subscribe(topic, self)
        elif packet.kind == PUBLISH:
            topic, number = packet.text(), packet.take(2) if packet.flags & 6 else b""
            expiry = packet.properties().get(EXPIRY)
            seconds = None if expiry is None else int.from_bytes(expiry)
            self.server.broker.publish(topic, packet.rest, retain=bool(packet.flags & 1), expiry_s=seconds)
            if number:
                self._send(_packet(0x40, number))
        elif packet.kind == PINGREQ:
            self._send(PINGRESP)

    def _connected(self, packet: _Packet) -> None:
        packet.text(), packet.take(1)  # the protocol's name and version
        flags = packet.number(1)
        packet.take(2)  # keep alive
        packet.properties()
        packet.text()  # who
        if flags & 4:
            packet.properties()
            self._will = packet.text(), packet.text(), bool(flags & 32)
        self._send(CONNACK)

    def send_message(self, topic: bytes, payload: bytes, *, retained: bool) -> None:
        """A PUBLISH at QoS 0."""
        body = struct.pack(">H", len(topic)) + topic + b"\0" + payload
        self._send(_packet(0x31 if retained else 0x30, body))

    def _send(self, data: bytes) -> None:
        with self._sending:
            self.wfile.write(data)
