"""The supervisor with real processes: start, take up, restart, freeze, end."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from agent.config.places import Places
from agent.processes import supervisor
from agent.processes.supervisor import Child, ChildSpec, Supervisor, room_agent
from recorder.clock.instants import SECOND_NS
from recorder.disk.durable import make_folder
from recorder.disk.locks import lock_holder
from recorder.process.status import read_status
from tests.live_room import wait_for

CHILD = Path(__file__).parents[1] / "child.py"


@pytest.fixture(autouse=True)
def everything_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Nothing in the supervisor's thread may fail: it would only be logged."""
    caplog.set_level("DEBUG", "agent")
    yield
    assert "supervisor failed" not in caplog.text


@pytest.fixture
def places(tmp_path: Path) -> Iterator[Places]:
    places = Places(tmp_path / "root", tmp_path / "运行 run")
    for folder in (places.status, places.locks, places.logs):
        make_folder(folder)
    yield places
    for lock in places.locks.glob("*.lock"):
        if pid := lock_holder(lock):
            os.kill(pid, signal.SIGKILL)


def spec(places: Places, name: str = "climate", *manner: str) -> ChildSpec:
    return ChildSpec(name, (sys.executable, str(CHILD), str(places.run), name, *manner))


def holder(places: Places, name: str = "climate") -> int | None:
    """The process that has told its status."""
    status = read_status(places.status / f"{name}.json")
    pid = lock_holder(places.lock(name))
    return pid if status is not None and status.pid == pid else None


def another(places: Places, than: int) -> Callable[[], int | None]:
    return lambda: pid if (pid := holder(places)) not in (None, than) else None


def test_a_child_finds_the_packages_that_this_process_has(places: Places) -> None:
    """Whatever is installed, and wherever it was started."""
    room = Supervisor([spec(places)], places, poll_s=0.02)
    room.start()
    try:
        pid = wait_for(partial(holder, places), "the child")
        environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        path = next(entry for entry in environment if entry.startswith(b"PYTHONPATH=")).decode().partition("=")[2]
        first = Path(path.split(os.pathsep)[0])
        assert (first / "agent" / "app.py").exists() and (first / "recorder" / "track" / "process.py").exists()
    finally:
        room.stop()


def test_children_are_started_detached_and_ended(places: Places) -> None:
    room = Supervisor([spec(places), spec(places, "burner")], places, poll_s=0.02)
    room.start()
    try:
        pids = [wait_for(partial(holder, places, name), name) for name in ("climate", "burner")]
        assert all(os.getsid(pid) == pid for pid in pids)
        assert Path(f"/proc/{pids[0]}/fd/0").resolve() == Path("/dev/null")
    finally:
        room.stop()
    assert [lock_holder(places.lock(name)) for name in ("climate", "burner")] == [None, None]
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_what_lives_is_taken_up_and_not_started_twice(places: Places) -> None:
    first = Supervisor([spec(places)], places, poll_s=0.02)
    first.start()
    pid = wait_for(lambda: holder(places), "the child")
    first.leave()
    os.kill(pid, 0)
    second = Supervisor([spec(places)], places, poll_s=0.02)
    second.start()
    try:
        wait_for(lambda: second.children[0].pid == pid, "it is taken up")
        os.kill(pid, signal.SIGKILL)
        first.children[0].wait_dead(5.0)
        wait_for(another(places, pid), "another one")
    finally:
        second.stop()


def test_the_dead_are_restarted_at_once(places: Places) -> None:
    room = Supervisor([spec(places)], places, poll_s=0.02)
    room.start()
    try:
        pid = wait_for(lambda: holder(places), "the child")
        os.kill(pid, signal.SIGKILL)
        wait_for(another(places, pid), "another one", 3.0)
    finally:
        room.stop()


def test_one_that_hangs_is_killed_and_restarted(places: Places) -> None:
    room = Supervisor([replace(spec(places, "climate", "hang"), hung_ns=SECOND_NS)], places, poll_s=0.02)
    room.start()
    try:
        pid = wait_for(lambda: holder(places), "the child")
        wait_for(another(places, pid), "another one")
    finally:
        room.stop()


def test_one_that_was_stopped_is_continued(places: Places) -> None:
    room = Supervisor([replace(spec(places), hung_ns=SECOND_NS)], places, poll_s=0.02)
    room.start()
    try:
        pid = wait_for(lambda: holder(places), "the child")
        os.kill(pid, signal.SIGSTOP)
        seen = read_status(places.status / "climate.json")
        assert seen is not None
        wait_for(lambda: (s := read_status(places.status / "climate.json")) and s.seq > seen.seq + 3, "it goes on")
        assert holder(places) == pid, "the same process"
    finally:
        room.stop()


def test_one_that_is_deaf_is_killed_at_the_end(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "STOP_S", 0.3)
    room = Supervisor([spec(places, "climate", "deaf")], places, poll_s=0.02)
    room.start()
    wait_for(lambda: holder(places), "the child")
    room.stop()
    assert lock_holder(places.lock("climate")) is None


def test_a_child_that_crashes_is_tried_again_ever_more_slowly(places: Places) -> None:
    now = 10**12
    child = Child(spec(places, "climate", "crash"), places, now=lambda: now)
    waits = []
    for _ in range(6):
        child.poll()
        wait_for(child._dead, "its death")
        child.poll()
        died = now
        while child.pid is None:  # where it has crashed again already, no poll may come before this one sees that it was started
            child.poll()
            now += 0 if child.pid else SECOND_NS // 4
        waits.append((now - died) / SECOND_NS)
        child.wait_dead(5.0)
    assert waits == [0.0, 0.5, 1.0, 2.0, 5.0, 5.0]
    assert places.log("climate").read_text().count("the child crashes") == 12


def test_a_log_is_bounded(places: Places) -> None:
    child = Child(spec(places), places)
    places.log("climate").write_bytes(b"x" * (supervisor.LOG_BYTES + 1))
    child.trim_log()
    assert places.log("climate").stat().st_size == 0
    assert (places.logs / "climate.log.1").stat().st_size == supervisor.LOG_BYTES + 1


def test_the_product_s_own_command() -> None:
    words = room_agent(Path("/etc/配置.toml"), "track", "overview")
    assert words[0] == sys.executable and words[-6:] == ("-m", "agent", "--config", "/etc/配置.toml", "track", "overview")
