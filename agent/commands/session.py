"""`room-agent session …` and `transcript …`: the light client of the agent's console."""

import base64
import stat
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from agent.commands.context import Context
from agent.commands.disc import damaged_lines
from agent.commands.later import made_later_lines, with_made_later
from agent.console.client import PatientStatus
from agent.session import catalogue
from agent.session.capacity import gigabytes
from recorder.faults import BadInput
from recorder.session.record import Session
from wording import Exit, Fault
from wording.refusals import fault_from

POLL_S = 0.1
STATES = {
    "idle": "not ready",
    "ready": "ready to record",
    "recording": "recording",
    "sealing": "being sealed",
    "sealed": "sealed, the transcript is not matched yet",
    "matched": "sealed, the transcript is matched, no verified disc yet",
    "on-disc": "on verified discs",
}
VERDICTS = {
    "match": "the times agree",
    "mismatch": "THE TIMES DO NOT AGREE",
    "not-found": "NO START AND END WERE FOUND",
    "excepted": "accepted by a second person",
}
NAMES = {"overview": "Overview", "closeup": "Close-up", "microphone": "Microphone", "composer": "Composite", "seal": "Seal"}


def _names(context: Context, names: Iterable[str]) -> str:
    return ", ".join(context.say(NAMES.get(name, name)) for name in names)


def start(context: Context) -> Exit:
    """Begins a session and shows its official start."""
    a = context.arguments
    answer = context.ask(
        "session.start",
        case=a.case,
        cause=a.cause,
        handlers=a.handler,
        interviewee=a.interviewee,
        planned_minutes=a.planned_minutes,
        override_by=a.override_by,
        override_reason=a.override_reason,
    )
    lines = [
        context.say("Official start: {time}", time=answer["start_text"][context.language]),
        context.say("The transcript must give this time. ({exact})", exact=answer["official_start"]),
        context.say("Session: {session}", session=answer["session"]),
    ]
    context.answer(answer, lines)
    return Exit.OK


def stop(context: Context) -> Exit:
    """Ends the session, shows its official end, and waits until it is sealed."""
    a = context.arguments
    answer = context.ask("session.stop", by=a.by, reason=a.reason)
    lines = [
        context.say("Official end: {time}", time=answer["end_text"][context.language]),
        context.say("The transcript must give this time. ({exact})", exact=answer["official_end"]),
    ]
    return _sealed(context, answer, lines)


def seal(context: Context) -> Exit:
    """Lets the seal go on without the tracks that it waits for, and waits until it is made."""
    a = context.arguments
    answer = context.ask("session.seal", by=a.by, reason=a.reason)
    return _sealed(context, answer, [context.say("Left behind: {names}", names=_names(context, answer["left"]))])


def _sealed(context: Context, answer: Mapping[str, Any], lines: Sequence[str]) -> Exit:
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
            "Session {session} is not sealed after {seconds} s; it waits for: {names}.",
            "It goes on by itself; `room-agent session status` shows what is missing.",
            exit_code=Exit.NO,
            session=session.id,
            seconds=round(a.timeout),
            names=names or "-",
        )
    context.answer({**answer, "state": session.state, **_result(session)}, _sealed_lines(context, session, answer["path"]))
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
            context.progress(context.say("Waiting for: {names}", names=_names(context, told)))
            if status["fault"]:
                context.progress("\n".join(context.fault_lines(fault_from(status["fault"]))))
        time.sleep(POLL_S)


def _result(session: Session) -> dict[str, Any]:
    return {"coverage": session.coverage, "composite": session.composite}


def _coverage_lines(context: Context, session: Session) -> list[str]:
    lines = []
    for name, facts in (session.coverage or {}).items():
        track = _names(context, [name])
        share = f"{100 * float(facts['covered']):.2f}"
        lines.append(context.say("  {track}: {share} % covered, {gaps} gap(s)", track=track, share=share, gaps=facts["gaps"]))
    if session.composite:
        written, due = session.composite["pictures_written"], session.composite["pictures_due"]
        lines.append(context.say("  Composite: {written} of {due} pictures", written=written, due=due))
    return lines


def _sealed_lines(context: Context, session: Session, path: str) -> list[str]:
    return [
        context.say("Session {session} is sealed: {path}", session=session.id, path=path),
        *_coverage_lines(context, session),
        context.say("Next: `room-agent transcript attach {session} FILE`", session=session.id),
    ]


def status(context: Context) -> Exit:
    """The room now, and the running or newest session, or the one that was asked for."""
    answer = with_made_later(context.ask("session.status", session=context.arguments.session))
    context.answer(answer, [*_room_lines(context, answer), *_session_lines(context, answer), *_device_lines(context, answer)])
    return Exit.OK


def _room_lines(context: Context, answer: Mapping[str, Any]) -> list[str]:
    half = answer["state"] == "recording" and not answer["recording"]
    state = context.say("a session runs, NOT everything is being recorded" if half else STATES[answer["state"]])
    lines = [context.say("Room {name} ({id}): {state}", name=answer["room"]["name"], id=answer["room"]["id"], state=state)]
    if answer["recording"]:
        minutes, seconds = divmod(int(answer["recorded_s"]), 60)
        length = f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"
        lines.append(context.say("Recorded so far: {length}", length=length))
    elif answer["not_on_disk"]:
        names = _names(context, answer["not_on_disk"])
        lines.append(context.say("NOTHING REACHES THE DISK from: {names}", names=names))
    if answer["waiting_for"]:
        lines.append(context.say("Waiting for: {names}", names=_names(context, answer["waiting_for"])))
        if answer["may_leave_in_s"] == 0:
            text = "Where a track cannot come to its end: `room-agent session seal --by NAME --reason TEXT` leaves it behind."
            lines.append(context.say(text))
    if answer["fault"]:
        lines += context.fault_lines(fault_from(answer["fault"]))
    return lines


def _session_lines(context: Context, answer: Mapping[str, Any]) -> list[str]:
    if not answer["session"]:
        return [context.say("There is no session yet.")]
    session = Session.from_dict(answer["session"], answer["path"])
    lines = [
        "",
        context.say("Session {session}: {state}", session=session.id, state=_state(context, session.state)),
        context.say("  official start: {time}", time=session.official_start),
    ]
    if session.official_end:
        lines.append(context.say("  official end: {time}", time=session.official_end))
    if session.active:
        lines += [_track_line(context, name, facts) for name, facts in answer["tracks"].items()]
    lines += [*_coverage_lines(context, session), *made_later_lines(context, answer)]
    if session.transcript:
        lines.append("  " + _verdict_line(context, session.transcript))
    if session.disc:
        verified, copies = session.disc["verified"], session.disc["copies"]
        lines.append(context.say("  discs: {verified} of {copies} verified", verified=verified, copies=copies))
        lines += [f"  {line}" for line in damaged_lines(context, session.disc)]
    return lines


def _state(context: Context, state: str) -> str:
    """A session's state: whether it is being recorded is the room's to say, from what reaches the disk (invariant 8)."""
    return context.say("under way" if state == "recording" else STATES[state])


def _track_line(context: Context, name: str, facts: Mapping[str, Any] | None) -> str:
    track = _names(context, [name])
    if facts is None:
        return context.say("  {track}: its process does not answer", track=track)
    megabytes = f"{facts['bytes'] / 1e6:.1f}"
    return context.say("  {track}: {megabytes} MB, {gaps} gap(s)", track=track, megabytes=megabytes, gaps=facts["gaps"])


def _device_lines(context: Context, answer: Mapping[str, Any]) -> list[str]:
    lines = []
    for device in answer["devices"]:
        if device["fault"] and device["fault"] != answer["fault"]:
            lines.append(f"  {device['id']}: {context.fault_line(fault_from(device['fault']))}")
    if answer["feed"]["fault"]:
        lines.append(f"  {context.say('Broker of the command room')}: {context.fault_line(fault_from(answer['feed']['fault']))}")
    if lines:
        lines = ["", context.say("Not in order:"), *lines]
    if answer["disk"]:
        free, hours = gigabytes(answer["disk"]["free_bytes"]), answer["disk"]["hours_left"]
        lines.append(context.say("Disk: {free} GB free", free=free))
        if hours is not None:
            lines[-1] += context.say(", enough for {hours} h", hours=hours)
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
    lines = [f"{r['id']}  {r['official_end'] or '':29}  {r['case']}  {_state(context, str(r['state']))}" for r in rows]
    lines += [line for fault in broken for line in context.fault_lines(fault)]
    context.answer(
        {"sessions": rows, "broken": [fault.as_dict() for fault in broken]}, lines or [context.say("There is no session yet.")]
    )
    return Exit(broken[0].exit_code) if broken else Exit.OK


def attach(context: Context) -> Exit:
    """Attaches a transcript and shows the verdict."""
    path: Path = context.arguments.file
    content = base64.b64encode(_transcript_bytes(path)).decode("ascii")
    answer = context.ask("transcript.attach", session=context.arguments.session, name=path.name, content=content)
    return _show_verdict(context, answer)


def _transcript_bytes(path: Path) -> bytes:
    """The file's content. Raises BadInput where it is no file, too large or not readable."""
    from recorder.transcript.document import check_size

    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise BadInput("{path} is no file.", "Name the transcript's file.", path=path)
        check_size(path.name, status.st_size)
        return path.read_bytes()
    except OSError as error:
        raise BadInput(
            "{path} cannot be read: {why}.", "Check the name and its rights.", path=path, why=error.strerror or error
        ) from error


def _verdict_line(context: Context, transcript: Mapping[str, Any]) -> str:
    return context.say(
        "Transcript {file}: {verdict}", file=transcript["file"], verdict=context.say(VERDICTS[transcript["verdict"]])
    )


def _show_verdict(context: Context, answer: Mapping[str, Any]) -> Exit:
    transcript = answer["transcript"]
    lines = [_verdict_line(context, transcript)]
    if transcript["start"] and transcript["end"]:
        lines.append(context.say("  it gives {start} to {end}", start=transcript["start"], end=transcript["end"]))
    good = transcript["verdict"] in ("match", "excepted")
    if not good:
        lines += [f"  {context.say(reason['text'], **reason['values'])}" for reason in transcript["reasons"]]
    else:
        lines.append(context.say("Next: `room-agent disc burn {session}`", session=answer["session"]))
    context.answer(answer, lines)
    return Exit.OK if good else Exit.NO


def accept(context: Context) -> Exit:
    """A second person accepts a transcript that does not agree."""
    a = context.arguments
    return _show_verdict(context, context.ask("transcript.accept", session=a.session, by=a.by, reason=a.reason))
