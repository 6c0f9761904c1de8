"""The microphone, heard through PortAudio and ALSA's pulse plug-in as the product hears it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.equipment.process import wait_for
from tests.equipment.room import StandInRoom

LISTENER = Path(__file__).with_name("listen.py")
PERIOD_NS = 5_000_000_000
STALL_S = 0.4  # longer than the FIFO lasts


class Listener:
    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.last: dict[str, Any] = {}

    def until(self, condition: Callable[[dict[str, Any]], bool], what: str, limit_s: float = 8.0) -> dict[str, Any]:
        """The first report for which the condition holds."""
        deadline = time.monotonic() + limit_s
        assert self._process.stdout
        while time.monotonic() < deadline and (line := self._process.stdout.readline()):
            self.last = json.loads(line)
            if condition(self.last):
                return self.last
        raise AssertionError(f"not heard: {what}; last report {self.last}")


@contextmanager
def listening(room: StandInRoom) -> Iterator[Listener]:
    with subprocess.Popen(
        [sys.executable, LISTENER],
        env={**os.environ, **room.env},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            yield Listener(process)
        finally:
            process.kill()


def test_speech_with_a_beep_at_each_flash_then_silence(room: StandInRoom) -> None:
    with listening(room) as heard:
        report = heard.until(lambda r: len(r["beeps"]) > 0, "a beep")
        at_ns = report["start_ns"] + report["beeps"][-1] * 1e9 / 48_000
        late_ms = ((at_ns - room.epoch_ns + PERIOD_NS / 2) % PERIOD_NS - PERIOD_NS / 2) / 1e6
        assert late_ms == pytest.approx(0, abs=10)
        heard.until(lambda r: r["rms"] > 0.02, "speech")
        room.fault("microphone", "silence")
        heard.until(lambda r: r["rms"] == 0.0, "silence")
        room.fault("microphone", "back")
        heard.until(lambda r: r["rms"] > 0.001, "the room again")


def test_a_frozen_server_looks_active_and_delivers_nothing(room: StandInRoom) -> None:
    with listening(room) as heard:
        heard.until(lambda r: r["blocks"] > 10, "blocks")
        room.fault("microphone", "frozen")
        before = heard.until(lambda _: True, "a report")
        stale = heard.until(lambda r: r["at_ns"] > before["at_ns"] + 1_000_000_000, "a second later")
        later = heard.until(lambda r: r["at_ns"] > stale["at_ns"] + 500_000_000, "half a second later")
        assert later["active"]
        assert later["blocks"] == stale["blocks"]
        room.fault("microphone", "back")
        heard.until(lambda r: r["blocks"] > later["blocks"] + 20, "blocks again")


def test_a_killed_server_ends_the_stream_and_can_be_opened_again(room: StandInRoom) -> None:
    with listening(room) as heard:
        heard.until(lambda r: r["blocks"] > 10, "blocks")
        room.fault("microphone", "gone")
        heard.until(lambda r: not r["active"], "the end of the stream")
    room.fault("microphone", "back")
    with listening(room) as heard:
        heard.until(lambda r: r["blocks"] > 10, "blocks")


def test_a_card_that_runs_fast(room: StandInRoom) -> None:
    room.fault("microphone", "drift", 20_000)
    with listening(room) as heard:
        first = heard.until(lambda r: r["samples"] > 48_000, "a second")
        last = heard.until(lambda r: r["samples"] > 300_000, "six seconds", 12)
    rate = (last["samples"] - first["samples"]) / (last["at_ns"] - first["at_ns"]) * 1e9
    assert rate == pytest.approx(48_000 * 1.02, rel=0.01)


def counted(room: StandInRoom, name: str) -> int:
    """Samples "written" to the sound server, or "lost"."""
    return int(str(room.microphone.status()[name]))


def test_a_pc_that_stands_still_for_a_moment_costs_no_sample(room: StandInRoom) -> None:
    with listening(room) as heard:
        heard.until(lambda r: r["rms"] > 0.001, "the room")
        written, lost = counted(room, "written"), counted(room, "lost")
        pulse, feeder = room.microphone.pids
        room.microphone.frozen()
        room.microphone.asleep()
        time.sleep(STALL_S)  # the stall's own length
        os.kill(feeder, signal.SIGCONT)
        wait_for(lambda: counted(room, "written") > written + 48_000 // 10, "the FIFO fills", 5)
        os.kill(pulse, signal.SIGCONT)  # the reader's turn comes last
        heard.until(lambda _: counted(room, "written") >= written + STALL_S * 48_000, "what sounded meanwhile")
        assert counted(room, "lost") == lost
