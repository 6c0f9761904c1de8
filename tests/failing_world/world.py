"""The world of a room's processes, to be changed under them: their wall clock, and what their disk does. See world.c.

Nothing in the product knows of it: a library loaded before the C library answers for it, in every process of the room.
"""

import mmap
import os
import struct
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import IntFlag
from hashlib import sha256
from pathlib import Path

from recorder.clock.instants import boottime_ns

SOURCE = Path(__file__).with_name("world.c")
RULES, RULE_AT, RULE = 4, 16, struct.Struct("=IiII240s")
SECOND = 1_000_000_000


class Calls(IntFlag):
    """Calls of the C library that a rule is about."""

    CREATE = 1
    WRITE = 2
    SYNC = 4
    RENAME = 8
    ALL = 15


def library(cache: Path) -> Path:
    """world.c compiled, kept in ``cache``."""
    made = cache / f"world-{sha256(SOURCE.read_bytes()).hexdigest()[:12]}.so"
    if not made.exists():
        cache.mkdir(parents=True, exist_ok=True)
        new = made.with_suffix(f".{os.getpid()}")
        subprocess.run(["gcc", "-shared", "-fPIC", "-O2", "-o", new, SOURCE], check=True, timeout=60)
        new.replace(made)
    return made


class World:
    """What the processes started with ``env`` see. root: of the storage; folder: on the same file system, for its own files."""

    def __init__(self, folder: Path, root: Path, cache: Path) -> None:
        self.root, self.keep, self.log = root, folder / "keep", folder / "calls.log"
        self.keep.mkdir(parents=True)
        self.log.touch()
        control = folder / "control"
        control.write_bytes(bytes(mmap.PAGESIZE))
        self.env = {
            "LD_PRELOAD": str(library(cache)),
            "WORLD_CONTROL": str(control),
            "WORLD_ROOT": str(root),
            "WORLD_KEEP": str(self.keep),
            "WORLD_LOG": str(self.log),
        }
        with control.open("r+b") as file:
            self._control = mmap.mmap(file.fileno(), mmap.PAGESIZE)
        self.well()

    def well(self) -> None:
        """The true wall clock, of which the kernel says what it says; a disk that does what it is told."""
        self.wall_s = 0.0
        self.synchronised = None
        for number in range(RULES):
            RULE.pack_into(self._control, self._at(number), 0, 0, 0, 0, b"")

    # -- the clock --

    @property
    def wall_s(self) -> float:
        """By how much the processes' wall clock is ahead of this PC's."""
        return int(struct.unpack_from("=q", self._control, 0)[0]) / SECOND

    @wall_s.setter
    def wall_s(self, seconds: float) -> None:
        struct.pack_into("=q", self._control, 0, round(seconds * SECOND))

    def set_wall(self, seconds: float) -> int:
        """Sets the wall clock so far ahead; CLOCK_BOOTTIME of it, ns."""
        self.wall_s = seconds
        return boottime_ns()

    @property
    def synchronised(self) -> bool | None:
        """What the kernel says of the wall clock; None: what it really says."""
        told = struct.unpack_from("=i", self._control, 8)[0]
        return None if told < 0 else bool(told)

    @synchronised.setter
    def synchronised(self, told: bool | None) -> None:
        struct.pack_into("=i", self._control, 8, -1 if told is None else int(told))

    # -- the disk --

    @staticmethod
    def _at(number: int) -> int:
        return RULE_AT + number * RULE.size

    @contextmanager
    def rule(self, part: str, calls: Calls, *, error: int = 0, delay_s: float = 0.0) -> Iterator[Callable[[], int]]:
        """While the block runs, these calls on paths below the root with ``part`` in them wait, then fail if there is an error.

        Gives a function that counts the calls so far.
        """
        number = next(n for n in range(RULES) if not RULE.unpack_from(self._control, self._at(n))[0])
        RULE.pack_into(self._control, self._at(number), 0, error, round(delay_s * 1000), 0, os.fsencode(part))
        struct.pack_into("=I", self._control, self._at(number), calls)
        try:
            yield lambda: int(RULE.unpack_from(self._control, self._at(number))[3])
            assert RULE.unpack_from(self._control, self._at(number))[3], f"nothing was done on {part or 'the disk'} meanwhile"
        finally:
            RULE.pack_into(self._control, self._at(number), 0, 0, 0, 0, b"")
