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
LINE_BYTES = 2 << 20  # of a command or an answer; a transcript of 1 MiB in base64 fits
AGENT_AWAY_S = 15.0  # a restart takes less
BUSY, BUSY_S = "agent-busy", 0.2  # an agent that says so took no command; it is asked again after this
PATIENCE_S = 11.0  # for so long: a silent client is let go after 10 s (server.READ_S)
ANSWER_S = 30.0  # as long as a client waits


def ask(path: Path, command: str, arguments: Mapping[str, Any] | None = None, *, timeout_s: float = ANSWER_S) -> dict[str, Any]:
    """One command and its answer; an agent that is busy is asked again for a while.

    Raises the Fault that the agent answered, or one with Exit.NO_AGENT where none answers.
    """
    try:
        line = json.dumps({"command": command, "arguments": arguments or {}}, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError as error:
        raise no_utf8(error) from error
    deadline = time.monotonic() + min(timeout_s, PATIENCE_S)
    while True:
        try:
            return _ask_once(path, line, timeout_s)
        except Fault as fault:
            if fault.code != BUSY or time.monotonic() + BUSY_S > deadline:
                raise
        time.sleep(BUSY_S)


def _ask_once(path: Path, line: bytes, timeout_s: float) -> dict[str, Any]:
    try:
        with local_socket.connect(path, timeout_s) as connection:
            with suppress(BrokenPipeError, ConnectionResetError):  # a busy console answers without reading
                connection.sendall(line)
            answer = json.loads(read_line(connection, timeout_s))
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


def read_line(connection: socket.socket, limit_s: float) -> bytes:
    """Up to the first newline, all of it within limit_s. Raises OSError, ValueError where the line is too long."""
    deadline = time.monotonic() + limit_s
    data = bytearray()
    while not data.endswith(b"\n"):
        connection.settimeout(max(deadline - time.monotonic(), 0.001))
        block = connection.recv(1 << 16)
        if not block:
            break
        data += block
        if len(data) > LINE_BYTES:
            raise ValueError("line too long")
    return bytes(data)


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
