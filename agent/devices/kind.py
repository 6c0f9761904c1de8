"""What a description of a device kind holds, and what judging a device needs. Light: the command line reads it."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from recorder.clock.instants import SECOND_NS
from recorder.process.status import Status
from wording import Fault

if TYPE_CHECKING:
    from agent.config.model import Config

DeviceStatus = Literal["ok", "degraded", "failed", "absent", "unknown"]

FIRST_NS = 10 * SECOND_NS  # a device that has delivered nothing so long after its process began has failed
BEHIND_S = 5.0  # so long after the start every track and the composite must have written


class Look(Protocol):
    """A look at the room, as far as a device is judged by it. agent.health.room_view.RoomView is one."""

    @property
    def boottime_ns(self) -> int: ...
    @property
    def state(self) -> str: ...
    @property
    def recorded_s(self) -> float: ...
    @property
    def statuses(self) -> Mapping[str, Status]: ...
    @property
    def required(self) -> Sequence[str]: ...
    @property
    def expected(self) -> Sequence[str]: ...
    @property
    def changed_cameras(self) -> Mapping[str, Fault]: ...


@dataclass(frozen=True, slots=True)
class Limits:
    """From the configuration. drives: how many the room has; disk_low_h: hours of recording below which the disk is low."""

    drives: int = 0
    disk_low_h: float = 4.0
    clock_offset_s: float = 1.0


@dataclass(frozen=True, slots=True)
class Measurement:
    """One measured value. unit: "" for a count, a ratio or a word."""

    name: str
    value: float | int | str | None
    unit: str = ""


@dataclass(frozen=True, slots=True)
class DeviceHealth:
    """One device now. since_ns: CLOCK_BOOTTIME since when its process is in its state, None where that is not known."""

    id: str
    status: DeviceStatus
    required: bool
    cause: Fault | None = None
    since_ns: int | None = None
    measurements: tuple[Measurement, ...] = ()


Judgement = tuple[DeviceStatus, Fault | None]
OK: Judgement = ("ok", None)


def no_measurements(_look: Look, _status: Status) -> tuple[Measurement, ...]:
    """The measurements of a device that measures nothing."""
    return ()


@dataclass(frozen=True, slots=True)
class DeviceKind:
    """One process of the room and what it shows of its device.

    id: of the process, of its lock, status and log, and of the device on the feed. title, help: codes of the device's name and of
    the command's help. unit: systemd's. command: arguments of room-agent that run it. meant: whether a room with this
    configuration has it. settings, work: what the process is given, and what runs it; both load what they need themselves.
    program: the module that work loads.
    records: it writes what a session is made of, so that a hang must be over soon. judge, measure: what a live status shows.
    checks: modules of agent.selfcheck.checks. members: the devices that one process shows, where it is not just its own;
    pattern: of their ids, a regular expression.
    """

    id: str
    title: str
    help: str
    unit: str
    command: tuple[str, ...]
    settings: "Callable[[Config], object]"
    work: Callable[[Any], None]
    program: str
    judge: Callable[[Look, Status], Judgement]
    measure: Callable[[Look, Status], tuple[Measurement, ...]] = no_measurements
    meant: "Callable[[Config], bool]" = lambda _: True
    records: bool = False
    checks: tuple[str, ...] = ()
    members: Callable[[Look, Limits], tuple[DeviceHealth, ...]] | None = None
    pattern: str = ""

    def devices(self, look: Look, limits: Limits) -> tuple[DeviceHealth, ...]:
        """The devices of this kind in a look at the room."""
        if self.members is not None:
            return self.members(look, limits)
        status, required = look.statuses.get(self.id), self.id in look.required
        if status is None:
            return (missing(look, self.id, self.id, required=required),)
        return (health(self.id, self.judge(look, status), required, status, self.measure(look, status)),)

    @property
    def ids(self) -> str:
        """The ids of its devices on the feed, as a regular expression."""
        return self.pattern or re.escape(self.id)


def health(
    name: str, verdict: Judgement, required: bool, status: Status | None, measured: tuple[Measurement, ...] = ()
) -> DeviceHealth:
    """A device with its verdict. status: of its process, None where it has none."""
    since = status.since_ns if status is not None and status.since_ns > 0 else None
    return DeviceHealth(name, verdict[0], required, verdict[1], since, measured)


def missing(look: Look, name: str, process: str, *, required: bool) -> DeviceHealth:
    """A device whose process does not answer; absent where the room is not meant to have it."""
    if required or process in look.expected:
        return DeviceHealth(name, "failed", required, Fault("process-not-answering", "process-restarts-check-if-persistent"))
    return DeviceHealth(name, "absent", required)


def not_there() -> Fault:
    """A device that is configured and was not found."""
    return Fault("device-absent", "connect-device-or-remove-from-configuration")


def told_fault(status: Status) -> Fault | None:
    """What the process says is wrong; a fault that cannot be read is one as well."""
    if status.fault is None:
        return None
    try:
        return Fault.from_dict(status.fault)
    except (KeyError, ValueError, TypeError):  # written by another process, perhaps of another version
        return Fault("process-fault-unreadable", "check-process-log")


def age_s(look: Look, at_ns: int | None) -> float | None:
    """How long ago an instant of CLOCK_BOOTTIME was, s."""
    return None if at_ns is None else round(max(0, look.boottime_ns - at_ns) / SECOND_NS, 1)


def older(look: Look, at_ns: int | None, limit_ns: int) -> bool:
    """Whether it is longer ago than the limit, or never happened."""
    return at_ns is None or look.boottime_ns - at_ns > limit_ns


def nothing_on_disk(look: Look, last_ns: int | None) -> Fault:
    """A session runs, and what the process writes does not reach the disk. last_ns: when something did last."""
    seconds = look.recorded_s if last_ns is None else (look.boottime_ns - last_ns) / SECOND_NS
    return Fault("session-nothing-reaches-disk", "check-data-disk-and-process-log", seconds=round(seconds))
