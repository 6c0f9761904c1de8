"""When a process counts as hung: by its statuses, by what its threads do, and never by the looker's own pauses."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.processes.heartbeat import DISK_NS, LOOK_NS, STARTING_NS, WORKING_NS, Heartbeat, thread_states
from recorder.clock.instants import SECOND_NS, boot_id
from recorder.process.status import ClimateStatus
from tests.live_room import wait_for

HUNG_NS = 3 * SECOND_NS // 2


class Looked:
    """A pulse on a clock that is set, looked at four times a second."""

    def __init__(self, folder: Path, pid: int) -> None:
        self.now, self.folder, self.pid, self.seq = 10**12, folder, pid, 0
        self.pulse = Heartbeat(folder / "climate.json", pid, HUNG_NS, lambda: self.now)

    def tell(self, waiting: str = "") -> None:
        self.seq += 1
        ClimateStatus(name="climate", pid=self.pid, boot_id=boot_id(), version="", seq=self.seq, waiting=waiting).write(
            self.folder
        )

    def hung_after_s(self, limit_s: float = 100.0) -> float:
        """How long it takes until it counts as hung."""
        began = self.now
        while self.now - began < limit_s * SECOND_NS:
            self.now += SECOND_NS // 4
            if self.pulse.hung():
                return (self.now - began) / SECOND_NS
        return limit_s


@pytest.fixture
def sleeping() -> Iterator[int]:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    wait_for(lambda: thread_states(child.pid) == {"S"}, "it sleeps")
    yield child.pid
    child.kill()
    child.wait()


@pytest.fixture
def busy() -> Iterator[int]:
    child = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    yield child.pid
    child.kill()
    child.wait()


def test_one_that_sleeps_is_hung_after_its_time(tmp_path: Path, sleeping: int) -> None:
    looked = Looked(tmp_path, sleeping)
    looked.tell()
    assert not looked.pulse.hung()
    assert looked.hung_after_s() * SECOND_NS == HUNG_NS + SECOND_NS // 4


def test_one_that_tells_is_never_hung(tmp_path: Path, sleeping: int) -> None:
    looked = Looked(tmp_path, sleeping)
    for _ in range(100):
        looked.tell()
        assert looked.hung_after_s(1.0) == 1.0


def test_one_that_computes_is_given_longer(tmp_path: Path, busy: int) -> None:
    looked = Looked(tmp_path, busy)
    looked.tell()
    assert not looked.pulse.hung()
    assert looked.hung_after_s() * SECOND_NS == pytest.approx(WORKING_NS, abs=SECOND_NS // 2)


def test_one_that_waits_for_the_disk_is_given_a_minute(tmp_path: Path, sleeping: int) -> None:
    looked = Looked(tmp_path, sleeping)
    looked.tell("disk")
    assert not looked.pulse.hung()
    assert looked.hung_after_s() * SECOND_NS == pytest.approx(DISK_NS, abs=SECOND_NS // 2)


def test_a_new_one_may_take_its_time_and_its_predecessor_s_status_does_not_count(tmp_path: Path, sleeping: int) -> None:
    looked = Looked(tmp_path, sleeping)
    ClimateStatus(name="climate", pid=sleeping + 1, boot_id=boot_id(), version="", seq=7).write(tmp_path)
    assert looked.hung_after_s() * SECOND_NS == pytest.approx(STARTING_NS, abs=SECOND_NS // 2)


def test_the_looker_s_own_pause_is_nobody_s_fault(tmp_path: Path, sleeping: int) -> None:
    looked = Looked(tmp_path, sleeping)
    looked.tell()
    assert not looked.pulse.hung()
    looked.now += 3600 * SECOND_NS
    assert not looked.pulse.hung(), "the whole PC stood still"
    assert looked.hung_after_s() * SECOND_NS == pytest.approx(HUNG_NS - LOOK_NS, abs=SECOND_NS // 2)


def test_a_stopped_process_is_told_from_one_that_sleeps(tmp_path: Path, sleeping: int) -> None:
    looked = Looked(tmp_path, sleeping)
    assert not looked.pulse.stopped()
    os.kill(sleeping, signal.SIGSTOP)
    wait_for(lambda: thread_states(sleeping) == {"T"}, "it is stopped")
    assert looked.pulse.stopped()
