"""Builds the RoomView from status files, the disk and the clocks (invariant 8: from what is, never from what was asked)."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from agent.config.model import Config
from agent.config.places import Places
from agent.devices.kinds import meant
from agent.health.room_view import DiskView, RoomState, RoomView, SelfcheckView
from agent.selfcheck.result import ReportSummary, load_latest
from agent.session.cameras import AcceptedCameras
from agent.session.capacity import composite_bps, needed_bytes
from agent.session.rules import delivers
from drivers.ports import ClockState
from recorder.capture.camera_changes import changed
from recorder.clock.instants import SECOND_NS, boot_id, boottime_ns
from recorder.process.status import ON_DISK_NS, STATUS_STALE_NS, ClimateStatus, Status, TrackStatus, read_statuses
from recorder.session.record import Session
from recorder.session.tracks import TRACKS


def track_statuses(statuses: Mapping[str, Status], required: Sequence[str] = TRACKS) -> dict[str, TrackStatus | None]:
    """The required tracks' live statuses, None where a process is dead or frozen."""
    return {name: s if isinstance(s := statuses.get(name), TrackStatus) else None for name in required}


def not_on_disk(view: RoomView) -> list[str]:
    """The required tracks of whose session no bytes came to the disk within 3 s: while one is here, nobody says "recording".

    A camera of few pictures a second has longer, see TrackStatus.slow_ns.
    """
    session = view.session["id"] if view.session else None

    def arrives(status: TrackStatus | None) -> bool:
        if status is None or status.session != session or status.last_disk_ns is None:
            return False  # what it wrote last may be the session before's
        return view.boottime_ns - status.last_disk_ns <= ON_DISK_NS + status.slow_ns

    return [name for name, status in track_statuses(view.statuses, view.required).items() if not arrives(status)]


class LatestSelfcheck:
    """The newest report's summary, read again only when the file was replaced."""

    def __init__(self, config: Config, places: Places) -> None:
        self._config = config
        self._path = places.selfcheck / "latest.json"
        self._seen: tuple[int, int] | None = None
        self._summary: ReportSummary | None = None

    def read(self) -> ReportSummary | None:
        """None where there is none that can be read."""
        try:
            stat = self._path.stat()
            seen = (stat.st_ino, stat.st_mtime_ns)
        except OSError:
            self._seen = self._summary = None
            return None
        if seen != self._seen:
            self._seen, self._summary = seen, load_latest(self._config)
        return self._summary


class ViewBuilder:
    """Looks at the room."""

    def __init__(self, config: Config, *, now: Callable[[], int] = boottime_ns) -> None:
        self._config, self._now = config, now
        self._places = config.storage.places
        self._selfcheck = LatestSelfcheck(config, self._places)
        self._cameras = AcceptedCameras(self._places.accepted_cameras)
        self._expected = tuple(kind.id for kind in meant(config))
        self._composite_bps = composite_bps(config)

    def look(self, session: Session | None, room_ns: int, utc_ns: int, clock: ClockState | None) -> RoomView:
        """The room now. session: the active one, else the newest; room_ns: room time of now; utc_ns: the wall clock."""
        now = self._now()
        statuses = read_statuses(self._places.status, now, boot_id())
        tracks = track_statuses(statuses)
        selfcheck = self._selfcheck_view(utc_ns)
        active = session is not None and session.active
        state: RoomState = "idle"
        if active and session is not None:
            state = "recording" if session.state == "recording" else "sealing"
        elif selfcheck and selfcheck.valid and all(s and delivers(s, now, STATUS_STALE_NS) for s in tracks.values()):
            state = "ready"
        climate = statuses.get("climate")
        reading = climate if isinstance(climate, ClimateStatus) and climate.fresh(now) else None
        return RoomView(
            boottime_ns=now,
            room_ns=room_ns,
            state=state,
            statuses=statuses,
            required=TRACKS,
            session=session.as_dict() if session else None,
            recorded_s=_recorded_s(session, room_ns) if active and session else 0.0,
            disk=_disk(self._places.root, tracks, self._composite_bps),
            clock=clock,
            selfcheck=selfcheck,
            temperature_c=reading.temperature_c if reading else None,
            humidity_pct=reading.humidity_pct if reading else None,
            expected=self._expected,
            changed_cameras={name: changed(name, found) for name, found in self._cameras.changed(statuses).items()},
        )

    def _selfcheck_view(self, utc_ns: int) -> SelfcheckView | None:
        summary = self._selfcheck.read()
        if summary is None:
            return None
        return SelfcheckView(summary.at_ns, summary.passed, summary.valid(utc_ns), summary.failed_checks)


def _recorded_s(session: Session, room_ns: int) -> float:
    end = room_ns if session.stop_ns is None else min(room_ns, session.stop_ns)
    return max(0.0, (end - session.start_ns) / SECOND_NS)


def _disk(root: Path, tracks: Mapping[str, TrackStatus | None], composite: float) -> DiskView | None:
    try:
        usage = shutil.disk_usage(root)
    except OSError:
        return None
    measured = all(status and status.bitrate_bps > 0 for status in tracks.values())
    hours = usage.free / needed_bytes(tracks, composite, 3600.0) if measured else None
    return DiskView(usage.free, usage.total, hours)
