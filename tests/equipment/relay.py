"""The cable and the switch between a camera and the room: a process that passes TCP through, and can be cut.

A cut is made in the kernel: a socket filter (SO_ATTACH_FILTER, "drop all") on the relay's listening sockets and on both ends of
every connection throws each arriving segment away, so nothing is acknowledged and nothing refused. The peers meet what they
meet at a pulled cable: connections stand and carry nothing; a new one gets no answer to its SYN. After the cut, TCP itself
repairs what its peers have not given up: what was under way arrives late, with their next retransmission (a cut of 1 s ends for
such a connection some 1.4 s after it began, one of 10 s some 13 s after), and a SYN is sent again 1, 3, 7 s after the first.

Its first line on standard input is the configuration, as JSON, each further line a command; every line is answered on standard
output with the instant from which it holds, CLOCK_BOOTTIME and CLOCK_MONOTONIC::

    {"seed": 1, "routes": [{"listen": ["127.0.0.1", 20554], "to": ["127.0.0.2", 20554]}, …]}
    → {"ok": true, "at_ns": …, "monotonic_ns": …, "connections": 0, "bytes": 0, "junk": 0}
    {"cut": true}           false: the cable is in again
    {"jitter_ms": 80}       each piece that comes is held for a random time up to this, in both directions; the order is kept
    {"junk": 200}           so many bytes go to each client of the first route before the camera's next interleaved frame: random
                            without "$" and line feeds, and then CR LF, so that a client finds the frame behind them
    {"listen": false}       refuses new connections: the camera has no power
    {"status": true}

The process ends with its standard input. Passing through costs about 1 % of a core for a stream of 4 Mbit/s.
"""

import ctypes
import json
import os
import random
import selectors
import socket
import struct
import sys
import time
from collections import deque
from typing import Any

SO_ATTACH_FILTER, SO_DETACH_FILTER = 26, 27  # asm-generic/socket.h
_DROP_ALL = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))  # struct sock_filter: BPF_RET | BPF_K, 0 bytes
DROP_ALL = struct.pack("HP", 1, ctypes.addressof(_DROP_ALL))  # struct sock_fprog
PIECE_BYTES = 256 * 1024
HELD_BYTES = 4 * 1024 * 1024  # more than this waits in the sender, as behind a full switch
FRAME = b"$\x00"  # an interleaved frame of channel 0 (RFC 2326, 10.12)
NO_BORDERS = bytes(byte if byte not in b"$\r\n" else 0xAA for byte in range(256))


class Way:
    """One direction of a connection: pieces that came, each with the instant at which it may go on."""

    def __init__(self, source: socket.socket, sink: socket.socket, *, media: bool) -> None:
        self.source, self.sink = source, sink
        self.media = media  # the camera's side of the first route
        self.held: deque[tuple[int, bytes]] = deque()
        self.held_bytes = 0
        self.last_due_ns = 0
        self.junk = 0
        self.ended = self.finished = False  # the source said its last; the sink was told
        self.blocked = False  # something is due that the sink did not take

    def take(self, now_ns: int, delay_ns: int, random_bytes: random.Random) -> int:
        """Reads what came; the number of bytes. Raises OSError where the connection broke."""
        piece = self.source.recv(PIECE_BYTES)
        self.last_due_ns = max(self.last_due_ns, now_ns + delay_ns)
        if self.junk >= 2 and piece.startswith(FRAME):
            piece, self.junk = random_bytes.randbytes(self.junk - 2).translate(NO_BORDERS) + b"\r\n" + piece, 0
        self.held.append((self.last_due_ns, piece))
        self.held_bytes += len(piece)
        self.ended = not piece
        return len(piece)

    def pass_on(self, now_ns: int) -> None:
        """Sends what is due; an empty piece is the end. Raises OSError where the connection broke."""
        self.blocked = False
        while self.held and self.held[0][0] <= now_ns:
            due_ns, piece = self.held.popleft()
            if not piece:
                self.sink.shutdown(socket.SHUT_WR)
                self.finished = True
                return
            try:
                sent = self.sink.send(piece)
            except BlockingIOError:
                sent = 0
            self.held_bytes -= sent
            if sent < len(piece):
                self.held.appendleft((due_ns, piece[sent:]))
                self.blocked = True
                return


class Relay:
    """All connections, in one thread."""

    def __init__(self, config: dict[str, Any]) -> None:
        self._routes = [(tuple(route["listen"]), tuple(route["to"])) for route in config["routes"]]
        self._random = random.Random(config.get("seed", 0))
        self._selector = selectors.DefaultSelector()
        self._selector.register(0, selectors.EVENT_READ)
        self._listeners: dict[socket.socket, int] = {}
        self._ways: dict[socket.socket, tuple[Way, Way]] = {}  # by socket: what comes out of it, what goes into it
        self._events: dict[socket.socket, int] = {}
        self._cut = False
        self._jitter_ns = 0
        self._bytes = 0
        self._listen()

    def _listen(self) -> None:
        if not self._listeners:
            for number, (address, _) in enumerate(self._routes):
                listener = socket.create_server(address, backlog=64)
                listener.setblocking(False)
                self._listeners[listener] = number
                if self._cut:
                    listener.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, DROP_ALL)
                self._watch(listener, selectors.EVENT_READ)

    def _refuse(self) -> None:
        for listener in self._listeners:
            self._watch(listener, 0)
            self._events.pop(listener, None)
            listener.close()
        self._listeners.clear()

    def _watch(self, one: socket.socket, events: int) -> None:
        events = 0 if self._cut else events
        before = self._events.get(one, 0)
        if events == before:
            return
        if not before:
            self._selector.register(one, events)
        elif events:
            self._selector.modify(one, events)
        else:
            self._selector.unregister(one)
        self._events[one] = events

    def command(self, values: dict[str, Any]) -> dict[str, Any]:
        """The answer to one command."""
        if unknown := set(values) - {"cut", "jitter_ms", "junk", "listen", "status"}:
            return {"ok": False, "error": f"unknown: {', '.join(sorted(unknown))}"}
        if "cut" in values and bool(values["cut"]) != self._cut:
            self._switch(cut=bool(values["cut"]))
        self._jitter_ns = round(float(values.get("jitter_ms", self._jitter_ns / 1e6)) * 1e6)
        for out, _ in self._ways.values():
            if out.media:
                out.junk += int(values.get("junk", 0))
        if "listen" in values:
            self._listen() if values["listen"] else self._refuse()
        return self.status()

    def status(self) -> dict[str, Any]:
        """The instant, and what there is."""
        now = {"at_ns": time.clock_gettime_ns(time.CLOCK_BOOTTIME), "monotonic_ns": time.monotonic_ns()}
        junk = sum(out.junk for out, _ in self._ways.values())  # not yet sent
        return {"ok": True, **now, "connections": len(self._ways) // 2, "bytes": self._bytes, "junk": junk}

    def _switch(self, *, cut: bool) -> None:
        for one in [*self._listeners, *self._ways]:
            if cut:
                one.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, DROP_ALL)
                self._watch(one, 0)
            else:
                one.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)
        self._cut = cut
        if not cut:
            for listener in self._listeners:
                self._watch(listener, selectors.EVENT_READ)
            self._move(list(self._ways))

    def run(self) -> None:
        """Passes bytes on until standard input ends."""
        commands = b""
        while True:
            for key, events in self._selector.select(self._wait_s()):
                if key.fileobj == 0:
                    if not (piece := os.read(0, 65536)):
                        return
                    *lines, commands = (commands + piece).split(b"\n")
                    for line in lines:
                        answer(self._understand(line))
                elif key.fileobj in self._listeners:
                    self._accept(key.fileobj)
                elif key.fileobj in self._ways and not self._cut:
                    self._serve(key.fileobj, events)
            if self._jitter_ns or self._waiting:
                self._move(list(self._ways))

    @property
    def _waiting(self) -> bool:
        return any(out.held for out, _ in self._ways.values())

    def _wait_s(self) -> float | None:
        if self._cut:
            return None
        now_ns = time.monotonic_ns()
        due = [out.held[0][0] for out, _ in self._ways.values() if out.held and not out.blocked]
        return max(0, min(due) - now_ns) / 1e9 if due else None

    def _understand(self, line: bytes) -> dict[str, Any]:
        try:
            return self.command(json.loads(line))
        except (ValueError, TypeError, OSError) as error:
            return {"ok": False, "error": repr(error)}

    def _accept(self, listener: Any) -> None:
        try:
            client, _ = listener.accept()
        except OSError:  # it went away again, or the listener is closed
            return
        camera = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        number = self._listeners[listener]
        for one in (client, camera):
            one.setblocking(False)
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        camera.connect_ex(self._routes[number][1])
        up, down = Way(client, camera, media=False), Way(camera, client, media=number == 0)
        self._ways |= {client: (up, down), camera: (down, up)}
        self._move([client, camera])

    def _serve(self, one: Any, events: int) -> None:
        out, into = self._ways[one]
        now_ns = time.monotonic_ns()
        try:
            if events & selectors.EVENT_READ and not out.ended:
                delay_ns = round(self._random.uniform(0, self._jitter_ns)) if self._jitter_ns else 0
                self._bytes += out.take(now_ns, delay_ns, self._random)
                out.pass_on(now_ns)
            if events & selectors.EVENT_WRITE:
                into.pass_on(now_ns)
        except BlockingIOError:
            pass
        except OSError:
            self._break(one)
            return
        self._update(one)
        self._update(out.sink)

    def _move(self, sockets: list[socket.socket]) -> None:
        if self._cut:
            return
        now_ns = time.monotonic_ns()
        for one in sockets:
            if one in self._ways:
                out = self._ways[one][0]
                try:
                    out.pass_on(now_ns)
                except OSError:
                    self._break(one)
                    continue
                self._update(one)
                self._update(out.sink)

    def _update(self, one: socket.socket) -> None:
        if one not in self._ways:
            return
        out, into = self._ways[one]
        if out.finished and into.finished:
            self._close(one, out.sink)
            return
        events = 0 if out.ended or out.held_bytes >= HELD_BYTES else selectors.EVENT_READ
        self._watch(one, events | (selectors.EVENT_WRITE if into.blocked else 0))

    def _break(self, one: socket.socket) -> None:
        """One end reset the connection: the other is reset too."""
        other = self._ways[one][0].sink
        for end in (one, other):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._close(one, other)

    def _close(self, *ends: socket.socket) -> None:
        for end in ends:
            self._watch(end, 0)
            self._events.pop(end, None)
            self._ways.pop(end, None)
            end.close()


def answer(values: dict[str, Any]) -> None:
    print(json.dumps(values), flush=True)


def main() -> None:
    """Relays until standard input ends."""
    line = b""
    while not line.endswith(b"\n"):  # unbuffered: what follows is read by the selector's loop
        if not (piece := os.read(0, 1)):
            return
        line += piece
    relay = Relay(json.loads(line))
    answer(relay.status())
    relay.run()


if __name__ == "__main__":
    main()
    sys.exit(0)
