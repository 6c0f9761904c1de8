"""Trying parsers: a fixed number of seeded cases, or on and on, guided by the lines of the product that an input reaches."""

import random
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import Any

from tests.fuzz.mutation import mutated
from tests.fuzz.target import Slow, Target, kind_of

CORPUS = Path(__file__).with_name("corpus")
PACKAGES = tuple(str(Path(__file__).parents[2] / name) + "/" for name in ("agent", "burner", "drivers", "recorder", "wording"))
KEPT = 300  # inputs that a run remembers since each reached something new
TRIES, SMALLER_S = 400, 20.0  # to make a crash's input smaller

Line = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Crash:
    """An input that broke a parser's promise. kind: type and place of the exception."""

    target: str
    data: bytes
    error: BaseException

    @property
    def kind(self) -> str:
        return kind_of(self.error)


def corpus(target: Target) -> list[bytes]:
    """The inputs that are kept for a parser."""
    return [path.read_bytes() for path in sorted((CORPUS / target.name).glob("*"))]


def cases(target: Target, seed: int) -> Iterator[bytes]:
    """Mutations of seeds and corpus, without end; the same for the same seed."""
    good = [*target.seeds(), *corpus(target)]
    chance = random.Random(f"{target.name} {seed}")
    while True:
        yield mutated(chance.choice(good), chance, good, target.words)


def try_some(target: Target, folder: Path, *, seed: int = 1, count: int | None = None) -> Crash | None:
    """The first crash among the corpus, a good example and ``count`` mutations, the target's own number of them by default."""
    drawn = islice(cases(target, seed), target.cases if count is None else count)
    with target.standing(folder) as around:
        for data in (*corpus(target), *target.seeds()[:1], *drawn):
            if (error := target.crash(data, around)) is not None:
                return Crash(target.name, data, error)
    return None


def try_on(
    target: Target, folder: Path, seconds: float, *, seed: int, known: list[bytes]
) -> tuple[list[Crash], int, list[bytes]]:
    """Crashes, one of each kind and as small as they could be made; how many cases were tried; inputs that reached new lines.

    known: such inputs of earlier runs.
    """
    found: dict[str, Crash] = {}
    first = [*target.seeds(), *corpus(target), *known]
    pool, kept, seen, tried = list(first), list(known), set[Line](), 0
    chance = random.Random(f"{target.name} {seed}")
    end = time.monotonic() + seconds
    with target.standing(folder) as around:
        while tried < len(first) or time.monotonic() < end:
            data = first[tried] if tried < len(first) else mutated(chance.choice(pool), chance, pool, target.words)
            with _Traced() as traced:
                error = target.crash(data, around)
            if isinstance(error, Slow):  # following its lines takes several times as long as the input itself
                error = target.crash(data, around)
            if error is not None:
                crash = Crash(target.name, data, error)
                found.setdefault(crash.kind, crash)
            elif tried >= len(first) and len(kept) < KEPT and not traced.lines <= seen:
                pool.append(data)
                kept.append(data)
            seen |= traced.lines
            tried += 1
        return [smaller(target, crash, around) for crash in found.values()], tried, kept


def smaller(target: Target, crash: Crash, around: object) -> Crash:
    """The crash with an input from which nothing can be taken away in pieces of halving size."""
    tries, size, end = 0, max(1, len(crash.data) // 2), time.monotonic() + SMALLER_S
    while tries < TRIES and time.monotonic() < end:
        place, cut = 0, False
        while place < len(crash.data) and tries < TRIES and time.monotonic() < end:
            tries += 1
            data = crash.data[:place] + crash.data[place + size :]
            error = target.crash(data, around)
            if error is not None and kind_of(error) == crash.kind:
                crash, cut = Crash(crash.target, data, error), True
            else:
                place += size
        if size == 1 and not cut:
            break
        size = max(1, size // 2)
    return crash


class _Traced:
    """The lines of the product that this thread passes through."""

    def __init__(self) -> None:
        self.lines: set[Line] = set()

    def __enter__(self) -> "_Traced":
        sys.settrace(self._call)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _call(self, frame: FrameType, event: str, _: Any) -> Any:
        name = frame.f_code.co_filename
        if not name.startswith(PACKAGES):
            return None

        def line(frame: FrameType, event: str, _: Any) -> Any:
            if event == "line":
                self.lines.add((name, frame.f_lineno))
            return line

        return line(frame, "line", None)
