"""Asks the agent: one JSON line to ``agent.sock``, one back (docs/formats.md). Imports nothing heavy."""

import json
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from recorder.faults import BadInput
from recorder.process import local_socket
from wording import Exit, Fault
from wording.refusals import fault_from

UNITS = Path("/etc/systemd/system/room-agent.target")  # there where systemd runs the room's processes
ANSWER_BYTES = 2 << 20  # of an answer
AGENT_AWAY_S = 15.0  # a restart takes less
BUSY, BUSY_S = "agent-busy", 0.05  # an agent that says so took no command; it is asked again after this
PATIENCE_S = 11.0  # for so long: a place is free again after 10 s (server.READ_S)
ANSWER_S = 30.0  # as long as a client waits


def ask(
    path: Path,
    command: str,
    arguments: Mapping[str, Any] | None = None,
    *,
    timeout_s: float = ANSWER_S,
    file: int | None = None,
) -> dict[str, Any]:
    """One command and its answer; an agent that is busy is asked again for a while.

    file: descriptor of an open file that the command needs; the agent is given the file and not its name.
    Raises the Fault that the agent answered, or one with Exit.NO_AGENT where none answers.
    """
    try:
        line = json.dumps({"command": command, "arguments": arguments or {}}, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError as error:
        raise no_utf8(error) from error
    patient_until = time.monotonic() + min(timeout_s, PATIENCE_S)
    while True:
        patience_s = max(0.0, patient_until - time.monotonic())
        try:
            return _ask_once(path, line, timeout_s, patience_s, file)
        except Fault as fault:
            if fault.code != BUSY or time.monotonic() + BUSY_S > patient_until:
                raise
        time.sleep(BUSY_S)


def _ask_once(path: Path, line: bytes, timeout_s: float, patience_s: float, file: int | None) -> dict[str, Any]:
    """patience_s: how long a place in the agent's queue is waited for."""
    try:
        with local_socket.connect(path, patience_s) as connection:
            lines = _Lines(connection, timeout_s)
            with suppress(BrokenPipeError, ConnectionResetError):  # a busy console answers without reading
                connection.settimeout(timeout_s)
                connection.sendall(line)
            answer = json.loads(lines.read())
            if "send" in answer:
                with suppress(BrokenPipeError, ConnectionResetError):  # the agent has answered meanwhile
                    socket.send_fds(connection, [b"\n"], [file] if file is not None else [])
                answer = json.loads(lines.read())
    except PermissionError as error:
        text, mend = (
            "agent-access-denied",
            "join-agent-group",
        )
        raise Fault(text, mend, exit_code=Exit.NO_AGENT, path=path) from error
    except BlockingIOError as error:  # nobody has taken the connections that wait already
        raise busy() from error
    except TimeoutError as error:
        raise no_answer() from error
    except (OSError, ValueError) as error:
        raise Fault(
            "agent-not-running",
            "start-service" if UNITS.exists() else "start-agent",
            exit_code=Exit.NO_AGENT,
            path=path,
        ) from error
    if not answer["ok"]:
        raise fault_from(answer["fault"])
    result: dict[str, Any] = answer["answer"]
    return result


class _Lines:
    """The lines that come over a connection, all of them within limit_s."""

    def __init__(self, connection: socket.socket, limit_s: float) -> None:
        self._connection = connection
        self._deadline = time.monotonic() + limit_s
        self._came = bytearray()

    def read(self) -> bytes:
        """The next line. Raises OSError, ValueError where it is too long."""
        while (end := self._came.find(b"\n") + 1) == 0:
            self._connection.settimeout(max(self._deadline - time.monotonic(), 0.001))
            block = self._connection.recv(1 << 16)
            if not block:
                end = len(self._came)
                break
            self._came += block
            if len(self._came) > ANSWER_BYTES:
                raise ValueError("line too long")
        line = bytes(self._came[:end])
        del self._came[:end]
        return line


def no_utf8(error: UnicodeEncodeError) -> BadInput:
    """What a value that cannot be encoded is answered with."""
    text, mend = "argument-not-utf8", "retype-in-utf8-terminal"
    return BadInput(text, mend, value=ascii(error.object[error.start : error.end]))


def busy() -> Fault:
    """The fault where the agent already serves as many commands as it can."""
    return Fault(BUSY, "wait-and-ask-again", exit_code=Exit.NO_AGENT)


def no_answer() -> Fault:
    """The fault where no answer came in time."""
    mend = "recording-continues-check-disk-and-log"
    return Fault("agent-answer-timeout", mend, exit_code=Exit.NO_AGENT)


class PatientStatus:
    """``session.status`` of one session, asked again and again: an agent that is restarted meanwhile is waited for."""

    def __init__(self, ask: Callable[..., dict[str, Any]], session: str, *, away_s: float = AGENT_AWAY_S) -> None:
        """ask: as Context.ask. away_s: how long an agent that does not answer is waited for."""
        self._ask, self._session, self._away_s = ask, session, away_s
        self._away_since: float | None = None

    def ask(self, *, deadline: float = float("inf")) -> dict[str, Any] | None:
        """The agent's answer, None while it is away. deadline: time.monotonic() from which an absent agent is not waited for.

        Raises Fault where it is away for too long, or refuses.
        """
        try:
            status = self._ask("session.status", session=self._session)
        except Fault as fault:
            now = time.monotonic()
            self._away_since = self._away_since or now
            if fault.exit_code != Exit.NO_AGENT or now - self._away_since > self._away_s or now > deadline:
                raise
            return None
        self._away_since = None
        return status
