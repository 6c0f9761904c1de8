"""`room-agent session …` and `transcript …`: the light client of the agent's console."""

import os
import stat
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from agent.commands.context import Context
from agent.commands.disc import damaged_lines
from agent.commands.gaps import gap_lines, with_gaps
from agent.commands.later import complete, made_later_lines, with_made_later
from agent.commands.words import Builder, seconds
from agent.console.client import PatientStatus
from agent.session import catalogue
from agent.session.capacity import gigabytes
from recorder.composite.overlay import code_point, surely_drawn
from recorder.faults import BadInput
from recorder.session.record import CASE_FIELDS, Session, exception_remark, sealed_without
from recorder.session.tracks import COMPOSITE, NAMES
from wording import Exit, Fault, Shown
from wording.border import joined, laid_out
from wording.refusals import fault_from
from wording.sentence import Sentence
from wording.text import listed
from wording.times import instant_of

POLL_S = 0.1
NAMED_CHARACTERS = 10  # of those that the overlay cannot show
STATES = {
    "idle": "state-not-ready",
    "ready": "state-ready-to-record",
    "recording": "recording",
    "sealing": "state-being-sealed",
    "sealed": "state-transcript-not-matched",
    "matched": "state-no-verified-disc",
    "on-disc": "state-on-verified-discs",
}
VERDICTS = {
    "match": "times-agree",
    "mismatch": "times-disagree",
    "not-found": "transcript-times-not-found",
    "excepted": "transcript-accepted-by-second-person",
}
WAITED_FOR = {"composer": NAMES[COMPOSITE], "seal": "seal"}  # beside the tracks


def _names(context: Context, names: Iterable[str]) -> Shown:
    return listed([context.say(NAMES.get(name) or WAITED_FOR.get(name, name)) for name in names], context.language)


def _indented(line: Shown) -> Shown:
    return laid_out("  {line}", line=line)


def words(build: Builder) -> None:
    """``session …`` and ``transcript …``."""
    build.group("session", "help-session")
    add = build.command("session start", start, "help-session-start")
    for each in CASE_FIELDS:
        value = each.label if build.language == "zh" else ""  # argparse's own placeholder in English: the option's name
        add(f"--{each.option}", required=True, value=value, text=each.help, **({"action": "append"} if each.many else {}))
    add("--planned-minutes", type=int, value="value-minutes", text="help-planned-length")
    add("--override-by", default="", value="value-name", text="help-start-override-by")
    add("--override-reason", default="", value="value-reason", text="help-why")
    add = build.command("session stop", stop, "help-session-stop")
    add("--by", required=True, value="value-name", text="help-ended-by")
    add("--reason", required=True, value="value-reason", text="help-why")
    add("--no-wait", action="store_true", text="help-no-wait-for-seal")
    add("--timeout", type=seconds, default=120.0, value="value-seconds", text="help-seal-wait-limit")
    add = build.command("session seal", seal, "help-session-seal")
    add("--by", required=True, value="value-name", text="help-tracks-left-behind-by")
    add("--reason", required=True, value="value-reason", text="help-why")
    add("--no-wait", action="store_true", text="help-no-wait-for-seal")
    add("--timeout", type=seconds, default=120.0, value="value-seconds", text="help-seal-wait-limit")
    add = build.command("session status", status, "help-session-status")
    add("session", nargs="?", default="", value="value-session", text="help-other-session")
    build.command("session list", list_, "help-session-list")
    add = build.command("session complete", complete, "help-compose-later")
    add("session", value="value-session", text="help-session-reference")
    add("--by", required=True, value="value-name", text="help-requested-by")
    build.group("transcript", "help-transcript")
    add = build.command("transcript attach", attach, "help-transcript-attach")
    add("session", value="value-session", text="help-session-reference")
    add("file", type=Path, value="value-file", text="help-transcript-file")
    add = build.command("transcript accept", accept, "help-transcript-accept")
    add("session", value="value-session", text="help-session-reference")
    add("--by", required=True, value="value-name", text="help-transcript-accepted-by")
    add("--reason", required=True, value="value-reason", text="help-why")


def start(context: Context) -> Exit:
    """Begins a session, shows its official start, and says which characters the picture's overlay cannot show."""
    a = context.arguments
    answer = context.ask(
        "session.start",
        **{each.argument: getattr(a, each.option) for each in CASE_FIELDS},
        planned_minutes=a.planned_minutes,
        override_by=a.override_by,
        override_reason=a.override_reason,
    )
    lines = [
        context.say("official-start-is", time=answer["official_start"]),
        context.say("use-official-time-in-transcript"),
        context.say("session-id", session=answer["session"]),
    ]
    lacking = _not_drawn(a.case)
    if lacking:
        named = [laid_out("{character} ({code})", character=c, code=code_point(c)) for c in lacking[:NAMED_CHARACTERS]]
        lines.append(context.say("overlay-lacks-characters", characters=listed(named, context.language)))
    context.answer({**answer, "not_drawn": [code_point(c) for c in lacking]}, lines)
    return Exit.OK


def _not_drawn(text: str) -> str:
    """The characters that the overlay cannot show. What draws is loaded only for a text that may hold one."""
    if not surely_drawn(text):
        with suppress(ImportError):  # the session runs: whatever is broken here, its official start is shown
            from recorder.composite.letters import letters

            return letters().lacking(text)
    return ""


def stop(context: Context) -> Exit:
    """Ends the session, shows its official end, and waits until it is sealed."""
    a = context.arguments
    answer = context.ask("session.stop", by=a.by, reason=a.reason)
    lines = [
        context.say("official-end-is", time=answer["official_end"]),
        context.say("use-official-time-in-transcript"),
    ]
    return _sealed(context, answer, lines)


def seal(context: Context) -> Exit:
    """Lets the seal go on without the tracks that it waits for, and waits until it is made."""
    a = context.arguments
    answer = context.ask("session.seal", by=a.by, reason=a.reason)
    return _sealed(context, answer, [context.say("tracks-left-behind", names=_names(context, answer["left"]))])


def _sealed(context: Context, answer: Mapping[str, Any], lines: Sequence[Shown]) -> Exit:
    """Shows the lines, and waits for the seal unless told otherwise. Raises Fault where it is not made in time."""
    a = context.arguments
    if a.no_wait:
        context.answer(answer, lines)
        return Exit.OK
    for line in lines:
        context.progress(line)
    status = _wait(context, answer["session"], a.timeout)
    session = Session.from_dict(status["session"], answer["session"])
    if session.active:
        names = _names(context, status["waiting_for"])
        raise Fault(
            "session-not-sealed-in-time",
            "sealing-continues-by-itself",
            exit_code=Exit.NO,
            session=session.id,
            seconds=round(a.timeout),
            names=names or "-",
        )
    told = with_gaps({**answer, "session": status["session"]})
    result = {**answer, "state": session.state, **_result(session), "gaps": told["gaps"]}
    context.answer(result, _sealed_lines(context, session, answer["path"], told["gaps"]))
    return Exit.OK


def _wait(context: Context, session: str, timeout_s: float) -> dict[str, Any]:
    """The status once the session is sealed, or the last one when the time is over. Raises Fault."""
    deadline = time.monotonic() + timeout_s
    asked = PatientStatus(context.ask, session)
    told: list[str] = []
    since = time.monotonic()
    while True:
        status = asked.ask(deadline=deadline)
        if status is None:
            time.sleep(POLL_S)
            continue
        if status["session"]["state"] not in ("recording", "sealing") or time.monotonic() > deadline:
            return status
        if time.monotonic() - since > 5 and status["waiting_for"] != told:
            told = status["waiting_for"]
            context.progress(context.say("waiting-for", names=_names(context, told)))
            if status["fault"]:
                context.progress(joined("\n", context.fault_lines(fault_from(status["fault"]))))
        time.sleep(POLL_S)


def _result(session: Session) -> dict[str, Any]:
    return {"coverage": session.coverage, "composite": session.composite}


def _coverage_lines(context: Context, session: Session) -> list[Shown]:
    lines = []
    for name, facts in (session.coverage or {}).items():
        track = _names(context, [name])
        share = f"{100 * float(facts['covered']):.2f}"
        lines.append(context.say("track-coverage-and-gaps", track=track, share=share, gaps=facts["gaps"]))
    if session.composite:
        written, due = session.composite["pictures_written"], session.composite["pictures_due"]
        lines.append(context.say("composite-pictures-written", written=written, due=due))
    return lines


def _sealed_lines(context: Context, session: Session, path: str, gaps: list[dict[str, Any]] | None) -> list[Shown]:
    return [
        context.say("session-sealed", session=session.id, path=path),
        *_coverage_lines(context, session),
        *(said.say(context.language) for said in sealed_without({"left": session.left})),
        *gap_lines(context, session, gaps),
        context.say("next-attach-transcript", session=session.id),
    ]


def status(context: Context) -> Exit:
    """The room now, and the running or newest session, or the one that was asked for."""
    answer = with_gaps(with_made_later(context.ask("session.status", session=context.arguments.session)))
    context.answer(answer, [*_room_lines(context, answer), *_session_lines(context, answer), *_device_lines(context, answer)])
    return Exit.NO if answer["not_on_disk"] else Exit.OK


def _room_lines(context: Context, answer: Mapping[str, Any]) -> list[Shown]:
    half = answer["state"] == "recording" and not answer["recording"]
    state = context.say("state-recording-incomplete" if half else STATES[answer["state"]])
    lines = [context.say("room-state", name=answer["room"]["name"], id=answer["room"]["id"], state=state)]
    if answer["recording"]:
        lines.append(context.say("recorded-length", length=int(answer["recorded_s"])))
    elif answer["not_on_disk"]:
        names = _names(context, answer["not_on_disk"])
        lines.append(context.say("nothing-reaches-disk-from-tracks", names=names))
    if answer["waiting_for"]:
        lines.append(context.say("waiting-for", names=_names(context, answer["waiting_for"])))
        if answer["may_leave_in_s"] == 0:
            text = "seal-without-stuck-track"
            lines.append(context.say(text))
    if answer["fault"]:
        lines += context.fault_lines(fault_from(answer["fault"]))
    return lines


def _session_lines(context: Context, answer: Mapping[str, Any]) -> list[Shown]:
    if not answer["session"]:
        return [context.say("no-session-yet")]
    session = Session.from_dict(answer["session"], answer["path"])
    lines = [
        Shown(),
        context.say("session-state", session=session.id, state=_state(context, session.state)),
        context.say("session-official-start", time=session.official_start),
    ]
    if session.official_end:
        lines.append(context.say("session-official-end", time=session.official_end))
    if session.active:
        lines += [_track_line(context, name, facts) for name, facts in answer["tracks"].items()]
    lines += [_indented(said.say(context.language)) for said in sealed_without(answer["session"])]
    lines += [
        *_coverage_lines(context, session),
        *gap_lines(context, session, answer["gaps"]),
        *made_later_lines(context, answer),
    ]
    if session.transcript:
        lines.append(_indented(_verdict_line(context, session.transcript)))
        lines += [_indented(said.say(context.language)) for said in [exception_remark(answer["session"])] if said]
    if session.disc:
        verified, copies = session.disc["verified"], session.disc["copies"]
        lines.append(context.say("session-discs-verified", verified=verified, copies=copies))
        lines += [_indented(line) for line in damaged_lines(context, session.disc)]
    return lines


def _state(context: Context, state: str) -> Shown:
    """A session's state: whether it is being recorded is the room's to say, from what reaches the disk (invariant 8)."""
    return context.say("session-under-way" if state == "recording" else STATES[state])


def _track_line(context: Context, name: str, facts: Mapping[str, Any] | None) -> Shown:
    track = _names(context, [name])
    if facts is None:
        return context.say("track-process-no-answer", track=track)
    megabytes = f"{facts['bytes'] / 1e6:.1f}"
    return context.say("track-size-and-gaps", track=track, megabytes=megabytes, gaps=facts["gaps"])


def _device_lines(context: Context, answer: Mapping[str, Any]) -> list[Shown]:
    lines = []
    for device in answer["devices"]:
        if device["fault"] and device["fault"] != answer["fault"]:
            lines.append(laid_out("  {id}: {fault}", id=device["id"], fault=context.fault_line(fault_from(device["fault"]))))
    if answer["feed"]["fault"]:
        lines.append(
            laid_out(
                "  {id}: {fault}",
                id=context.say("command-room-broker"),
                fault=context.fault_line(fault_from(answer["feed"]["fault"])),
            )
        )
    if lines:
        lines = [Shown(), context.say("not-in-order-heading"), *lines]
    if answer["disk"]:
        free, hours = gigabytes(answer["disk"]["free_bytes"]), answer["disk"]["hours_left"]
        lines.append(context.say("disk-free-space", free=free))
        if hours is not None:
            lines[-1] = joined("", (lines[-1], context.say("disk-recording-hours", hours=hours)))
    return lines


def list_(context: Context) -> Exit:
    """Every session of this room, newest last; needs no agent."""
    found, broken = catalogue.sessions(context.places)
    rows = [
        {
            "id": s.id,
            "state": s.state,
            "official_start": s.official_start,
            "official_end": s.official_end,
            "case": s.case.number,
            "verdict": (s.transcript or {}).get("verdict"),
            "path": str(context.places.session(s.id)),
        }
        for s in found
    ]
    lines = [
        laid_out(
            "{id}  {start}  {case}  {state}",
            id=r["id"],
            start=instant_of(str(r["official_start"]), context.language),
            case=r["case"],
            state=_state(context, str(r["state"])),
        )
        for r in rows
    ]
    lines += [line for fault in broken for line in context.fault_lines(fault)]
    context.answer({"sessions": rows, "broken": [fault.as_dict() for fault in broken]}, lines or [context.say("no-session-yet")])
    return Exit(broken[0].exit_code) if broken else Exit.OK


def attach(context: Context) -> Exit:
    """Attaches a transcript and shows the verdict."""
    path: Path = context.arguments.file
    with _opened(path) as file:
        answer = context.ask("transcript.attach", file=file, session=context.arguments.session, name=path.name)
    return _show_verdict(context, answer)


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    """The transcript's file, opened by the rights of whoever asks.

    Raises BadInput where it is no file, too large or not readable.
    """
    from recorder.transcript.document import check_size

    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise BadInput("path-is-no-file", "name-transcript-file", path=path)
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise BadInput("path-cannot-be-read", "check-name-and-rights", path=path, why=error.strerror or error) from error
    try:
        check_size(path.name, os.fstat(file).st_size)
        yield file
    finally:
        os.close(file)


def _verdict_line(context: Context, transcript: Mapping[str, Any]) -> Shown:
    return context.say("transcript-verdict", file=transcript["file"], verdict=context.say(VERDICTS[transcript["verdict"]]))


def _given_times(transcript: Mapping[str, Any]) -> dict[str, str]:
    """Start and end as the transcript gives them, without seconds where it gives none."""
    told = len("2026-11-30T09:30") if transcript.get("precision_s") == 60 else None
    return {name: str(transcript[name])[:told] for name in ("start", "end")}


def _show_verdict(context: Context, answer: Mapping[str, Any]) -> Exit:
    transcript = answer["transcript"]
    lines = [_verdict_line(context, transcript)]
    if transcript["start"] and transcript["end"]:
        lines.append(context.say("transcript-given-times", **_given_times(transcript)))
    good = transcript["verdict"] in ("match", "excepted")
    if remark := (transcript.get("exception") or {}).get("remark"):
        lines.append(_indented(Sentence.from_json(remark).say(context.language)))
    if not good:
        lines += [_indented(Sentence.from_json(reason).say(context.language)) for reason in transcript["reasons"]]
    else:
        lines.append(context.say("next-burn-disc", session=answer["session"]))
    context.answer(answer, lines)
    return Exit.OK if good else Exit.NO


def accept(context: Context) -> Exit:
    """A second person accepts a transcript that does not agree."""
    a = context.arguments
    return _show_verdict(context, context.ask("transcript.accept", session=a.session, by=a.by, reason=a.reason))
