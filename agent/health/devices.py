"""How each of the room's devices is, and the room as a whole. Pure: a look at the room in, values out.

A device is `ok` only where something was measured within its period (invariant 8); a process that does not answer makes its
devices `failed`. Texts are Faults, so each reader gets his language.
"""

from collections.abc import Iterable
from typing import Literal

from agent.devices.kind import DeviceHealth, Limits, Measurement
from agent.devices.kinds import KINDS
from agent.health.room_view import RoomView
from recorder.session.wall_clock import clock_fault
from wording import Fault

Overall = Literal["ok", "degraded", "failed"]

DISK_FAILED_H = 0.5
GIB = 1 << 30

FAILING = frozenset({"failed", "absent"})
WORKING = frozenset({"ok", "degraded"})

USUAL = Limits()


def devices(view: RoomView, limits: Limits = USUAL) -> tuple[DeviceHealth, ...]:
    """Every device of the room, always the same ones in the same order for the same Limits."""
    of_processes = [device for kind in KINDS for device in kind.devices(view, limits)]
    return (*of_processes, _disk(view, limits), _clock(view, limits), _agent(view))


def not_looking(device: DeviceHealth, seconds: float) -> DeviceHealth:
    """The device of a room that nobody has looked at for so long."""
    cause = Fault(
        "agent-room-look-overdue",
        "restart-agent-if-persistent",
        seconds=round(seconds),
    )
    return DeviceHealth(device.id, "unknown", device.required, cause)


def concerns(device: DeviceHealth) -> bool:
    """Whether the device keeps the room from being ok: it is not, and it is not merely something the room is not meant to have.

    What the configuration names and nobody finds is absent for a cause.
    """
    return device.status != "ok" and (device.required or device.status != "absent" or device.cause is not None)


def overall(all_devices: Iterable[DeviceHealth]) -> Overall:
    """failed: a required device fails or is absent. degraded: anything else is not ok. Drives fail a room only all together."""
    found = tuple(all_devices)
    drives = [d for d in found if d.id.startswith("drive-")]
    some_drive = any(d.status in WORKING for d in drives)
    if any(d.required and d.status in FAILING and not (d in drives and some_drive) for d in found):
        return "failed"
    return "degraded" if any(concerns(d) for d in found) else "ok"


def _disk(view: RoomView, limits: Limits) -> DeviceHealth:
    disk = view.disk
    if disk is None:
        cause = Fault("data-disk-not-measurable", "check-storage-root-mounted")
        return DeviceHealth("disk", "failed", True, cause)
    measured = (
        Measurement("free", disk.free_bytes, "B"),
        Measurement("total", disk.total_bytes, "B"),
        Measurement("hours_left", disk.hours_left, "h"),
    )
    mend = "fit-larger-disk"
    if disk.hours_left is not None and disk.hours_left < limits.disk_low_h:
        cause = Fault("data-disk-hours-low", mend, hours=round(disk.hours_left, 1))
        return DeviceHealth("disk", "failed" if disk.hours_left < DISK_FAILED_H else "degraded", True, cause, None, measured)
    if disk.hours_left is None and disk.free_bytes < 20 * GIB:
        cause = Fault("data-disk-space-low", mend, gib=round(disk.free_bytes / GIB, 1))
        return DeviceHealth("disk", "failed" if disk.free_bytes < 2 * GIB else "degraded", True, cause, None, measured)
    return DeviceHealth("disk", "ok", True, None, None, measured)


def _clock(view: RoomView, limits: Limits) -> DeviceHealth:
    clock = view.clock
    if clock is None:
        return DeviceHealth("clock", "unknown", False)
    measured = (Measurement("offset", clock.offset_s, "s"), Measurement("source", clock.reference))
    cause = clock_fault(clock, limits.clock_offset_s)
    return DeviceHealth("clock", "ok" if cause is None else "degraded", False, cause, None, measured)


def _agent(view: RoomView) -> DeviceHealth:
    """The agent itself: it looks, so it works, unless something keeps it from what it does for a session."""
    if view.fault is not None:
        return DeviceHealth("agent", "failed", True, view.fault)
    return DeviceHealth("agent", "ok" if view.hindrance is None else "degraded", True, view.hindrance)
