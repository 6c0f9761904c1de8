"""Logs of every process: a constant message and its fields, one line each, on stderr (kept by systemd's journal or in log/).

A field may hold what a camera, a disc, the broker or a person sent. So each is bounded, and whatever controls a terminal, ends a
line or turns the text around it is written as its escape (wording.border.shown): nothing can hide a line or forge one. systemd's
journal splits lines at 48 KiB (LineMax in journald.conf) and reads a priority where a line begins, so a record stays below that.
"""

import logging
import os
import sys
import threading
import traceback
from datetime import UTC, datetime
from typing import TextIO

from wording.border import shown

LEVEL = "ROOM_AGENT_LOG"  # environment variable: debug, info, warning or error
_PRIORITY = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}
VALUE_CHARACTERS = 2000  # of one field, and of the message
LINE_CHARACTERS = 8000  # of a record's line: an escape is six bytes, a Chinese character three
TRACE_LINES, TRACE_CHARACTERS = 60, 300  # the last lines of a traceback, and of one of them
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class FieldsFormatter(logging.Formatter):
    """``2026-01-01T09:30:00.123Z warning agent.app message field=value``; under systemd the priority in place of the time."""

    def __init__(self, *, journal: bool) -> None:
        super().__init__()
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        """One line, but for a traceback below it, whose lines are indented: none of them can pass for a record."""
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        head = f"<{_PRIORITY.get(record.levelno, 6)}>" if self._journal else f"{moment} "
        words = [record.levelname.lower(), record.name, _message(record)]
        words += [f"{key}={_value(value)}" for key, value in vars(record).items() if key not in _OWN]
        lines = [head + _bounded(" ".join(words), LINE_CHARACTERS)]
        if record.exc_info:
            before = head if self._journal else ""
            lines += [f"{before}  {_bounded(shown(line), TRACE_CHARACTERS)}" for line in _trace(record)]
        return "\n".join(lines)


def _message(record: logging.LogRecord) -> str:
    """The message with its arguments; a library's record whose arguments do not fit is shown without them."""
    try:
        return _text(record.getMessage())
    except (TypeError, ValueError, LookupError):
        return _text(record.msg)


def _value(value: object) -> str:
    text = _text(value)
    return f'"{text}"' if " " in text or not text else text


def _text(value: object) -> str:
    """Any value as a bounded piece of one line. A newline, the usual one of them, as people write it."""
    try:
        text = str(value)
    except Exception as error:  # noqa: BLE001  (whatever a value does when it is written: the record must not be lost)
        text = f"({type(value).__name__}, {type(error).__name__})"
    return _bounded(shown(_bounded(text, VALUE_CHARACTERS).replace("\n", "\\n")), LINE_CHARACTERS)


def _bounded(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}…"


def _trace(record: logging.LogRecord) -> list[str]:
    """The last lines of the record's traceback."""
    assert record.exc_info
    text = "".join(traceback.format_exception(*record.exc_info))
    return text[-TRACE_LINES * TRACE_CHARACTERS :].splitlines()[-TRACE_LINES:]


def _thread_failed(told: threading.ExceptHookArgs) -> None:
    """In place of Python's own words on stderr, which are neither bounded nor escaped."""
    if told.exc_value is not None:
        failed = (told.exc_type, told.exc_value, told.exc_traceback)
        logging.getLogger(__name__).error("a thread failed", extra={"of": told.thread and told.thread.name}, exc_info=failed)


def _own(stream: TextIO | None) -> TextIO | None:
    """The stream by a file descriptor of its own: while PortAudio looks round, 2 is turned away (drivers.microphone)."""
    if stream is None:  # the process was started without
        return None
    return os.fdopen(os.dup(stream.fileno()), "w", buffering=1, encoding=stream.encoding, errors="backslashreplace")


def set_up() -> None:
    """For a process that runs on: everything from the level on goes to stderr. Libraries are heard from warnings on.

    Raises OSError where stderr has no file descriptor.
    """
    named = logging.getLevelNamesMapping().get(os.environ.get(LEVEL, "info").upper(), logging.INFO)
    handler = logging.StreamHandler(_own(sys.stderr))
    handler.setFormatter(FieldsFormatter(journal="JOURNAL_STREAM" in os.environ))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(named, logging.WARNING))
    for package in ("agent", "burner", "recorder", "drivers"):
        logging.getLogger(package).setLevel(named)
    logging.captureWarnings(True)
    threading.excepthook = _thread_failed


def for_a_command() -> None:
    """For a command of a person, which sets up no log: what is said from warnings on reaches the terminal bounded and escaped."""
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(FieldsFormatter(journal=False))
