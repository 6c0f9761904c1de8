"""The feed's messages: from what the agent knows to the JSON of agent.feed.contract. Pure.

Every message is put together from named fields, never by copying: what is not named here cannot leave the room. Free text
(causes, what to do) comes from other processes, so names and numbers of the case are struck out of it as well (G-59), and with
them the file name of any transcript: it may be of a session that this agent never saw.
"""

import json
import math
import re
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from agent.devices.kind import DeviceHealth
from agent.feed.contract import SCHEMA
from agent.feed.outbox import Row
from agent.health.devices import concerns, overall
from agent.health.events import Event
from agent.health.machine_load import Machine
from agent.health.room_view import RoomView
from recorder.clock.instants import rfc3339
from recorder.process.status import TrackStatus
from recorder.session.record import private_texts
from recorder.session.tracks import TRACKS
from wording import Fault, Language
from wording.sentence import Sentence

TEXT_LIMIT = 1000
STRUCK = "***"
IDENTIFIERS = frozenset({"session", "device", "status", "state", "previous", "step"})  # of events: never free text

# The name may hold blanks, so all that follows the folder goes.
_TRANSCRIPT = re.compile(r"(?<=transcript/).+", re.DOTALL)

Body = dict[str, Any]
STATE = "state"


@dataclass(frozen=True, slots=True)
class Retained:
    """A retained topic as it should be now. key: what makes it due at once when it changes. body: made only when it is sent."""

    topic: str
    key: Hashable
    body: Callable[[], Body]


@dataclass(frozen=True, slots=True)
class Told:
    """What the retained messages are made from.

    view: the newest look at the room, None before the first. devices: their health; since_ns: since when each is so, by id.
    machine: asks the PC for its load. private: texts that are struck out.
    """

    version: str
    view: RoomView | None
    devices: Sequence[DeviceHealth]
    since_ns: Mapping[str, int | None]
    machine: Callable[[], Machine]
    private: frozenset[str]


def retained(told: Told) -> Iterator[Retained]:
    """Every retained message as it should be now. A message is added here, in the contract's table, and as its schema."""
    yield Retained(STATE, True, lambda: state_body(True, "connected", told.version))
    if (view := told.view) is None:
        return
    devices, private = told.devices, told.private
    yield Retained("health", health_key(view, devices), lambda: health_body(view, devices, told.machine(), private))
    for device in devices:
        body = partial(device_body, view, device, told.since_ns[device.id], private)
        yield Retained(f"device/{device.id}", device_key(device), body)
    session = session_body(view)
    yield Retained("session", json.dumps(session), lambda: session)


def encode(row: Row, centre: str, room: str, *, historical: bool) -> bytes:
    """The message of a row, with its envelope."""
    envelope = {
        "schema": SCHEMA,
        "type": row.topic.split("/", 1)[0],
        "centre": centre,
        "room": room,
        "boot": row.boot,
        "seq": row.seq,
        "time": rfc3339(row.wall_ns),
        "monotonic_ms": row.boottime_ns // 1_000_000,
        "historical": historical,
    }
    return json.dumps({**envelope, **row.body}, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def state_body(online: bool, reason: str, version: str) -> Body:
    """reason: "connected", "stopped", or "lost" (the will)."""
    return {"online": online, "reason": reason, "version": version[:40]}


def health_body(view: RoomView, devices: Sequence[DeviceHealth], machine: Machine, private: Iterable[str]) -> Body:
    """The room in one message."""
    private = tuple(private)
    climate_works = any(d.id == "climate" and d.status in ("ok", "degraded") for d in devices)
    check, disk, clock = view.selfcheck, view.disk, view.clock
    return {
        "overall": overall(devices),
        "causes": [{"device": d.id, "status": d.status, "text": text_of(d.cause, private)} for d in devices if concerns(d)],
        "room_state": view.state,
        "session": _session_id(view),
        "recorded_s": round(max(0.0, view.recorded_s), 1),
        "devices": {d.id: d.status for d in devices},
        "selfcheck": check and {"time": rfc3339(check.at_ns), "passed": check.passed, "valid": check.valid},
        "disk": disk
        and {"free_bytes": disk.free_bytes, "total_bytes": disk.total_bytes, "hours_left": _number(disk.hours_left, 2)},
        "clock": clock
        and {
            "synchronised": any(d.id == "clock" and d.status == "ok" for d in devices),
            "offset_s": _number(clock.offset_s, 6),
            "source": clock.reference[:255],
        },
        "cpu": {"busy_ratio": _number(machine.cpu_busy, 3), "load_1m": _number(machine.load_1m, 2), "cores": machine.cores},
        "memory": {"total_bytes": machine.memory_total, "available_bytes": machine.memory_available},
        "climate": {
            "temperature_c": _number(view.temperature_c, 1) if climate_works else None,
            "humidity_pct": _number(view.humidity_pct, 1) if climate_works else None,
        },
    }


def health_key(view: RoomView, devices: Sequence[DeviceHealth]) -> object:
    """A health message is sent at once when this value changes."""
    return (view.state, _session_id(view), tuple((d.id, d.status, d.cause and d.cause.code) for d in devices))


def _session_id(view: RoomView) -> str | None:
    running = view.state in ("recording", "sealing") and view.session is not None
    return str(view.session["id"]) if running and view.session is not None else None


def device_body(view: RoomView, device: DeviceHealth, since_ns: int | None, private: Iterable[str]) -> Body:
    """One device. since_ns: CLOCK_BOOTTIME since when its status stands."""
    private = tuple(private)
    return {
        "device": device.id,
        "status": device.status,
        "required": device.required,
        "since": None if since_ns is None else rfc3339(view.room_ns - (view.boottime_ns - since_ns)),
        "cause": text_of(device.cause, private),
        "mend": mend_of(device.cause, private),
        "measurements": {m.name: {"value": plain(m.value, private), "unit": m.unit} for m in device.measurements},
    }


def device_key(device: DeviceHealth) -> object:
    """A device message is sent at once when this value changes. The measured values are no part of it."""
    return (device.status, device.required, device.cause and device.cause.code)


def session_body(view: RoomView) -> Body:
    """The running session, else the newest one: its id, states and counts, nothing of the case."""
    session = view.session
    if session is None:
        return {"session": None}
    minutes = session.get("planned_minutes")
    return {
        "session": {
            "id": session["id"],
            "state": session["state"],
            "official_start": session.get("official_start"),
            "official_end": session.get("official_end"),
            "planned_minutes": minutes if isinstance(minutes, int) and minutes > 0 else None,
            "tracks": _tracks(view, session),
            "transcript": _part(session, "transcript").get("verdict"),
            "disc": _disc(_part(session, "disc")),
            "archive": None,
        }
    }


def _part(session: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = session.get(name)
    return part if isinstance(part, Mapping) else {}


def _tracks(view: RoomView, session: Mapping[str, Any]) -> Body:
    sealed = _part(session, "coverage")
    tracks: Body = {}
    for name in TRACKS:
        status = view.statuses.get(name)
        covered, gaps = None, None
        if isinstance(status, TrackStatus) and status.session == session["id"]:
            gaps = status.gaps
        if isinstance(told := sealed.get(name), Mapping):
            covered = _number(told.get("covered"), 6)
            listed = told.get("gaps")
            gaps = len(listed) if isinstance(listed, (list, tuple)) else listed
        tracks[name] = {"covered": covered, "gaps": gaps}
    return tracks


def _disc(disc: Mapping[str, Any]) -> Body | None:
    copies, verified = disc.get("copies"), disc.get("verified")
    return {"copies": copies, "verified": verified} if isinstance(copies, int) and isinstance(verified, int) else None


def event_body(event: Event, private: Iterable[str]) -> Body:
    """The kind and data of an event; causes become texts."""
    private = tuple(private)
    data: Body = {}
    for name, value in event.data.items():
        if name == "mend":
            data[name] = mend_of(value, private) if isinstance(value, Fault) else None
        elif name == "cause":
            data[name] = text_of(value, private) if isinstance(value, Fault) else None
        else:
            data[name] = plain(value, () if name in IDENTIFIERS else private)
    return {"kind": event.kind, "data": data}


def plain(value: object, private: Iterable[str] = ()) -> object:
    """A value as JSON takes it: numbers that are none become null, texts are bounded and struck."""
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return _number(value, 6)
    if isinstance(value, (list, tuple)):
        return [plain(v, private) for v in value]
    return strike(str(value), private)[:TEXT_LIMIT]


def _number(value: object, digits: int) -> float | None:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value):
        return None
    return round(float(value), digits)


def text_of(fault: Fault | None, private: Iterable[str]) -> dict[str, str] | None:
    """The fault's text in both languages."""
    return None if fault is None else {lang: _say(fault, lang, private) for lang in ("en", "zh")}


def mend_of(fault: Fault | None, private: Iterable[str]) -> dict[str, str] | None:
    """The fault's advice in both languages."""
    return None if fault is None else {lang: _say(fault, lang, private, mend=True) for lang in ("en", "zh")}


def _say(fault: Fault, language: Language, private: Iterable[str], *, mend: bool = False) -> str:
    nameless = _without_name(fault)
    text = nameless.say_mend(language) if mend else nameless.say(language)
    return _without_words(text, private)[:TEXT_LIMIT]


def _without_name(fault: Fault) -> Fault:
    """The fault without the file name of any transcript, cut out of the values that hold it; the rest of the text stays."""

    def cut(value: object) -> object:
        if isinstance(value, Sentence):
            return Sentence(_without_transcript(value.code), {k: cut(v) for k, v in value.values.items()})
        if isinstance(value, tuple):
            return tuple(map(cut, value))
        return _without_transcript(str(value)) if "transcript/" in str(value) else value

    nameless = Fault(_without_transcript(fault.code), _without_transcript(fault.mend))
    nameless.values = {k: cut(v) for k, v in fault.values.items()}  # not as arguments: a file may name a value as one of them
    return nameless


def private_words(session: Mapping[str, Any] | None) -> frozenset[str]:
    """Every text of a session.json that names a person or the case; none of it may be in the feed."""
    if session is None:
        return frozenset()
    texts = (text.removeprefix("transcript/") for text in private_texts(session))
    return frozenset(text for text in texts if len(text) > 1)  # a single letter would strike out every text


def strike(text: str, private: Iterable[str]) -> str:
    """The text without any transcript's file name and without the private words."""
    return _without_words(_without_transcript(text), private)


def _without_transcript(text: str) -> str:
    return _TRANSCRIPT.sub(STRUCK, text)


def _without_words(text: str, private: Iterable[str]) -> str:
    for word in sorted(private, key=len, reverse=True):
        text = text.replace(word, STRUCK)
    return text
