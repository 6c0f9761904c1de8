"""What `room-agent session status` is answered: the room and a session, as values that travel over the socket."""

from collections.abc import Mapping
from typing import Any

from agent.config.model import Config
from agent.feed.room import Feed, limits_of
from agent.health.devices import concerns, devices, overall
from agent.health.look import not_on_disk, track_statuses
from agent.health.room_view import RoomView
from agent.session.keeper import SessionKeeper
from recorder.clock.instants import SECOND_NS, rfc3339
from recorder.process.status import ON_DISK_NS, BurnerStatus, ComposerStatus, TrackStatus
from recorder.session.record import Session


def status_answer(
    config: Config, view: RoomView, keeper: SessionKeeper, asked: Session | None, feed: Feed | None
) -> dict[str, Any]:
    """asked: another session than the running or newest one, None for that. feed: None where the agent has none yet."""
    session = asked or keeper.current
    active = keeper.active
    begun = view.state == "recording" and view.recorded_s >= ON_DISK_NS / SECOND_NS  # before, a track may end another session
    missing = not_on_disk(view) if begun else []
    found = devices(view, limits_of(config))
    return {
        "room": {"id": config.room.id, "name": config.room.name},
        "now": rfc3339(view.room_ns, config.room.zone),
        "state": view.state,
        "recording": view.state == "recording" and not not_on_disk(view),
        "not_on_disk": missing,
        "recorded_s": round(view.recorded_s, 1),
        "waiting_for": list(keeper.waiting_for) if active else [],
        "may_leave_in_s": _round(keeper.may_leave_in_s),
        "fault": keeper.fault.as_dict() if keeper.fault else None,
        "session": session.as_dict() if session else None,
        "path": str(keeper.path(session)) if session else None,
        "tracks": {name: _track(status, view) for name, status in track_statuses(view.statuses, view.required).items()},
        "composer": _composer(view),
        "burner": _burner(view),
        "overall": overall(found),
        "devices": [
            {
                "id": d.id,
                "status": d.status,
                "required": d.required,
                "fault": d.cause.as_dict() if d.cause and concerns(d) else None,
            }
            for d in found
        ],
        "disk": {"free_bytes": view.disk.free_bytes, "hours_left": _round(view.disk.hours_left)} if view.disk else None,
        "selfcheck": _selfcheck(view, config),
        "feed": _feed(feed),
        "climate": {"temperature_c": view.temperature_c, "humidity_pct": view.humidity_pct},
    }


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def _age_s(at_ns: int | None, view: RoomView) -> float | None:
    return None if at_ns is None else round(max(0, view.boottime_ns - at_ns) / SECOND_NS, 1)


def _track(status: TrackStatus | None, view: RoomView) -> Mapping[str, Any] | None:
    if status is None:
        return None
    return {
        "state": status.state,
        "session": status.session,
        "on_disk_s_ago": _age_s(status.last_disk_ns, view),
        "packet_s_ago": _age_s(status.last_packet_ns, view),
        "bytes": status.bytes_session,
        "segments": status.segments,
        "gaps": status.gaps,
        "codec": status.codec,
        "bitrate_bps": status.bitrate_bps,
    }


def _composer(view: RoomView) -> Mapping[str, Any] | None:
    status = view.statuses.get("composer")
    if not isinstance(status, ComposerStatus):
        return None
    return {
        "state": status.state,
        "pictures_due": status.pictures_due,
        "pictures_written": status.pictures_written,
        "late": status.late,
        "lost": list(status.lost),
    }


def _burner(view: RoomView) -> Mapping[str, Any] | None:
    status = view.statuses.get("burner")
    if not isinstance(status, BurnerStatus):
        return None
    return {
        "state": status.state,
        "job": status.job,
        "progress": status.progress,
        "drives": status.drives,
        "last": status.last,
        "fault": status.fault,
    }


def _feed(feed: Feed | None) -> Mapping[str, Any]:
    lost = feed.lost_reason if feed is not None else None
    return {"connected": feed is not None and feed.connected, "fault": lost.as_dict() if lost else None}


def _selfcheck(view: RoomView, config: Config) -> Mapping[str, Any] | None:
    check = view.selfcheck
    if check is None:
        return None
    at = rfc3339(check.at_ns, config.room.zone)
    return {"at": at, "passed": check.passed, "valid": check.valid, "failed_checks": list(check.failed_checks)}
