"""A command on its way from a client's line to its answer. The line is outside text: bounded in length, depth and numbers."""

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from agent.authority.person import NOBODY, Person
from agent.console.client import no_answer
from agent.console.sent_file import NO_FILE, SentFile
from recorder.faults import BadInput
from wording import Fault

DEEPEST = 32  # lists and objects inside one another
NAME_CHARACTERS = 80  # of a command, as logs and answers show it


@dataclass(slots=True)
class Request:
    """One command on its way through the agent's thread.

    person: who sent it, as the kernel tells; given_up: its client was told that no answer comes; file: the open file that the
    client sends along, for a command that takes one; answered: called once there is an answer, by whichever thread gives it.
    """

    command: str
    arguments: Mapping[str, Any]
    person: Person = NOBODY
    given_up: bool = False
    file: SentFile = NO_FILE
    answered: Callable[[], object] = lambda: None
    _answer: dict[str, Any] | None = None
    _done: threading.Event = field(default_factory=threading.Event)

    def succeed(self, answer: Mapping[str, Any]) -> None:
        """Answers with a result."""
        self._finish({"ok": True, "answer": dict(answer)})

    def fail(self, fault: Fault) -> None:
        """Answers with a fault."""
        self._finish({"ok": False, "fault": fault.as_dict()})

    def _finish(self, answer: dict[str, Any]) -> None:
        self._answer = answer
        self._done.set()
        self.answered()

    @property
    def succeeded(self) -> bool:
        """It was answered, with a result."""
        return self._answer is not None and self._answer["ok"] is True

    def answer(self) -> dict[str, Any]:
        """The line to send back; where there is none yet, the word that none comes, and the command is given up."""
        if self._answer is None:
            self.given_up = True
            return {"ok": False, "fault": no_answer().as_dict()}
        return self._answer

    def wait(self, timeout_s: float) -> dict[str, Any]:
        """The same, after waiting for it."""
        self._done.wait(timeout_s)
        return self.answer()


def defect(command: str, error: Exception) -> Fault:
    """What a command's own defect is answered with."""
    return Fault(
        "agent-command-failed",
        "report-with-agent-log",
        command=command,
        why=f"{type(error).__name__}: {error}",
    )


def understood(line: bytes) -> tuple[str, dict[str, Any]]:
    """Command and arguments of a client's line. The command is plain ASCII, cut where it is long. Raises BadInput."""
    try:
        data = json.loads(line, parse_constant=_no_number, parse_float=_number)
        command, arguments = data["command"], data.get("arguments") or {}
        if not (isinstance(command, str) and isinstance(arguments, dict)) or _deep(arguments):
            raise ValueError
        command.encode()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadInput("command-not-json-line", "send-json-command-line") from error
    return ascii(command)[1:-1][:NAME_CHARACTERS], arguments


def _no_number(_text: str) -> NoReturn:
    """NaN and Infinity, which are no JSON."""
    raise ValueError


def _number(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError
    return value


def _deep(value: object) -> bool:
    """Whether lists and objects lie deeper inside one another than any command needs."""
    level: list[object] = [value]
    for _ in range(DEEPEST):
        inside: list[object] = []
        for each in level:
            if isinstance(each, dict):
                inside += each.values()
            elif isinstance(each, list):
                inside += each
        if not inside:
            return False
        level = inside
    return True
