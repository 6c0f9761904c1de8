"""What the agent does for each command of its console. Arguments come from outside: every one is checked here."""

import base64
import binascii
import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

from agent.config.model import Config
from agent.console.client import no_utf8
from agent.console.server import Request, defect
from agent.console.status import status_answer
from agent.feed.room import Feed
from agent.health.look import track_statuses
from agent.health.room_view import RoomView
from agent.session import catalogue, transcripts
from agent.session.capacity import composite_bps
from agent.session.discs import Discs
from agent.session.keeper import SessionKeeper
from agent.session.rules import Readiness, StartRequest, check_attach, spoken
from recorder.clock.instants import SECOND_NS, rfc3339
from recorder.faults import BadInput
from recorder.session.record import Case, Session
from wording import Fault

GIB = 1 << 30
Answer = dict[str, Any]

log = logging.getLogger(__name__)


class Handlers:
    """By command name; each returns its answer or raises a Fault.

    look: the room now. later: calls it in the agent's thread. feed: that of the agent, None before it has one.
    """

    def __init__(
        self,
        config: Config,
        keeper: SessionKeeper,
        discs: Discs,
        *,
        look: Callable[[], RoomView],
        later: Callable[[Callable[[], None]], None],
        feed: Callable[[], Feed | None],
    ) -> None:
        self._config, self._keeper, self._discs = config, keeper, discs
        self._look, self._later, self._feed = look, later, feed
        self._commands: dict[str, Callable[[Arguments], Answer]] = {
            "session.start": self.start,
            "session.stop": self.stop,
            "session.seal": self.seal,
            "session.status": self.status,
            "transcript.accept": self.accept,
            "disc.burn": self.burn,
            "disc.authored": self.authored,
        }

    def handle(self, request: Request) -> None:
        """Answers the request, at once or, where reading takes time, from a thread of its own."""
        if request.given_up and request.command == "session.start":
            log.warning("start left undone: it waited until its client had gone", extra={"uid": request.uid})
            return
        try:
            if request.command == "transcript.attach":
                self._attach(request)
                return
            command = self._commands.get(request.command)
            if command is None:
                text, mend = "The agent knows no command {command}.", "Use the room-agent command of the agent's own version."
                raise BadInput(text, mend, command=request.command)
            request.succeed(command(Arguments(request.arguments)))
        except Fault as fault:
            request.fail(fault)

    def start(self, arguments: "Arguments") -> Answer:
        """Begins a session; the answer holds its official start."""
        case = Case(
            arguments.text("case").strip(),
            arguments.text("cause").strip(),
            tuple(name.strip() for name in arguments.texts("handlers") if name.strip()),
            arguments.text("interviewee").strip(),
        )
        minutes = arguments.number("planned_minutes", self._config.recording.planned_minutes)
        request = StartRequest(case, minutes, arguments.text("override_by"), arguments.text("override_reason"))
        return self._times(self._keeper.start(request, self._readiness()))

    def _readiness(self) -> Readiness:
        config, view = self._config, self._look()
        selfcheck = view.selfcheck
        age_ns = self._keeper.utc_ns() - selfcheck.at_ns if selfcheck else 0
        return Readiness(
            now_ns=view.boottime_ns,
            active=self._keeper.active,
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

    def stop(self, arguments: "Arguments") -> Answer:
        """Ends the session; the answer holds its official end, at most a second from now."""
        return self._times(self._keeper.stop(arguments.text("by"), arguments.text("reason")))

    def seal(self, arguments: "Arguments") -> Answer:
        """Lets the seal go on without the tracks that it waits for; the answer names them as well."""
        session = self._keeper.leave(arguments.text("by"), arguments.text("reason"), self._look().statuses)
        return {**self._times(session), "left": list((session.left or ())[-1]["tracks"])}

    def _times(self, session: Session) -> Answer:
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

    def status(self, arguments: "Arguments") -> Answer:
        """The room, and the session that was asked for, else the running or newest one."""
        name = arguments.text("session")
        asked = catalogue.read_session(catalogue.find(self._config.storage.places, name)) if name else None
        return status_answer(self._config, self._look(), self._keeper, asked, self._feed())

    def _attach(self, request: Request) -> None:
        arguments = Arguments(request.arguments)
        folder = catalogue.find(self._config.storage.places, arguments.text("session"))
        session = catalogue.read_session(folder)
        self._discs.check_idle(session)
        try:
            data = base64.b64decode(arguments.text("content"), validate=True)
        except (binascii.Error, ValueError) as error:
            raise BadInput("The transcript did not arrive whole.", "Attach it again.") from error
        name, tolerance_s = arguments.text("name"), self._config.transcript.tolerance_s

        def commit(judged: transcripts.Judged) -> Answer:
            check_attach(catalogue.read_session(folder))
            self._discs.check_idle(session)
            facts = {"file": transcripts.store(folder, judged), **judged.facts}
            changed = self._keeper.change(folder, lambda s: s.with_transcript(facts), "transcript", **facts)
            return {"session": changed.id, "state": changed.state, "transcript": facts}

        def work() -> None:
            judged: transcripts.Judged | Fault
            try:
                judged = transcripts.judge(session, name, data, tolerance_s)
            except Fault as fault:
                judged = fault
            except Exception as error:  # the top of this thread: the client must have its answer
                log.exception("command failed", extra={"command": request.command})
                judged = defect(request.command, error)
            self._later(lambda: _answer(request, judged, commit))

        threading.Thread(target=work, name="transcript", daemon=True).start()

    def accept(self, arguments: "Arguments") -> Answer:
        """A second person's exception for a transcript that does not agree."""
        folder = catalogue.find(self._config.storage.places, arguments.text("session"))
        facts = transcripts.excepted(catalogue.read_session(folder), arguments.text("by"), arguments.text("reason"))
        changed = self._keeper.change(folder, lambda s: s.with_transcript(facts), "exception", **dict(facts["exception"]))
        return {"session": changed.id, "state": changed.state, "transcript": dict(facts)}

    def burn(self, arguments: "Arguments") -> Answer:
        """Asks the burner worker for discs."""
        folder = catalogue.find(self._config.storage.places, arguments.text("session"))
        return self._discs.want(catalogue.read_session(folder), arguments.texts("drives"))

    def authored(self, arguments: "Arguments") -> Answer:
        """Writes down that an image file was made of a session."""
        folder = catalogue.find(self._config.storage.places, arguments.text("session"))
        facts = {"image": arguments.text("image"), "sha256": arguments.text("sha256"), "bytes": arguments.number("bytes", 0)}
        changed = self._keeper.change(folder, lambda s: s, "authored", **facts)
        return {"session": changed.id}


def _answer(request: Request, judged: transcripts.Judged | Fault, commit: Callable[[transcripts.Judged], Answer]) -> None:
    """In the agent's thread: the last step of attaching. A defect is answered, then raised."""
    try:
        if isinstance(judged, Fault):
            raise judged
        request.succeed(commit(judged))
    except Fault as fault:
        request.fail(fault)
    except Exception as error:
        request.fail(defect(request.command, error))
        raise


class Arguments:
    """A command's arguments, read with their types. Raises BadInput for a value of another type, or that is no UTF-8 text."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def text(self, name: str) -> str:
        """A text, "" where it is missing."""
        value = self._values.get(name)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise self._wrong(name, value)
        return self._encodable(value)

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of texts, empty where it is missing."""
        value = self._values.get(name) or []
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise self._wrong(name, value)
        return tuple(map(self._encodable, value))

    def number(self, name: str, default: int) -> int:
        """A whole number."""
        value = self._values.get(name)
        if value is None:
            return default
        if not isinstance(value, int) or isinstance(value, bool):
            raise self._wrong(name, value)
        return value

    @staticmethod
    def _encodable(value: str) -> str:
        """JSON can carry halves of characters (``\\ud83d``), which no file and no answer can."""
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise no_utf8(error) from error
        return value

    @staticmethod
    def _wrong(name: str, value: object) -> BadInput:
        text, mend = "The argument {name} has a value of the wrong type: {value}.", "See docs/formats.md, commands to the agent."
        return BadInput(text, mend, name=name, value=repr(value)[:80])
