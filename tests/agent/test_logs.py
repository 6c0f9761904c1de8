"""Log lines: a constant message and its fields; and fields that logging would refuse."""

import ast
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from agent.logs import FieldsFormatter, set_up

ROOT = Path(__file__).parents[2]


def record(message: str, **fields: object) -> logging.LogRecord:
    made = logging.makeLogRecord(
        {"name": "agent.app", "levelno": logging.WARNING, "levelname": "WARNING", "msg": message, **fields}
    )
    made.created = 1_795_224_605.123
    return made


def test_a_line_is_message_and_fields() -> None:
    line = FieldsFormatter(journal=False).format(record("camera lost", camera="closeup", why="no route\nto host", empty=""))
    assert line == '2026-11-21T01:30:05.123Z warning agent.app camera lost camera=closeup why="no route\\nto host" empty=""'
    assert FieldsFormatter(journal=True).format(record("x")) == "<4>warning agent.app x"


def test_the_level_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    root = logging.getLogger()
    before, handlers = root.level, root.handlers[:]
    try:
        monkeypatch.setenv("ROOM_AGENT_LOG", "debug")
        set_up()
        assert logging.getLogger("agent.app").isEnabledFor(logging.DEBUG)
        assert not logging.getLogger("zeep").isEnabledFor(logging.INFO)
        monkeypatch.setenv("ROOM_AGENT_LOG", "nonsense")
        set_up()
        assert not logging.getLogger("agent.app").isEnabledFor(logging.DEBUG)
    finally:
        for handler in set(root.handlers) - set(handlers):
            assert isinstance(handler, logging.StreamHandler)
            handler.stream.close()
        root.setLevel(before)
        root.handlers[:] = handlers
        logging.captureWarnings(False)
        for package in ("agent", "burner", "recorder", "drivers"):
            logging.getLogger(package).setLevel(logging.NOTSET)


WHILE_PORTAUDIO_LOOKS_ROUND = """
import logging, os
from agent.logs import set_up
from drivers.microphone import _quiet_stderr
set_up()
with _quiet_stderr():
    os.write(2, b"ALSA lib pcm.c: Unknown PCM")
    logging.getLogger("recorder.track.process").warning("source lost", extra={"track": "麦克风"})
"""


def test_other_threads_lines_stay_while_a_library_is_kept_quiet() -> None:
    run = subprocess.run(
        [sys.executable, "-c", WHILE_PORTAUDIO_LOOKS_ROUND],
        capture_output=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        encoding="utf-8",
        timeout=20,
    )
    assert run.stderr.rstrip("\n").partition(" warning ")[2] == "recorder.track.process source lost track=麦克风", run.stderr


def test_no_field_has_a_name_that_logging_refuses() -> None:
    """logging raises KeyError for these, in a branch that perhaps runs once a year."""
    refused = set(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
    for package in ("agent", "burner", "recorder", "drivers"):
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.keyword) and node.arg == "extra" and isinstance(node.value, ast.Dict):
                    names = {key.value for key in node.value.keys if isinstance(key, ast.Constant)}
                    assert not names & refused, f"{path}:{node.value.lineno}: {names & refused}"
