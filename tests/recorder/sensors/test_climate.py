"""The climate process on a real pseudo-terminal: its status is alive whatever the sensor does."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from drivers.faults import DeviceAbsent, DeviceSilent
from drivers.ports import Reading
from recorder.clock.instants import SECOND_NS, boot_id, boottime_ns
from recorder.disk.locks import lock_holder
from recorder.process.status import ClimateStatus, read_statuses
from recorder.sensors.climate import ClimateSettings, Watch, serve
from tests.drivers.serial_line import Line, answer

RUN = "import sys, pathlib; from recorder.sensors.climate import *; run(ClimateSettings(pathlib.Path(sys.argv[1]), sys.argv[2]))"


def status_of(run: Path) -> ClimateStatus | None:
    """The live status, None where it is older than 3 s."""
    status = read_statuses(run / "status", boottime_ns(), boot_id()).get("climate")
    assert status is None or isinstance(status, ClimateStatus)
    return status


def wait_for_state(run: Path, state: str, limit_s: float, alive: Callable[[], object] = lambda: None) -> ClimateStatus:
    deadline = time.monotonic() + limit_s
    while (status := status_of(run)) is None or status.state != state:
        assert time.monotonic() < deadline, f"not {state}: {status} {alive()}"
        time.sleep(0.02)
    return status


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    line = Line(tmp_path / "ttyS")
    yield line
    line.unplug()


@pytest.fixture
def process(tmp_path: Path, line: Line) -> Iterator[subprocess.Popen[bytes]]:
    child = subprocess.Popen([sys.executable, "-c", RUN, str(tmp_path / "run 室"), str(line.port)], stderr=subprocess.PIPE)
    yield child
    child.kill()
    child.communicate()


def test_life_of_the_process(process: subprocess.Popen[bytes], line: Line, tmp_path: Path) -> None:
    run = tmp_path / "run 室"
    good = wait_for_state(run, "ok", 10, process.poll)
    assert (good.temperature_c, good.humidity_pct, good.fault, good.pid) == (23.5, 48.2, None, process.pid)
    assert lock_holder(run / "lock" / "climate.lock") == process.pid

    line.reply = lambda _: b""
    went = boottime_ns()
    silent = wait_for_state(run, "silent", 5)
    assert silent.fault is not None
    assert silent.fault["code"] == "climate-sensor-no-answer"
    assert silent.reading_ns is not None
    assert silent.reading_ns <= went + SECOND_NS, "the last reading keeps its time"
    assert silent.temperature_c == 23.5
    assert silent.since_ns - went < 4 * SECOND_NS

    line.reply = lambda _: answer(-12, 550)
    back = wait_for_state(run, "ok", 3)
    assert (back.temperature_c, back.humidity_pct) == (-1.2, 55.0)

    again = subprocess.run([sys.executable, "-c", RUN, str(run), str(line.port)], capture_output=True, check=False, timeout=20)
    assert b"AlreadyRunning" in again.stderr

    process.send_signal(signal.SIGTERM)
    assert process.wait(5) == 0
    assert status_of(run) is None
    assert lock_holder(run / "lock" / "climate.lock") is None


def test_a_sensor_that_is_not_there_is_absent_until_it_is(line: Line, tmp_path: Path, process: subprocess.Popen[bytes]) -> None:
    run = tmp_path / "run 室"
    wait_for_state(run, "ok", 10)
    line.unplug()
    absent = wait_for_state(run, "absent", 5)
    assert absent.fault is not None
    line.plug_in()
    wait_for_state(run, "ok", 5)


def test_a_driver_that_hangs_holds_nothing_up(tmp_path: Path) -> None:
    release, stop = threading.Event(), threading.Event()

    class Hanging:
        """A sensor whose driver is stuck in the kernel."""

        def read(self) -> Reading:
            release.wait()
            return Reading(20.0, 50.0)

        def close(self) -> None:
            pass

    (tmp_path / "status").mkdir()
    thread = threading.Thread(target=serve, args=(ClimateSettings(tmp_path, "/dev/stuck"), Hanging(), stop))
    thread.start()
    try:
        hung = wait_for_state(tmp_path, "silent", 5)
        assert hung.fault is not None
        assert hung.fault["code"] == "climate-sensor-port-hangs"
        assert boottime_ns() - hung.at_ns < SECOND_NS
        release.set()
        assert wait_for_state(tmp_path, "ok", 3).temperature_c == 20.0
    finally:
        release.set()
        stop.set()
        thread.join(5)
    assert not thread.is_alive()


def test_one_lost_answer_is_no_failure() -> None:
    status = ClimateStatus(name="climate", pid=1, boot_id="b", version="")
    watch = Watch("/dev/ttyS", 0)
    silent = DeviceSilent("climate-sensor-no-answer", "check-climate-power-wires-and-settings", port="/dev/ttyS", address=1)
    assert watch.fill(status, 0) == "starting"
    watch.heard(Reading(21.0, 40.0), SECOND_NS)
    watch.heard(silent, 2 * SECOND_NS)
    assert watch.fill(status, 3 * SECOND_NS) == "ok"
    watch.heard(silent, 3 * SECOND_NS)
    assert watch.fill(status, 4 * SECOND_NS) == "silent"
    assert status.fault is not None
    watch.heard(DeviceAbsent("climate-port-missing", "plug-in-climate-adapter-check-port", port="/dev/ttyS"), 5 * SECOND_NS)
    assert watch.fill(status, 5 * SECOND_NS) == "absent"
    watch.heard(Reading(22.0, 41.0), 6 * SECOND_NS)
    assert watch.fill(status, 6 * SECOND_NS) == "ok"
    fault: object = status.fault
    assert (fault, status.temperature_c, status.reading_ns) == (None, 22.0, 6 * SECOND_NS)


def test_a_driver_that_fails_in_itself_is_asked_again(tmp_path: Path) -> None:
    broken, stop = threading.Event(), threading.Event()

    class Broken:
        """A sensor whose driver raises what nobody foresaw, while `broken` is set."""

        def read(self) -> Reading:
            if broken.is_set():
                raise TypeError("'NoneType' object cannot be interpreted as an integer")
            return Reading(20.0, 50.0)

        def close(self) -> None:
            pass

    (tmp_path / "status").mkdir()
    thread = threading.Thread(target=serve, args=(ClimateSettings(tmp_path, "/dev/broken"), Broken(), stop))
    thread.start()
    try:
        wait_for_state(tmp_path, "ok", 5)
        broken.set()
        silent = wait_for_state(tmp_path, "silent", 6)
        assert silent.fault is not None
        assert "TypeError" in str(silent.fault["values"])
        broken.clear()
        wait_for_state(tmp_path, "ok", 4)
    finally:
        stop.set()
        thread.join(5)
    assert not thread.is_alive()
