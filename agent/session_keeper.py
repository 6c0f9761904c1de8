"""Keeps the room's session: does what agent.session decides, on the disk. The one writer of wanted.json and of each session.json.

``wanted.json`` follows from ``session.json`` (Session.wanted) and is written again wherever it differs, so that a death between
any two steps is made good by ``resume`` or by the next ``tick``. Used by one thread, the agent's.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from agent import catalogue
from agent.places import Places
from agent.sealing import Seal, Sealer, SealResult, Sign
from agent.session import (
    Readiness,
    Session,
    StartRequest,
    check_start,
    check_stop,
    composer_done,
    needed_bytes,
    selfcheck_fault,
    session_id,
    unfinished,
)
from agent.session_folder import SessionFolder, make_session_folder, stored_until_ns, track_heads
from recorder.durable import lock_holder
from recorder.faults import EvidenceFault, StorageFault
from recorder.room_time import (
    CLOCK_STEP_NS,
    SECOND_NS,
    Epoch,
    Tie,
    boot_id,
    boottime_ns,
    rfc3339,
    session_epoch,
    snap_end,
    snap_start,
)
from recorder.wanted import ComposerStatus, Status, TrackStatus, Wanted
from wording import Fault

MINUTE_NS = 60 * SECOND_NS
RETRY_NS = 10 * SECOND_NS  # between attempts to seal that failed
SPARE_S = 600.0  # the composite is given up when there is room for less than so many seconds of everything

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RoomFacts:
    """The room as every session carries it. facts: the ``room`` of session.json; required: names of the tracks."""

    facts: Mapping[str, Any]
    zone: ZoneInfo
    required: Sequence[str]
    composite_bps: float


class SessionKeeper:
    """current: the session that is recorded or sealed, else the newest one, else None.

    waiting_for: what sealing waits for, by name; fault: why the last attempt to seal failed.
    """

    def __init__(
        self,
        places: Places,
        room: RoomFacts,
        *,
        tie: Callable[[], Tie],
        seal: Seal,
        sign: Sign,
        now: Callable[[], int] = boottime_ns,
    ) -> None:
        """tie: the wall clock now. seal: seals a session's folder, in a thread of its own. sign: signs the head of a sealed
        session's journal. now: CLOCK_BOOTTIME, ns.
        """
        self._places, self._room = places, room
        self._tie, self._sign, self._now = tie, sign, now
        self._sealer = Sealer(seal)
        self._wanted = Wanted()
        self._wanted_on_disk = False
        self._folder: SessionFolder | None = None  # of the active session
        self._epoch: Epoch | None = None
        self._owed: list[tuple[str, Mapping[str, object]]] = []  # lines of the journal that the disk refused
        self._clock_offset_ns: int | None = None
        self._minute_ns = 0
        self._finished_ns: int | None = None  # when the last track had finished
        self._retry_ns = 0
        self.current: Session | None = None
        self.waiting_for: list[str] = []
        self.fault: Fault | None = None

    @property
    def active(self) -> Session | None:
        """The session that is recorded or sealed now."""
        return self._folder.session if self._folder else None

    def utc_ns(self) -> int:
        """The wall clock."""
        return self._tie().utc_ns

    def room_ns(self) -> int:
        """Room time of the active session; the wall clock where none is active."""
        return self._epoch.room_ns(self._now()) if self._epoch else self._tie().utc_ns

    def path(self, session: Session) -> Path:
        """The session's folder."""
        return self._places.session(session.id)

    # -- start-up and end of the agent --

    def resume(self) -> None:
        """Takes up what a dead agent, or a PC without power, left. Raises StorageFault, EvidenceFault."""
        known, broken = catalogue.sessions(self._places)
        for fault in broken:
            log.error("session unreadable", extra={"fault": str(fault)})
        self._read_wanted()
        active = [s for s in known if s.active]
        chosen = next((s for s in active if s.id == self._wanted.session), active[-1] if active else None)
        for other in active:
            if other is not chosen:
                log.error("a second session is unfinished", extra={"session": other.id})
        self.current = chosen or (known[-1] if known else None)
        if chosen is not None:
            self._take_up(chosen)
        try:
            self._write_wanted()
            if self._folder is not None:
                self._pay(self._folder)
        except StorageFault as fault:  # a full disk must not keep a person from ending the session
            log.error("what the agent found is not written yet", extra={"fault": str(fault)})

    def _read_wanted(self) -> None:
        try:
            self._wanted = Wanted.read(self._places.wanted)
            self._wanted_on_disk = self._places.wanted.exists()
        except (EvidenceFault, TypeError) as error:
            log.error("wanted state unreadable, made anew from the sessions", extra={"fault": str(error)})

    def _take_up(self, found: Session) -> None:
        path = self.path(found)
        self._folder = folder = SessionFolder.taken_up(path, found)
        self._epoch = session_epoch(path, self._tie, floor_ns=max(found.start_ns, stored_until_ns(path, self._room.required)))
        kinds = folder.kinds()
        if "started" not in kinds:
            self._owed.append(("started", _start_fields(found)))
        if found.stop_ns is not None and "stopping" not in kinds:
            self._owed.append(("stopping", _stop_fields(found)))
        self._owed += [("event", {"event": "agent-started", "boot_id": boot_id()}), ("tie", self._tie_fields())]
        self._minute_ns = self._now() + MINUTE_NS
        log.info("session taken up", extra={"session": found.id, "state": found.state})

    def close(self) -> None:
        """Releases the files; the session goes on without the agent."""
        if self._folder is not None:
            self._folder.close()
            self._folder = None

    def _write_wanted(self) -> None:
        wanted = self.active.wanted(self._wanted) if self.active else Wanted()
        if wanted != self._wanted or not self._wanted_on_disk:
            wanted.write(self._places.wanted)
            self._wanted, self._wanted_on_disk = wanted, True

    # -- commands --

    def start(self, request: StartRequest, ready: Readiness) -> Session:
        """Begins a session; its official start is the instant of this call. Raises Refused, StorageFault."""
        check_start(request, ready)
        tie = self._tie()
        start_ns = snap_start(Epoch(tie).room_ns(self._now()))
        session = self._new_session(request, ready, start_ns)
        path = self.path(session)
        make_session_folder(path, self._room.required)
        self._epoch = session_epoch(path, lambda: tie)
        folder = SessionFolder(path, session)
        try:
            folder.note("started", **_start_fields(session))
            folder.note("tie", **_tie_fields(tie, self._epoch))
            folder.put(session)
        except Fault:
            folder.close()
            self._epoch = None
            raise
        self._folder, before, self.current = folder, self.current, session
        try:
            self._write_wanted()
        except Fault:
            self._take_back(folder, before)
            raise
        self._minute_ns = self._now() + MINUTE_NS
        self._finished_ns, self._retry_ns, self.fault, self.waiting_for = None, 0, None, []
        log.info("session started", extra={"session": session.id, "official_start": session.official_start})
        return session

    def _take_back(self, folder: SessionFolder, before: Session | None) -> None:
        """A start that could not be made known: no track saw it, and without session.json its folder is no session."""
        with suppress(OSError):
            (folder.path / "session.json").unlink()
        folder.close()
        self._folder, self._epoch, self.current = None, None, before
        self._wanted_on_disk = False  # it may have arrived all the same: written anew by the next tick

    def _new_session(self, request: StartRequest, ready: Readiness, start_ns: int) -> Session:
        zone = self._room.zone
        name = session_id(start_ns, zone, str(self._room.facts["id"]))
        number = 2
        unique = name
        while self._places.session(unique).exists():  # the wall clock was set back
            unique, number = f"{name}-{number}", number + 1
        override = None
        if selfcheck_fault(ready) is not None:
            override = {"by": request.override_by.strip(), "reason": request.override_reason.strip()}
        return Session(
            id=unique,
            state="recording",
            start_ns=start_ns,
            official_start=rfc3339(start_ns, zone),
            timezone=zone.key,
            room=dict(self._room.facts),
            case=request.case,
            planned_minutes=request.planned_minutes,
            selfcheck={"at": ready.selfcheck_at or None, "passed": ready.selfcheck_passed, "override": override},
        )

    def stop(self, by: str, reason: str) -> Session:
        """Ends the session at the next whole second after its start. Raises Refused, StorageFault."""
        session = check_stop(self.active, by, reason)
        assert self._folder is not None
        stopping = session.stopping(snap_end(session.start_ns, self.room_ns()), by, reason, self._room.zone)
        self._folder.put(stopping)
        self.current = stopping
        self._owed += [("stopping", _stop_fields(stopping)), ("tie", self._tie_fields())]
        try:
            self._write_wanted()
            self._pay(self._folder)
        except Fault as fault:  # the end stands in session.json: it is official, and the tick goes on
            log.error("stop is not on the disk as a whole yet", extra={"session": session.id, "fault": str(fault)})
        log.info("session stopping", extra={"session": session.id, "official_end": stopping.official_end})
        return stopping

    def _pay(self, folder: SessionFolder) -> None:
        while self._owed:
            kind, fields = self._owed[0]
            folder.note(kind, **fields)
            del self._owed[0]

    def change(self, path: Path, change: Callable[[Session], Session], kind: str, /, **fields: object) -> Session:
        """One change of a session that is not active: a line of its journal, then its session.json. Raises Fault."""
        with SessionFolder.opened(path) as folder:
            changed = change(folder.session)
            folder.note(kind, **fields)
            self._sign(path, changed)
            folder.put(changed)
        if self.current is not None and self.current.id == changed.id:
            self.current = changed
        return changed

    # -- the agent's loop --

    def tick(self, statuses: Mapping[str, Status], free_bytes: int) -> None:
        """Some times a second. Raises StorageFault, EvidenceFault; the next tick goes on."""
        self._watch_clock()
        self._write_wanted()
        folder = self._folder
        if folder is None:
            return
        self._pay(folder)
        if folder.session.state == "recording":
            self._minute(folder)
            self._spare_disk(folder, statuses, free_bytes)
        else:
            self._go_on_sealing(folder, statuses)

    def _watch_clock(self) -> None:
        tie = self._tie()
        offset = tie.utc_ns - tie.boottime_ns
        before, self._clock_offset_ns = self._clock_offset_ns, offset
        if before is None or abs(offset - before) <= CLOCK_STEP_NS:
            return
        step_s = round((offset - before) / SECOND_NS, 3)
        log.warning("wall clock stepped", extra={"step_s": step_s})
        if self._folder is not None and not self._sealer.busy:
            self._folder.note("event", event="clock-step", step_s=step_s)
            self._folder.note("tie", **self._tie_fields())

    def _tie_fields(self) -> dict[str, object]:
        assert self._epoch is not None
        return _tie_fields(self._tie(), self._epoch)

    def _minute(self, folder: SessionFolder) -> None:
        if self._now() < self._minute_ns:
            return
        self._minute_ns = self._now() + MINUTE_NS
        folder.note("tie", **self._tie_fields())
        folder.note("anchor", heads=track_heads(folder.path, self._room.required))

    def _spare_disk(self, folder: SessionFolder, statuses: Mapping[str, Status], free_bytes: int) -> None:
        """Invariant 7: nearing the limit, the composite stops first."""
        tracks = {name: s if isinstance(s := statuses.get(name), TrackStatus) else None for name in self._room.required}
        needed = needed_bytes(tracks, self._room.composite_bps, SPARE_S)
        if free_bytes >= needed or not self._wanted.composite:
            return
        self._give_up_composite(folder, "disk-low", free_bytes=free_bytes)

    def _go_on_sealing(self, folder: SessionFolder, statuses: Mapping[str, Status]) -> None:
        if self._sealer.busy:
            self._take_seal(folder)
            return
        now = self._now()
        self.waiting_for = unfinished(folder.session, self._room.required, statuses)
        if self.waiting_for:
            self._finished_ns = None
            return
        self._finished_ns = self._finished_ns or now
        if not self._composite_closed(folder, statuses, now - self._finished_ns):
            self.waiting_for = ["composer"]
            return
        self.waiting_for = ["seal"]
        if now < self._retry_ns:
            return
        folder.note("anchor", heads=track_heads(folder.path, self._room.required))
        self._sealer.begin(folder.path, folder.session)

    def _composite_closed(self, folder: SessionFolder, statuses: Mapping[str, Status], waited_ns: int) -> bool:
        status = statuses.get("composer")
        status = status if isinstance(status, ComposerStatus) else None
        locked = status is None and lock_holder(self._places.lock("composer")) is not None
        decision = composer_done(folder.session, status, locked=locked, wanted=self._wanted.composite, waited_ns=waited_ns)
        if decision == "give up":
            self._give_up_composite(folder, "composite-unfinished")
        return decision == "finished"

    def _give_up_composite(self, folder: SessionFolder, event: str, **fields: int) -> None:
        given_up = replace(self._wanted, composite=False)
        given_up.write(self._places.wanted)
        self._wanted = given_up
        log.error("composite given up", extra={"why": event, **fields})
        folder.note("event", event=event, **fields)

    def _take_seal(self, folder: SessionFolder) -> None:
        result = self._sealer.take()
        if isinstance(result, Fault):
            if self.fault is None:
                log.error("seal failed", extra={"session": folder.session.id, "fault": str(result)})
            self.fault, self._retry_ns = result, self._now() + RETRY_NS
        elif isinstance(result, SealResult):
            folder.note("sealed", manifest_sha256=result.manifest_sha256)
            self._sign(folder.path, folder.session)
            sealed = folder.session.sealed(result.coverage, result.composite)
            folder.put(sealed)
            folder.close()
            self._folder = self._epoch = self._finished_ns = self.fault = None
            self.current, self.waiting_for = sealed, []
            log.info("session sealed", extra={"session": sealed.id})
            self._write_wanted()


def _tie_fields(tie: Tie, epoch: Epoch) -> dict[str, object]:
    return {**asdict(tie), "room_ns": epoch.room_ns(tie.boottime_ns)}


def _start_fields(session: Session) -> dict[str, object]:
    facts = session.as_dict()
    names = ("start_ns", "official_start", "room", "case", "planned_minutes", "selfcheck")
    return {"session": session.id, **{name: facts[name] for name in names}}


def _stop_fields(session: Session) -> dict[str, object]:
    return {"stop_ns": session.stop_ns, "official_end": session.official_end, **dict(session.stop or {})}
