"""Takes commands to the agent from its socket: one JSON line each, one back (docs/formats.md).

One thread serves every connection and waits for none: a client that is slow, silent or hostile costs a place of its own user's
(``quota``), and no thread. Commands go one after the other into ``requests``, to the agent's thread.
"""

import json
import logging
import queue
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from agent.authority.person import person_at, uid_at
from agent.console.client import busy
from agent.console.quota import Kind, Quota
from agent.console.request import Request, defect, understood
from agent.console.sent_file import ComingFile, Receivers
from recorder.disk.durable import storage_fault
from recorder.faults import BadInput
from recorder.process import local_socket
from recorder.process.local_socket import BLOCK_BYTES, Closer, FilesSent
from wording import Fault

__all__ = ["ConsoleServer", "Request", "defect"]

# Connections that wait in the kernel. A storm fills the queue whatever its length, and everybody waits behind it: this one is
# emptied in a tenth of a second. Who finds it full waits for a place (local_socket.connect).
BACKLOG = 512
FIRST_S = 2.0  # a client that has sent nothing by then is let go
READ_S = 10.0  # one that has not sent its whole line by then, and one that takes no answer for so long
HURRY_S = 0.5  # and a hurried one, for its whole line
LINE_BYTES = 256 << 10  # of a command: the report of a self-check is the longest
HURRY_BYTES = 16 << 10  # of a hurried one
GIVEN_UP_S = 28.0  # then it is told that no answer comes: while it still listens
CONNECTIONS = 512  # of all users
BATCH, REST = 64, 1.0  # after so many at a time it rests for as long: a storm costs half of one processor at most
LOOK_S = 0.05  # between two looks for clients whose time is over
FAILED_S = 0.1  # until the next attempt where no connection could be taken
WITH_FILE = frozenset({"transcript.attach", "disc.authored"})  # commands with which an open file is sent

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Client:
    """A connection. kind: of Quota. until_s: when it is let go, or its command is given up. request: once its line was read.

    left: what of the answer is not sent yet; None while there is no answer. watched: the kernel tells when it is ready.
    """

    socket: socket.socket
    number: int
    uid: int
    kind: Kind = "plain"
    until_s: float = 0.0
    line: bytearray = field(default_factory=bytearray)
    request: Request | None = None
    left: memoryview | None = None
    watched: bool = False

    @property
    def line_bytes(self) -> int:
        """How long its line may be."""
        return LINE_BYTES if self.kind == "plain" else HURRY_BYTES


class ConsoleServer:
    """Takes commands from any number of clients and puts them, one after the other, into ``requests``.

    Whoever works for the agent's thread may put a function there too, to be called by that thread.
    """

    def __init__(self, path: Path) -> None:
        """Listens. The caller holds the agent's lock. Raises StorageFault."""
        self.requests: queue.SimpleQueue[Request | Callable[[], None]] = queue.SimpleQueue()
        self._path = path
        self._quota, self._closer, self._receivers = Quota(), Closer(), Receivers()
        self._clients: dict[int, _Client] = {}
        self._answered: deque[_Client] = deque()
        self._closing = threading.Event()
        self._accept_s = self._look_s = 0.0  # when accepting goes on, 0: at once; when the next look for silent clients is due
        self._failing = False
        self._senders: set[int] = set()  # users who sent files that nobody asked for
        try:
            self._listener = local_socket.listen(path, backlog=BACKLOG)
        except OSError as error:
            raise storage_fault(path, error) from error
        self._listener.setblocking(False)
        self._woken, self._wake = socket.socketpair()
        self._woken.setblocking(False)
        self._wake.setblocking(False)
        self._poll = select.epoll()
        self._poll.register(self._listener, select.EPOLLIN)
        self._poll.register(self._woken, select.EPOLLIN)
        self._thread = threading.Thread(target=self._run, name="console", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Takes no more commands."""
        self._closing.set()
        self._rouse()
        self._thread.join(2.0)
        self._listener.close()
        self._path.unlink(missing_ok=True)
        self._closer.end()

    def _rouse(self) -> None:
        with suppress(OSError):  # it is awake, or gone
            self._wake.send(b"x")

    # -- the console's thread --

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                self._turn()
            except Exception:  # the top of this thread: a defect, or memory has run out; whoever connects waits
                if not self._failing:
                    log.exception("the console failed", extra={"path": str(self._path)})
                self._failing = True
                self._closing.wait(FAILED_S)
        for client in list(self._clients.values()):
            self._drop(client)
        self._poll.close()
        self._woken.close()
        self._wake.close()

    def _turn(self) -> None:
        now = time.monotonic()
        if self._accept_s and now >= self._accept_s:
            self._accept_s = 0.0
            self._poll.modify(self._listener, select.EPOLLIN)
        waits = [LOOK_S] * bool(self._clients) + [max(0.0, self._accept_s - now)] * bool(self._accept_s)
        for number, _ in self._poll.poll(min(waits, default=None)):
            if number == self._listener.fileno():
                self._accept()
            elif number == self._woken.fileno():
                self._woken.recv(BLOCK_BYTES)
            elif (client := self._clients.get(number)) is not None:
                self._attend(client)
        while self._answered:
            self._answer(self._answered.popleft())
        self._let_go()

    def _accept(self) -> None:
        began = time.monotonic()
        for _ in range(BATCH):
            try:
                connection, _ = self._listener.accept()
            except BlockingIOError:
                self._failing = False
                return
            except OSError:  # files or memory have run out; whoever connects waits
                if not self._failing:
                    log.exception("no connection can be taken", extra={"path": str(self._path)})
                self._failing = True
                self._make_room()
                self._rest(FAILED_S)
                return
            self._take(connection)
        self._rest(REST * (time.monotonic() - began))

    def _rest(self, seconds: float) -> None:
        """Nobody is accepted for so long; the kernel keeps them in its queue."""
        self._poll.modify(self._listener, 0)
        self._accept_s = time.monotonic() + seconds

    def _take(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        try:
            client = _Client(connection, connection.fileno(), uid_at(connection))
        except OSError:
            self._closer.close(connection)
            return
        if len(self._clients) >= CONNECTIONS:
            self._make_room()
        now = time.monotonic()
        client.kind, oldest = self._quota.enter(client.uid, client, now)
        client.until_s = now + (FIRST_S if client.kind == "plain" else HURRY_S)
        if client.kind == "crowded" and not self._line_is_there(client):
            return
        self._clients[client.number] = client
        if isinstance(oldest, _Client):
            self._write(oldest, BUSY)
        if client.kind == "crowded":
            self._command(client)
            return
        self._watch(client, select.EPOLLIN)
        self._read(client)

    def _line_is_there(self, client: _Client) -> bool:
        """Takes the whole line of a crowded client; where it is not there, refuses and ends the client: a storm is of such."""
        connection = client.socket
        try:
            connection.shutdown(socket.SHUT_RD)  # nothing more is waited for, so nothing more may come
            client.line += local_socket.read_plain(connection, HURRY_BYTES)
            if b"\n" in client.line:
                return True
            connection.send(BUSY)
            if client.line:
                self._closer.close(connection)
            else:
                connection.close()
        except OSError:
            self._closer.close(connection)
        return False

    def _watch(self, client: _Client, events: int) -> None:
        """events: those of epoll, 0 for none."""
        if client.watched:
            self._poll.unregister(client.number)
        if events:
            self._poll.register(client.number, events)
        client.watched = events != 0

    def _make_room(self) -> None:
        if isinstance(oldest := self._quota.largest(), _Client):
            self._write(oldest, BUSY)

    def _attend(self, client: _Client) -> None:
        """Reads or writes, whichever the client is ready for."""
        if client.left is not None:
            self._send(client)
        elif client.request is None:
            self._read(client)

    def _read(self, client: _Client) -> None:
        try:
            data = local_socket.read_plain(client.socket)
        except BlockingIOError:
            return
        except OSError as error:
            if isinstance(error, FilesSent) and client.uid not in self._senders:
                self._senders.add(client.uid)
                log.warning("a client sends files that nobody asked for", extra={"uid": client.uid})
            self._drop(client)
            return
        if not client.line:
            if not data:
                self._drop(client)
                return
            client.until_s += READ_S - FIRST_S if client.kind == "plain" else 0.0
        client.line += data
        if b"\n" in data or not data:
            self._command(client)
        elif len(client.line) > client.line_bytes:
            self._refuse(client, _too_long(client))

    def _command(self, client: _Client) -> None:
        """The client's line is there."""
        now = time.monotonic()
        line = bytes(client.line).partition(b"\n")[0]
        client.line.clear()
        if len(line) > client.line_bytes:
            self._refuse(client, _too_long(client))
            return
        try:
            command, arguments = understood(line)
        except BadInput as fault:
            self._refuse(client, fault)
            return
        try:
            request = Request(command, arguments, person_at(client.socket), answered=lambda: self._told(client))
            if command in WITH_FILE and client.kind == "plain":
                request.file = ComingFile(client.socket.dup(), client.uid, self._receivers, self._closer.close)
        except OSError:
            self._drop(client)
            return
        if client.kind != "plain" and not self._quota.commanded(client.uid, client, command, now):
            self._write(client, BUSY)
            return
        client.request, client.until_s = request, now + GIVEN_UP_S
        self._watch(client, 0)
        self.requests.put(request)

    def _told(self, client: _Client) -> None:
        """Any thread: there is an answer."""
        self._answered.append(client)
        self._rouse()

    def _answer(self, client: _Client) -> None:
        request = client.request
        if request is None:
            return
        request.file.close()
        if client.left is None and self._clients.get(client.number) is client:
            self._write(client, _encoded(request))

    def _refuse(self, client: _Client, fault: Fault) -> None:
        """The answer to a line that is not taken."""
        self._write(client, _line({"ok": False, "fault": fault.as_dict()}))

    def _write(self, client: _Client, line: bytes) -> None:
        client.left, client.until_s = memoryview(line), time.monotonic() + READ_S
        self._send(client)
        if client.left:
            self._watch(client, select.EPOLLOUT)

    def _send(self, client: _Client) -> None:
        assert client.left is not None
        try:
            client.left = client.left[client.socket.send(client.left) :]
        except BlockingIOError:
            return
        except OSError:
            client.left = client.left[:0]  # the client is gone; what it asked for stands in the log
        if not client.left:
            self._drop(client)

    def _let_go(self) -> None:
        """Ends what took too long."""
        now = time.monotonic()
        if now < self._look_s:
            return
        self._look_s = now + LOOK_S
        for client in [client for client in self._clients.values() if now > client.until_s]:
            if client.left is not None:
                self._drop(client)
            else:
                self._write(client, BUSY if client.request is None else _encoded(client.request))

    def _drop(self, client: _Client) -> None:
        if self._clients.get(client.number) is not client:
            return
        del self._clients[client.number]
        self._watch(client, 0)
        self._quota.leave(client.uid, client, client.kind, waiting=client.request is not None)
        self._closer.close(client.socket)


def _line(answer: Mapping[str, object]) -> bytes:
    """Raises ValueError, TypeError where a value cannot be sent."""
    return json.dumps(answer, ensure_ascii=False).encode() + b"\n"


def _too_long(client: _Client) -> Fault:
    return BadInput("command-line-too-long", "send-shorter-command", limit=client.line_bytes)


BUSY = _line({"ok": False, "fault": busy().as_dict()})


def _encoded(request: Request) -> bytes:
    """The line for a client. A command without an answer is given up."""
    try:
        return _line(request.answer())
    except (ValueError, TypeError) as error:  # a defect of the command, which must not cost the client its answer
        log.exception("answer cannot be sent", extra={"command": request.command})
        return _line({"ok": False, "fault": defect(request.command, error).as_dict()})
