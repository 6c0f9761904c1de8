"""The room as one value: what the agent knows at an instant, for the health feed, the console and `session status`."""

from dataclasses import dataclass, field
from typing import Any, Literal

from drivers.ports import ClockState
from recorder.process.status import Status
from wording import Fault

RoomState = Literal["idle", "ready", "recording", "sealing"]


@dataclass(frozen=True, slots=True)
class DiskView:
    """The data disk. hours_left: of recording at the present rate of all tracks and the composite."""

    free_bytes: int
    total_bytes: int
    hours_left: float | None


@dataclass(frozen=True, slots=True)
class SelfcheckView:
    """The newest self-check. at_ns: UTC ns since 1970; valid: it lets a session start now."""

    at_ns: int
    passed: bool
    valid: bool
    failed_checks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RoomView:
    """One look at the room.

    boottime_ns: CLOCK_BOOTTIME of the look; room_ns: UTC or, in a session, room time, ns. statuses: live ones, by process name
    (overview, closeup, microphone, composer, climate, burner); a process that is missing here is dead or frozen. required: the
    devices without which the room is not ready. session: the content of session.json (docs/formats.md) of the running session,
    else of the newest one; None where there is none. fault: what keeps the agent from its own work until a person mends it,
    such as a seal that cannot be signed; hindrance: what it tries again by itself. changed_cameras: those that are not as they
    were accepted, by the track's name.
    """

    boottime_ns: int
    room_ns: int
    state: RoomState
    statuses: dict[str, Status]
    required: tuple[str, ...]
    session: dict[str, Any] | None = None
    recorded_s: float = 0.0
    disk: DiskView | None = None
    clock: ClockState | None = None
    selfcheck: SelfcheckView | None = None
    temperature_c: float | None = None
    humidity_pct: float | None = None
    expected: tuple[str, ...] = field(default=())  # processes that should live: missing ones are shown as dead
    fault: Fault | None = None
    hindrance: Fault | None = None
    changed_cameras: dict[str, Fault] = field(default_factory=dict)
