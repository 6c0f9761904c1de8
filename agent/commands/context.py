"""What every command has: its arguments, the configuration as far as it needs it, and the way to answer."""

import json
import os
import sys
import tomllib
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from agent.config.places import DEFAULT_ROOT, DEFAULT_RUN, Places
from agent.console.client import ANSWER_S, ask
from wording import Exit, Fault, Language, Shown, say, shown
from wording.border import joined

if TYPE_CHECKING:
    from agent.config.model import Config


@dataclass(frozen=True, slots=True)
class Context:
    """One call of the command line. config_path: --config or the default."""

    arguments: Namespace
    config_path: Path
    json: bool
    language: Language
    places: Places = field(default_factory=lambda: Places(DEFAULT_ROOT, DEFAULT_RUN))

    def config(self) -> "Config":
        """The whole configuration, checked. Raises ConfigFault."""
        from agent.config.model import load

        return load(self.config_path)

    def ask(
        self, command: str, /, *, timeout_s: float = ANSWER_S, file: int | None = None, **arguments: object
    ) -> dict[str, Any]:
        """A command to the agent. file: descriptor of an open file that is sent with it. Raises Fault."""
        return ask(self.places.socket, command, arguments, timeout_s=timeout_s, file=file)

    def say(self, code: str, /, **values: object) -> Shown:
        """In the reader's language."""
        return say(code, self.language, **values)

    def fault_lines(self, fault: Fault) -> list[Shown]:
        """What is wrong and what to do, each on a line."""
        return [line for line in (fault.say(self.language), fault.say_mend(self.language)) if line]

    def fault_line(self, fault: Fault) -> Shown:
        """What is wrong and what to do, on one line."""
        return joined("" if self.language == "zh" else " ", self.fault_lines(fault))

    def answer(self, data: Mapping[str, Any], lines: Sequence[Shown]) -> None:
        """The command's answer: one JSON line with --json, else the lines."""
        put(sys.stdout, _as_json(data) if self.json else joined("\n", lines))

    def progress(self, text: Shown) -> None:
        """A line on the way, for people only."""
        if not self.json:
            put(sys.stdout, text)

    def meter(self, text: Shown) -> Callable[[float], object]:
        """Shows how far something is (0…1) on a terminal, on one line; nothing elsewhere."""
        shown = -1

        def show(ratio: float) -> None:
            nonlocal shown
            percent = int(100 * ratio)
            if percent != shown and not self.json and sys.stderr is not None and sys.stderr.isatty():
                shown = percent
                sys.stderr.write(f"\r{text} {percent:3d} %" + ("\n" if percent >= 100 else ""))
                sys.stderr.flush()

        return show

    def fail(self, fault: Fault) -> None:
        """The command's failure: with --json on stdout like an answer, else, or where that cannot be written, on stderr."""
        if self.json and not isinstance(fault, UnwritableAnswer):
            with suppress(UnwritableAnswer):
                show_fault(fault, self.language, as_json=True)
                return
        with suppress(UnwritableAnswer):
            show_fault(fault, self.language, as_json=False)


class UnwritableAnswer(Fault):
    """The answer cannot be shown; what was asked for is done all the same."""

    exit_code = Exit.STORAGE


def show_fault(fault: Fault, language: Language, *, as_json: bool) -> None:
    """A failure as one JSON line on stdout, else as lines on stderr. Raises UnwritableAnswer, BrokenPipeError."""
    if as_json:
        put(sys.stdout, _as_json({"fault": {**fault.as_dict(), "message": fault.say(language)}}))
    else:
        put(sys.stderr, joined("\n", [line for line in (fault.say(language), fault.say_mend(language)) if line]))


def _as_json(data: Mapping[str, Any]) -> Shown:
    """One line of JSON, in which a terminal finds nothing to obey."""
    return shown(json.dumps(data, ensure_ascii=False))


def put(stream: TextIO | None, text: Shown) -> None:
    """Writes a line to the stream. Raises UnwritableAnswer, and BrokenPipeError where the reader went away."""
    if stream is None:  # closed by whoever started the command
        return
    try:
        stream.write(text + "\n")
        stream.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # what is left in the buffer must not complain at the end
        raise UnwritableAnswer(
            "answer-cannot-be-written",
            "check-output-destination",
            why=error.strerror or error,
        ) from error


def light_settings(path: Path) -> tuple[Places, Language]:
    """The two folders and the language without checking the rest, in a few milliseconds.

    Raises ConfigFault where the file cannot be read or these keys are wrong.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        storage, ui = data.get("storage", {}), data.get("ui", {})
        root, run = Path(storage.get("root", DEFAULT_ROOT)), Path(storage.get("run", DEFAULT_RUN))
        language = ui.get("language", "zh")
        if root.is_absolute() and run.is_absolute() and language in ("zh", "en"):
            return Places(root, run), language
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        pass
    from agent.config.model import load

    config = load(path)
    return config.storage.places, config.ui.language


def plain_language(path: Path) -> Language:
    """The language of a configuration that may be broken: zh unless it plainly says en."""
    try:
        return "en" if tomllib.loads(path.read_text(encoding="utf-8")).get("ui", {}).get("language") == "en" else "zh"
    except (OSError, ValueError, AttributeError, RecursionError):
        return "zh"
