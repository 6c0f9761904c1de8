"""Log lines: a constant message and its fields; and fields that logging would refuse."""

import ast
import logging
import os
import subprocess
import sys
import threading
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


HOSTILE = "a\x1b[2J\r\x9b1m\x00\u2028\u202e\ud800\n<3>forged"
ESCAPED = r"a\u001b[2J\u000d\u009b1m\u0000\u2028\u202e\ud800\n<3>forged"


@pytest.mark.parametrize("journal", [False, True])
def test_what_came_from_outside_is_escaped(journal: bool) -> None:
    told = FieldsFormatter(journal=journal).format(record(f"heard {HOSTILE}", camera=HOSTILE, path="/数据/a b"))
    assert told.endswith(f'warning agent.app heard {ESCAPED} camera={ESCAPED} path="/数据/a b"')
    assert told.isprintable()


@pytest.mark.parametrize("large", ["x", "\x1b", "数", "<3>\n", "\u202e"])
def test_a_record_is_bounded(large: str) -> None:
    """Below the 48 KiB at which the journal splits a line, whose rest could then begin with a priority of the sender's choice."""
    text = large * (1_000_000 // len(large))
    told = FieldsFormatter(journal=True).format(record("heard", text=text, again=text, rest=text, last=[text]))
    assert "\n" not in told and len(told.encode()) < 40 * 1024
    assert told.startswith("<4>warning agent.app heard text=") and "…" in told
    assert len(FieldsFormatter(journal=True).format(record(text)).encode()) < 40 * 1024


class Unspeakable:
    def __str__(self) -> str:
        raise RuntimeError("no")


def test_a_record_that_cannot_be_written_is_written_all_the_same() -> None:
    told = FieldsFormatter(journal=True).format(record("of a library %s %d", args=(1,), value=Unspeakable(), number=10**5000))
    assert told.endswith('of a library %s %d value="(Unspeakable, RuntimeError)" number="(int, ValueError)"')


def test_a_traceback_cannot_pass_for_a_record() -> None:
    try:
        raise ValueError(f"{HOSTILE}\n<2>forged {'x' * 1_000_000}")
    except ValueError as error:
        failed = (type(error), error, error.__traceback__)
    first, *rest = FieldsFormatter(journal=True).format(record("failed", exc_info=failed)).split("\n")
    assert first == "<4>warning agent.app failed" and rest
    assert all(line.startswith("<4>  ") and len(line) < 400 and line.isprintable() for line in rest)
    plain = FieldsFormatter(journal=False).format(record("failed", exc_info=failed)).split("\n")[1:]
    assert all(line.startswith("  ") for line in plain)


HOSTILE_EVERYWHERE = """
import logging, sys, threading
from agent import logs
(logs.set_up if sys.argv[1] == "process" else logs.for_a_command)()
logging.getLogger("urllib3.connection").warning("Failed to parse headers: %s", "\\x1b[2J\\x9b\\r" + "x" * 1_000_000)
try:
    raise ValueError("\\x1b[8m")
except ValueError:
    logging.getLogger("agent.x").exception("failed")
if sys.argv[1] == "process":
    def fails(): raise ValueError("\\x1b[8m\\r<0>")
    thread = threading.Thread(target=fails, name="of a test")
    thread.start()
    thread.join()
"""


@pytest.mark.parametrize("kind", ["process", "command"])
def test_libraries_and_threads_write_no_raw_text(kind: str) -> None:
    run = subprocess.run([sys.executable, "-c", HOSTILE_EVERYWHERE, kind], capture_output=True, check=True, cwd=ROOT, timeout=20)
    assert run.stderr.count(b"\\u001b[") == (3 if kind == "process" else 2)
    assert all(line.decode().isprintable() and len(line) < 4000 for line in run.stderr.splitlines())
    assert (b"a thread failed" in run.stderr) == (kind == "process")


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
        threading.excepthook = threading.__excepthook__
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
