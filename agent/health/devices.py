"""How each of the room's devices is, and the room as a whole. Pure: a look at the room in, values out.

A device is `ok` only where something was measured within its period (invariant 8); a process that does not answer makes its
devices `failed`. Texts are Faults, so each reader gets his language.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from agent.health.room_view import RoomView
from recorder.clock.instants import SECOND_NS
from recorder.process.status import ON_DISK_NS, BurnerStatus, ClimateStatus, ComposerStatus, Status, TrackStatus
from wording import Fault

DeviceStatus = Literal["ok", "degraded", "failed", "absent", "unknown"]
Overall = Literal["ok", "degraded", "failed"]

TRACKS = ("overview", "closeup", "microphone")
PACKET_NS = 3 * SECOND_NS  # a track without a packet for so long delivers nothing
GIVEN_UP_NS = SECOND_NS  # and for so long already where it names a fault: the connection is lost
READING_NS = 10 * SECOND_NS  # a climate reading is good for so long; the overlay shows --.- after it
FIRST_NS = 10 * SECOND_NS  # a device that has delivered nothing so long after its process began has failed
BEHIND_S = 5.0  # so long after the start every track and the composite must have written
LAG_MS = 2000.0  # a picture encoded later than this after it was due is late
DISK_FAILED_H = 0.5
GIB = 1 << 30

FAILING = frozenset({"failed", "absent"})
WORKING = frozenset({"ok", "degraded"})


@dataclass(frozen=True, slots=True)
class Limits:
    """From the configuration. drives: how many the room has; disk_low_h: hours of recording below which the disk is low."""

    drives: int = 0
    disk_low_h: float = 4.0
    clock_offset_s: float = 1.0


USUAL = Limits()


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


Verdict = tuple[DeviceStatus, Fault | None]
OK: Verdict = ("ok", None)


def devices(view: RoomView, limits: Limits = USUAL) -> tuple[DeviceHealth, ...]:
    """Every device of the room, always the same ones in the same order for the same Limits."""
    drives = max(limits.drives, len(_drives(view)), 1 if "burner" in (*view.expected, *view.required) else 0)
    return (
        *(_device(view, name, _track_verdict, _track_measurements) for name in TRACKS),
        _device(view, "climate", _climate_verdict, _climate_measurements),
        _device(view, "composer", _composer_verdict, _composer_measurements),
        *(_drive(view, number) for number in range(1, drives + 1)),
        _disk(view, limits),
        _clock(view, limits),
        _agent(view),
    )


def not_looking(device: DeviceHealth, seconds: float) -> DeviceHealth:
    """The device of a room that nobody has looked at for so long."""
    cause = Fault(
        "The agent has not looked at the room for {seconds} s.",
        "The recording goes on by itself; restart the agent's service if this stays.",
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


def _device(
    view: RoomView,
    name: str,
    verdict: Callable[[RoomView, Any], Verdict],
    measurements: Callable[[RoomView, Any], tuple[Measurement, ...]],
) -> DeviceHealth:
    status = view.statuses.get(name)
    required = name in view.required
    if status is None:
        return DeviceHealth(name, *_missing(view, name, required))
    return _of(name, verdict(view, status), required, status, measurements(view, status))


def _of(name: str, verdict: Verdict, required: bool, status: Status | None, measured: tuple[Measurement, ...]) -> DeviceHealth:
    since = status.since_ns if status is not None and status.since_ns > 0 else None
    return DeviceHealth(name, verdict[0], required, verdict[1], since, measured)


def _missing(view: RoomView, process: str, required: bool) -> tuple[DeviceStatus, bool, Fault | None]:
    if required or process in view.expected:
        return (
            "failed",
            required,
            Fault(
                "The process does not answer.", "It is started again by itself; if this stays, look at its log and its service."
            ),
        )
    return "absent", required, None


def _fault(status: Status) -> Fault | None:
    if status.fault is None:
        return None
    try:
        return Fault.from_dict(status.fault)
    except (KeyError, ValueError, TypeError):  # written by another process, perhaps of another version
        return Fault("The process reports a fault that cannot be read.", "Look at its log.")


def _age_s(view: RoomView, at_ns: int | None) -> float | None:
    return None if at_ns is None else round(max(0, view.boottime_ns - at_ns) / SECOND_NS, 1)


def _older(view: RoomView, at_ns: int | None, limit_ns: int) -> bool:
    return at_ns is None or view.boottime_ns - at_ns > limit_ns


def _nothing_on_disk(view: RoomView, last_ns: int | None) -> Fault:
    return Fault(
        "Nothing has reached the disk for {seconds} s although a session runs.",
        "Check that the data disk is neither full nor failing, and look at the process's log.",
        seconds=round(view.recorded_s if last_ns is None else (view.boottime_ns - last_ns) / SECOND_NS),
    )


def _track_verdict(view: RoomView, status: Status) -> Verdict:
    fault = _fault(status)
    if not isinstance(status, TrackStatus) or status.state == "failed":
        return "failed", fault
    if fault is not None and _older(view, status.last_packet_ns, GIVEN_UP_NS):
        return "failed", fault
    if _older(view, status.last_packet_ns, PACKET_NS):
        if status.last_packet_ns is None and not _older(view, status.since_ns, FIRST_NS):
            return "unknown", None
        since = status.since_ns if status.last_packet_ns is None else status.last_packet_ns
        return "failed", Fault(
            "The device has delivered nothing for {seconds} s.",
            "Check its power, its cable and the network.",
            seconds=round(max(0, view.boottime_ns - since) / SECOND_NS),
        )
    if status.state not in ("armed", "recording", "finished"):
        return ("failed", fault) if fault is not None else ("unknown", None)
    if view.state == "recording" and view.recorded_s > BEHIND_S and _older(view, status.last_disk_ns, ON_DISK_NS):
        return "failed", fault or _nothing_on_disk(view, status.last_disk_ns)
    return ("degraded", fault) if fault is not None else OK


def _track_measurements(view: RoomView, status: Status) -> tuple[Measurement, ...]:
    if not isinstance(status, TrackStatus):
        return ()
    common = (
        Measurement("last_packet_age", _age_s(view, status.last_packet_ns), "s"),
        Measurement("bitrate", round(status.bitrate_bps), "bit/s"),
        Measurement("reconnects", status.reconnects),
        Measurement("codec", status.codec),
    )
    if status.media == "audio":
        return (
            *common,
            Measurement("level", status.level_dbfs, "dBFS"),
            Measurement("peak", status.peak_dbfs, "dBFS"),
            Measurement("clipped", status.clipped_ratio),
            Measurement("sample_rate", status.sample_rate_hz, "Hz"),
            Measurement("drift", status.drift_ppm, "ppm"),
        )
    return (
        *common,
        Measurement("width", status.width, "px"),
        Measurement("height", status.height, "px"),
        Measurement("picture_rate", round(status.fps, 2), "1/s"),
        Measurement("keyframe_interval", status.keyframe_interval_s, "s"),
        Measurement("clock_offset", status.clock_offset_s, "s"),
        Measurement("drift", status.drift_ppm, "ppm"),
    )


def _climate_verdict(view: RoomView, status: Status) -> Verdict:
    fault = _fault(status)
    if isinstance(status, ClimateStatus) and status.state == "absent":
        return "absent", fault or _not_there()
    if (
        isinstance(status, ClimateStatus)
        and status.state == "starting"
        and fault is None
        and not _older(view, status.since_ns, FIRST_NS)
    ):
        return "unknown", None
    if not isinstance(status, ClimateStatus) or status.state != "ok" or _older(view, status.reading_ns, READING_NS):
        return "failed", fault or Fault(
            "There is no fresh reading of the sensor.", "Check the sensor's cable, power and address."
        )
    return ("degraded", fault) if fault is not None else OK


def _climate_measurements(view: RoomView, status: Status) -> tuple[Measurement, ...]:
    if not isinstance(status, ClimateStatus):
        return ()
    fresh = not _older(view, status.reading_ns, READING_NS)
    return (
        Measurement("temperature", status.temperature_c if fresh else None, "°C"),
        Measurement("humidity", status.humidity_pct if fresh else None, "%"),
        Measurement("reading_age", _age_s(view, status.reading_ns), "s"),
    )


def _composer_verdict(view: RoomView, status: Status) -> Verdict:
    fault = _fault(status)
    if not isinstance(status, ComposerStatus) or status.state == "failed":
        return "failed", fault
    if view.state == "recording" and view.recorded_s > BEHIND_S and _older(view, status.last_disk_ns, ON_DISK_NS):
        return "failed", fault or _nothing_on_disk(view, status.last_disk_ns)
    if fault is None and view.state == "recording" and status.lag_ms > LAG_MS:
        fault = Fault(
            "The composite is {seconds} s behind; the originals are not concerned.",
            "The PC is overloaded: end other programs.",
            seconds=round(status.lag_ms / 1000, 1),
        )
    return ("degraded", fault) if fault is not None else OK


def _composer_measurements(view: RoomView, status: Status) -> tuple[Measurement, ...]:
    if not isinstance(status, ComposerStatus):
        return ()
    return (
        Measurement("pictures_due", status.pictures_due),
        Measurement("pictures_written", status.pictures_written),
        Measurement("late", status.late),
        Measurement("lag", round(status.lag_ms), "ms"),
        Measurement("parts", status.parts),
        Measurement("encoder", status.encoder),
        Measurement("last_disk_age", _age_s(view, status.last_disk_ns), "s"),
    )


def _not_there() -> Fault:
    return Fault("The device is not there.", "Connect it, or take it out of the configuration.")


def _drives(view: RoomView) -> list[dict[str, object]]:
    status = view.statuses.get("burner")
    return status.drives if isinstance(status, BurnerStatus) else []


def _drive(view: RoomView, number: int) -> DeviceHealth:
    """One optical drive as drivers.optical.DriveState.as_dict tells it; a drive without a disc, or with a written one, is ok."""
    name, status, drives = f"drive-{number}", view.statuses.get("burner"), _drives(view)
    required = not {"burner", name}.isdisjoint(view.required)
    if status is None:
        return DeviceHealth(name, *_missing(view, "burner", required))
    if number > len(drives):
        return _of(name, ("unknown", _fault(status)), required, status, ())
    drive = drives[number - 1]
    state = str(drive.get("state", ""))
    told = drive.get("fault")
    fault = Fault.from_dict(told) if isinstance(told, dict) and "text" in told and "mend" in told else None
    verdict: Verdict = OK if fault is None else ("failed", fault)
    if state == "absent":
        verdict = ("absent", fault or _not_there())
    words = [Measurement(k, v) for k in ("device", "state", "medium") if isinstance(v := drive.get(k), str)]
    sizes = [
        Measurement(k.removesuffix("_bytes"), v, "B")
        for k in ("free_bytes", "capacity_bytes")
        if isinstance(v := drive.get(k), int)
    ]
    return _of(name, verdict, required, status, (*words, *sizes))


def _disk(view: RoomView, limits: Limits) -> DeviceHealth:
    disk = view.disk
    if disk is None:
        cause = Fault("The data disk cannot be measured.", "Check that storage.root exists and its disk is mounted.")
        return DeviceHealth("disk", "failed", True, cause)
    measured = (
        Measurement("free", disk.free_bytes, "B"),
        Measurement("total", disk.total_bytes, "B"),
        Measurement("hours_left", disk.hours_left, "h"),
    )
    mend = (
        "Fit a larger disk. The program deletes nothing: whether sessions on verified discs may be removed is for the centre to"
        " decide."
    )
    if disk.hours_left is not None and disk.hours_left < limits.disk_low_h:
        cause = Fault("The data disk holds only {hours} more hours of recording.", mend, hours=round(disk.hours_left, 1))
        return DeviceHealth("disk", "failed" if disk.hours_left < DISK_FAILED_H else "degraded", True, cause, None, measured)
    if disk.hours_left is None and disk.free_bytes < 20 * GIB:
        cause = Fault("The data disk has only {gib} GiB left.", mend, gib=round(disk.free_bytes / GIB, 1))
        return DeviceHealth("disk", "failed" if disk.free_bytes < 2 * GIB else "degraded", True, cause, None, measured)
    return DeviceHealth("disk", "ok", True, None, None, measured)


def _clock(view: RoomView, limits: Limits) -> DeviceHealth:
    clock = view.clock
    if clock is None:
        return DeviceHealth("clock", "unknown", False)
    measured = (Measurement("offset", clock.offset_s, "s"), Measurement("source", clock.reference))
    cause = None
    if not clock.synchronised:
        cause = Fault(
            "The clock is not synchronised.", "Check the centre's time server; recording goes on, marked as unsynchronised."
        )
    if clock.offset_s is not None and abs(clock.offset_s) > limits.clock_offset_s:
        cause = Fault(
            "The clock is off by {seconds} s.",
            "Let it be set by the centre's time server before the next session.",
            seconds=round(clock.offset_s, 3),
        )
    return DeviceHealth("clock", "ok" if cause is None else "degraded", False, cause, None, measured)


def _agent(view: RoomView) -> DeviceHealth:
    """The agent itself: it looks, so it works, unless something keeps it from what it does for a session."""
    if view.fault is not None:
        return DeviceHealth("agent", "failed", True, view.fault)
    return DeviceHealth("agent", "ok" if view.hindrance is None else "degraded", True, view.hindrance)
