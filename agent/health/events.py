"""The room's health: its devices and condition and what happened between two looks. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agent.devices.kind import Limits
from agent.health.devices import FAILING, USUAL, devices
from agent.health.room_view import RoomView
from recorder.clock.instants import CLOCK_STEP_NS, SECOND_NS
from recorder.process.status import BurnerStatus, TrackStatus
from recorder.session.tracks import TRACKS

RECENT_S = 60.0  # a burn result that is older was told before


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened. kind and data as in the contract's event, but causes are still Faults. at_ns: CLOCK_BOOTTIME."""

    kind: str
    at_ns: int
    data: Mapping[str, Any]


def events(before: RoomView | None, after: RoomView, limits: Limits = USUAL) -> tuple[Event, ...]:
    """What happened between two consecutive looks, as events of the contract; nothing at the first look."""
    if before is None:
        return ()
    return (
        *_device_events(before, after, limits),
        *_camera_events(before, after),
        *_gap_events(before, after),
        *_session_events(before, after),
        *_selfcheck_events(before, after),
        *_burn_events(before, after),
        *_clock_events(before, after),
    )


def _device_events(before: RoomView, after: RoomView, limits: Limits) -> Iterable[Event]:
    was = {d.id: d for d in devices(before, limits)}
    for now in devices(after, limits):
        old = was[now.id].status if now.id in was else "unknown"
        if now.status == old:
            continue
        told = {"device": now.id, "status": now.status}
        why = {"cause": now.cause, "mend": now.cause}
        if now.id == "disk" and after.disk is not None and now.status in ("degraded", "failed"):
            sizes = {"free_bytes": after.disk.free_bytes, "hours_left": after.disk.hours_left}
            yield Event("disk-low", after.boottime_ns, {"status": now.status, **sizes})
        elif now.status in FAILING and old not in FAILING:
            yield Event("device-lost", after.boottime_ns, {**told, **why})
        elif now.status == "degraded":
            yield Event("device-degraded", after.boottime_ns, {**told, **why})
        elif now.status == "ok":
            yield Event("device-back", after.boottime_ns, told)


def _camera_events(before: RoomView, after: RoomView) -> Iterable[Event]:
    """A camera is another than the accepted one, or changed again."""
    for name, fault in after.changed_cameras.items():
        old = before.changed_cameras.get(name)
        if old is None or old.as_dict() != fault.as_dict():
            yield Event("camera-changed", after.boottime_ns, {"device": name, "cause": fault, "mend": fault})


def _gap_events(before: RoomView, after: RoomView) -> Iterable[Event]:
    for name in TRACKS:
        old, new = before.statuses.get(name), after.statuses.get(name)
        if isinstance(new, TrackStatus) and new.session is not None:
            same = isinstance(old, TrackStatus) and old.session == new.session
            if new.gaps > (old.gaps if isinstance(old, TrackStatus) and same else 0):
                yield Event("gap", after.boottime_ns, {"device": name, "session": new.session, "gaps": new.gaps})


def _session_events(before: RoomView, after: RoomView) -> Iterable[Event]:
    if after.session is None:
        return
    session, state = after.session.get("id"), after.session.get("state")
    same = before.session is not None and before.session.get("id") == session
    previous = before.session.get("state") if before.session is not None and same else None
    if state != previous:
        yield Event("session", after.boottime_ns, {"session": session, "state": state, "previous": previous})


def _selfcheck_events(before: RoomView, after: RoomView) -> Iterable[Event]:
    check = after.selfcheck
    if check is not None and (before.selfcheck is None or before.selfcheck.at_ns != check.at_ns):
        yield Event("selfcheck", after.boottime_ns, {"passed": check.passed, "failed_checks": list(check.failed_checks)})


def _burn_events(before: RoomView, after: RoomView) -> Iterable[Event]:
    old, new = before.statuses.get("burner"), after.statuses.get("burner")
    if not isinstance(new, BurnerStatus) or new.last is None or not isinstance(old, BurnerStatus) or old.last == new.last:
        return
    if not _recent(new.last.get("finished"), after.room_ns):
        return  # a worker that has just begun tells its newest job's result again
    job, session = new.last.get("job"), new.last.get("session")
    yield Event("burn", after.boottime_ns, {"session": session, "job": job, "passed": new.last.get("ok") is True})


def _recent(told: object, now_ns: int) -> bool:
    """Whether an RFC 3339 time is less than a minute old; True where it is none."""
    try:
        at_s = datetime.fromisoformat(str(told)).timestamp()
    except ValueError:
        return True
    return now_ns / SECOND_NS - at_s < RECENT_S


def _clock_events(before: RoomView, after: RoomView) -> Iterable[Event]:
    """Only outside sessions: room time, which a session's looks carry, does not step."""
    if {before.state, after.state}.isdisjoint({"recording", "sealing"}):
        step = (after.room_ns - after.boottime_ns) - (before.room_ns - before.boottime_ns)
        if abs(step) > CLOCK_STEP_NS:
            yield clock_step(step, after)


def clock_step(step_ns: int, view: RoomView) -> Event:
    """The event of a wall clock that was set by so much."""
    return Event("clock-step", view.boottime_ns, {"step_s": round(step_ns / SECOND_NS, 3), "state": view.state})
