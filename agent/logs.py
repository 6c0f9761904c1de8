"""Logs of every process: a constant message and its fields, one line each, on stderr (kept by systemd's journal or in log/)."""

import logging
import os
import sys
from datetime import UTC, datetime
from typing import TextIO

LEVEL = "ROOM_AGENT_LOG"  # environment variable: debug, info, warning or error
_PRIORITY = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class FieldsFormatter(logging.Formatter):
    """``2026-01-01T09:30:00.123Z warning agent.app message field=value``; under systemd the priority in place of the time."""

    def __init__(self, *, journal: bool) -> None:
        super().__init__()
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        """One line, but for a traceback below it."""
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        head = f"<{_PRIORITY.get(record.levelno, 6)}>" if self._journal else f"{moment} "
        words = [record.levelname.lower(), record.name, record.getMessage()]
        words += [f"{key}={_value(value)}" for key, value in vars(record).items() if key not in _OWN]
        line = head + " ".join(words).replace("\n", "\\n")
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _value(value: object) -> str:
    text = str(value)
    return f'"{text}"' if " " in text or not text else text


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
