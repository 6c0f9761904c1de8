"""What can be wrong with a configuration file, in the reader's language."""

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from wording import Exit, Fault, Language, Shown, say
from wording.border import joined, laid_out

WHOLE = "must-be-whole-number"
NUMBER = "must-be-number"
TRUTH = "must-be-true-or-false"
TEXT = "must-be-quoted-text"
SECTION = "must-be-own-section"

# pydantic's error types in the words of a technician; {names} are filled from pydantic's context.
WORDS = {
    "greater_than_equal": "must-be-at-least",
    "greater_than": "must-be-more-than",
    "less_than_equal": "must-be-at-most",
    "less_than": "must-be-less-than",
    "multiple_of": "must-be-multiple-of",
    "finite_number": NUMBER,
    "literal_error": "must-be-one-of",
    "string_pattern_mismatch": "must-be-short-plain-name",
    "string_too_short": "must-not-be-empty",
    "string_too_long": "text-too-long",
    "int_parsing": WHOLE,
    "int_type": WHOLE,
    "int_from_float": WHOLE,
    "float_parsing": NUMBER,
    "float_type": NUMBER,
    "bool_parsing": TRUTH,
    "bool_type": TRUTH,
    "string_type": TEXT,
    "path_type": TEXT,
    "tuple_type": "must-be-list",
    "missing": "value-missing",
    "too_long": "too-many-values",
    "model_type": SECTION,
    "model_attributes_type": SECTION,
}


NAMED = "configuration-file-has-problems"
UNNAMED = "configuration-has-problems"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong. key: dotted; what, hint: codes of their texts, filled from values; line: of the file, where known."""

    key: str
    what: str
    hint: str
    line: int | None = None
    values: Mapping[str, object] = field(default_factory=dict)

    def say(self, language: Language = "en") -> Shown:
        """One line: where, what, what to do."""
        what, hint = say(self.what, language, **self.values), say(self.hint, language, **self.values)
        code = "problem-at-line-and-key" if self.line else "problem-at-key"
        return Shown(say(code, language, line=self.line, key=self.key, what=what, hint=hint).rstrip())

    def __str__(self) -> str:
        return self.say()


class ConfigFault(Fault):
    """All problems of a configuration at once."""

    exit_code = Exit.CONFIG

    def __init__(self, problems: Sequence[Problem], path: Path | None = None) -> None:
        self.problems, self.path = list(problems), path
        super().__init__(
            NAMED if path else UNNAMED,
            "mend-then-check-config",
            path=path or "",
            count=len(self.problems),
            list=self._list("en"),
        )

    def __reduce__(self) -> tuple[type[Self], tuple[list[Problem], Path | None]]:
        """Pickled with its problems, so that agent.config.in_child hands them over untold."""
        return type(self), (self.problems, self.path)

    def _list(self, language: Language) -> Shown:
        return joined("\n", [laid_out("  {problem}", problem=p.say(language)) for p in self.problems])

    def say(self, language: Language = "en") -> Shown:
        """What is wrong, each problem on a line."""
        return say(self.code, language, **{**self.values, "list": self._list(language)})


def syntax_problem(error: Exception) -> Problem:
    """The problem of a text that is no TOML."""
    line = re.search(r"at line (\d+)", str(error))
    return Problem("TOML", "library-detail", "mend-syntax-first", int(line.group(1)) if line else None, {"detail": str(error)})


def problem_of(error: Any, lines: Mapping[str, int], known_keys: Callable[[list[str]], list[str]]) -> Problem:
    """One of pydantic's errors as a problem. lines: of key_lines; known_keys: the keys allowed at a location."""
    location = [str(p) for p in error["loc"]]
    key = ".".join(location)
    line = next((lines[k] for k in (".".join(location[:n]) for n in range(len(location), 0, -1)) if k in lines), None)
    kind = str(error["type"])
    if kind == "extra_forbidden":
        known = known_keys(location[:-1])
        near = difflib.get_close_matches(location[-1], known, 1, 0.6)
        if near:
            return Problem(key, "configuration-key-unknown", "did-you-mean", line, {"near": near[0]})
        return Problem(key, "configuration-key-unknown", "known-keys-here", line, {"known": ", ".join(known)})
    context = {k: _readable(v) for k, v in error.get("ctx", {}).items()}
    if kind == "value_error":
        what, given = str(error["ctx"]["error"]), error.get("input")
        if isinstance(given, str) and "rtsp" not in key:  # an address may hold a password
            return Problem(key, what, "actual-value-is", line, {"value": _toml_like(given)})
        return Problem(key, what, "", line)
    what = WORDS.get(kind, "library-detail")
    context["detail"] = str(error["msg"])
    value = error.get("input")
    if isinstance(value, (str, int, float)) and "password" not in key:
        return Problem(key, what, "actual-value-is", line, {**context, "value": _toml_like(value)})
    return Problem(key, what, "", line, context)


def _readable(value: object) -> object:
    """A limit as people write it: 2 for 2.0, "a, b" for "'a' or 'b'"."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return re.sub(r"'?( or |, )'?", ", ", value).strip("'") if isinstance(value, str) else value


def _toml_like(value: str | float) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else repr(value)


def key_lines(text: str) -> dict[str, int]:
    """Dotted key to line number, read from the text as TOML writes tables and keys one a line."""
    lines: dict[str, int] = {}
    table = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[\s*([A-Za-z0-9_.-]+)\s*\]", line):
            table = header.group(1) + "."
            lines.setdefault(header.group(1), number)
        elif key := re.match(r"\s*([A-Za-z0-9_.-]+)\s*=", line):
            lines.setdefault(table + key.group(1), number)
    return lines
