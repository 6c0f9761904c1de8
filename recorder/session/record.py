"""The record of a session: the content of session.json, with its states and verdicts.

Every field says once, where it is declared, whether the seal covers it, which of it is private, and whether a stranger who checks
the recording is told it. The manifest, the feed, the logs, the disc and the verifier derive from that.

States: ``recording → sealing → sealed → matched → on-disc``. docs/formats.md has the file.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from datetime import tzinfo
from typing import Any, Literal, Self, get_args
from zoneinfo import ZoneInfo

from recorder.clock.instants import rfc3339
from recorder.disk.typed import WrongField, typed
from recorder.faults import EvidenceFault
from recorder.process.wanted import Wanted
from recorder.session.tracks import track_name
from wording.sentence import Json, Sentence

SCHEMA = "interview-room-session/2"

State = Literal["recording", "sealing", "sealed", "matched", "on-disc"]
STATES: tuple[State, ...] = get_args(State)
ACTIVE_STATES: tuple[State, ...] = ("recording", "sealing")  # the room is taken
SEALED_STATES: tuple[State, ...] = ("sealed", "matched", "on-disc")
MATCHED_STATES: tuple[State, ...] = ("matched", "on-disc")

# Of a transcript: "excepted" where a second person accepted that the times do not agree (W-7.3.5 c).
Verdict = Literal["match", "mismatch", "not-found", "excepted"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
FINAL_VERDICTS: tuple[Verdict, ...] = ("match", "excepted")  # with one of them a disc may be made

WHOLE = ("*",)


def _kept(
    *, started: bool = False, sealed: bool = False, private: Sequence[str] = (), told: bool = False, default: Any = MISSING
) -> Any:
    """A field of the record.

    started: the journal's line ``started`` carries it. sealed: the manifest carries it. private: places inside it, or WHOLE, that
    the feed and the logs never hold (G-59). told: the disc's page and the verifier's answer say it.
    """
    marks = {"started": started, "sealed": sealed, "private": tuple(private), "told": told}
    return field(default=default, metadata=marks)


def _typed(option: str, help_: str, label: str, *, default: Any = MISSING) -> Any:
    """A field of the case that a person types: the option of the command line, the code of its help, the code of its label.

    default: of a field that older sessions lack; a field that is added later must have one.
    """
    return field(default=default, metadata={"option": option, "help": help_, "label": label})


@dataclass(frozen=True, slots=True)
class Case:
    """The register's fields (W-7.2.3)."""

    number: str = _typed("case", "help-case-number", "case-number")
    cause: str = _typed("cause", "help-case-cause", "interview-cause")
    handlers: tuple[str, ...] = _typed("handler", "help-handler-name", "handlers")
    interviewee: str = _typed("interviewee", "help-questioned-person", "interviewee")


@dataclass(frozen=True, slots=True)
class CaseField:
    """What is known of a field of the case. many: it holds several texts; see ``_typed`` for the rest."""

    name: str
    option: str
    help: str
    label: str
    many: bool

    @property
    def argument(self) -> str:
        """The field's name in a start command to the agent."""
        return self.name if self.many else self.option


CASE_FIELDS = tuple(CaseField(f.name, **f.metadata, many=f.type == tuple[str, ...]) for f in fields(Case))


@dataclass(frozen=True, slots=True)
class Session:
    """The content of session.json. Times are room time in ns; the official ones are RFC 3339 in the room's zone.

    left: who let the seal go on without which tracks, and why; more than one where it was done again. asked: who asked for the
    start, by user id and login; stop, left and transcript carry the same of whoever asked for them.
    """

    id: str = _kept()
    state: State = _kept()
    start_ns: int = _kept(started=True, sealed=True)
    official_start: str = _kept(started=True, sealed=True, told=True)
    timezone: str = _kept(sealed=True)
    room: Mapping[str, Any] = _kept(started=True, sealed=True, told=True)
    case: Case = _kept(started=True, sealed=True, private=WHOLE, told=True)
    planned_minutes: int = _kept(started=True, sealed=True)
    selfcheck: Mapping[str, Any] = _kept(started=True, sealed=True, private=("override.by", "override.reason"))
    stop_ns: int | None = _kept(default=None)
    official_end: str | None = _kept(sealed=True, told=True, default=None)
    stop: Mapping[str, Any] | None = _kept(sealed=True, private=("by", "reason"), default=None)
    left: Sequence[Mapping[str, Any]] | None = _kept(sealed=True, private=("by", "reason"), told=True, default=None)
    coverage: Mapping[str, Any] | None = _kept(default=None)
    composite: Mapping[str, Any] | None = _kept(default=None)
    transcript: Mapping[str, Any] | None = _kept(private=("file", "exception.by", "exception.reason"), told=True, default=None)
    disc: Mapping[str, Any] | None = _kept(default=None)
    asked: Mapping[str, Any] | None = _kept(started=True, sealed=True, default=None)

    @property
    def active(self) -> bool:
        """Whether the session is being recorded or sealed, so that no other may start."""
        return self.state in ACTIVE_STATES

    @property
    def left_tracks(self) -> frozenset[str]:
        """The tracks without which the seal goes on."""
        return frozenset(track for each in self.left or () for track in each["tracks"])

    def as_dict(self) -> dict[str, Any]:
        """The record as session.json holds it."""
        return {"schema": SCHEMA, **asdict(self)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], where: object) -> Self:
        """The inverse of as_dict, of this version's form and of the one before.

        where: named in the EvidenceFault that is raised for anything else.
        """
        try:
            found = typed(cls, data)
            found._check()
        except WrongField as error:
            raise EvidenceFault(
                "session-file-field-invalid", "restore-from-copy", path=where, field=error.field or "id"
            ) from error
        return found

    def _check(self) -> None:
        """Checks what the types cannot express. Raises WrongField."""
        if self.state != "recording" and self.stop_ns is None:
            raise WrongField("state")
        for entry in self.left or ():
            tracks = entry.get("tracks")
            if not isinstance(tracks, list) or not all(isinstance(track, str) for track in tracks):
                raise WrongField("left")
        try:
            ZoneInfo(self.timezone)
        except (LookupError, ValueError, OSError) as error:
            raise WrongField("timezone") from error

    def wanted(self, before: Wanted) -> Wanted:
        """What the tracks and the composer are to do. before: what wanted.json says now; a composite given up stays given up."""
        if not self.active:
            return Wanted()
        composite = before.composite if before.session == self.id else True
        return Wanted(self.id, self.start_ns, self.stop_ns, self.case.number, composite)

    def stopping(self, stop_ns: int, by: str, reason: str, zone: tzinfo, asked: Json) -> "Session":
        """The session after a stop command: recording → sealing. asked: user id and login of whoever asked for it."""
        stop = {"by": by.strip(), "reason": reason.strip(), "asked": asked}
        return replace(self, state="sealing", stop_ns=stop_ns, official_end=rfc3339(stop_ns, zone), stop=stop)

    def leaving(self, tracks: Sequence[str], by: str, reason: str, asked: Json) -> "Session":
        """The session whose seal goes on without these tracks."""
        entry = {"by": by.strip(), "reason": reason.strip(), "tracks": list(tracks), "asked": asked}
        return replace(self, left=[*(self.left or ()), entry])

    def sealed(self, coverage: Mapping[str, Any], composite: Mapping[str, Any] | None) -> "Session":
        """The session after its seal: sealing → sealed. coverage: by track; composite: pictures due and written."""
        return replace(self, state="sealed", coverage=coverage, composite=composite)

    def with_transcript(self, transcript: Mapping[str, Any]) -> "Session":
        """The session with a transcript; the verdict makes it ``sealed`` or ``matched``."""
        state: State = "matched" if transcript["verdict"] in FINAL_VERDICTS else "sealed"
        return replace(self, state=state, transcript=transcript)

    def with_disc(self, disc: Mapping[str, Any], copies: int) -> "Session":
        """The session with a burn job's result: matched → on-disc where as many copies as required were verified."""
        done = self.state == "matched" and int(disc.get("verified", 0)) >= copies
        return replace(self, state="on-disc" if done else self.state, disc=disc)


FIELDS = tuple(f.name for f in fields(Session))
STARTED = tuple(f.name for f in fields(Session) if f.metadata["started"])
SEALED = tuple(f.name for f in fields(Session) if f.metadata["sealed"])
TOLD = tuple(f.name for f in fields(Session) if f.metadata["told"])
PRIVATE: Mapping[str, tuple[str, ...]] = {f.name: f.metadata["private"] for f in fields(Session) if f.metadata["private"]}


def private_texts(record: Mapping[str, Any]) -> Iterator[str]:
    """Every text of a session.json that names a person or the case, stripped; a record of any form is taken."""
    for name, inside in PRIVATE.items():
        for each in _each(record.get(name)):
            if inside == WHOLE:
                yield from _texts(each)
            else:
                yield from (text for place in inside for text in _texts(_at(each, place)))


def _at(value: object, place: str) -> object:
    """What stands at a dotted place inside a value, None where nothing does."""
    for key in place.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _each(value: object) -> Iterable[object]:
    return value if isinstance(value, (list, tuple)) else (value,)


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value.strip()
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _texts(inner)


def sealed_without(record: Mapping[str, Any]) -> Iterator[Sentence]:
    """Who let the seal go on without which tracks, and why, from a session.json or a manifest."""
    for entry in _each(record.get("left") or ()):
        if isinstance(entry, Mapping) and isinstance(tracks := entry.get("tracks"), (list, tuple)):
            names = tuple(track_name(str(track)) for track in tracks)
            said = {"by": str(entry.get("by", "")), "reason": str(entry.get("reason", ""))}
            yield Sentence("sealed-without-tracks", {"tracks": names, **said})


# What a person of a session has asked for, and the code that says it.
ROLES: Mapping[str, str] = {"start": "role-started", "stop": "role-stopped", "transcript": "role-attached"}


def same_login(one: object, other: object) -> bool:
    """Whether two persons, each as ``asked`` holds it, have one login or one user id; False where either is not known."""
    if not (isinstance(one, Mapping) and isinstance(other, Mapping)):
        return False
    login, uid = one.get("login"), one.get("uid")
    return bool(isinstance(login, str) and login and login == other.get("login")) or (
        isinstance(uid, int) and uid >= 0 and uid == other.get("uid")
    )


def roles_of(record: Mapping[str, Any], asked: object) -> tuple[str, ...]:
    """What this person, as ``asked`` holds it, has asked for in a session: of ROLES. record: of session.json."""
    askers = {"start": record.get("asked"), "stop": _at(record, "stop.asked"), "transcript": _at(record, "transcript.asked")}
    return tuple(role for role, asker in askers.items() if same_login(asker, asked))


def exception_roles(record: Mapping[str, Any]) -> tuple[str, ...]:
    """What whoever typed the transcript's exception has asked for as well; () where there is no exception."""
    return roles_of(record, _at(record, "transcript.exception.asked"))


def login_remark(asked: object, roles: Iterable[str]) -> Sentence | None:
    """That an exception was typed by the login that has done all this; None where it has done nothing of it."""
    codes = tuple(Sentence(ROLES[role]) for role in roles)
    if not (codes and isinstance(asked, Mapping)):
        return None
    told = {"login": str(asked.get("login") or "-"), "uid": asked.get("uid"), "acts": codes}
    return Sentence("exception-typed-by-same-login", told)


def exception_remark(record: Mapping[str, Any]) -> Sentence | None:
    """The remark on a session's exception, from its record, whoever wrote it and whichever version; None where there is none."""
    return login_remark(_at(record, "transcript.exception.asked"), exception_roles(record))


def verdict_name(verdict: object) -> Sentence:
    """A verdict as a person reads it; an unknown verdict is shown as it is."""
    return Sentence(str(verdict))
