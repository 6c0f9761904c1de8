"""What the agent does for each command of its console. Arguments come from outside: every one is checked here."""

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from agent.authority.gate import Gate
from agent.config.model import Config
from agent.console.client import no_utf8
from agent.console.request import Request, defect
from agent.console.sent_file import FileTooLarge
from agent.console.status import status_answer
from agent.feed.room import Feed
from agent.health.look import track_statuses
from agent.health.room_view import RoomView
from agent.selfcheck.result import store_report
from agent.session import catalogue, transcripts
from agent.session.author_tickets import AuthorTickets, described
from agent.session.cameras import AcceptedCameras
from agent.session.capacity import composite_bps
from agent.session.discs import Discs
from agent.session.keeper import SessionKeeper
from agent.session.rules import Readiness, StartRequest, check_attach, check_sealed, spoken, text_faults, unfit_texts
from recorder.capture import latency
from recorder.clock.instants import SECOND_NS, rfc3339
from recorder.faults import BadInput
from recorder.session.record import CASE_FIELDS, Case, Session
from recorder.session.tracks import CAMERAS
from recorder.transcript.document import LARGEST_BYTES, check_size
from wording import Fault, Given, shown
from wording.border import NotGiven, given
from wording.refusals import Refused, refusal

GIB = 1 << 30
Reply = dict[str, Any]
T = TypeVar("T")

log = logging.getLogger(__name__)


class Handlers:
    """By command name; each returns its answer or raises a Fault. Whatever changes something passes the gate first.

    look: the room now. later: calls it in the agent's thread. feed: that of the agent, None before it has one.
    """

    def __init__(
        self,
        config: Config,
        keeper: SessionKeeper,
        discs: Discs,
        gate: Gate,
        *,
        look: Callable[[], RoomView],
        later: Callable[[Callable[[], None]], None],
        feed: Callable[[], Feed | None],
    ) -> None:
        self._config, self._keeper, self._discs, self._gate = config, keeper, discs, gate
        self._cameras = AcceptedCameras(config.storage.places.accepted_cameras)
        self._look, self._later, self._feed = look, later, feed
        self._tickets = AuthorTickets()
        # Command to the act that it is, None where it changes nothing, and what does it.
        self._commands: dict[str, tuple[str | None, Callable[[Asked], Reply]]] = {
            "session.status": (None, self.status),
            "session.start": ("session.start", self.start),
            "session.stop": ("session.stop", self.stop),
            "session.seal": ("session.seal", self.seal),
            "session.complete": ("session.complete", self.complete),
            "transcript.accept": ("transcript.accept", self.accept),
            "disc.author": ("disc.author", self.author),
            "disc.burn": ("disc.burn", self.burn),
            "disc.cancel": ("disc.cancel", self.cancel),
            "selfcheck.store": ("selfcheck.store", self.store_selfcheck),
            "calibration.store": ("calibration.store", self.store_calibration),
            "camera.accept": ("camera.accept", self.accept_camera),
        }
        # Those that take time: they answer the request from a thread of their own.
        self._slow: dict[str, tuple[str, Callable[[Request], None]]] = {
            "transcript.attach": ("transcript.attach", self._attach),
            "disc.authored": ("disc.author", self._authored),
        }

    def handle(self, request: Request) -> None:
        """Answers the request, at once or, where reading takes time, from a thread of its own."""
        if request.given_up and request.command == "session.start":
            log.warning("start left undone: it waited until its client had gone", extra={"uid": request.person.uid})
            return
        try:
            if request.command in self._slow:
                slow_act, begin = self._slow[request.command]
                self._gate.check(slow_act, request.person)
                begin(request)
                return
            if request.command not in self._commands:
                raise BadInput("agent-command-unknown", "use-matching-agent-version", command=shown(request.command[:80]))
            act, command = self._commands[request.command]
            if act is not None:
                self._gate.check(act, request.person)
            asked = Asked(request, act)
            answer = command(asked)
            if asked.act is not None:
                self._gate.done(asked.act, request.person, session=answer.get("session"))
            request.succeed(answer)
        except Fault as fault:
            request.fail(fault)

    def start(self, asked: "Asked") -> Reply:
        """Begins a session; the answer holds its official start."""
        typed: dict[str, Any] = {
            f.name: _stripped(asked.texts(f.argument) if f.many else asked.text(f.argument)) for f in CASE_FIELDS
        }
        case = Case(**typed)
        minutes = asked.number("planned_minutes", self._config.recording.planned_minutes)
        request = StartRequest(case, minutes, asked.text("override_by"), asked.text("override_reason"))
        if request.override_by or request.override_reason:
            self._gate.check("session.override", asked.person)
            asked.act = "session.override"
        return self._times(self._keeper.start(request, self._readiness(), asked.person))

    def _readiness(self) -> Readiness:
        config, view = self._config, self._look()
        selfcheck = view.selfcheck
        age_ns = self._keeper.utc_ns() - selfcheck.at_ns if selfcheck else 0
        return Readiness(
            now_ns=view.boottime_ns,
            active=self._keeper.active,
            changed_cameras=tuple(view.changed_cameras.values()),
            selfcheck_at=rfc3339(selfcheck.at_ns, config.room.zone) if selfcheck else "",
            selfcheck_passed=bool(selfcheck and selfcheck.passed),
            selfcheck_age_s=age_ns / SECOND_NS,
            selfcheck_limit_s=config.recording.selfcheck_valid_minutes * 60.0,
            failed_checks=selfcheck.failed_checks if selfcheck else (),
            tracks=track_statuses(view.statuses),
            free_bytes=view.disk.free_bytes if view.disk else 0,
            reserve_bytes=round(config.storage.reserve_gib * GIB),
            composite_bps=composite_bps(config),
            root=config.storage.root,
        )

    def stop(self, asked: "Asked") -> Reply:
        """Ends the session; the answer holds its official end, at most a second from now."""
        return self._times(self._keeper.stop(asked.text("by"), asked.text("reason"), asked.person))

    def seal(self, asked: "Asked") -> Reply:
        """Lets the seal go on without the tracks that it waits for; the answer names them as well."""
        session = self._keeper.leave(asked.text("by"), asked.text("reason"), self._look().statuses, asked.person)
        return {**self._times(session), "left": list((session.left or ())[-1]["tracks"])}

    def _times(self, session: Session) -> Reply:
        zone = self._config.room.zone

        def both(room_ns: int | None) -> dict[str, str] | None:
            return None if room_ns is None else {"en": spoken(room_ns, zone, "en"), "zh": spoken(room_ns, zone, "zh")}

        return {
            "session": session.id,
            "state": session.state,
            "official_start": session.official_start,
            "official_end": session.official_end,
            "start_text": both(session.start_ns),
            "end_text": both(session.stop_ns),
            "path": str(self._keeper.path(session)),
        }

    def status(self, asked: "Asked") -> Reply:
        """The room, and the session that was asked for, else the running or newest one."""
        name = asked.text("session")
        other = catalogue.read_session(self._folder(asked)) if name else None
        return status_answer(self._config, self._look(), self._keeper, other, self._feed())

    def _folder(self, asked: "Asked") -> Path:
        return catalogue.find(self._config.storage.places, asked.text("session"))

    def _attach(self, request: Request) -> None:
        asked = Asked(request)
        folder = self._folder(asked)
        session = catalogue.read_session(folder)
        check_attach(session)
        self._discs.check_idle(session)
        name, tolerance_s = asked.text("name"), self._config.transcript.tolerance_s

        def judge() -> transcripts.Judged:
            try:
                data = request.file.read(LARGEST_BYTES)
            except FileTooLarge as fault:
                check_size(name, fault.size)
                raise
            return transcripts.judge(session, name, data, tolerance_s, request.person)

        def commit(judged: transcripts.Judged) -> Reply:
            check_attach(catalogue.read_session(folder))
            self._discs.check_idle(session)
            facts = {"file": transcripts.store(folder, judged), **judged.facts}
            changed = self._keeper.change(folder, lambda s: s.with_transcript(facts), "transcript", **facts)
            self._gate.done(request.command, request.person, session=changed.id)
            return {"session": changed.id, "state": changed.state, "transcript": facts}

        self._aside(request, judge, commit)

    def _authored(self, request: Request) -> None:
        """Writes down that an image file was made of a session, by whoever was given the ticket for it."""
        asked = Asked(request)
        folder = self._folder(asked)
        image = described(asked.text("image"), asked.text("sha256"), asked.number("bytes", -1))
        ticket = asked.text("ticket")
        self._tickets.check(ticket, folder.name, request.person)

        def size() -> int:
            return request.file.size()

        def commit(size: int) -> Reply:
            if size != image.bytes:
                raise BadInput("image-file-has-other-size", "author-image-with-command", size=size, told=image.bytes)
            self._tickets.check(ticket, folder.name, request.person)
            told = {**image.as_json(), "asked": request.person.as_json()}
            changed = self._keeper.change(folder, lambda s: s, "authored", **told)
            self._tickets.take(ticket)
            self._gate.done("disc.author", request.person, session=changed.id)
            return {"session": changed.id}

        self._aside(request, size, commit)

    def _aside(self, request: Request, work: Callable[[], T], commit: Callable[[T], Reply]) -> None:
        """Does what takes time in a thread of its own, and the last step in the agent's. work: raises Fault; touches nothing."""

        def run() -> None:
            done: T | Fault
            try:
                done = work()
            except Fault as fault:
                done = fault
            except Exception as error:  # the top of this thread: the client must have its answer
                log.exception("command failed", extra={"command": request.command})
                done = defect(request.command, error)
            self._later(lambda: _answer(request, done, commit))

        threading.Thread(target=run, name=request.command, daemon=True).start()

    def accept(self, asked: "Asked") -> Reply:
        """A second person's exception for a transcript that does not agree."""
        folder = self._folder(asked)
        by, reason, mode = asked.text("by"), asked.text("reason"), self._config.people.second_person
        facts = transcripts.excepted(catalogue.read_session(folder), by, reason, asked.person, mode)
        changed = self._keeper.change(folder, lambda s: s.with_transcript(facts), "exception", **dict(facts["exception"]))
        return {"session": changed.id, "state": changed.state, "transcript": dict(facts)}

    def burn(self, asked: "Asked") -> Reply:
        """Asks the burner worker for discs. extra: one more, for a reason. ``finished``: the session has all that it needs."""
        folder = self._folder(asked)
        session = catalogue.read_session(folder)
        extra = asked.flag("extra")
        if extra:
            self._gate.check("disc.extra", asked.person)
            if reasons := text_faults(by=asked.text("by"), reason=asked.text("reason")):
                raise Refused("no-extra-disc", reasons)
            asked.act = "disc.extra"
        order = self._discs.want(session, asked.texts("drives"), extra=extra)
        if order["finished"]:
            asked.act = None  # nothing was changed
        else:
            why = {"by": asked.text("by").strip(), "reason": asked.text("reason").strip()} if extra else {}
            told = {"act": "disc.extra" if extra else "disc.burn", "job": order["job"], "copies": order["copies"], **why}
            self._keeper.change(folder, lambda s: s, "act", **told, asked=asked.person.as_json())
            self._discs.ask(order)
        return order

    def author(self, asked: "Asked") -> Reply:
        """Whether the image of a session may be made now; the command that asks makes it, and tells it with the ticket."""
        session = catalogue.read_session(self._folder(asked))
        check_sealed(session)
        asked.act = None  # it is written down once it is done
        return {"session": session.id, "ticket": self._tickets.give(session.id, asked.person)}

    def cancel(self, asked: "Asked") -> Reply:
        """Ends the burning of a session's discs; the session is then as it was, and may be burned again."""
        folder = self._folder(asked)
        session = catalogue.read_session(folder)
        by, reason = asked.text("by").strip(), asked.text("reason").strip()
        if reasons := unfit_texts(by=by, reason=reason):
            raise Refused("burning-not-cancelled", reasons)
        job = self._discs.under_way(session)
        told = {"act": "disc.cancel", "job": job, "by": by, "reason": reason}
        self._keeper.change(folder, lambda s: s, "act", **told, asked=asked.person.as_json())
        self._discs.cancel(job)
        return {"session": session.id, "job": job}

    def complete(self, asked: "Asked") -> Reply:
        """Whether a session's composite may be completed now; the command that asks composes."""
        by = asked.text("by")
        for fault in text_faults(by=by):
            raise fault
        folder = self._folder(asked)
        check_sealed(catalogue.read_session(folder))
        told = {"act": "session.complete", "by": by.strip(), "asked": asked.person.as_json()}
        return {"session": self._keeper.change(folder, lambda s: s, "act", **told).id}

    def store_selfcheck(self, asked: "Asked") -> Reply:
        """Keeps a self-check's report as the newest: a session may start on it."""
        return {"path": str(store_report(asked.mapping("report"), self._config))}

    def store_calibration(self, asked: "Asked") -> Reply:
        """Keeps what a calibration measured; refused while a session is recorded: its time line must not move."""
        if (active := self._keeper.active) is not None:
            raise refusal("session-is-being-recorded", "calibrate-after-session-ends", session=active.id)
        path = self._config.storage.places.calibration
        latency.store(path, latency.measured_of(asked.mapping("cameras"), CAMERAS))
        return {"path": str(path)}

    def accept_camera(self, asked: "Asked") -> Reply:
        """Takes a changed camera for the room's own, with all that changed of it."""
        name, by, reason = asked.text("camera"), asked.text("by"), asked.text("reason")
        found = self._cameras.accept(name, self._look().statuses, by, reason, asked.person)
        changes = [asdict(change) for change in found]
        self._gate.done(
            "camera.accept", asked.person, session=None, camera=name, by=by.strip(), reason=reason.strip(), changes=changes
        )
        asked.act = None  # it is written down, with more than a session's name
        return {"camera": name, "changes": changes, "path": str(self._config.storage.places.accepted_cameras)}


def _stripped(value: Given | tuple[Given, ...]) -> str | tuple[str, ...]:
    if isinstance(value, tuple):
        return tuple(text.strip() for text in value if text.strip())
    return value.strip()


def _answer(request: Request, done: T | Fault, commit: Callable[[T], Reply]) -> None:
    """In the agent's thread: the last step of a command that took time. A defect is answered, then raised."""
    try:
        if isinstance(done, Fault):
            raise done
        request.succeed(commit(done))
    except Fault as fault:
        request.fail(fault)
    except Exception as error:
        request.fail(defect(request.command, error))
        raise


class Asked:
    """One request: who asks, and its arguments, read with their types. act: what the journal of acts will hold, None: nothing.

    Raises BadInput for a value of another type, or that is no UTF-8 text.
    """

    def __init__(self, request: Request, act: str | None = None) -> None:
        self.person, self.act = request.person, act
        self._values = request.arguments

    def text(self, name: str) -> Given:
        """A text, "" where it is missing."""
        value = self._values.get(name)
        return Given() if value is None else self._given(name, value)

    def texts(self, name: str) -> tuple[Given, ...]:
        """A list of texts, empty where it is missing."""
        value = self._values.get(name) or []
        if not isinstance(value, list):
            raise self._wrong(name, value)
        return tuple(self._given(name, each) for each in value)

    def number(self, name: str, default: int) -> int:
        """The argument as a whole number of any size; the default where it was not given. Raises BadInput for another type."""
        value = self._values.get(name)
        if value is None:
            return default
        if not isinstance(value, int) or isinstance(value, bool):
            raise self._wrong(name, value)
        return value

    def flag(self, name: str) -> bool:
        """True or false, false where it is missing."""
        value = self._values.get(name, False)
        if not isinstance(value, bool):
            raise self._wrong(name, value)
        return value

    def mapping(self, name: str) -> Mapping[str, Any]:
        """An object of JSON."""
        value = self._values.get(name)
        if not isinstance(value, dict):
            raise self._wrong(name, value)
        return value

    def _given(self, name: str, value: object) -> Given:
        try:
            return given(value)
        except NotGiven as error:
            if error.reason == "encoding" and isinstance(error.__cause__, UnicodeEncodeError):
                raise no_utf8(error.__cause__) from error
            raise self._wrong(name, value) from error

    @staticmethod
    def _wrong(name: str, value: object) -> BadInput:
        text, mend = "argument-type-wrong", "see-agent-command-docs"
        return BadInput(text, mend, name=name, value=repr(value)[:80])
