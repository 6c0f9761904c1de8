"""Takes commands to the agent from its socket: one JSON line each, one back (docs/formats.md)."""

import json
import logging
import queue
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.authority.person import NOBODY, Person, person_at
from agent.console.client import busy, no_answer, read_line
from recorder.disk.durable import storage_fault
from recorder.faults import BadInput
from recorder.process import local_socket
from wording import Fault

READ_S = 10.0  # a client that has not sent its whole line by then is let go, and one that takes no answer for so long
GIVEN_UP_S = 28.0  # then it is told that no answer comes: while it still listens
BUSY_S = 0.2  # for the word that the console is busy
CLIENTS = 16

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Request:
    """One command on its way through the agent's thread.

    person: who sent it, as the kernel tells; given_up: its client was told that no answer comes.
    """

    command: str
    arguments: Mapping[str, Any]
    person: Person = NOBODY
    given_up: bool = False
    _answer: dict[str, Any] | None = None
    _done: threading.Event = field(default_factory=threading.Event)

    def succeed(self, answer: Mapping[str, Any]) -> None:
        """Answers with a result."""
        self._answer = {"ok": True, "answer": dict(answer)}
        self._done.set()

    def fail(self, fault: Fault) -> None:
        """Answers with a fault."""
        self._answer = {"ok": False, "fault": fault.as_dict()}
        self._done.set()

    def wait(self, timeout_s: float) -> dict[str, Any]:
        """The line to send back."""
        if not self._done.wait(timeout_s) or self._answer is None:
            self.given_up = True
            return {"ok": False, "fault": no_answer().as_dict()}
        return self._answer


class ConsoleServer:
    """Takes commands from any number of clients and puts them, one after the other, into ``requests``.

    Whoever works for the agent's thread may put a function there too, to be called by that thread.
    """

    def __init__(self, path: Path) -> None:
        """Listens. The caller holds the agent's lock. Raises StorageFault."""
        self.requests: queue.SimpleQueue[Request | Callable[[], None]] = queue.SimpleQueue()
        self._room = threading.BoundedSemaphore(CLIENTS)
        try:
            self._acceptor = local_socket.Acceptor(path, self._take, "console")
        except OSError as error:
            raise storage_fault(path, error) from error

    def close(self) -> None:
        """Takes no more commands."""
        self._acceptor.close()

    def _take(self, connection: socket.socket) -> None:
        if not self._room.acquire(blocking=False):
            with connection, suppress(OSError):  # a reader that takes nothing is let go at once
                connection.settimeout(BUSY_S)
                connection.sendall(_line({"ok": False, "fault": busy().as_dict()}))
            return
        try:
            threading.Thread(target=self._serve, args=(connection,), name="console-client", daemon=True).start()
        except RuntimeError:  # no thread is to be had
            self._room.release()
            raise

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection:
                line = self._answer(connection)
                connection.settimeout(READ_S)
                connection.sendall(line)
        except OSError:
            pass  # the client is gone; what it asked for stands in the log
        finally:
            self._room.release()

    def _answer(self, connection: socket.socket) -> bytes:
        try:
            data = json.loads(read_line(connection, READ_S))
            request = Request(str(data["command"]), dict(data.get("arguments") or {}), person_at(connection))
            request.command.encode()
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            fault = BadInput("command-not-json-line", "send-json-command-line")
            return _line({"ok": False, "fault": fault.as_dict()})
        self.requests.put(request)
        answer = request.wait(GIVEN_UP_S)
        try:
            return _line(answer)
        except (ValueError, TypeError) as error:  # a defect of the command, which must not cost the client its answer
            log.exception("answer cannot be sent", extra={"command": request.command})
            return _line({"ok": False, "fault": defect(request.command, error).as_dict()})


def _line(answer: Mapping[str, Any]) -> bytes:
    """Raises ValueError, TypeError where a value cannot be sent."""
    return json.dumps(answer, ensure_ascii=False).encode() + b"\n"


def defect(command: str, error: Exception) -> Fault:
    """What a command's own defect is answered with."""
    return Fault(
        "agent-command-failed",
        "report-with-agent-log",
        command=command,
        why=f"{type(error).__name__}: {error}",
    )
