"""The product's command, called as in a room."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class DemoError(Exception):
    """A stage went wrong; the message is for people."""


@dataclass(frozen=True, slots=True)
class RoomAgent:
    """``room-agent --config F …``. env: what the room's devices need in the environment."""

    config: Path
    env: Mapping[str, str]

    def argv(self, *words: str) -> list[str]:
        """The command line: the installed command beside this Python."""
        return [str(Path(sys.executable).with_name("room-agent")), "--config", str(self.config), *words]

    def environment(self) -> dict[str, str]:
        """The caller's environment with the devices'."""
        return {**os.environ, **self.env}

    def ask(self, *words: str, expected: Sequence[int] = (0,), timeout_s: float = 120) -> dict[str, Any]:
        """Runs a command with --json. Raises DemoError with what it said where its exit code is not expected."""
        done = subprocess.run(
            self.argv(*words, "--json"), env=self.environment(), capture_output=True, text=True, timeout=timeout_s, check=False
        )
        answer = last_json(done.stdout)
        if done.returncode not in expected or answer is None:
            said = (done.stdout + done.stderr).strip()[-1500:]
            raise DemoError(f"room-agent {' '.join(words)} ended with {done.returncode}: {said}")
        return {**answer, "exit_code": done.returncode}


def last_json(text: str) -> dict[str, Any] | None:
    """The object on the last line that is one."""
    for line in reversed(text.strip().splitlines()):
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            return value
    return None
