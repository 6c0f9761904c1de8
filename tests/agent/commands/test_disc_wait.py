"""`disc burn` waits for the worker: it says what hinders it, and outlives a restart of the agent."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.console.client import PatientStatus
from recorder.clock.instants import boot_id, boottime_ns
from recorder.disk.durable import make_folder, write_json
from recorder.faults import StorageFault
from recorder.process.status import BurnerStatus
from tests.agent.live import START, STOP, LiveAgent
from tests.live_room import wait_for
from wording import Exit, Fault

DRIVES = ("stdio:/x/1.img",)
FULL = StorageFault("file-not-writable", "", path="/data/burn", why="No space left on device")


@contextmanager
def worker(room: LiveAgent, **says: Any) -> Iterator[None]:
    """A burner's status, as its worker writes it."""
    over = threading.Event()

    def report() -> None:
        while not over.wait(0.1):
            about: dict[str, Any] = {"pid": os.getpid(), "boot_id": boot_id(), "version": "", "at_ns": boottime_ns()}
            BurnerStatus(name="burner", **about, **says).write(room.places.status)

    thread = threading.Thread(target=report, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def matched(room: LiveAgent) -> str:
    """A session whose discs may be burned."""
    assert room.command(*START).code == 0
    stopped = room.command(*STOP, "--json").json()
    start, end = (stopped[key][:19].replace("T", " ") for key in ("official_start", "official_end"))
    (room.folder / "笔录.txt").write_text(f"Interview time: {start} to {end}\n", "utf-8")
    assert room.command("transcript", "attach", "last", str(room.folder / "笔录.txt")).code == 0
    return str(stopped["session"])


def test_what_hinders_the_worker_is_said_and_a_restart_of_the_agent_is_waited_for(tmp_path: Path) -> None:
    with LiveAgent(tmp_path, drives=DRIVES) as room:
        room.selfcheck()
        words = ("disc", "burn", "last", "--drive", "stdio:/x/1.img", "--language", "en", "--config", str(room.config))
        told = tmp_path / "told"
        with told.open("w") as out:
            with room.agent():
                job = f"{matched(room)}-001"
                burn = subprocess.Popen([sys.executable, "-m", "agent", *words], stdout=out, stderr=subprocess.STDOUT)
                with worker(room, state="failed", job=job, fault=FULL.as_dict()):
                    wait_for(lambda: "No space left" in told.read_text(), "the fault is told")
            with worker(room, state="verifying", job=job):
                with pytest.raises(subprocess.TimeoutExpired):  # nobody answers
                    burn.wait(1)
                with room.agent():
                    disc = {"device": "d", "image": "d", "verified": True, "sha256": "ab", "fault": None}
                    result = {"job": job, "session": job[:-4], "copies": 2, "verified": 2, "discs": [disc, disc], "fault": None}
                    write_json(make_folder(room.places.burn / "jobs") / f"{job}.json", result)
                    assert burn.wait(20) == Exit.OK, told.read_text()
        assert told.read_text().count("No space left") == 1
        assert "2 of 2 discs" in told.read_text()


def test_discs_that_are_not_whole_are_said_to_be_so(tmp_path: Path) -> None:
    with LiveAgent(tmp_path, drives=DRIVES) as room, room.agent():
        room.selfcheck()
        job = f"{matched(room)}-001"
        words = ("disc", "burn", "last", "--drive", "stdio:/x/1.img", "--config", str(room.config))
        burn = subprocess.Popen([sys.executable, "-m", "agent", *words], stdout=subprocess.PIPE, text=True)
        with worker(room, state="verifying", job=job):
            wait_for((room.places.burn / "wanted.json").exists, "the wish")
            disc = {"device": "d", "image": "d", "verified": True, "sha256": "ab", "fault": None}
            result = {"job": job, "session": job[:-4], "copies": 2, "verified": 2, "discs": [disc, disc], "fault": None}
            write_json(
                make_folder(room.places.burn / "jobs") / f"{job}.json", {**result, "damaged": ["tracks/closeup/000001.mkv"]}
            )
            out, _ = burn.communicate(timeout=20)
        assert burn.returncode == Exit.EVIDENCE
        shown = room.command("session", "status").out
        for text in (out, shown):
            assert "tracks/closeup/000001.mkv" in text and ("不完整" in text or "NOT WHOLE" in text)
        _one_more_is_cancelled(room, job[:-4])


def _one_more_is_cancelled(room: LiveAgent, session: str) -> None:
    """While no worker runs: the order ends at once, the session is as it was, and the next one may be given."""
    extra = ("disc", "burn", "last", "--extra", "--by", "赵六", "--reason", "法院调取", "--no-wait", "--json")
    assert room.command(*extra).json()["job"] == f"{session}-002"
    ended = room.command("disc", "cancel", "last", "--by", "赵六", "--reason", "用错", "--language", "zh")
    assert ended.code == Exit.OK and f"刻录任务 {session}-002 已取消。" in ended.out and "2/2" in ended.out, ended
    again = room.command("disc", "cancel", "last")
    assert again.code == Exit.REFUSED and f"No discs of session {session} are waited for" in again.err
    shown = room.command("session", "status", "--json").json()["session"]
    assert (shown["state"], shown["disc"]["verified"], shown["disc"]["fault"]["code"]) == ("on-disc", 2, "burn-job-cancelled")
    assert room.command(*extra).json()["job"] == f"{session}-003"
    queued = room.command("disc", "cancel", "last", "--no-wait")
    assert queued.code == Exit.OK and f"{session}-003" in queued.out


def answers(*script: dict[str, Any] | None) -> Callable[..., dict[str, Any]]:
    """What the agent answers, one after the other; None: nobody is there."""
    left = iter(script)

    def ask(command: str, /, **arguments: Any) -> dict[str, Any]:
        assert (command, arguments) == ("session.status", {"session": "s"})
        told = next(left)
        if told is None:
            raise Fault("agent-answer-timeout", "", exit_code=Exit.NO_AGENT)
        return told

    return ask


def test_an_agent_that_stays_away_ends_the_wait() -> None:
    patient = PatientStatus(answers(None, {"a": 1}, None, None), "s")
    assert (patient.ask(), patient.ask(), patient.ask()) == (None, {"a": 1}, None)
    with pytest.raises(Fault):
        patient.ask(deadline=0.0)
    with pytest.raises(Fault):
        PatientStatus(answers(None), "s", away_s=-1.0).ask()
