"""A broker that sends whatever a test wants, and keeps what it was sent; plain or TLS, one connection after another.

It takes every login, acknowledges what it is sent, and after each CONNECT that it answered sends ``says``.
"""

import contextlib
import json
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from typing import Any

from drivers.mqtt import Broker
from tests.equipment.process import HOST

CONNECT, PUBLISH, SUBSCRIBE = 1, 3, 8
CONNACK = bytes([0x20, 3, 0, 0, 0])
PIECE = bytes(1 << 20)


def variable(number: int) -> bytes:
    """A variable byte integer (MQTT 5, 1.5.5)."""
    out = bytearray()
    while True:
        number, low = divmod(number, 128)
        out.append(low | (0x80 if number else 0))
        if not number:
            return bytes(out)


def packet(first: int, body: bytes) -> bytes:
    """A whole packet. first: the byte of its type and flags."""
    return bytes([first]) + variable(len(body)) + body


def message(topic: str | bytes, payload: bytes, *, qos: int = 1, mid: int = 1, properties: bytes = b"") -> bytes:
    """A PUBLISH."""
    name = topic.encode() if isinstance(topic, str) else topic
    number = struct.pack("!H", mid) if qos else b""
    return packet(
        0x30 | qos << 1, struct.pack("!H", len(name)) + name + number + variable(len(properties)) + properties + payload
    )


class HostileBroker:
    """says: bytes after the CONNACK. endless: bytes of zeros after that, or until the line breaks."""

    def __init__(
        self, says: bytes = b"", *, connack: bytes = CONNACK, endless: int = 0, certificate: str = "", key: str = ""
    ) -> None:
        self.connects: list[bytes] = []
        self.published: list[dict[str, Any]] = []
        self.sent = 0
        self._says, self._connack, self._endless = says, connack, endless
        self._tls: ssl.SSLContext | None = None
        if certificate:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(certificate, key)
        self._server = socket.create_server((HOST, 0))
        self._line: socket.socket | None = None
        self._thread = threading.Thread(target=self._serve, name="hostile broker", daemon=True)

    def __enter__(self) -> "HostileBroker":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        if self._line is not None:
            with contextlib.suppress(OSError):
                self._line.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)

    def reach(self, **settings: Any) -> Broker:
        """How a client logs in."""
        return Broker(HOST, self._server.getsockname()[1], **{"tls": self._tls is not None, **settings})

    def _serve(self) -> None:
        while True:
            try:
                line, _ = self._server.accept()
            except OSError:
                return
            with contextlib.suppress(OSError, IndexError), line:
                self._line = self._tls.wrap_socket(line, server_side=True) if self._tls else line
                self._talk(self._line)

    def _talk(self, line: socket.socket) -> None:
        for first, body in self._packets(line):
            if first >> 4 == CONNECT:
                self.connects.append(body)
                line.sendall(self._connack + self._says)
                while self.sent < self._endless:
                    self.sent += line.send(PIECE)
            elif first >> 4 == SUBSCRIBE:
                line.sendall(packet(0x90, body[:2] + b"\0\1"))
            elif first >> 4 == PUBLISH:
                self._take(line, body)

    def _take(self, line: socket.socket, body: bytes) -> None:
        """A message of QoS 1, whose properties are short."""
        after = 2 + struct.unpack("!H", body[:2])[0]
        line.sendall(packet(0x40, body[after : after + 2]))
        self.published.append(json.loads(body[after + 3 + body[after + 2] :]))

    def _packets(self, line: socket.socket) -> Iterator[tuple[int, bytes]]:
        with line.makefile("rb") as lines:
            while first := lines.read(1):
                length = shift = 0
                while True:
                    byte = lines.read(1)[0]
                    length |= (byte & 0x7F) << shift
                    shift += 7
                    if byte < 0x80:
                        break
                yield first[0], lines.read(length)
