"""One process of the data plane dies, stands still or hangs: the others do not notice, and the account names what is missing."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from recorder.clock.instants import boottime_ns
from recorder.evidence.continuity import DIED
from recorder.session.lines import cause_of
from tests.demo.subscriber import Subscriber
from tests.failing_world.account import Json, as_the_truth, events, whole
from tests.failing_world.hang import Hang
from tests.live_room import SECOND, TRACKS, LiveRoom, wait_for

pytestmark = pytest.mark.timeout(150)

GAP_S = 3.0  # what a death or a freeze of one process may cost that process's own track
LOST_BEFORE_S = dict.fromkeys(TRACKS, 1.0) | {
    "composite": 2.0
}  # of what came before: the composite is written a second at a time
TELLS_S = 5.0  # for the feed: 3 s until a silent process counts as dead, and 2 s on the way
CAUSES = ("delivered nothing", "are missing")  # or that the process died
MOST_S = 25.0  # waiting for a process to come back; what it may cost is asserted of the account
Break = Callable[[int], Any]  # a context manager: the break of a process by its pid, until it is over


@pytest.fixture(autouse=True)
def supervised(room: LiveRoom) -> Iterator[None]:
    """What the agent said of the room's processes is shown where a test fails."""
    yield
    for path in room.folder.glob("agent-*.log"):
        print(*(line for line in path.read_text(encoding="utf-8").splitlines() if "agent.processes.supervisor" in line), sep="\n")


@contextmanager
def killed(pid: int) -> Iterator[None]:
    """kill -9."""
    os.kill(pid, signal.SIGKILL)
    yield


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """SIGSTOP: it stands still, and would go on at a SIGCONT."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def hung(pid: int) -> Hang:
    """Nothing but kill -9 helps."""
    return Hang(pid)


def lag_ns(room: LiveRoom) -> int:
    """How far the composer's encoder is behind now."""
    status = room.composer()
    return round(status.lag_ms * 1e6) if status is not None else 0


def breaking(room: LiveRoom, name: str, breaks: Break) -> int:
    """Breaks a process until it is seen to work again, in this or another life; CLOCK_BOOTTIME of the break, ns."""
    pid, at_ns = room.pid(name), boottime_ns()
    with breaks(pid):
        wait_until_works(room, name, at_ns)
    return at_ns


def wait_until_works(room: LiveRoom, name: str, since_ns: int) -> None:
    wait_for(lambda: works(room, name, since_ns), f"{name} works again", MOST_S)


def works(room: LiveRoom, name: str, since_ns: int) -> bool:
    """Whether a process says that it stored something that came well after an instant."""
    status = room.composer() if name == "composer" else room.track(name)
    newest = status.last_disk_ns if status is not None else None
    return status is not None and status.state == "recording" and newest is not None and newest > since_ns + SECOND


def record_on(room: LiveRoom, seconds: float) -> None:
    room.record_on(seconds)


def check_gap(room: LiveRoom, started: Json, name: str, broke_ns: int, behind_ns: int = 0) -> int:
    """How many gaps what was hurt has: one at most, of 3 s, from the break on, with its cause, and as it truly was."""
    of = room.manifest(started)["composite"] if name == "composite" else room.manifest(started)["tracks"][name]
    spans, broke = as_the_truth(room, started, name), room.room_ns(started, broke_ns)
    for (from_ns, to_ns), gap in zip(spans, of["gaps"], strict=True):
        cause = cause_of(gap)
        print(f"{name}: lost from {(from_ns - broke) / SECOND:+.2f} s to {(to_ns - broke) / SECOND:+.2f} s: {cause.say()}")
        assert cause.code == DIED or any(words in cause.say() for words in CAUSES), cause
        assert from_ns > broke - LOST_BEFORE_S[name] * SECOND - behind_ns, "no more is lost of what came before"
        began_ns = broke if name == "composite" else from_ns
        assert to_ns - began_ns <= GAP_S * SECOND, "a track's gap is 3 s at most; the composite goes on within 3 s"
    assert len(spans) <= 1
    return len(spans)


def told_of(feed: Subscriber, device: str) -> list[Any]:
    """What the feed's events said of a device."""
    return [e for kind in ("gap", "device-lost", "device-degraded") for e in events(feed, kind, device=device)]


@pytest.mark.parametrize(
    ("track", "breaks"),
    [
        ("closeup", killed),
        pytest.param("closeup", stopped, marks=pytest.mark.whole),
        pytest.param("overview", hung, marks=pytest.mark.whole),
        pytest.param("microphone", killed, marks=pytest.mark.whole),
        pytest.param("microphone", stopped, marks=pytest.mark.whole),
        pytest.param("microphone", hung, marks=pytest.mark.whole),
    ],
)
def test_one_track(room: LiveRoom, feed: Subscriber, track: str, breaks: Break) -> None:
    """One track dies or freezes: it alone has a gap, of 3 s at most, which the ledger gives as the camera's log does."""
    started = room.start()
    room.record_for(3.0)
    others = {name: room.pid(name) for name in (*TRACKS, "composer") if name != track}
    broke_ns = breaking(room, track, breaks)
    record_on(room, 2.0)
    room.stop()
    assert {name: room.pid(name) for name in others} == others, "nobody else was touched"
    whole(room, started, but=(track,))
    gaps = check_gap(room, started, track, broke_ns)
    assert gaps == 1 or breaks is stopped
    if gaps:
        wait_for(lambda: events(feed, "gap", device=track, gaps=1), "the feed tells of the gap", TELLS_S)
    assert not [e for name in others for e in events(feed, "gap", device=name)]
    room.verified(started)


@pytest.mark.parametrize(
    "breaks",
    [killed, pytest.param(stopped, marks=pytest.mark.whole), pytest.param(hung, marks=pytest.mark.whole)],
)
def test_the_composer(room: LiveRoom, feed: Subscriber, breaks: Break) -> None:
    """The composer dies or freezes: the originals are whole, the composite is back within 3 s, each missing picture is listed."""
    started = room.start()
    room.record_for(3.0)
    others = {name: room.pid(name) for name in TRACKS}
    behind_ns = lag_ns(room)
    broke_ns = breaking(room, "composer", breaks)
    record_on(room, 2.0)
    room.stop()
    assert {name: room.pid(name) for name in others} == others, "nobody else was touched"
    manifest = whole(room, started, but=("composite",))
    gaps = check_gap(room, started, "composite", broke_ns, behind_ns)
    assert gaps == 1 or breaks is stopped
    assert len(manifest["composite"]["parts"]) == 1 + gaps
    if gaps:
        wait_for(lambda: told_of(feed, "composer"), "the feed tells of the composer", TELLS_S)
    room.verified(started)


@pytest.mark.whole
def test_a_track_dies_while_there_is_no_agent(room: LiveRoom, feed: Subscriber) -> None:
    """Who restarts a track is the agent where there is no systemd: a track that dies without one is back when the agent is."""
    started = room.start()
    room.record_for(3.0)
    others = {name: room.pid(name) for name in ("closeup", "microphone", "composer")}
    room.kill_agent()
    overview = room.pid("overview")
    broke_ns = room.signal("overview", signal.SIGKILL)
    wait_for(lambda: (c := room.composer()) and c.lost == ["overview"], "the composite shows the camera as lost", 6.0)
    assert room.recording(("closeup", "microphone"))
    room.start_agent()
    agent_ns = boottime_ns()
    room.replaced("overview", overview)
    wait_until_works(room, "overview", agent_ns)
    record_on(room, 2.0)
    room.stop()
    assert {name: room.pid(name) for name in others} == others, "nobody else was touched"
    manifest = whole(room, started, but=("overview",))
    ((from_ns, to_ns),) = as_the_truth(room, started, "overview")
    assert abs(from_ns - room.room_ns(started, broke_ns)) < SECOND
    print(f"back {(to_ns - room.room_ns(started, agent_ns)) / SECOND:.2f} s after the agent's start")
    assert to_ns - room.room_ns(started, agent_ns) < 5 * SECOND, "within 3 s of the agent, which takes a moment to come up"
    assert manifest["tracks"]["overview"]["gaps"][0]["cause"] == DIED
    room.verified(started)


@pytest.mark.whole
def test_everything_dies_at_once(room: LiveRoom) -> None:
    """Agent, tracks and composer are killed together: with the next agent all go on with the same session by themselves."""
    started = room.start()
    room.record_for(3.0)
    victims = {name: room.pid(name) for name in (*TRACKS, "composer")}
    behind_ns = lag_ns(room)
    broke_ns = room.kill_agent()
    for pid in victims.values():
        os.kill(pid, signal.SIGKILL)
    room.start_agent()
    for name in victims:
        wait_until_works(room, name, broke_ns + SECOND)
    record_on(room, 2.0)
    room.stop()
    for name in (*TRACKS, "composite"):
        ((from_ns, _),) = as_the_truth(room, started, name)
        assert abs(from_ns - room.room_ns(started, broke_ns)) < LOST_BEFORE_S[name] * SECOND + behind_ns
    room.verified(started)
