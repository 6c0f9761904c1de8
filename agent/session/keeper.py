"""Keeps the room's session: what agent.session.rules decides, the keeper writes to the disk.

The keeper alone writes wanted.json and each session.json.

``wanted.json`` follows from ``session.json`` (Session.wanted) and is written again wherever it differs, so that a death between
any two steps, or a hand at that file, is made good by ``resume`` or by the next ``tick``. Used by one thread, the agent's.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from agent.authority.person import Person
from agent.config.places import Places
from agent.session import catalogue
from agent.session.capacity import needed_bytes
from agent.session.closing import check_leave, leave_in_s, waited_for
from agent.session.folder import (
    SessionFolder,
    free_path,
    make_session_folder,
    missing_lines,
    start_fields,
    stop_fields,
    tie_fields,
    track_heads,
    unlink_session,
)
from agent.session.rules import Readiness, StartRequest, check_sealed, check_start, check_stop, new_session, session_id
from agent.session.seal_wait import SealWait
from agent.session.sealing import MakeSeal, Sealer, SealResult, SignJournal
from recorder.clock.instants import CLOCK_STEP_NS, SECOND_NS, boot_id, boottime_ns, snap_end, snap_start
from recorder.faults import EvidenceFault, StorageFault
from recorder.process.status import Status, TrackStatus
from recorder.process.wanted import Wanted, WantedState
from recorder.session.epoch import Epoch, Tie, epoch_path, session_epoch
from recorder.session.files import is_sealed
from recorder.session.record import Session
from wording import Fault
from wording.refusals import Refused

MINUTE_NS = 60 * SECOND_NS
RETRY_NS = 10 * SECOND_NS  # between attempts that failed to seal, or to take up discs
TAKE_UP_NS = 3 * SECOND_NS  # and to take up an unfinished session
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

    fault: why the last attempt to seal failed, or the unfinished session cannot be taken up (yet: where the disk refuses it, that
    is tried again).
    """

    def __init__(
        self,
        places: Places,
        room: RoomFacts,
        *,
        tie: Callable[[], Tie],
        seal: MakeSeal,
        sign: SignJournal,
        now: Callable[[], int] = boottime_ns,
    ) -> None:
        """tie: the wall clock now. seal: seals a session's folder, in a thread of its own. sign: signs the head of a sealed
        session's journal. now: CLOCK_BOOTTIME, ns.
        """
        self._places, self._room = places, room
        self._tie, self._sign, self._now = tie, sign, now
        self._sealer = Sealer(seal)
        self._wait = SealWait(places, room.required)
        self._wanted = WantedState(places.wanted)
        self._folder: SessionFolder | None = None  # of the active session
        self._epoch: Epoch | None = None
        self._pending_lines: list[tuple[str, Mapping[str, object]]] = []  # lines of the journal that the disk refused
        self._undo: Callable[[], None] | None = None  # undoes a failed command; the disk refused the undoing as well
        self._unreadable: Fault | None = None  # the session that wanted.json names
        self._not_resumed: Session | None = None  # an unfinished session that the disk does not let the agent take up
        self._clock_offset_ns: int | None = None
        self._clock_known: bool | None = None  # whether the wall clock was said to be synchronised
        self._minute_ns = 0
        self._retry_ns = 0
        self.current: Session | None = None
        self.fault: Fault | None = None

    @property
    def active(self) -> Session | None:
        """The session that is recorded or sealed now."""
        return self._folder.session if self._folder else self._not_resumed

    @property
    def unfinished(self) -> str | None:
        """The session for which the room's processes go on without the agent: the active one, or one that cannot be read."""
        if self._unreadable is not None:
            return self._wanted.now.session
        return self.active.id if self.active else None

    @property
    def waiting_for(self) -> list[str]:
        """What sealing waits for, by name."""
        return self._wait.waiting_for

    @property
    def may_leave_in_s(self) -> float | None:
        """In how many seconds ``leave`` may let the seal go on without the tracks it waits for; None where it waits for none."""
        active, names = self.active, set(self.waiting_for).intersection(self._room.required)
        return leave_in_s(active, self.room_ns()) if active is not None and names - active.left_tracks else None

    def utc_ns(self) -> int:
        """The wall clock now, ns since 1970 UTC, read through the keeper's tie."""
        return self._tie().utc_ns

    def room_ns(self) -> int:
        """Room time of the active session; the wall clock where none is active."""
        return self._epoch.room_ns(self._now()) if self._epoch else self._tie().utc_ns

    def path(self, session: Session) -> Path:
        """The folder of the session below the storage root."""
        return self._places.session(session.id)

    # -- start-up and end of the agent --

    def resume(self) -> None:
        """Takes up a session that was left when the agent died or the PC lost power. ``tick`` repeats what the disk refuses."""
        known, broken = catalogue.sessions(self._places)
        for fault in broken:
            log.error("session unreadable", extra={"fault": str(fault)})
        self._wanted.read()
        self._unreadable = self.fault = catalogue.why_unreadable(self._places, self._wanted.now.session)
        active = [s for s in known if s.active]
        chosen = next((s for s in active if s.id == self._wanted.now.session), active[-1] if active else None)
        if self._unreadable is not None:
            log.error("the unfinished session cannot be taken up", extra={"fault": str(self._unreadable)})
            chosen = None
        for other in active:
            if other is not chosen:
                log.error("a second session is unfinished", extra={"session": other.id})
        self.current = chosen or (known[-1] if known else None)
        if chosen is not None:
            self._try_take_up(chosen)
        try:
            self._write_wanted()
            if self._folder is not None:
                self._write_pending(self._folder)
        except StorageFault as fault:  # a full disk must not keep a person from ending the session
            log.error("what the agent found is not written yet", extra={"fault": str(fault)})

    def _try_take_up(self, found: Session) -> None:
        try:
            self._take_up(found)
        except (StorageFault, EvidenceFault) as fault:
            if self._not_resumed is None:
                log.error("the unfinished session is not taken up yet", extra={"session": found.id, "fault": str(fault)})
            self._not_resumed, self.fault = found, fault
            self._retry_ns = self._now() + TAKE_UP_NS
        else:
            self._not_resumed, self.fault, self._retry_ns = None, None, 0

    def _take_up(self, found: Session) -> None:
        path = self.path(found)
        folder = SessionFolder.taken_up(path, found)
        try:
            if is_sealed(path) and not epoch_path(path).exists():  # only session.json does not say so yet: nothing is added
                epoch = Epoch(self._tie())
            else:
                epoch = session_epoch(path, self._tie, floor_ns=found.start_ns)
            kinds = folder.kinds()
        except Fault:
            folder.close()
            raise
        self._folder, self._epoch = folder, epoch
        self._pending_lines += missing_lines(found, kinds)
        self._pending_lines += [("event", {"event": "agent-started", "boot_id": boot_id()}), ("tie", self._tie_fields())]
        self._minute_ns = self._now() + MINUTE_NS
        log.info("session taken up", extra={"session": found.id, "state": found.state})

    def close(self) -> None:
        """Releases the files; the session goes on without the agent."""
        if self._folder is not None:
            self._folder.close()
            self._folder = None

    def _write_wanted(self) -> None:
        if self._unreadable is not None:
            return
        self._wanted.put(self.active.wanted(self._wanted.now) if self.active else Wanted())

    # -- commands --

    @property
    def _hindrance(self) -> Fault | None:
        """The fault for a command while an unfinished session cannot be taken up; None where commands may go on."""
        return self._unreadable or (self.fault if self._not_resumed is not None else None)

    def start(self, request: StartRequest, ready: Readiness, asked: Person) -> Session:
        """Begins a session. Raises Refused, StorageFault.

        Its official start is taken last: a disk may take seconds for each step, and the tracks look back 10 s. From there on
        come session.json and wanted.json alone; the journal's first lines follow.
        """
        if (hindrance := self._hindrance) is not None:
            raise Refused("session-start-refused", [hindrance])
        check_start(request, ready)
        self._undo_failed()
        tie = self._tie()
        path = free_path(self._places.session(session_id(tie.utc_ns, self._room.zone, str(self._room.facts["id"]))))
        make_session_folder(path, self._room.required)
        epoch = session_epoch(path, lambda: tie)
        start_ns = snap_start(epoch.room_ns(self._now()))
        session = new_session(path.name, request, ready, start_ns, room=self._room.facts, zone=self._room.zone, asked=asked)
        folder = SessionFolder(path, session)
        self._folder, self._epoch, before, self.current = folder, epoch, self.current, session
        try:
            folder.put(session)
            self._write_wanted()
        except Fault:
            self._take_back(folder, before)
            raise
        self._pending_lines += [("started", start_fields(session)), ("tie", tie_fields(tie, epoch))]
        self._minute_ns = self._now() + MINUTE_NS
        self._retry_ns, self.fault = 0, None
        self._wait.reset()
        try:
            self._write_pending(folder)
        except Fault as fault:  # the start stands in session.json: it is official, and the tick goes on
            log.error("start is not on the disk as a whole yet", extra={"session": session.id, "fault": str(fault)})
        log.info("session started", extra={"session": session.id, "official_start": session.official_start})
        return session

    def _take_back(self, folder: SessionFolder, before: Session | None) -> None:
        """Undoes a start that the recording processes could not be told of: it removes session.json from the new folder."""
        folder.close()
        self._folder, self._epoch, self.current = None, None, before
        self._undo_with(lambda: unlink_session(folder.path))

    def _undo_with(self, undo: Callable[[], None]) -> None:
        """Undoes a command that failed, since its writes may have reached the disk all the same."""
        self._undo = undo
        with suppress(StorageFault):  # the next tick tries again
            self._undo_failed()

    def _undo_failed(self) -> None:
        if self._undo is not None:
            self._undo()
            self._undo = None

    def stop(self, by: str, reason: str, asked: Person) -> Session:
        """Ends the session at the next whole second after its start. Raises Refused, StorageFault."""
        if (hindrance := self._hindrance) is not None:
            raise Refused("session-stop-refused", [hindrance])
        session = check_stop(self.active, by, reason)
        assert self._folder is not None
        folder = self._folder
        end_ns = snap_end(session.start_ns, self.room_ns())
        stopping = session.stopping(end_ns, by, reason, self._room.zone, asked.as_json())
        self._put(folder, stopping)
        self._pending_lines += [("stopping", stop_fields(stopping)), ("tie", self._tie_fields())]
        try:
            self._write_wanted()
            self._write_pending(folder)
        except Fault as fault:  # the end stands in session.json: it is official, and the tick goes on
            log.error("stop is not on the disk as a whole yet", extra={"session": session.id, "fault": str(fault)})
        log.info("session stopping", extra={"session": session.id, "official_end": stopping.official_end})
        return stopping

    def leave(self, by: str, reason: str, statuses: Mapping[str, Status], asked: Person) -> Session:
        """Lets the seal go on without the tracks that it waits for. Raises Refused, StorageFault."""
        if (hindrance := self._hindrance) is not None:
            raise Refused("track-abandonment-refused", [hindrance])
        active, folder = self.active, self._folder
        waiting: list[str] = []
        if active is not None and folder is not None and not self._sealer.busy and not is_sealed(folder.path):
            waiting = waited_for(active, self._room.required, statuses)
        session = check_leave(active, by, reason, waiting=waiting, statuses=statuses, room_ns=self.room_ns())
        assert folder is not None
        leaving = session.leaving(waiting, by, reason, asked.as_json())
        self._put(folder, leaving)
        assert leaving.left is not None
        self._pending_lines.append(("left", leaving.left[-1]))
        try:
            self._write_pending(folder)
        except Fault as fault:  # it stands in session.json, and the tick goes on
            log.error(
                "what was left behind is not on the disk as a whole yet", extra={"session": session.id, "fault": str(fault)}
            )
        log.warning("tracks left behind", extra={"session": session.id, "tracks": waiting})
        return leaving

    def _put(self, folder: SessionFolder, changed: Session) -> None:
        """A command's change of the active session; where it is refused the session is as before. Raises StorageFault."""
        before = folder.session
        self._undo_failed()
        try:
            folder.put(changed)
        except Fault:
            self._undo_with(lambda: folder.put(before))
            raise
        self.current = changed

    def _write_pending(self, folder: SessionFolder) -> None:
        while self._pending_lines:
            kind, fields = self._pending_lines[0]
            folder.note(kind, **fields)
            del self._pending_lines[0]

    def change(self, path: Path, change: Callable[[Session], Session], kind: str, /, **fields: object) -> Session:
        """One change of a sealed session: a line of its journal, then its session.json. Raises Fault."""
        check_sealed(self.active if self.active and self.path(self.active) == path else catalogue.read_session(path))
        with SessionFolder.opened(path) as folder:
            changed = change(folder.session)
            self._note_signed(folder, kind, **fields)
            folder.put(changed)
        if self.current is not None and self.current.id == changed.id:
            self.current = changed
        return changed

    def _note_signed(self, folder: SessionFolder, kind: str, /, **fields: object) -> None:
        """Adds a line to the journal of a sealed session and signs the journal's head.

        The head is signed before as well, so that a key that cannot be used is found before the line is added.
        """
        self._sign(folder.path, folder.session)
        folder.note(kind, **fields)
        self._sign(folder.path, folder.session)

    # -- the agent's loop --

    def tick(self, statuses: Mapping[str, Status], free_bytes: int | None) -> None:
        """Some times a second. free_bytes: None where unknown. Raises StorageFault, EvidenceFault; the next tick goes on."""
        self._watch_clock()
        if self._not_resumed is not None and self._now() >= self._retry_ns:
            self._try_take_up(self._not_resumed)
        self._undo_failed()
        self._write_wanted()
        folder = self._folder
        if folder is None:
            return
        if not self._sealer.busy:  # the seal reads the journal
            self._write_pending(folder)
        if folder.session.state == "recording":
            self._minute(folder)
            self._spare_disk(folder, statuses, free_bytes)
        else:
            self._go_on_sealing(folder, statuses)

    def _watch_clock(self) -> None:
        tie = self._tie()
        offset = tie.utc_ns - tie.boottime_ns
        before, self._clock_offset_ns = self._clock_offset_ns, offset
        known, self._clock_known = self._clock_known, tie.source == "ntp"
        if self._clock_known and known is False and self._folder is not None:
            self._pending_lines.append(
                ("tie", self._tie_fields())
            )  # the next boot goes on by it (recorder.session.epoch.session_epoch)
        if before is None or abs(offset - before) <= CLOCK_STEP_NS:
            return
        step_s = round((offset - before) / SECOND_NS, 3)
        log.warning("wall clock stepped", extra={"step_s": step_s})
        if self._folder is not None:
            self._pending_lines += [("event", {"event": "clock-step", "step_s": step_s}), ("tie", self._tie_fields())]

    def _tie_fields(self) -> dict[str, object]:
        assert self._epoch is not None
        return tie_fields(self._tie(), self._epoch)

    def _minute(self, folder: SessionFolder) -> None:
        if self._now() < self._minute_ns:
            return
        self._minute_ns = self._now() + MINUTE_NS
        folder.note("tie", **self._tie_fields())
        folder.note("anchor", heads=track_heads(folder.path, self._room.required))

    def _spare_disk(self, folder: SessionFolder, statuses: Mapping[str, Status], free_bytes: int | None) -> None:
        """Gives the composite up when the disk is nearly full, so that the originals can go on (invariant 7)."""
        if free_bytes is None:
            return
        tracks = {name: s if isinstance(s := statuses.get(name), TrackStatus) else None for name in self._room.required}
        needed = needed_bytes(tracks, self._room.composite_bps, SPARE_S)
        if free_bytes >= needed or not self._wanted.now.composite:
            return
        self._give_up_composite(folder, "disk-low", free_bytes=free_bytes)

    def _go_on_sealing(self, folder: SessionFolder, statuses: Mapping[str, Status]) -> None:
        if self._sealer.busy:
            self._take_seal(folder)
            return
        sealed = is_sealed(folder.path)
        if not (sealed or self._all_closed(folder, statuses)):
            return
        self._wait.waiting_for = ["seal"]
        if self._now() < self._retry_ns or not (sealed or self._wait.hold_left(folder.session, statuses)):
            return
        self._wait.waiting_for = ["seal"]
        folder.note("anchor", heads=track_heads(folder.path, self._room.required))
        self._sealer.begin(folder.path, folder.session)

    def _all_closed(self, folder: SessionFolder, statuses: Mapping[str, Status]) -> bool:
        decision = self._wait.look(folder.session, statuses, composite=self._wanted.now.composite, now_ns=self._now())
        if decision == "give up":
            self._give_up_composite(folder, "composite-unfinished")
        return decision == "finished"

    def _give_up_composite(self, folder: SessionFolder, event: str, **fields: int) -> None:
        self._wanted.put(replace(self._wanted.now, composite=False))
        log.error("composite given up", extra={"why": event, **fields})
        self._pending_lines.append(("event", {"event": event, **fields}))
        self._write_pending(folder)

    def _take_seal(self, folder: SessionFolder) -> None:
        result = self._sealer.take()
        if result is None:
            return
        self._wait.release()
        self._retry_ns = self._now() + RETRY_NS
        try:
            if isinstance(result, Fault):
                raise result
            self._end_seal(folder, result)
        except Fault as fault:
            if self.fault is None:
                log.error("seal failed", extra={"session": folder.session.id, "fault": str(fault)})
            self.fault = fault
            return
        self._write_wanted()

    def _end_seal(self, folder: SessionFolder, result: SealResult) -> None:
        self._write_pending(folder)
        self._note_signed(folder, "sealed", manifest_sha256=result.manifest_sha256)
        sealed = folder.session.sealed(result.coverage, result.composite)
        folder.put(sealed)
        folder.close()
        self._folder = self._epoch = self.fault = None
        self.current = sealed
        self._wait.reset()
        log.info("session sealed", extra={"session": sealed.id})
