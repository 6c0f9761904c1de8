"""``room-agent calibrate``: claps in the room tell how late each camera's picture comes."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from agent.commands.context import Context
from agent.commands.words import Builder, seconds
from recorder.faults import BadInput
from recorder.session.tracks import CAMERAS, MICROPHONE
from wording import Exit, Fault, Shown

if TYPE_CHECKING:
    from agent.config.places import Places
    from agent.selfcheck.clap_measurement import CameraDelay

SHORTEST_S, LONGEST_S = 5.0, 120.0


def words(build: Builder) -> None:
    """``calibrate``."""
    add = build.command("calibrate", calibrate, "help-calibrate")
    add("--by", required=True, value="value-name", text="help-calibrated-by")
    add("--camera", action="append", default=[], choices=CAMERAS, value="value-camera", text="help-calibrate-one-camera")
    add("--seconds", type=seconds, default=20.0, value="value-seconds", text="help-listen-seconds")
    add("--dry-run", action="store_true", text="help-measure-without-storing")


def calibrate(context: Context) -> Exit:
    """Measures while somebody claps, and stores the cameras' delays unless it is a trial."""
    from agent.config.settings import camera
    from agent.selfcheck import clap_measurement as room
    from recorder.clock.instants import boot_id, boottime_ns
    from recorder.disk.journal import utc_now
    from recorder.process.status import read_statuses

    arguments, config, places = context.arguments, context.config(), context.places
    by, seconds = _by(arguments.by), _seconds(arguments.seconds)
    names = tuple(dict.fromkeys(arguments.camera)) or CAMERAS
    _refuse_while_recording(places)
    _ask_for_claps(context, seconds)
    with room.Listening(config, names) as session:
        take = room.clap_for(session, seconds, lambda count: context.progress(context.say("claps-heard", count=count)))
    statuses = read_statuses(places.status, boottime_ns(), boot_id())
    microphone_ms = room.in_force_ms(config, MICROPHONE, statuses.get(MICROPHONE))
    good: dict[str, CameraDelay] = {}
    bad: dict[str, Fault] = {}
    for name in names:
        before_ms = room.in_force_ms(config, name, statuses.get(name))
        try:
            good[name] = room.judge(take, name, before_ms=before_ms, microphone_ms=microphone_ms)
        except Fault as fault:
            bad[name] = fault
    at = utc_now()
    measured = {n: room.calibration(r, statuses.get(n), microphone_ms=microphone_ms, at=at, by=by) for n, r in good.items()}
    stored, refused = bool(measured) and not arguments.dry_run, None
    if stored:
        try:
            _refuse_while_recording(places)
            context.ask("calibration.store", cameras={name: asdict(entry) for name, entry in measured.items()})
        except Fault as fault:  # what was measured is told all the same
            stored, refused = False, fault
    fixed = {name: ms for name in measured if (ms := camera(config, name).latency_ms) is not None}
    free = {name: entry for name, entry in measured.items() if name not in fixed}
    in_force = room.followed(config, free) if stored else []
    answer = {
        "by": by,
        "at": at,
        "stored": stored,
        "fault": refused.as_dict() if refused else None,
        "in_force": in_force,
        "heard": len(take.onsets_ns),
        "microphone_ms": microphone_ms,
        "cameras": {name: _facts(good[name]) if name in good else {"fault": bad[name].as_dict()} for name in names},
        "configured_ms": fixed,
    }
    lines = [_line(context, name, good[name]) if name in good else _fault_line(context, name, bad[name]) for name in names]
    waiting = [name for name in free if name not in in_force]
    why = context.fault_lines(refused) if refused else []
    context.answer(answer, [*lines, *_last_lines(context, stored=stored, fixed=fixed, waiting=waiting), *why])
    if refused is not None:
        return refused.exit_code
    return Exit.NO if bad else Exit.OK


def _ask_for_claps(context: Context, seconds: float) -> None:
    text = "clap-for-calibration"
    context.progress(context.say(text, seconds=seconds))
    context.progress(context.say("how-to-clap"))


def _by(text: str) -> str:
    if not text.strip():
        raise BadInput("option-missing-or-empty", "give-calibrator-name", option="by")
    return text.strip()


def _seconds(value: float) -> float:
    if not SHORTEST_S <= value <= LONGEST_S:
        raise BadInput(
            "seconds-out-of-range",
            "give-seconds-within-range",
            seconds=value,
            shortest=SHORTEST_S,
            longest=LONGEST_S,
        )
    return value


def _refuse_while_recording(places: "Places") -> None:
    """Raises Fault while a session is recorded: its time line must not move."""
    from recorder.process.wanted import Wanted

    session = Wanted.read(places.wanted).session
    if session is not None:
        raise Fault(
            "session-is-being-recorded",
            "calibrate-after-session-ends",
            exit_code=Exit.REFUSED,
            session=session,
        )


def _facts(result: "CameraDelay") -> dict[str, Any]:
    measured = result.measured
    return {
        "latency_ms": result.latency_ms,
        "before_ms": result.before_ms,
        "difference_ms": round(measured.difference_ms, 1),
        "spread_ms": round(measured.spread_ms, 1),
        "claps": measured.claps,
        "kind": measured.kind,
    }


def _line(context: Context, name: str, result: "CameraDelay") -> Shown:
    return context.say(
        "camera-latency-measured",
        camera=_title(context, name),
        latency=result.latency_ms,
        spread=result.measured.spread_ms,
        claps=result.measured.claps,
        before=result.before_ms,
    )


def _fault_line(context: Context, name: str, fault: Fault) -> Shown:
    return context.say("camera-calibration-failed", camera=_title(context, name), fault=context.fault_line(fault))


def _title(context: Context, name: str) -> Shown:
    from agent.selfcheck.result import device_name

    return device_name(name).say(context.language)


def _last_lines(context: Context, *, stored: bool, fixed: dict[str, float], waiting: list[str]) -> list[Shown]:
    """fixed: cameras whose delay is configured. waiting: whose tracks have not taken what was stored."""
    if not stored:
        return [context.say("calibration-not-stored")]
    lines = [context.say("calibration-stored-at", path=context.places.calibration)]
    for name, ms in fixed.items():
        text = "configured-latency-overrides-calibration"
        lines.append(context.say(text, name=name, ms=ms))
    for name in waiting:
        lines.append(context.say("restart-track-for-calibration", name=name))
    return lines
