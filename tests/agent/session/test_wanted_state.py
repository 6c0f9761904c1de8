"""wanted.json in other hands: it is written again at once, with a word in the log, except where its removal is the rescue."""

from collections.abc import Callable
from pathlib import Path

import pytest

from recorder.process.wanted import Wanted
from tests.agent.live import START, STOP, LiveAgent
from tests.agent.room import LOTS, Room
from tests.live_room import wait_for

AGAIN = "wanted state was removed or replaced by somebody, written again"


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path / "数据 盘", tmp_path / "run")


def removed(path: Path) -> None:
    path.unlink()


def replaced(path: Path) -> None:
    Wanted().write(path)


def torn(path: Path) -> None:
    path.write_text("{", encoding="utf-8")


@pytest.mark.parametrize("hand", [removed, replaced, torn])
def test_it_is_written_again_at_once(room: Room, caplog: pytest.LogCaptureFixture, hand: Callable[[Path], None]) -> None:
    keeper, session = room.started()
    keeper.tick(room.alive(), 1)  # the composite is given up, which session.json does not say
    wanted = room.wanted()
    assert wanted.session == session.id and not wanted.composite
    hand(room.places.wanted)
    for _ in range(3):
        keeper.tick(room.alive(), 1)
        assert room.wanted() == wanted
    assert [r.message for r in caplog.records].count(AGAIN) == 1
    stamp = room.places.wanted.stat()
    keeper.tick(room.alive(), 1)
    assert room.places.wanted.stat() == stamp, "what stands there is not written again and again"


def test_an_idle_room_s_is_written_again(room: Room) -> None:
    keeper, session = room.sealed()
    Wanted(session.id, session.start_ns).write(room.places.wanted)
    keeper.tick(room.alive(), LOTS)
    assert room.wanted() == Wanted()


def test_the_rescue_of_a_session_that_cannot_be_read(room: Room) -> None:
    """docs/operations.md: where session.json is lost, a person deletes wanted.json, which ends the recording."""
    keeper, session = room.started()
    keeper.close()
    (room.places.session(session.id) / "session.json").write_text("{", encoding="utf-8")
    again = room.keeper()
    again.resume()
    again.tick(room.alive(), LOTS)
    room.places.wanted.unlink()
    for _ in range(3):
        again.tick(room.alive(), LOTS)
    assert not room.places.wanted.exists()
    mended = room.keeper()
    mended.resume()
    assert mended.fault is None and room.wanted() == Wanted()


def test_a_running_agent_puts_it_back(tmp_path: Path) -> None:
    with LiveAgent(tmp_path) as room, room.agent():
        room.selfcheck()
        session = room.command(*START, "--json").json()["session"]
        room.places.wanted.unlink()
        wait_for(lambda: Wanted.read(room.places.wanted).session == session, "it is back", 3.0)
        assert room.command(*STOP).code == 0
