"""A bound on what the broker sends, held before a packet is taken: a socket that reads each packet's fixed header first.

paho makes room for as many bytes as a packet announces (256 MiB at most), and it keeps every message of QoS 2 until the broker
releases it. Both are the broker's choice, so both are refused here: a packet that is longer than the Maximum Packet Size of our
CONNECT, and a message of QoS 2, which a broker must not send to a subscription of QoS 1.

Source: MQTT 5, 1.5.5 (variable byte integer), 2.1 (fixed header), 3.1.2.11.4 (Maximum Packet Size), 3.8.4 (granted QoS).
"""

import socket
import ssl
from collections.abc import Callable
from typing import Literal

Breach = Literal["size", "QoS 2", "length", "type 0"]

PUBLISH = 3
LENGTH_BYTES = 4  # of a variable byte integer at most


class Breached(ConnectionAbortedError):
    """The broker broke the bounds; nothing more is read from it."""


class Guard:
    """Follows the packets of one connection by their bytes. Pure.

    ``room`` is how many bytes may be read next: one at a time of a header, then at most what is left of the packet.
    """

    def __init__(self, largest: int) -> None:
        """largest: bytes of a whole packet, its fixed header among them."""
        self.room = 1
        self.breach: Breach | None = None
        self.announced = 0  # bytes of the packet that broke the bounds
        self._largest = largest
        self._header = bytearray()

    def take(self, piece: bytes) -> None:
        """The bytes that were read, ``room`` of them at most. Raises Breached."""
        if self._header:
            self._go_on(piece)
        elif piece:
            self._begin(piece[0])

    def _begin(self, first: int) -> None:
        if first == 0:  # no packet has it; paho takes the byte after it for the first one then, and loses its place
            self._refuse("type 0")
        if first >> 4 == PUBLISH and (first >> 1) & 0b11 > 1:
            self._refuse("QoS 2")
        self._header.append(first)

    def _go_on(self, piece: bytes) -> None:
        if self._whole():
            self.room -= len(piece)
            if self.room == 0:
                self._next()
            return
        self._header += piece
        if not self._whole():
            if len(self._header) > LENGTH_BYTES:
                self._refuse("length")
            return
        length = sum((byte & 0x7F) << (7 * place) for place, byte in enumerate(self._header[1:]))
        self.announced = len(self._header) + length
        if self.announced > self._largest:
            self._refuse("size")
        self.room = length
        if length == 0:
            self._next()

    def _whole(self) -> bool:
        return len(self._header) > 1 and self._header[-1] < 0x80

    def _next(self) -> None:
        self._header.clear()
        self.room = 1

    def _refuse(self, breach: Breach) -> None:
        self.breach = breach
        raise Breached(breach)


class GuardedSocket:
    """A connected socket, plain or TLS, from which no more is read than the guard has room for."""

    def __init__(self, inner: socket.socket, guard: Guard) -> None:
        self._inner, self._guard = inner, guard

    def recv(self, size: int) -> bytes:
        """As of a socket; never more than the rest of a packet whose header was found good. Raises Breached, OSError."""
        if self._guard.breach is not None:
            raise Breached(self._guard.breach)
        piece = self._inner.recv(min(size, self._guard.room))
        self._guard.take(piece)
        return piece

    def pending(self) -> int:
        """Bytes that were decrypted and not read yet: no selector tells of them."""
        return self._inner.pending() if isinstance(self._inner, ssl.SSLSocket) else 0

    def do_handshake(self) -> None:
        """Of TLS; nothing on a plain connection. Raises ssl.SSLError, OSError."""
        if isinstance(self._inner, ssl.SSLSocket):
            self._inner.do_handshake()

    def send(self, data: bytes | bytearray) -> int:
        """As of a socket."""
        return self._inner.send(data)

    def settimeout(self, seconds: float | None) -> None:
        """As of a socket."""
        self._inner.settimeout(seconds)

    def setblocking(self, flag: bool) -> None:
        """As of a socket."""
        self._inner.setblocking(flag)

    def fileno(self) -> int:
        """As of a socket."""
        return self._inner.fileno()

    def close(self) -> None:
        """As of a socket."""
        self._inner.close()


class GuardingContext:
    """Stands where paho takes an SSLContext, the one public place in which it lets its user put a socket of his own.

    paho calls ``wrap_socket`` with the connected socket and then ``do_handshake`` of what it got. ``check_hostname`` tells it
    that the broker's name needs no check of its own: the TLS context checks it, and a plain connection has none.
    """

    check_hostname = True

    def __init__(self, tls: ssl.SSLContext | None, guard: Callable[[], Guard]) -> None:
        """tls: None for a plain connection. guard: makes the guard of a new connection."""
        self._tls, self._guard = tls, guard

    def wrap_socket(
        self, sock: socket.socket, *, server_hostname: str | None = None, do_handshake_on_connect: bool = True
    ) -> GuardedSocket:
        """The connection behind its guard. Raises as ssl.SSLContext.wrap_socket does."""
        if self._tls is not None:
            sock = self._tls.wrap_socket(sock, server_hostname=server_hostname, do_handshake_on_connect=do_handshake_on_connect)
        return GuardedSocket(sock, self._guard())
