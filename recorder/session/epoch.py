"""Room time on the disk: every boot of the PC ties CLOCK_BOOTTIME to UTC once a session, in ``epochs/<boot>.json``.

Room time is a number of nanoseconds: UTC since 1970 as it was at the tie, carried on by CLOCK_BOOTTIME, so a step of the wall
clock moves nothing. The process that needs a boot's epoch first creates its file.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from recorder.clock.instants import SECOND_NS, boot_id
from recorder.disk.durable import create_json, make_folder, read_json
from recorder.disk.typed import WrongField, typed
from recorder.faults import EvidenceFault
from recorder.session.files import ahead_ns, stored_until_ns

TieSource = Literal["ntp", "unsynchronised", "floor"]


@dataclass(frozen=True, slots=True)
class Tie:
    """The wall clock read at an instant of CLOCK_BOOTTIME.

    offset_s: wall clock minus its reference, in seconds, where a reference answered. source: "ntp" (the kernel says it is
    synchronised), "unsynchronised", or "floor" (the wall clock was earlier than data already recorded: a lower bound was taken).
    ahead_ns: what was added to the wall clock to go on with the room time of the session's earlier boots.
    """

    boot_id: str
    boottime_ns: int
    utc_ns: int
    source: TieSource
    offset_s: float | None = None
    ahead_ns: int = 0


@dataclass(frozen=True, slots=True)
class Epoch:
    """Room time within one boot: room = boottime + shift."""

    tie: Tie

    @property
    def shift_ns(self) -> int:
        return self.tie.utc_ns - self.tie.boottime_ns

    def room_ns(self, boottime: int) -> int:
        """Room time of an instant of CLOCK_BOOTTIME."""
        return boottime + self.shift_ns

    def boottime_ns(self, room: int) -> int:
        """The instant of CLOCK_BOOTTIME for a room time; the inverse of room_ns."""
        return room - self.shift_ns


def epoch_path(session: Path) -> Path:
    """Where the session's epoch of this boot lies."""
    return session / "epochs" / f"{boot_id()}.json"


def session_epoch(session: Path, tie: Callable[[], Tie], *, floor_ns: int = 0) -> Epoch:
    """The session's epoch for this boot, from ``epochs/<boot>.json``; created once by whoever comes first (exclusive create).

    Room time goes on as in the earlier boots: where their clock was set during the session, it stays as far from it as it was. A
    clock behind what is recorded already, or behind floor_ns (the official start), is not believed. Raises StorageFault,
    EvidenceFault.
    """
    path = epoch_path(session)
    make_folder(path.parent)
    if not path.exists():
        first = tie()
        ahead = ahead_ns(session, first.boot_id, synchronised=True)
        first = replace(first, utc_ns=first.utc_ns + ahead, ahead_ns=ahead)
        floor_ns = max(floor_ns, stored_until_ns(session, first.boot_id))
        if first.utc_ns <= floor_ns:
            first = replace(first, utc_ns=floor_ns + SECOND_NS, source="floor", ahead_ns=0)
        create_json(path, asdict(first))
    return Epoch(read_tie(path))


def read_tie(path: Path) -> Tie:
    """Reads one stored tie. Raises NotFound, EvidenceFault."""
    try:
        return typed(Tie, read_json(path))
    except WrongField as error:
        raise EvidenceFault(
            "file-not-readable-json",
            "restore-file-never-edit",
            path=path,
            why="no tie",
        ) from error
