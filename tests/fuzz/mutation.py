"""Broken variants of good examples: bytes, lines, numbers, words of the format, and the nodes of a JSON document."""

import json
import random
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

MOST_BYTES = 64 * 1024
DEEP = 20_000
NUMBERS = (
    *("0", "-1", "1", "127", "128", "255", "256", "65535", "65536", "2147483647", "2147483648", "4294967296"),
    *("9223372036854775807", "9223372036854775808", "-9223372036854775809", "1e308", "1e309", "-0.0", "NaN", "Infinity"),
    *("9" * 40, "9" * 400, "1" * 5000, "0x7f", "1_000", "٣", "²"),
)
TEXTS = (
    *("", " ", "\0", "\n", "\r\n", "\x1b[2J", "\x9b", "\u2028", "\u202e", "\u200b", "\ufeff", "\ud800", "\U0010ffff"),
    *("{x}", "{0.__class__}", "{x:>999999999}", "%s%n", "../../etc/passwd", "/dev/zero", "<script>", "'\"`", "null", "a" * 5000),
    *("2026-02-30T25:61:61Z", "0000-00-00", "9999-12-31T23:59:59.999999999+23:59", "二〇二六年十三月卅二日"),
)
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1.5, 10**18, 10**19, 10**400, -(10**400), 1e308, float("inf"), float("nan")),
    *([], {}, [[]], [None], {"": None}, {"code": "x", "values": {"x": "y"}}, {"code": {"code": {}}}, *TEXTS),
)
BYTES = (
    b"\0",
    b"\xff",
    b"\x80",
    b"\xc0\x80",
    b"\xed\xa0\x80",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\r\n\r\n",
    b"[" * DEEP,
    b'{"a":' * DEEP,
)

Change = Callable[[bytearray, random.Random], None]


def mutated(data: bytes, chance: random.Random, others: Sequence[bytes] = (), words: Sequence[bytes] = ()) -> bytes:
    """A broken variant of ``data``, of MOST_BYTES at most. others: further examples; words: of the format."""
    changes = chance.choice((1, 1, 1, 2, 3, 8))
    if chance.random() < 0.4:
        with suppress(ValueError, RecursionError):
            data, changes = _json(data, chance), changes - 1
    out = bytearray(data)
    for _ in range(changes):
        kind = chance.random()
        if kind < 0.1 and others:
            _spliced(out, chance, chance.choice(others))
        elif kind < 0.3 and words:
            _put(out, chance, chance.choice(words))
        else:
            chance.choice(CHANGES)(out, chance)
    return bytes(out[:MOST_BYTES])


def _span(out: bytearray, chance: random.Random) -> slice:
    begin = chance.randrange(len(out) + 1)
    return slice(begin, begin + min(len(out) - begin, chance.choice((1, 1, 2, 4, 16, 64, 1024))))


def _put(out: bytearray, chance: random.Random, piece: bytes) -> None:
    """Inserted, or in place of something."""
    span = _span(out, chance)
    out[span.start : span.stop if chance.random() < 0.5 else span.start] = piece


def _flip(out: bytearray, chance: random.Random) -> None:
    if out:
        out[chance.randrange(len(out))] ^= 1 << chance.randrange(8)


def _byte(out: bytearray, chance: random.Random) -> None:
    if out:
        out[chance.randrange(len(out))] = chance.choice((0, 1, 0x7F, 0x80, 0xFE, 0xFF, chance.randrange(256)))


def _cut(out: bytearray, chance: random.Random) -> None:
    del out[_span(out, chance)]


def _end(out: bytearray, chance: random.Random) -> None:
    del out[chance.randrange(len(out) + 1) :]


def _repeated(out: bytearray, chance: random.Random) -> None:
    span = _span(out, chance)
    out[span.start : span.start] = out[span] * chance.choice((1, 2, 10, 1000))


def _random(out: bytearray, chance: random.Random) -> None:
    _put(out, chance, chance.randbytes(chance.choice((1, 2, 8, 100))))


def _special(out: bytearray, chance: random.Random) -> None:
    _put(out, chance, chance.choice(BYTES))


def _text(out: bytearray, chance: random.Random) -> None:
    _put(out, chance, chance.choice(TEXTS).encode(errors="surrogatepass"))


def _number(out: bytearray, chance: random.Random) -> None:
    if found := list(re.finditer(rb"\d+", out)):
        span = chance.choice(found).span()
        out[slice(*span)] = chance.choice(NUMBERS).encode()


def _lines(out: bytearray, chance: random.Random) -> None:
    lines = bytes(out).splitlines(keepends=True)
    if len(lines) > 1:
        one, other = chance.randrange(len(lines)), chance.randrange(len(lines))
        lines[one], lines[other] = (lines[other], lines[one]) if chance.random() < 0.5 else (lines[one], lines[one])
        out[:] = b"".join(lines)


CHANGES: tuple[Change, ...] = (_flip, _byte, _cut, _end, _repeated, _random, _special, _text, _number, _number, _lines)


def _spliced(out: bytearray, chance: random.Random, other: bytes) -> None:
    """The beginning of one and the end of another."""
    out[chance.randrange(len(out) + 1) :] = other[chance.randrange(len(other) + 1) :]


def _json(data: bytes, chance: random.Random) -> bytes:
    """A JSON document, or one of its lines, with one node changed. Raises ValueError, RecursionError where it is none."""
    lines = data.splitlines(keepends=True)
    place = chance.randrange(len(lines)) if lines else 0
    try:
        document, before, after = json.loads(data), b"", b""
    except ValueError:
        if not lines:
            raise
        document, before, after = json.loads(lines[place]), b"".join(lines[:place]), b"\n" + b"".join(lines[place + 1 :])
    changed = changed_node(document, chance)
    text = json.dumps(changed, ensure_ascii=chance.random() < 0.2, indent=1 if b'\n "' in data else None)
    return before + text.encode(errors="surrogatepass") + after


def changed_node(document: Any, chance: random.Random) -> Any:
    """A copy of the document with one node replaced, removed, doubled, wrapped or moved."""
    holder: Any = [json.loads(json.dumps(document))]
    places = list(_places(holder))
    parent, key = chance.choice(places)
    match chance.randrange(8):
        case 0 if isinstance(parent, dict):
            del parent[key]
        case 1 if isinstance(parent, list) and parent is not holder:
            parent.insert(key, parent[key])
        case 2:
            parent[key] = [parent[key]]
        case 3:
            other, place = chance.choice(places)
            parent[key] = json.loads(json.dumps(other[place]))
        case 4 if isinstance(parent, dict):
            parent[chance.choice(TEXTS)] = parent.pop(key)
        case 5 if isinstance(parent[key], int | float) and not isinstance(parent[key], bool):
            parent[key] = parent[key] * chance.choice((-1, 0, 2, 1000, 10**30)) + chance.choice((-1, 0, 1))
        case _:
            parent[key] = chance.choice(VALUES)
    return holder[0]


def _places(node: Any) -> list[tuple[Any, Any]]:
    """Every (container, key or index) of a document."""
    found: list[tuple[Any, Any]] = []
    waiting = [node]
    while waiting:
        each = waiting.pop()
        keys = list(each) if isinstance(each, dict) else range(len(each)) if isinstance(each, list) else ()
        for key in keys:
            found.append((each, key))
            waiting.append(each[key])
    return found
