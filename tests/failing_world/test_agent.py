"""The agent dies, stops or is replaced, in each state of a session: the recording does not notice, the feed does."""

import json
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from recorder.process.status import read_status
from tests.demo.command import DemoError
from tests.demo.subscriber import Subscriber
from tests.failing_world.account import lost, said, whole
from tests.failing_world.conftest import MakeRoom
from tests.failing_world.truth import PICTURE_NS, delivered, pictures_in
from tests.live_room import CASE, HOME, TRACKS, LiveRoom, wait_for

pytestmark = pytest.mark.timeout(180)

RECORDERS = (*TRACKS, "composer", "climate")
FREEZE_S = 20.0
OFFLINE_S = 15.0  # a silent agent: one and a half keepalives of 5 s, and what the broker takes to look
Break = Callable[[LiveRoom, Subscriber], None]
whole_only = pytest.mark.whole


@pytest.fixture
def room(standing_room: LiveRoom) -> Iterator[LiveRoom]:
    """The standing room, armed; afterwards its agent runs."""
    standing_room.armed()
    try:
        yield standing_room
    finally:
        with suppress(ProcessLookupError):
            standing_room.signal("agent", signal.SIGCONT)
        standing_room.settle()


def killed(room: LiveRoom, feed: Subscriber) -> None:
    """kill -9; the will says offline; the agent is started again."""
    room.kill_agent()
    offline(feed, "lost", 5.0)
    room.start_agent()


def asked_to_stop(room: LiveRoom, feed: Subscriber) -> None:
    """SIGTERM, which is obeyed; the agent is started again."""
    room.signal("agent", signal.SIGTERM)
    assert room.agent.stop() == 0
    offline(feed, "stopped", 5.0)
    room.start_agent()


def frozen(room: LiveRoom, feed: Subscriber) -> None:
    """SIGSTOP until the broker has given the agent up, then SIGCONT."""
    room.signal("agent", signal.SIGSTOP)
    try:
        offline(feed, "lost", OFFLINE_S)
    finally:
        room.signal("agent", signal.SIGCONT)


def offline(feed: Subscriber, reason: str, limit_s: float) -> None:
    """The last word of the room is that it is gone, and why."""

    def is_said() -> bool:
        states = said(feed, "state")
        return bool(states) and states[-1]["online"] is False and states[-1]["reason"] == reason

    wait_for(is_said, f"the feed says offline ({reason})", limit_s)


def back(room: LiveRoom, feed: Subscriber) -> dict[str, Any]:
    """The agent answers, and the feed says online; the answer to `session status`."""
    status: dict[str, Any] = wait_for(lambda: answer(room), "the agent answers")
    wait_for(lambda: said(feed, "state")[-1]["online"] is True, "the feed says online")
    return status


def answer(room: LiveRoom) -> dict[str, Any] | None:
    with suppress(DemoError):
        return room.command.ask("session", "status")
    return None


def online(feed: Subscriber) -> None:
    wait_for(feed.lines, "the feed is heard")


def pids(room: LiveRoom) -> dict[str, int]:
    return {name: room.pid(name) for name in RECORDERS}


def seqs(room: LiveRoom) -> dict[str, int]:
    """How many statuses each process has written."""
    found = {name: read_status(room.run / "status" / f"{name}.json") for name in RECORDERS}
    return {name: status.seq for name, status in found.items() if status is not None}


def grown(room: LiveRoom, by: int = 200_000) -> Callable[[], bool]:
    """Whether every camera has stored so many bytes more than when this was called, each track some."""
    before = {name: s.bytes_session for name in TRACKS if (s := room.track(name))}

    def has() -> bool:
        now = {name: s.bytes_session for name in TRACKS if (s := room.track(name))}
        return all(now.get(n, 0) > before.get(n, 0) + (by if n != "microphone" else 10_000) for n in TRACKS)

    return has


def account(room: LiveRoom, feed: Subscriber, started: dict[str, Any], *, late_end: bool = False) -> dict[str, Any]:
    """What must hold of a session in which the agent alone was hurt; its manifest. late_end: it was hurt amid the stop."""
    manifest = whole(room, started, late_end=late_end)
    assert len(manifest["composite"]["parts"]) == 1
    wait_for(lambda: not lost(feed), "every number of the feed came")
    room.verified(started)
    return manifest


def agents(room: LiveRoom, started: dict[str, Any]) -> int:
    """How many agents took the session up, by its journal."""
    return sum(1 for e in room.session_journal(started) if e["kind"] == "event" and e["event"] == "agent-started")


each_way = pytest.mark.parametrize("breaks", [killed, frozen, asked_to_stop])


@whole_only
@each_way
def test_the_agent_in_a_ready_room(room: LiveRoom, feed: Subscriber, breaks: Break) -> None:
    """Between sessions: the agent comes back to a room that is as ready as before, and the next session is whole."""
    assert room.command.ask("selfcheck", expected=(0, 1))["exit_code"] == 0
    before = pids(room)
    online(feed)
    breaks(room, feed)
    back(room, feed)
    room.armed()
    if breaks is not asked_to_stop:  # a stop of an idle room puts its processes to rest
        assert pids(room) == before
    started = room.command.ask("session", "start", *CASE)  # the self-check still counts
    room.record_for(2.0)
    room.stop()
    account(room, feed, started)


@pytest.mark.parametrize(
    "breaks", [killed, pytest.param(frozen, marks=whole_only), pytest.param(asked_to_stop, marks=whole_only)]
)
def test_the_agent_in_mid_session(room: LiveRoom, feed: Subscriber, breaks: Break) -> None:
    """While a session is recorded: no track and not the composite loses anything; the agent takes up the same processes."""
    started = room.start()
    room.record_for(2.0)
    before, counted = pids(room), seqs(room)
    has_grown = grown(room)
    if breaks is frozen:
        freeze_for(room, feed, FREEZE_S)
    else:
        breaks(room, feed)
    wait_for(has_grown, "the tracks go on")
    status = back(room, feed)
    assert status["session"]["id"] == started["session"]
    assert status["state"] == "recording"
    room.record_for(status["recorded_s"] + 1.0)
    assert pids(room) == before, "the same processes"
    assert all(now > counted[name] for name, now in seqs(room).items()), "which went on all the time"
    room.stop()
    assert agents(room, started) == (0 if breaks is frozen else 1)
    account(room, feed, started)


def freeze_for(room: LiveRoom, feed: Subscriber, seconds: float) -> None:
    """SIGSTOP of the agent while so much is recorded, by the composer's own count."""
    composer = room.composer()
    assert composer is not None
    room.signal("agent", signal.SIGSTOP)
    try:
        offline(feed, "lost", OFFLINE_S)
        until = composer.pictures_written + round(25 * seconds)
        wait_for(lambda: (c := room.composer()) and c.pictures_written >= until, f"{seconds} s recorded", seconds + 10)
    finally:
        room.signal("agent", signal.SIGCONT)


class Stopping:
    """`session stop`, asked in the background: the agent will die over it."""

    def __init__(self, room: LiveRoom, started: dict[str, Any]) -> None:
        self._room = room
        self._path = room.session_folder(started) / "session.json"
        self._thread = threading.Thread(target=self._ask)
        self._thread.start()

    def _ask(self) -> None:
        with suppress(DemoError):
            self._room.stop()

    def wait(self, state: str, limit_s: float = 20.0) -> dict[str, Any]:
        """Until session.json says so; what it says."""
        return dict(wait_for(lambda: (s := self.session()).get("state") == state and s, f"the session is {state}", limit_s))

    def session(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._path.read_text(encoding="utf-8"))
        return found

    def join(self) -> None:
        self._thread.join(60)


@whole_only
@each_way
def test_the_agent_while_it_seals(room: LiveRoom, feed: Subscriber, breaks: Break) -> None:
    """Between the official end and the seal: the agent that comes seals the session by itself, to the same end."""
    started = room.start()
    room.record_for(2.0)
    online(feed)
    stopping = Stopping(room, started)
    end = stopping.wait("sealing")["official_end"]
    breaks(room, feed)
    sealed = stopping.wait("sealed")
    stopping.join()
    back(room, feed)
    assert sealed["official_end"] == end
    account(room, feed, started, late_end=True)


@whole_only
def test_an_end_that_becomes_known_late(room: LiveRoom, feed: Subscriber) -> None:
    """What was recorded between the official end and its becoming known is kept, counted apart, and not in a disc's composite.

    The end stands in session.json; wanted.json, by which the recording processes go, cannot be replaced for a while: so the room
    stands while an agent that was stopped, or died, between the two is away.
    """
    started = room.start()
    room.record_for(2.0)
    with held(room.root / "wanted.json"):
        stopping = Stopping(room, started)
        stopped = stopping.wait("sealing")
        due = (stopped["stop_ns"] - stopped["start_ns"]) // PICTURE_NS
        wait_for(lambda: (c := room.composer()) and c.pictures_written >= due + 50, "the composite goes on")
    sealed = stopping.wait("sealed")
    stopping.join()
    assert sealed["official_end"] == stopped["official_end"]
    manifest = account(room, feed, started, late_end=True)
    assert manifest["composite"]["pictures_after_end"] >= 50
    (composite,) = delivered(room, started)["composite"]
    assert pictures_in(composite) == due


@contextmanager
def held(path: Path) -> Iterator[None]:
    """A file that cannot be replaced, and can be read: it is mounted over itself. Skips where nobody may mount."""
    if subprocess.run(["mount", "--bind", path, path], capture_output=True, check=False).returncode != 0:
        pytest.skip("nothing can be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", path], check=True, timeout=30)


@whole_only
@pytest.mark.parametrize("appears", ["manifest.json", "manifest.sig"])
def test_the_agent_dies_at_the_instant_of_the_seal(room: LiveRoom, feed: Subscriber, appears: str) -> None:
    """kill -9 as the manifest or its signature appears: the seal is finished, and a manifest that was signed stands."""
    started = room.start()
    room.record_for(2.0)
    folder = room.session_folder(started)
    stopping = Stopping(room, started)
    while not (folder / appears).exists():  # as fast as it can be seen
        assert stopping.session()["state"] in ("recording", "sealing") or (folder / appears).exists()
    room.kill_agent()
    manifest, signed = (folder / "manifest.json").read_bytes(), (folder / "manifest.sig").exists()
    room.start_agent()
    stopping.wait("sealed")
    stopping.join()
    back(room, feed)
    assert signed or appears == "manifest.json"
    assert not signed or (folder / "manifest.json").read_bytes() == manifest
    account(room, feed, started)


@whole_only
@each_way
def test_the_agent_after_the_seal(room: LiveRoom, feed: Subscriber, breaks: Break) -> None:
    """A sealed session stays as it is, to the byte, and is the newest one to the agent that comes."""
    started = room.start()
    room.record_for(2.0)
    room.stop()
    files = {path: path.read_bytes() for path in room.session_folder(started).rglob("*") if path.is_file()}
    breaks(room, feed)
    status = back(room, feed)
    assert (status["session"]["id"], status["session"]["state"]) == (started["session"], "sealed")
    assert {path: path.read_bytes() for path in room.session_folder(started).rglob("*") if path.is_file()} == files
    account(room, feed, started)


@whole_only
def test_the_agent_is_replaced_by_another_version_in_mid_session(make_room: MakeRoom, tmp_path: Path) -> None:
    """An update of the agent during a session: nothing is lost, the same processes record on, and the record names both."""
    room = make_room()
    with room.subscribe() as feed:
        replace_agent(room, feed, tmp_path)


def replace_agent(room: LiveRoom, feed: Subscriber, tmp_path: Path) -> None:
    newer = another_version(tmp_path / "newer", "99.1.2")
    started = room.start()
    room.record_for(2.0)
    before, old = pids(room), software(room)
    room.signal("agent", signal.SIGTERM)
    assert room.agent.stop() == 0
    offline(feed, "stopped", 5.0)
    room.command = replace(room.command, env={**room.command.env, "PYTHONPATH": str(newer)})
    room.start_agent()
    status = back(room, feed)
    assert said(feed, "state")[-1]["version"] == "99.1.2"
    room.record_for(status["recorded_s"] + 2.0)
    assert pids(room) == before
    room.stop()
    assert agents(room, started) == 1
    for track in TRACKS:
        assert {e["software"] for e in room.journal(started, track) if e["kind"] == "begin"} == {old}
    manifest = account(room, feed, started)
    assert manifest["software"]["version"] == "99.1.2"


def software(room: LiveRoom) -> str:
    """The version that the tracks say they are."""
    (version,) = {status.version for name in TRACKS if (status := room.track(name))}
    return version


def another_version(folder: Path, version: str) -> Path:
    """The product's packages as a distribution of another version would install them; for PYTHONPATH."""
    for package in ("agent", "burner", "drivers", "recorder", "wording"):
        shutil.copytree(HOME / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    facts = folder / f"interview_room_agent-{version}.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: interview-room-agent\nVersion: {version}\n", encoding="utf-8")
    return folder
