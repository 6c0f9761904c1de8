"""The two types of text at the border of the product.

``Given``: it came from outside (a command, a camera, a disc, the broker) and was bounded and checked; ``given`` alone makes it.
``Shown``: it may go to a person; control and direction characters in it are escaped. ``shown``, ``say``, ``joined`` and
``laid_out`` make it. The functions that put something on a screen, a page or a disc take nothing else, which mypy checks.
"""

import unicodedata
from collections.abc import Iterable
from html import escape
from typing import LiteralString

MOST_CHARACTERS = 1 << 20  # of a text from outside where its place names no smaller limit
# They change the direction of the text around them (Unicode Standard Annex 9), or are such marks themselves.
DIRECTING = frozenset({"LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI"})
MARKS = frozenset("\u061c\u200e\u200f")


class Given(str):
    """A text from outside that ``given`` has checked."""

    __slots__ = ()


class Shown(str):
    """A text for a person, with nothing in it that could hide or turn what stands beside it."""

    __slots__ = ()


class NotGiven(ValueError):
    """A text from outside cannot be taken. reason: "type", "encoding" or "length"."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def given(value: object, *, most: int = MOST_CHARACTERS) -> Given:
    """A text from outside. most: characters. Raises NotGiven where it is no text, holds half a character, or is too long."""
    if not isinstance(value, str):
        raise NotGiven("type")
    if len(value) > most:
        raise NotGiven("length")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise NotGiven("encoding") from error
    return Given(value)


def given_or_nothing(value: object, *, most: int) -> Given:
    """What a device says of itself, as a record keeps it: cut where it is too long, "" where it is no text."""
    try:
        return given(value[:most] if isinstance(value, str) else value, most=most)
    except NotGiven:
        return Given("")


def directs(character: str) -> bool:
    """Whether a character ends a line, controls a terminal, is half of one, or turns the text around it."""
    return (
        unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")
        or unicodedata.bidirectional(character) in DIRECTING
        or character in MARKS
    )


def shown(value: object) -> Shown:
    """Any value for a person; what ``directs`` becomes its escape, such as ``\\u202e``."""
    if isinstance(value, Shown):
        return value
    text = str(value)
    if text.isascii() and text.isprintable():
        return Shown(text)
    return Shown("".join(_escape(c) if directs(c) else c for c in text))


def _escape(character: str) -> str:
    """All that ``directs`` lies below U+10000; in this form the text of a JSON document stays one."""
    return f"\\u{ord(character):04x}"


def joined(separator: LiteralString, parts: Iterable[Shown]) -> Shown:
    """Texts for a person, one after another. separator: a constant of the code, such as a newline."""
    return Shown(separator.join(parts))


def laid_out(layout: LiteralString, /, **values: object) -> Shown:
    """A constant of the code with its {fields} filled in, each value escaped."""
    return Shown(layout.format(**{k: v if isinstance(v, (int, float)) else shown(v) for k, v in values.items()}))


def markup(text: Shown) -> str:
    """A text for a person as a part of an HTML page."""
    return escape(text)
