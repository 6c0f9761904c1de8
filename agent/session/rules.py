"""One session as a value, and what may follow what. Pure: no file, no clock; agent.session.keeper does what is decided here.

States: ``recording → sealing → sealed → matched → on-disc``. What lies in session.json: docs/formats.md.
"""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from agent.session.capacity import gigabytes, needed_bytes
from recorder.clock.instants import SECOND_NS, rfc3339
from recorder.faults import BadInput
from recorder.process.status import TrackStatus
from recorder.session.record import Case, Session
from wording import Exit, Fault, Language
from wording.refusals import Refused, refusal

LONGEST_MINUTES = 1440  # a day
LONGEST_TEXT = 200  # characters of a case number, a name or a reason: the overlay and the disc have one line for each
DIRECTING = ("LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI")  # they turn the text around them


@dataclass(frozen=True, slots=True)
class StartRequest:
    """What a start command gives. override_by, override_reason: let it start without a valid self-check; on the record."""

    case: Case
    planned_minutes: int
    override_by: str = ""
    override_reason: str = ""


@dataclass(frozen=True, slots=True)
class Readiness:
    """What a start depends on.

    active: the session that is recorded or sealed now. selfcheck_at: when the newest self-check was made, "" for none;
    selfcheck_age_s: its age; failed_checks: their ids. tracks: the required ones with their live status or None.
    armed_within_ns: a packet older than this does not count as delivered.
    """

    now_ns: int
    active: Session | None
    selfcheck_at: str
    selfcheck_passed: bool
    selfcheck_age_s: float
    selfcheck_limit_s: float
    failed_checks: Sequence[str]
    tracks: Mapping[str, TrackStatus | None]
    free_bytes: int
    reserve_bytes: int
    composite_bps: float
    root: object
    armed_within_ns: int = 3 * SECOND_NS


def check_start(request: StartRequest, ready: Readiness) -> None:
    """Raises Refused with every reason why the session may not start now."""
    reasons = [*_busy(ready.active), *_metadata(request), *_selfcheck(request, ready), *_disk(request, ready), *_tracks(ready)]
    if reasons:
        raise Refused("The session was not started:", reasons)


def _busy(active: Session | None) -> list[Fault]:
    if active is None:
        return []
    if active.state == "recording":
        return [
            refusal(
                "Session {session} has been running since {start}.",
                "End it first: `room-agent session stop`.",
                session=active.id,
                start=active.official_start,
            )
        ]
    mend = "Wait until it is sealed; `room-agent session status` shows what it waits for."
    return [refusal("Session {session} is still being sealed.", mend, session=active.id)]


def text_faults(**texts: str) -> list[Fault]:
    """A fault each text that is missing, or cannot stand on one line; the names are those of the options."""
    mend = "Give it; the record must name it."
    missing = [BadInput("--{option} is missing or empty.", mend, option=_option(k)) for k, v in texts.items() if not v.strip()]
    return [*missing, *unfit_texts(**texts)]


def unfit_texts(**texts: str) -> list[Fault]:
    """A fault each text that is too long, or holds line breaks, control or direction characters."""
    reasons: list[Fault] = []
    for name, value in texts.items():
        plain = "".join("\ufffd" if _unfit(c) else c for c in value.strip())
        if "\ufffd" in plain:
            text = "--{option} holds a line break or another control character: {value}."
            reasons.append(BadInput(text, "Type it again on one line.", option=_option(name), value=plain[:40]))
        elif len(plain) > LONGEST_TEXT:
            text, mend = "--{option} has {count} characters; at most {limit} are kept.", "Give a shorter one."
            reasons.append(BadInput(text, mend, option=_option(name), count=len(plain), limit=LONGEST_TEXT))
    return reasons


def _option(name: str) -> str:
    return name.replace("_", "-")


def _unfit(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") or unicodedata.bidirectional(character) in DIRECTING


def _metadata(request: StartRequest) -> list[Fault]:
    case = request.case
    reasons = text_faults(case=case.number, cause=case.cause, handler="".join(case.handlers)[:1], interviewee=case.interviewee)
    reasons += [fault for handler in case.handlers for fault in unfit_texts(handler=handler)]
    reasons += unfit_texts(override_by=request.override_by, override_reason=request.override_reason)
    if not 1 <= request.planned_minutes <= LONGEST_MINUTES:
        text = "--planned-minutes is {value}."
        reasons.append(BadInput(text, "Give a whole number from 1 to 1440.", value=request.planned_minutes))
    if bool(request.override_by.strip()) != bool(request.override_reason.strip()):
        reasons.append(BadInput("An override needs a name and a reason.", "Give both --override-by and --override-reason."))
    return reasons


def selfcheck_fault(ready: Readiness) -> Fault | None:
    """Why the newest self-check does not let a session start, None where it does."""
    mend = "Run `room-agent selfcheck`, mend what it names, or start with --override-by NAME --override-reason TEXT."
    if not ready.selfcheck_at:
        return refusal("There is no self-check yet.", mend)
    if not ready.selfcheck_passed:
        return refusal("The last self-check did not pass: {checks}.", mend, checks=", ".join(ready.failed_checks))
    if not -60 <= ready.selfcheck_age_s <= ready.selfcheck_limit_s:
        age, limit = round(ready.selfcheck_age_s / 60), round(ready.selfcheck_limit_s / 60)
        return refusal("The last self-check is {age} minutes old; {limit} are allowed.", mend, age=age, limit=limit)
    return None


def _selfcheck(request: StartRequest, ready: Readiness) -> list[Fault]:
    fault = selfcheck_fault(ready)
    return [fault] if fault and not (request.override_by.strip() and request.override_reason.strip()) else []


def _disk(request: StartRequest, ready: Readiness) -> list[Fault]:
    needed = needed_bytes(ready.tracks, ready.composite_bps, request.planned_minutes * 60)
    if request.planned_minutes > LONGEST_MINUTES or ready.free_bytes >= needed + ready.reserve_bytes:
        return []
    return [
        Fault(
            "The disk has {free} GB free; {minutes} planned minutes take {needed} GB and {reserve} GB stay in reserve.",
            "Make room on {root}, or plan fewer minutes with --planned-minutes.",
            exit_code=Exit.STORAGE,
            free=gigabytes(ready.free_bytes),
            needed=gigabytes(needed),
            reserve=gigabytes(ready.reserve_bytes),
            minutes=request.planned_minutes,
            root=ready.root,
        )
    ]


DELIVERS_NOTHING = {
    "overview": "The overview camera delivers nothing.",
    "closeup": "The close-up camera delivers nothing.",
    "microphone": "The microphone delivers nothing.",
}


def _tracks(ready: Readiness) -> list[Fault]:
    reasons: list[Fault] = []
    for name, status in ready.tracks.items():
        if status is None:
            mend = "Look whether its service runs, and at its log."
            reasons.append(Fault("The process of track {track} does not run.", mend, exit_code=Exit.DEVICE, track=name))
        elif not delivers(status, ready.now_ns, ready.armed_within_ns):
            mend = "Look at the device and its cable; `room-agent selfcheck` measures it."
            reasons.append(
                Fault(DELIVERS_NOTHING.get(name, "Track {track} delivers nothing."), mend, exit_code=Exit.DEVICE, track=name)
            )
            if status.fault:
                reasons.append(Fault.from_dict(status.fault))
    return reasons


def delivers(status: TrackStatus, now_ns: int, within_ns: int) -> bool:
    """The track has fresh packets, and its process is able to store them."""
    fresh = status.last_packet_ns is not None and now_ns - status.last_packet_ns <= within_ns
    return fresh and status.state in ("armed", "recording", "finished")


def new_session(
    name: str, request: StartRequest, ready: Readiness, start_ns: int, *, room: Mapping[str, Any], zone: ZoneInfo
) -> Session:
    """A session that begins; an override is on the record where it was needed."""
    override = None
    if selfcheck_fault(ready) is not None:
        override = {"by": request.override_by.strip(), "reason": request.override_reason.strip()}
    return Session(
        id=name,
        state="recording",
        start_ns=start_ns,
        official_start=rfc3339(start_ns, zone),
        timezone=zone.key,
        room=dict(room),
        case=request.case,
        planned_minutes=request.planned_minutes,
        selfcheck={"at": ready.selfcheck_at or None, "passed": ready.selfcheck_passed, "override": override},
    )


def session_id(start_ns: int, zone: tzinfo, room: str) -> str:
    """``20260101T093000-room-01``: local date and time of the start command, and the room."""
    return f"{datetime.fromtimestamp(start_ns // SECOND_NS, UTC).astimezone(zone):%Y%m%dT%H%M%S}-{room}"


def spoken(room_ns: int, zone: tzinfo, language: Language) -> str:
    """An official time as a transcript writes it, to the second."""
    moment = datetime.fromtimestamp(room_ns // SECOND_NS, UTC).astimezone(zone)
    if language == "en":
        return f"{moment:%Y-%m-%d %H:%M:%S}"
    return f"{moment.year}年{moment.month:02d}月{moment.day:02d}日{moment.hour:02d}时{moment.minute:02d}分{moment.second:02d}秒"


def check_stop(active: Session | None, by: str, reason: str) -> Session:
    """The session that a stop command ends. Raises Refused."""
    reasons = text_faults(by=by, reason=reason)
    if active is None:
        reasons.append(refusal("No session is running.", "`room-agent session list` shows the sessions of this room."))
    elif active.state != "recording":
        text = "Session {session} was stopped already; its official end is {end}."
        mend = "It seals itself; `room-agent session status` shows how far it is."
        reasons.append(refusal(text, mend, session=active.id, end=active.official_end))
    if reasons or active is None:
        raise Refused("No session was stopped:", reasons)
    return active


def check_sealed(session: Session) -> None:
    """Raises Fault where the session is not sealed yet."""
    if session.active:
        text, mend = "Session {session} is not sealed yet.", "Stop it, and wait until it is sealed."
        raise refusal(text, mend, session=session.id)


def check_attach(session: Session) -> None:
    """Raises Fault where no transcript may be attached."""
    check_sealed(session)
    if session.state == "on-disc":
        text = "Session {session} is on its discs already, with its transcript."
        raise refusal(text, "A transcript that came later needs a new case file.", session=session.id)


def check_exception(session: Session, by: str, reason: str) -> Mapping[str, Any]:
    """The transcript whose verdict a second person accepts. Raises Refused with every reason against it."""
    check_sealed(session)
    reasons = text_faults(by=by, reason=reason)
    transcript = session.transcript
    if transcript is None:
        mend = "Attach it first: `room-agent transcript attach SESSION FILE`."
        reasons.append(refusal("Session {session} has no transcript.", mend, session=session.id))
    elif transcript["verdict"] not in ("mismatch", "not-found"):
        reasons.append(refusal("The transcript's times agree already; there is nothing to accept.", "Go on with the disc."))
    involved = {_plain(name) for name in (*session.case.handlers, str((session.stop or {}).get("by", "")))}
    if by.strip() and _plain(by) in involved:
        mend = "Let a person accept it who neither questioned nor stopped the recording."
        reasons.append(refusal("{by} took part in the interview and cannot accept its exception.", mend, by=by.strip()))
    if reasons or transcript is None:
        raise Refused("The exception was not accepted:", reasons)
    return transcript


def _plain(name: str) -> str:
    """A name for comparing: width, case and spaces do not count."""
    return "".join(unicodedata.normalize("NFKC", name).casefold().split())
