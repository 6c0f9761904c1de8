"""``room-agent calibrate``: claps in the room tell how late each camera's picture comes."""

from typing import TYPE_CHECKING, Any

from agent.commands.context import Context
from recorder.faults import BadInput
from wording import Exit, Fault

if TYPE_CHECKING:
    from agent.config.places import Places
    from agent.selfcheck.clap_measurement import Result

CAMERAS = ("overview", "closeup")
SHORTEST_S, LONGEST_S = 5.0, 120.0


def calibrate(context: Context) -> Exit:
    """Measures while somebody claps, and stores the cameras' delays unless it is a trial."""
    from agent.config.settings import camera
    from agent.selfcheck import clap_measurement as room
    from recorder.capture.latency import store
    from recorder.clock.instants import boot_id, boottime_ns
    from recorder.disk.journal import utc_now
    from recorder.process.status import read_statuses

    arguments, config, places = context.arguments, context.config(), context.places
    by, seconds = _by(arguments.by), _seconds(arguments.seconds)
    names = tuple(dict.fromkeys(arguments.camera)) or CAMERAS
    _refuse_while_recording(places)
    _ask_for_claps(context, seconds)
    with room.Session(config, names) as session:
        take = room.clap_for(session, seconds, lambda count: context.progress(context.say("Heard: {count}", count=count)))
    statuses = read_statuses(places.status, boottime_ns(), boot_id())
    microphone_ms = room.in_force_ms(config, "microphone", statuses.get("microphone"))
    good: dict[str, Result] = {}
    bad: dict[str, Fault] = {}
    for name in names:
        before_ms = room.in_force_ms(config, name, statuses.get(name))
        try:
            good[name] = room.judge(take, name, before_ms=before_ms, microphone_ms=microphone_ms)
        except Fault as fault:
            bad[name] = fault
    at = utc_now()
    measured = {n: room.calibration(r, statuses.get(n), microphone_ms=microphone_ms, at=at, by=by) for n, r in good.items()}
    stored = bool(measured) and not arguments.dry_run
    if stored:
        _refuse_while_recording(places)
        store(places.calibration, measured)
    fixed = {name: ms for name in measured if (ms := camera(config, name).latency_ms) is not None}
    free = {name: entry for name, entry in measured.items() if name not in fixed}
    in_force = room.followed(config, free) if stored else []
    answer = {
        "by": by,
        "at": at,
        "stored": stored,
        "in_force": in_force,
        "heard": len(take.onsets_ns),
        "microphone_ms": microphone_ms,
        "cameras": {name: _facts(good[name]) if name in good else {"fault": bad[name].as_dict()} for name in names},
        "configured_ms": fixed,
    }
    lines = [_line(context, name, good[name]) if name in good else _fault_line(context, name, bad[name]) for name in names]
    waiting = [name for name in free if name not in in_force]
    context.answer(answer, [*lines, *_last_lines(context, stored=stored, fixed=fixed, waiting=waiting)])
    return Exit.NO if bad else Exit.OK


def _ask_for_claps(context: Context, seconds: float) -> None:
    text = "Clap five times in the next {seconds:g} s, a second or more apart, in mid-picture and near the microphone."
    context.progress(context.say(text, seconds=seconds))
    context.progress(
        context.say("Hands wide apart, together in one stroke, and still for a moment. Nobody else moves or speaks.")
    )


def _by(text: str) -> str:
    if not text.strip():
        raise BadInput("--{option} is missing or empty.", "Give the name of who calibrates.", option="by")
    return text.strip()


def _seconds(value: float) -> float:
    if not SHORTEST_S <= value <= LONGEST_S:
        raise BadInput(
            "--seconds is {seconds:g}.",
            "Give {shortest:g} to {longest:g} seconds.",
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
            "The session {session} is being recorded.",
            "Calibrate when it has ended: the delays must not change in the middle of a recording.",
            exit_code=Exit.REFUSED,
            session=session,
        )


def _facts(result: "Result") -> dict[str, Any]:
    measured = result.measured
    return {
        "latency_ms": result.latency_ms,
        "before_ms": result.before_ms,
        "difference_ms": round(measured.difference_ms, 1),
        "spread_ms": round(measured.spread_ms, 1),
        "claps": measured.claps,
        "kind": measured.kind,
    }


def _line(context: Context, name: str, result: "Result") -> str:
    return context.say(
        "{camera}: {latency:.0f} ms from light to arrival (±{spread:.0f} ms, {claps} claps); {before:.0f} ms before.",
        camera=_title(context, name),
        latency=result.latency_ms,
        spread=result.measured.spread_ms,
        claps=result.measured.claps,
        before=result.before_ms,
    )


def _fault_line(context: Context, name: str, fault: Fault) -> str:
    return context.say("{camera}: {fault}", camera=_title(context, name), fault=context.fault_line(fault))


def _title(context: Context, name: str) -> str:
    from agent.selfcheck.result import device_name

    return device_name(name).say(context.language)


def _last_lines(context: Context, *, stored: bool, fixed: dict[str, float], waiting: list[str]) -> list[str]:
    """fixed: cameras whose delay is configured. waiting: whose tracks have not taken what was stored."""
    if not stored:
        return [context.say("Nothing was stored.")]
    lines = [context.say("Stored: {path}", path=context.places.calibration)]
    for name, ms in fixed.items():
        text = "camera.{name}.latency_ms is configured as {ms:g} ms and stays in force: take that line out of the configuration."
        lines.append(context.say(text, name=name, ms=ms))
    for name in waiting:
        lines.append(context.say("The track {name} does not follow yet: start its service again.", name=name))
    return lines
