"""The microphone as a source: what is lost is measured, what was only late is kept, and a stuck sound server is noticed."""

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from drivers.faults import DeviceFault, DeviceSilent
from drivers.microphone import Block, Microphone, check_rate
from recorder.capture.microphone import (
    CREPT_BLOCKS,
    FIRST_S,
    FLOOR_BLOCKS,
    LOSS_NS,
    SETTLE_BLOCKS,
    SILENT_S,
    STALL_NS,
    MicrophoneSettings,
    MicrophoneSource,
    _hole,
    _Stream,
)
from recorder.clock.instants import SECOND_NS
from recorder.media.packets import Lost, Packet
from tests.equipment.microphone import StandInMicrophone
from tests.recorder.stand_ins import microphone
from wording import Fault

RATE = 48_000
BLOCK = RATE // 25
BLOCK_NS = 40_000_000
MS = 1_000_000


def block(arrival_ns: int, *, channels: int = 1, overflow: bool = False) -> Block:
    return Block(bytes(2 * channels * BLOCK), arrival_ns, overflow)


class Card:
    """A sound card: block *n* is complete at (n+1)·40 ms of its own clock, and handed over a little later."""

    def __init__(self, *, ppm: float = 0.0, channels: int = 1) -> None:
        self._step_ns = BLOCK_NS / (1 + ppm * 1e-6)
        self._channels = channels
        self._done = 0

    def blocks(self, count: int, *, late_ns: int = 0, not_before_ns: int = 0) -> list[Block]:
        """The next blocks. Jitter comes on top of late_ns; what would come before not_before_ns comes then, all at once."""
        out = []
        for _ in range(count):
            self._done += 1
            jitter = (self._done * 7) % 5 * MS
            arrival = max(round(self._done * self._step_ns) + late_ns + jitter, not_before_ns)
            out.append(block(arrival, channels=self._channels))
        return out

    @property
    def now_ns(self) -> int:
        """When the last block was complete."""
        return round(self._done * self._step_ns)

    def lose(self, count: int) -> None:
        """These blocks never come."""
        self._done += count


def running(card: Card, count: int = 100, *, channels: int = 1) -> _Stream:
    run = _Stream(MicrophoneSettings("mic", RATE, channels))
    for each in card.blocks(count):
        assert run.late_ns(each) < STALL_NS
        run.take(each)
    return run


def test_a_block_s_time_is_that_of_its_first_sample() -> None:
    run = _Stream(MicrophoneSettings("mic", RATE, 2))
    first, second = (run.take(block(arrival, channels=2)) for arrival in (1000 * BLOCK_NS, 1001 * BLOCK_NS))
    assert (first.pts, first.arrival_ns, first.key) == (0, 999 * BLOCK_NS, True)
    assert (second.pts, second.arrival_ns) == (BLOCK, 1000 * BLOCK_NS)


@pytest.mark.parametrize("stalled_ms", [450, 700])
def test_what_was_only_late_is_no_loss(stalled_ms: int) -> None:
    card = Card()
    run = running(card)
    after = card.blocks(1 + SETTLE_BLOCKS, not_before_ns=card.now_ns + BLOCK_NS + stalled_ms * MS)
    assert run.late_ns(after[0]) > STALL_NS, "it looks like a loss until the burst is there"
    assert after[0].arrival_ns == after[3].arrival_ns
    assert run.missing_ns(after) <= LOSS_NS


@pytest.mark.parametrize("lost_blocks", [2, 12, 60])
def test_what_never_came_is_measured(lost_blocks: int) -> None:
    card = Card()
    run = running(card)
    card.lose(lost_blocks)
    after = card.blocks(1 + SETTLE_BLOCKS)
    assert run.missing_ns(after) == pytest.approx(lost_blocks * BLOCK_NS, abs=5 * MS)
    assert (run.late_ns(after[0]) > STALL_NS) is (lost_blocks > 10)


def test_a_burst_that_makes_up_for_a_part_of_a_stall_leaves_the_rest_as_loss() -> None:
    card = Card()
    run = running(card)
    resumed_ns = card.now_ns + 700 * MS
    card.lose(8)
    after = card.blocks(1 + SETTLE_BLOCKS, not_before_ns=resumed_ns)
    assert run.late_ns(after[0]) > STALL_NS
    assert run.missing_ns(after) == pytest.approx(8 * BLOCK_NS, abs=5 * MS)


@pytest.mark.parametrize("ppm", [300, -300])
def test_a_card_whose_clock_is_off_loses_nothing_over_ten_minutes(ppm: float) -> None:
    run = running(Card(ppm=ppm), 25 * 600)
    after = Card(ppm=ppm)
    after.lose(25 * 600)
    assert run.missing_ns(after.blocks(1 + SETTLE_BLOCKS)) <= LOSS_NS


@pytest.mark.parametrize("lost_blocks", [2, 5])
def test_what_goes_missing_without_a_stall_is_seen_a_second_later(lost_blocks: int) -> None:
    card = Card()
    run = running(card, FLOOR_BLOCKS)
    card.lose(lost_blocks)
    seen = []
    for each in card.blocks(CREPT_BLOCKS):
        assert not each.overflow
        run.take(each)
        seen.append(run.crept_ns())
    assert seen[-2] <= LOSS_NS
    assert seen[-1] == pytest.approx(lost_blocks * BLOCK_NS, abs=5 * MS)


@pytest.mark.parametrize("ppm", [0, 1000])
def test_jitter_and_drift_never_look_like_a_loss(ppm: float) -> None:
    card = Card(ppm=ppm)
    run = running(card, FLOOR_BLOCKS)
    for late_ms in (0, 120, 0, 80, 0):
        for each in card.blocks(20, late_ns=late_ms * MS):
            run.take(each)
            assert run.crept_ns() <= LOSS_NS


def test_a_hole_is_named_with_its_length_and_its_cause() -> None:
    stood, discarded = _hole(block(0), 552 * MS), _hole(block(0, overflow=True), 40 * MS)
    assert "0.6 s" in stood.say("en")
    assert "溢出" in discarded.say("zh")
    assert stood.exit_code == discarded.exit_code == 7


class Broken(Microphone):
    """A device that delivers blocks and then no more."""

    def __init__(self, blocks: list[Block]) -> None:
        self.name = self._device = "broken"
        self.alike, self.direct = (), True
        self._blocks: queue.Queue[Block] = queue.Queue()
        for each in blocks:
            self._blocks.put(each)

    def close(self) -> None:
        pass


@pytest.mark.parametrize("overflow", [False, True])
def test_what_came_between_a_stall_and_a_silence_is_delivered(monkeypatch: pytest.MonkeyPatch, overflow: bool) -> None:
    card = Card()
    blocks = [*card.blocks(50), *card.blocks(3, not_before_ns=card.now_ns + 600 * MS)]
    blocks[50] = replace(blocks[50], overflow=overflow)
    monkeypatch.setattr("recorder.capture.microphone.Microphone", lambda *_: Broken(blocks))
    source = MicrophoneSource(MicrophoneSettings("broken", RATE, 1))
    with pytest.raises(DeviceSilent):
        source.attempt()
    items = [source.items.get_nowait() for _ in range(source.items.qsize())]
    assert sum(isinstance(item, Packet) for item in items) == len(blocks)
    assert isinstance(items[-1], Lost)


# through PortAudio, in a process of its own

CHILD = """
import json
from recorder.media.packets import Connected, Lost
from recorder.capture.microphone import MicrophoneSettings, MicrophoneSource
from recorder.clock.instants import boottime_ns
source = MicrophoneSource(MicrophoneSettings("default", 48000, 1))
source.start()
while True:
    item = source.items.get()
    said = {"kind": type(item).__name__, "at_ns": boottime_ns(), "reconnects": source.reconnects}
    if isinstance(item, Lost):
        said["fault"] = item.fault
    elif isinstance(item, Connected):
        said["name"] = item.device["name"]
    else:
        said |= {"pts": item.pts, "arrival_ns": item.arrival_ns, "bytes": len(item.data), "silent": not any(item.data)}
    print(json.dumps(said), flush=True)
"""


ABSENT = """
from drivers.microphone import Microphone, list_devices
print(list_devices())
try:
    Microphone("麦克风 9", 48000, 1)
except Exception as fault:
    print(type(fault).__name__, fault)
"""


class Heard:
    """What the source delivers, line by line."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._lines: queue.Queue[str] = queue.Queue()
        self._process = process
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)

    def until(self, condition: Callable[[dict[str, Any]], bool], limit_s: float = 8.0) -> list[dict[str, Any]]:
        """Everything up to the first item for which the condition holds."""
        deadline = time.monotonic() + limit_s
        items: list[dict[str, Any]] = []
        while not items or not condition(items[-1]):
            try:
                items.append(json.loads(self._lines.get(timeout=max(0.001, deadline - time.monotonic()))))
            except queue.Empty:
                pytest.fail(f"not within {limit_s} s; last {items[-1:]}")
        return items

    def nothing(self, limit_s: float) -> None:
        """So long no item comes."""
        with pytest.raises(queue.Empty):
            pytest.fail(f"came: {self._lines.get(timeout=limit_s)}")


@contextmanager
def listening(device: StandInMicrophone) -> Iterator[Heard]:
    with subprocess.Popen(
        [sys.executable, "-c", CHILD],
        env={**os.environ, **device.env, "PYTHONPATH": str(Path(__file__).parents[3])},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            yield Heard(process)
        finally:
            process.kill()


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandInMicrophone]:
    with microphone(tmp_path_factory.mktemp("microphone")) as one:
        yield one


@pytest.fixture
def pickup(device: StandInMicrophone) -> Iterator[StandInMicrophone]:
    """The microphone, well before and after."""
    yield device
    device.back()


def kind(name: str) -> Callable[[dict[str, Any]], bool]:
    return lambda item: item["kind"] == name


def check_run(packets: list[dict[str, Any]]) -> None:
    """Counted without a hole, 40 ms each, stamped with the time of the first sample."""
    assert [p["pts"] for p in packets] == [n * BLOCK for n in range(len(packets))]
    assert {p["bytes"] for p in packets} == {2 * BLOCK}
    assert all(0 < p["at_ns"] - p["arrival_ns"] - BLOCK_NS < SECOND_NS for p in packets)


def test_a_killed_server_is_a_loss_and_its_return_a_new_connection(pickup: StandInMicrophone) -> None:
    with listening(pickup) as heard:
        connected, *packets = heard.until(lambda item: item.get("pts", 0) >= RATE // 2)
        assert connected["kind"] == "Connected"
        check_run(packets)
        assert not all(p["silent"] for p in packets)
        pickup.gone()
        gone = time.monotonic()
        lost = heard.until(kind("Lost"), 3)[-1]
        assert "has delivered nothing" in Fault.from_dict(lost["fault"]).say()
        assert time.monotonic() - gone < 3
        heard.until(lambda item: item["kind"] == "Lost" and "no microphone named" in Fault.from_dict(item["fault"]).say(), 3)
        pickup.back()
        again = heard.until(lambda item: item["kind"] == "Connected")[-1]
        assert again["reconnects"] == 1
        check_run(heard.until(lambda item: item.get("pts", 0) >= RATE // 2))


def test_a_frozen_server_is_noticed_although_it_holds_the_stream(pickup: StandInMicrophone) -> None:
    with listening(pickup) as heard:
        heard.until(lambda item: item.get("pts", 0) >= RATE // 2)
        pickup.frozen()
        frozen = time.monotonic()
        heard.until(kind("Lost"), 3)
        assert time.monotonic() - frozen < 3, "while the server is still frozen"
        pickup.back()
        heard.until(kind("Connected"))
        check_run(heard.until(lambda item: item.get("pts", 0) >= RATE // 2))


def test_a_device_that_wakes_up_slowly_is_opened_once(pickup: StandInMicrophone) -> None:
    pickup.asleep()
    with listening(pickup) as heard:
        heard.nothing(3.0)
        pickup.back()
        connected, packet = heard.until(kind("Packet"))
        assert (connected["kind"], connected["reconnects"], packet["pts"]) == ("Connected", 0, 0)
        pickup.asleep()
        asleep = time.monotonic()
        assert heard.until(kind("Lost"), 3)[-1]["fault"]["values"]["seconds"] == SILENT_S
        assert time.monotonic() - asleep < 3, "once it has delivered, a loss is told as soon as ever"


def test_a_device_that_never_wakes_up_is_told(pickup: StandInMicrophone) -> None:
    pickup.asleep()
    with listening(pickup) as heard:
        lost = heard.until(kind("Lost"), FIRST_S + 4)
        assert [item["kind"] for item in lost] == ["Lost"]
        assert lost[0]["fault"]["values"]["seconds"] == FIRST_S


def test_a_stall_is_a_hole_of_what_was_lost_in_it(pickup: StandInMicrophone) -> None:
    """The sound server holds 170 ms for us; what comes while it stands still longer is lost."""
    with listening(pickup) as heard:
        before = heard.until(lambda item: item.get("pts", 0) >= RATE // 2)
        began_ns = time.monotonic_ns()
        pickup.frozen()
        while time.monotonic_ns() - began_ns < 600 * MS:  # the fault's own length
            time.sleep(0.01)
        pickup.back()
        frozen_ns = time.monotonic_ns() - began_ns
        *late, lost = heard.until(kind("Lost"))
        connected, first = heard.until(kind("Packet"))
    assert connected["kind"] == "Connected"
    assert first["pts"] == 0, "a new count begins"
    assert "stood still" in Fault.from_dict(lost["fault"]).say()
    missing_ns = lost["fault"]["values"]["seconds"] * SECOND_NS
    assert 250 * MS < missing_ns < frozen_ns
    hole_ns = first["arrival_ns"] - (late or before)[-1]["arrival_ns"] - BLOCK_NS
    assert hole_ns > 250 * MS


def test_a_device_that_is_not_there_is_named_with_those_that_are(device: StandInMicrophone) -> None:
    run = subprocess.run(
        [sys.executable, "-c", ABSENT],
        env={**os.environ, **device.env, "PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    names, told = run.stdout.splitlines()
    assert "'default'" in names
    assert told == (
        "DeviceAbsent There is no microphone named 麦克风 9. Check its cable; set microphone.device to one of: default."
    )
    assert run.stderr == "", "the hundred lines of ALSA and JACK are kept away"


def test_a_rate_that_does_not_divide_is_refused() -> None:
    for rate in (8000, 16000, 44100, 48000):
        check_rate(rate)
    with pytest.raises(DeviceFault, match="22049"):
        check_rate(22049)
