"""Of the wall clock the self-check, `session status` and the feed say the same, whatever was measured."""

import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest

from agent.config.model import Config, parse
from agent.console.status import status_answer
from agent.feed.messages import device_body, event_body, health_body
from agent.feed.room import limits_of
from agent.health.devices import devices
from agent.health.events import events
from agent.health.look import ViewBuilder
from agent.health.machine_load import Machine
from agent.health.room_view import RoomView
from agent.selfcheck.check import Outcome, Scene
from agent.selfcheck.checks.room_clock import judge, look
from agent.selfcheck.result import NOTHING
from drivers.clock import clock_state
from drivers.ports import ClockState
from recorder.session.wall_clock import clock_fault
from tests.agent.room import Room, config_text
from wording import Language

LANGUAGES: tuple[Language, ...] = get_args(Language)
LIMIT_S = 1.0
# Whether the kernel says that the clock is synchronised, the offset that was measured, and the code of what is wrong.
TABLE: list[tuple[bool, float | None, str | None]] = [
    (True, None, None),
    (False, None, "clock-not-synchronised"),
    (True, 0.0, None),
    (False, 0.0, None),
    (True, 0.999, None),
    (True, -0.999, None),
    (False, 1.0, None),
    (True, 1.001, "clock-off"),
    (True, -1.001, "clock-off"),
    (False, 1.001, "clock-off"),
    (True, 3600.0, "clock-off"),
    (False, -86_400.0, "clock-off"),
    (False, float("inf"), "clock-not-synchronised"),
]
IDS = [f"{'synchronised' if known else 'unsynchronised'} {offset}" for known, offset, _ in TABLE]


STATES = [(ClockState(known, offset, "kernel" if offset is None else "ntp.example"), wrong) for known, offset, wrong in TABLE]


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path / "data", tmp_path / "run")


def view_of(room: Room, state: ClockState | None) -> RoomView:
    return ViewBuilder(room.config, now=lambda: room.now_ns).look(None, room.now_ns, room.now_ns, state)


def by_selfcheck(state: ClockState) -> tuple[bool, Outcome]:
    outcome = judge(state, LIMIT_S)
    return outcome.status == "passed", outcome


def by_status(room: Room, state: ClockState) -> dict[str, Any]:
    """The clock's entry in the answer to `session status`."""
    keeper = room.keeper()
    answer = status_answer(room.config, view_of(room, state), keeper, None, None)
    keeper.close()
    [clock] = [device for device in answer["devices"] if device["id"] == "clock"]
    return dict(clock)


def by_feed(room: Room, state: ClockState) -> tuple[dict[str, Any], dict[str, Any]]:
    """The clock's own message, and the room's."""
    view = view_of(room, state)
    found = devices(view, limits_of(room.config))
    [clock] = [device for device in found if device.id == "clock"]
    return device_body(view, clock, None, ()), health_body(view, found, Machine(), ())


@pytest.mark.parametrize(("state", "wrong"), STATES, ids=IDS)
def test_all_three_say_the_same(state: ClockState, wrong: str | None, room: Room) -> None:
    assert room.config.clock.max_offset_s == LIMIT_S
    good, _ = by_selfcheck(state)
    status = by_status(room, state)
    message, health = by_feed(room, state)
    assert good is (wrong is None)
    assert (status["status"] == "ok") is good and (message["status"] == "ok") is good
    assert (health["devices"]["clock"] == "ok") is good
    assert ("clock" in [cause["device"] for cause in health["causes"]]) is not good
    fault = clock_fault(state, LIMIT_S)
    assert (fault.code if fault else None) == wrong == (status["fault"] and status["fault"]["code"])
    assert (message["cause"] is None) is good


@pytest.mark.parametrize(("state", "wrong"), STATES, ids=IDS)
def test_all_three_say_it_in_the_same_words(state: ClockState, wrong: str | None, room: Room) -> None:
    fault = clock_fault(state, LIMIT_S)
    _, outcome = by_selfcheck(state)
    message, _ = by_feed(room, state)
    if fault is None:
        assert wrong is None and outcome.what == NOTHING and message["cause"] is None
        return
    for language in LANGUAGES:
        assert outcome.what.say(language) == fault.say(language) == message["cause"][language]
        assert outcome.mend.say(language) == fault.say_mend(language) == message["mend"][language]
    assert by_status(room, state)["fault"]["values"] == fault.as_dict()["values"]


def test_the_limit_is_the_configurations_in_all_three(tmp_path: Path) -> None:
    room = Room(tmp_path / "data", tmp_path / "run")
    room.config = parse(config_text(room.root, room.run, "[clock]\nmax_offset_s = 5.0\n"))
    for offset, good in ((4.9, True), (5.1, False)):
        state = ClockState(False, offset, "ntp.example")
        message, _ = by_feed(room, state)
        found = (judge(state, 5.0).status == "passed", by_status(room, state)["status"] == "ok", message["status"] == "ok")
        assert found == (good, good, good)


def test_the_change_is_one_event_with_the_same_cause(room: Room) -> None:
    """From a clock that is right to one that is not: the feed's event carries the cause that the status shows."""
    before, after = view_of(room, ClockState(True, 0.0, "n")), view_of(room, ClockState(True, 9.0, "n"))
    after = replace(after, boottime_ns=after.boottime_ns + 1)
    told = [e for e in events(before, after, limits_of(room.config)) if e.data.get("device") == "clock"]
    assert len(told) == 1
    body = event_body(told[0], ())
    fault = clock_fault(ClockState(True, 9.0, "n"), LIMIT_S)
    assert fault is not None
    assert body["data"]["cause"] == {language: fault.say(language) for language in LANGUAGES}


# --- measured over a real socket ---

PACKET = struct.Struct("!BBbb11I")
NTP_EPOCH_S = 2_208_988_800  # from 1900 to 1970


@contextmanager
def time_server(ahead_s: float) -> Iterator[str]:
    """A time server whose clock is so far ahead of this PC's."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(0.1)
        over = threading.Event()

        def serve() -> None:
            while not over.is_set():
                try:
                    asked, client = sock.recvfrom(256)
                except TimeoutError:
                    continue
                origin = PACKET.unpack_from(asked)[13:15]
                stamp = int((time.time() + ahead_s + NTP_EPOCH_S) * (1 << 32))
                now = (stamp >> 32, stamp & 0xFFFFFFFF)
                sock.sendto(PACKET.pack(0x24, 1, 0, -20, 0, 0, 0, *now, *origin, *now, *now), client)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"127.0.0.1:{sock.getsockname()[1]}"
        finally:
            over.set()
            thread.join(5)


def config_with(room: Room, server: str) -> Config:
    return parse(config_text(room.root, room.run, f'[clock]\nntp_server = "{server}"\n'))


@pytest.mark.parametrize(("ahead_s", "good"), [(0.0, True), (0.5, True), (-0.5, True), (2.0, False), (-3600.0, False)])
def test_a_measured_clock_is_judged_alike(ahead_s: float, good: bool, room: Room) -> None:
    with time_server(ahead_s) as server:
        room.config = config_with(room, server)
        outcome = look(Scene(room.config), "")
        state = clock_state(server)
    assert state.offset_s == pytest.approx(-ahead_s, abs=0.3)
    message, _ = by_feed(room, state)
    found = (outcome.status == "passed", by_status(room, state)["status"] == "ok", message["status"] == "ok")
    assert found == (good, good, good)


def test_a_time_server_that_is_away_leaves_the_kernels_word_to_all_three(room: Room) -> None:
    """The self-check warns besides that the server is away, where nothing worse is to be said."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        server = f"127.0.0.1:{sock.getsockname()[1]}"
    room.config = config_with(room, server)
    outcome = look(Scene(room.config), "")
    state = clock_state(server)
    assert state.offset_s is None
    message, _ = by_feed(room, state)
    assert (message["status"] == "ok") is (by_status(room, state)["status"] == "ok") is state.synchronised
    assert outcome.status == "warning"
    if state.synchronised:
        assert outcome.what.code.startswith("time-server-")
    else:
        assert outcome.what.say("en") == message["cause"]["en"]
