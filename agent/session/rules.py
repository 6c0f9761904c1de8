"""The rules of a session: what a command may change, and into what. Pure; agent.session.keeper carries it out.

States: ``recording → sealing → sealed → matched → on-disc``. What lies in session.json: docs/formats.md.
"""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any, Literal
from zoneinfo import ZoneInfo

from agent.authority.person import Person
from agent.session.capacity import gigabytes, needed_bytes
from recorder.clock.instants import SECOND_NS, rfc3339
from recorder.faults import BadInput
from recorder.process.status import TrackStatus
from recorder.session.record import CASE_FIELDS, ROLES, Case, Session, roles_of
from recorder.session.tracks import DELIVERS_NOTHING, track_name
from wording import Exit, Fault, Language
from wording.border import directs
from wording.refusals import Refused, refusal
from wording.sentence import Sentence

SecondPerson = Literal["name", "login"]  # by what the person of an exception must differ from those who took part

LONGEST_MINUTES = 1440  # a day
LONGEST_NUMBER = 40  # digits of a number that is shown
LONGEST_TEXT = 200  # characters of a case number, a name or a reason: the overlay and the disc have one line for each


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
    armed_within_ns: a packet older than this does not count as delivered. changed_cameras: a fault for each that a person has to
    accept.
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
    changed_cameras: Sequence[Fault] = ()


def check_start(request: StartRequest, ready: Readiness) -> None:
    """Raises Refused with every reason why the session may not start now."""
    reasons = [*_busy(ready.active), *_metadata(request), *_selfcheck(request, ready), *_disk(request, ready), *_tracks(ready)]
    reasons += [] if _overridden(request) else ready.changed_cameras
    if reasons:
        raise Refused("session-start-refused", reasons)


def _busy(active: Session | None) -> list[Fault]:
    if active is None:
        return []
    if active.state == "recording":
        return [
            refusal(
                "session-already-running",
                "stop-session-first",
                session=active.id,
                start=active.official_start,
            )
        ]
    mend = "wait-for-sealing-and-check-cause"
    return [refusal("session-still-being-sealed", mend, session=active.id)]


def text_faults(**texts: str) -> list[Fault]:
    """One fault for each text that is missing or does not fit on one line. The names are those of the options."""
    mend = "give-value-required-by-record"
    missing = [BadInput("option-missing-or-empty", mend, option=_option(k)) for k, v in texts.items() if not v.strip()]
    return [*missing, *unfit_texts(**texts)]


def unfit_texts(**texts: str) -> list[Fault]:
    """One fault for each text that is too long or holds line breaks, control or direction characters."""
    reasons: list[Fault] = []
    for name, value in texts.items():
        plain = "".join("\ufffd" if directs(c) else c for c in value.strip())
        if "\ufffd" in plain:
            text = "option-holds-control-character"
            reasons.append(BadInput(text, "retype-on-one-line", option=_option(name), value=plain[:40]))
        elif len(plain) > LONGEST_TEXT:
            text, mend = "option-too-long", "give-shorter-value"
            reasons.append(BadInput(text, mend, option=_option(name), count=len(plain), limit=LONGEST_TEXT))
    return reasons


def _option(name: str) -> str:
    return name.replace("_", "-")


def _metadata(request: StartRequest) -> list[Fault]:
    case = request.case
    reasons: list[Fault] = []
    for each in CASE_FIELDS:
        value = getattr(case, each.name)
        if not each.many:
            reasons += text_faults(**{each.option: value})
            continue
        reasons += text_faults(**{each.option: "".join(value)[:1]})
        reasons += [fault for text in value for fault in unfit_texts(**{each.option: text})]
    reasons += unfit_texts(override_by=request.override_by, override_reason=request.override_reason)
    if not 1 <= request.planned_minutes <= LONGEST_MINUTES:
        text = "planned-minutes-option-invalid"
        reasons.append(BadInput(text, "give-minutes-from-1-to-1440", value=str(request.planned_minutes)[:LONGEST_NUMBER]))
    if bool(request.override_by.strip()) != bool(request.override_reason.strip()):
        reasons.append(BadInput("override-needs-name-and-reason", "give-override-name-and-reason"))
    return reasons


def selfcheck_fault(ready: Readiness) -> Fault | None:
    """Why the newest self-check does not let a session start, None where it does."""
    mend = "run-selfcheck-or-override"
    if not ready.selfcheck_at:
        return refusal("no-selfcheck-yet", mend)
    if not ready.selfcheck_passed:
        return refusal("last-selfcheck-failed", mend, checks=", ".join(ready.failed_checks))
    if not -60 <= ready.selfcheck_age_s <= ready.selfcheck_limit_s:
        age, limit = round(ready.selfcheck_age_s / 60), round(ready.selfcheck_limit_s / 60)
        return refusal("last-selfcheck-too-old", mend, age=age, limit=limit)
    return None


def _selfcheck(request: StartRequest, ready: Readiness) -> list[Fault]:
    fault = selfcheck_fault(ready)
    return [fault] if fault and not _overridden(request) else []


def _overridden(request: StartRequest) -> bool:
    return bool(request.override_by.strip() and request.override_reason.strip())


def _disk(request: StartRequest, ready: Readiness) -> list[Fault]:
    if request.planned_minutes > LONGEST_MINUTES:  # said already
        return []
    minutes = max(0, request.planned_minutes)
    needed = needed_bytes(ready.tracks, ready.composite_bps, minutes * 60)
    if ready.free_bytes >= needed + ready.reserve_bytes:
        return []
    return [
        Fault(
            "disk-space-short-for-planned-minutes",
            "free-disk-or-reduce-planned-option",
            exit_code=Exit.STORAGE,
            free=gigabytes(ready.free_bytes),
            needed=gigabytes(needed),
            reserve=gigabytes(ready.reserve_bytes),
            minutes=minutes,
            root=ready.root,
        )
    ]


def _tracks(ready: Readiness) -> list[Fault]:
    reasons: list[Fault] = []
    for name, status in ready.tracks.items():
        if status is None:
            mend = "check-service-and-its-log"
            reasons.append(Fault("track-process-not-running", mend, exit_code=Exit.DEVICE, track=track_name(name)))
        elif not delivers(status, ready.now_ns, ready.armed_within_ns):
            mend = "check-device-and-cable-with-selfcheck"
            reasons.append(Fault(DELIVERS_NOTHING.get(name, "track-delivers-nothing"), mend, exit_code=Exit.DEVICE, track=name))
            if status.fault:
                reasons.append(Fault.from_dict(status.fault))
    return reasons


def delivers(status: TrackStatus, now_ns: int, within_ns: int) -> bool:
    """The track has fresh packets, and its process is able to store them."""
    fresh = status.last_packet_ns is not None and now_ns - status.last_packet_ns <= within_ns
    return fresh and status.state in ("armed", "recording", "finished")


def new_session(
    name: str, request: StartRequest, ready: Readiness, start_ns: int, *, room: Mapping[str, Any], zone: ZoneInfo, asked: Person
) -> Session:
    """The session that a start command begins. Its record names the override where it needed one. asked: who asked for it."""
    override = None
    if selfcheck_fault(ready) is not None or ready.changed_cameras:
        override = {"by": request.override_by.strip(), "reason": request.override_reason.strip(), "asked": asked.as_json()}
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
        asked=asked.as_json(),
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
        reasons.append(refusal("no-session-running", "list-sessions-of-room"))
    elif active.state != "recording":
        text = "session-already-stopped"
        mend = "see-sealing-progress"
        reasons.append(refusal(text, mend, session=active.id, end=active.official_end))
    if reasons or active is None:
        raise Refused("session-stop-refused", reasons)
    return active


def check_sealed(session: Session) -> None:
    """Raises Fault where the session is not sealed yet."""
    if session.active:
        text, mend = "session-not-sealed-yet", "stop-session-and-wait-for-sealing"
        raise refusal(text, mend, session=session.id)


def check_attach(session: Session) -> None:
    """Raises Fault where no transcript may be attached."""
    check_sealed(session)
    if session.state == "on-disc":
        text = "session-discs-made-with-transcript"
        raise refusal(text, "late-transcript-needs-new-case-file", session=session.id)


def check_exception(
    session: Session, by: str, reason: str, asked: Person, second_person: SecondPerson = "name"
) -> Mapping[str, Any]:
    """The transcript whose verdict a second person accepts. Raises Refused with every reason against it.

    second_person: "login" refuses whoever has the login or user id of those who started or stopped the session or attached the
    transcript; "name" leaves that to the record, which says so.
    """
    check_sealed(session)
    reasons = text_faults(by=by, reason=reason)
    transcript = session.transcript
    if transcript is None:
        mend = "attach-transcript-first"
        reasons.append(refusal("session-has-no-transcript", mend, session=session.id))
    elif transcript["verdict"] not in ("mismatch", "not-found"):
        reasons.append(refusal("transcript-times-agree-already", "continue-with-disc"))
    involved = {_plain(name) for name in (*session.case.handlers, str((session.stop or {}).get("by", "")))}
    if by.strip() and _plain(by) in involved:
        mend = "have-uninvolved-person-accept-exception"
        reasons.append(refusal("accepting-person-took-part-in-interview", mend, by=by.strip()))
    if second_person == "login" and (roles := roles_of(session.as_dict(), asked.as_json())):
        text, mend = "accepting-login-took-part-in-interview", "have-second-person-log-in"
        acts = tuple(Sentence(ROLES[role]) for role in roles)
        reasons.append(refusal(text, mend, login=asked.login or "-", uid=asked.uid, acts=acts))
    if reasons or transcript is None:
        raise Refused("transcript-exception-refused", reasons)
    return transcript


def _plain(name: str) -> str:
    """A name for comparing: width, case and spaces do not count."""
    return "".join(unicodedata.normalize("NFKC", name).casefold().split())
