"""A data disk that is full or read-only when the agent starts: it comes up, says so, and takes the session up when it may."""

import errno
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from recorder.clock.instants import boot_id
from recorder.disk.locks import exclusive
from recorder.faults import AlreadyRunning, StorageFault
from tests.agent.live import START, STOP, LiveAgent
from tests.agent.room import CASE, LOTS, PERSON, Room
from tests.live_room import wait_for
from wording import Exit
from wording.refusals import Refused


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path / "数据 盘", tmp_path / "run")


def full(_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def rebooted(folder: Path) -> None:
    """The session as a power cut leaves it: its epoch is of another boot, and half a line ends its journal."""
    (folder / "epochs" / f"{boot_id()}.json").rename(folder / "epochs" / "another-boot.json")
    with (folder / "journal.jsonl").open("ab") as file:
        file.write(b'{"seq": 2, "torn')


def test_a_session_that_a_full_disk_keeps_from_the_agent(
    room: Room, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Full disk and power cut: no command is done meanwhile, wanted.json stays, and the session is taken up by itself."""
    keeper, session = room.started()
    keeper.close()
    rebooted(room.places.session(session.id))
    wanted = room.wanted()
    again = room.keeper()
    with monkeypatch.context() as on_the_disk:
        on_the_disk.setattr(os, "fsync", full)
        again.resume()
        for _ in range(3):
            assert again.active == session == again.current and again.unfinished == session.id
            assert isinstance(again.fault, StorageFault) and again.fault.exit_code == Exit.STORAGE
            with pytest.raises(Refused, match="No space left"):
                room.start(again)
            with pytest.raises(Refused, match=r"No session was stopped:[\s\S]*No space left"):
                again.stop("赵六", "x", asked=PERSON)
            room.pass_s(4)
            again.tick(room.alive(), LOTS)
        assert room.wanted() == wanted and room.wanted().case_number == CASE.number
    assert [r.message for r in caplog.records].count("the unfinished session is not taken up yet") == 1
    again.tick(room.alive(), LOTS)
    assert again.fault is not None, "it is tried every 3 s"
    room.pass_s(3)
    again.tick(room.alive(), LOTS)
    assert again.fault is None and again.active == session
    kinds = [line["kind"] for line in room.lines(session)]
    assert kinds == ["started", "tie", "torn-line", "event", "tie"]
    assert again.stop("赵六", "x", asked=PERSON).state == "sealing"


# -- a real disk --


LARGE = 64 << 30  # of a disk that takes no more memory than what is written on it


@contextmanager
def disk(at: Path) -> Iterator[None]:
    """A file system of its own."""
    at.mkdir(parents=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={LARGE}", "room-disk", at], capture_output=True, check=False)
    if mounted.returncode != 0:
        pytest.skip("a disk of its own cannot be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", at], check=True, timeout=30)


def remount(root: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", root], check=True, timeout=30)


def fill(root: Path) -> Callable[[], None]:
    """To the last byte; gives what makes it well."""
    remount(root, f"rw,size={shutil.disk_usage(root).used + (1 << 16)}")
    with suppress(OSError), (root / "filler").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    assert shutil.disk_usage(root).free == 0
    return lambda: remount(root, f"rw,size={LARGE}")


def read_only(root: Path) -> Callable[[], None]:
    """Gives what makes it well."""
    remount(root, "ro")
    return lambda: remount(root, "rw")


@pytest.mark.parametrize("worsen", [fill, read_only], ids=["full", "read-only"])
def test_the_agent_comes_up_and_says_so(tmp_path: Path, worsen: Callable[[Path], Callable[[], None]]) -> None:
    room = LiveAgent(tmp_path)
    with disk(room.places.root), room:
        room.selfcheck()
        with room.agent() as agent:
            started = room.command(*START, "--json").json()
            agent.send_signal(signal.SIGKILL)
            agent.wait(15)
        folder = Path(started["path"])
        rebooted(folder)
        well = worsen(room.places.root)
        with room.agent():
            status = room.command("session", "status", "--json").json()
            assert (status["state"], status["session"]["id"]) == ("recording", started["session"])
            assert status["fault"]["exit_code"] == Exit.STORAGE
            assert next(d for d in status["devices"] if d["id"] == "agent")["status"] == "failed"
            for words, first in ((START, "The session was not started:"), (STOP, "No session was stopped:")):
                answer = room.command(*words)
                assert answer.code == Exit.STORAGE and first in answer.err and "cannot be written" in answer.err, answer
            well()
            wait_for(lambda: not room.command("session", "status", "--json").json()["fault"], "taken up")
            assert room.command(*STOP).code == 0


def test_a_lock_on_a_disk_that_refuses(tmp_path: Path) -> None:
    root = tmp_path / "disk"
    with disk(root):
        lock = root / "a.lock"
        with exclusive(lock, "one"):
            pass
        for worsen in (fill, read_only):
            well = worsen(root)
            with exclusive(lock, "one"), pytest.raises(AlreadyRunning), exclusive(lock, "another"):
                pass
            if worsen is read_only:
                with pytest.raises(StorageFault), exclusive(root / "new.lock", "one"):
                    pass
            well()


def test_a_lock_s_holder_is_told_by_its_first_line(tmp_path: Path) -> None:
    """The number before may have been longer."""
    lock = tmp_path / "a.lock"
    lock.write_text("4194304999\n")
    with exclusive(lock, "one"):
        assert lock.read_text() == f"{os.getpid()}\n"
