"""Looks at a room for tests: one in which everything works, and helpers to change it."""

import time
from dataclasses import replace
from typing import Any

from agent.health.room_view import DiskView, RoomState, RoomView, SelfcheckView
from drivers.ports import ClockState
from recorder.clock.instants import SECOND_NS, boottime_ns
from recorder.process.status import BurnerStatus, ClimateStatus, ComposerStatus, Status, TrackStatus

TRACKS = ("overview", "closeup", "microphone")
EXPECTED = (*TRACKS, "composer", "climate", "burner")
SESSION_ID = "20261121T093000-room-01"
PERSONAL = ("WZ-2026-0417", "无证经营", "张三丰", "李四光", "王五", "赵六", "设备故障的说明", "王五笔录.txt", "钱七", "材料齐全")

SESSION: dict[str, Any] = {
    "schema": "interview-room-session/1",
    "id": SESSION_ID,
    "state": "recording",
    "start_ns": 0,
    "stop_ns": None,
    "official_start": "2026-11-21T09:30:05.280+08:00",
    "official_end": None,
    "timezone": "Asia/Shanghai",
    "room": {"id": "room-01", "name": "调查询问室一", "centre": "centre-01", "agency": "", "class": 1},
    "case": {"number": PERSONAL[0], "cause": PERSONAL[1], "handlers": [PERSONAL[2], PERSONAL[3]], "interviewee": PERSONAL[4]},
    "planned_minutes": 120,
    "selfcheck": {"at": "2026-11-21T01:20:00.000Z", "passed": False, "override": {"by": PERSONAL[5], "reason": PERSONAL[6]}},
    "stop": {"by": PERSONAL[2], "reason": "询问结束"},
    "coverage": {"overview": {"covered": 1.0, "gaps": 0}, "closeup": {"covered": 0.98, "gaps": 2}},
    "transcript": {
        "file": f"transcript/{PERSONAL[7]}",
        "sha256": "0" * 64,
        "verdict": "excepted",
        "exception": {"by": PERSONAL[8], "reason": PERSONAL[9]},
    },
    "disc": {"job": "1", "copies": 2, "verified": 2, "image_sha256": "0" * 64},
}


def statuses(now_ns: int, *, session: str | None = None) -> dict[str, Status]:
    """Every process alive and well at now_ns."""
    began = max(1, now_ns - 60 * SECOND_NS)
    same: dict[str, Any] = {"pid": 1, "boot_id": "b", "version": "1", "at_ns": now_ns, "since_ns": began, "session": session}
    state = "recording" if session else "armed"
    disk = now_ns if session else None
    found: dict[str, Status] = {
        name: TrackStatus(
            name=name,
            state=state,
            media="audio" if name == "microphone" else "video",
            last_packet_ns=now_ns,
            last_disk_ns=disk,
            bitrate_bps=4e6,
            fps=25.0,
            level_dbfs=-30.0,
            **same,
        )
        for name in TRACKS
    }
    found["composer"] = ComposerStatus(name="composer", state=state, last_disk_ns=disk, **same)
    found["climate"] = ClimateStatus(name="climate", state="ok", reading_ns=now_ns, temperature_c=22.5, humidity_pct=41.0, **same)
    drives: list[dict[str, object]] = [{"device": "/dev/sr0", "state": "blank"}, {"device": "/dev/sr1", "state": "empty"}]
    found["burner"] = BurnerStatus(name="burner", state="idle", drives=drives, **same)
    return found


def room(now_ns: int | None = None, *, state: RoomState = "ready", session: dict[str, Any] | None = None) -> RoomView:
    """A room in which everything works, now or at an instant of CLOCK_BOOTTIME."""
    now = boottime_ns() if now_ns is None else now_ns
    return RoomView(
        boottime_ns=now,
        room_ns=time.time_ns() if now_ns is None else 1_795_000_000 * SECOND_NS + now,
        state=state,
        statuses=statuses(now, session=session["id"] if session and state == "recording" else None),
        required=TRACKS,
        session=session,
        recorded_s=60.0 if state == "recording" else 0.0,
        disk=DiskView(500 << 30, 1000 << 30, 90.0),
        clock=ClockState(True, 0.0012, "kernel"),
        selfcheck=SelfcheckView(1_795_000_000 * SECOND_NS, True, True),
        temperature_c=22.5,
        humidity_pct=41.0,
        expected=EXPECTED,
    )


def checked(view: RoomView, number: int, failed: str) -> RoomView:
    """With the result of the numberth self-check, in which one check failed."""
    return replace(view, selfcheck=SelfcheckView(1_795_000_000 * SECOND_NS + number, False, False, (failed,)))


def without(view: RoomView, *processes: str) -> RoomView:
    """The same look with these processes dead."""
    return replace(view, statuses={n: s for n, s in view.statuses.items() if n not in processes})


def changed(view: RoomView, process: str, **fields: Any) -> RoomView:
    """The same look with one process's status changed."""
    return replace(view, statuses={**view.statuses, process: replace(view.statuses[process], **fields)})
