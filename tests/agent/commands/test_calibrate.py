"""``room-agent calibrate`` without a room: what it refuses, what it makes of feeds, what the self-check says of its result."""

import json
import time
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from agent.cli import main
from agent.config.model import Config
from agent.selfcheck.check import Scene
from agent.selfcheck.checks import camera_latency as check
from agent.selfcheck.clap_measurement import Collector, Take, film, heard, in_force_ms, judge
from drivers.faults import DeviceSilent
from recorder.capture.clap import Film, NotMeasured
from recorder.capture.latency import CalibratedDevice, Calibration, store
from recorder.clock.instants import SECOND_NS, boot_id, boottime_ns
from recorder.disk.durable import make_folder
from recorder.media.live import LiveKind, LiveMessage, format_message
from recorder.media.live_hub import LiveHub
from recorder.media.live_publisher import LivePublisher
from recorder.media.packets import Format
from recorder.process.status import TrackStatus
from recorder.process.wanted import Wanted
from tests.agent.selfcheck_samples import config
from tests.equipment.process import wait_for
from wording import Exit

SOUND = Format("audio", "flac", Fraction(1, 48000), rate_hz=48000, channels=2)
PICTURE_NS = SECOND_NS // 25


def run(folder: Path, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    """The exit code, and the message of the fault."""
    path = folder / "config.toml"
    path.write_text(f'[storage]\nroot = "{folder}/data"\nrun = "{folder}/run"\n[ui]\nlanguage = "en"\n')
    code = main(["--config", str(path), "--json", "calibrate", *words])
    return code, str(json.loads(capsys.readouterr().out)["fault"]["message"])


def test_what_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = make_folder(tmp_path / "data")
    assert run(tmp_path, capsys, "--by", " ") == (Exit.INPUT, "--by is missing or empty.")
    assert run(tmp_path, capsys, "--by", "x", "--seconds", "3") == (Exit.INPUT, "--seconds is 3.")
    assert run(tmp_path, capsys, "--by", "x", "--seconds", "5") == (Exit.DEVICE, "The track overview gives nothing away.")
    Wanted(session="S1", start_ns=1).write(root / "wanted.json")
    assert run(tmp_path, capsys, "--by", "x") == (Exit.REFUSED, "The session S1 is being recorded.")
    assert not (root / "calibration.json").exists()


def block(count: int, samples: np.ndarray[tuple[int, int], np.dtype[np.int16]], time_ns: int) -> LiveMessage:
    return LiveMessage(LiveKind.DATA, True, time_ns, count, 0, samples.astype("<i2").tobytes())


def test_a_clap_s_instant_is_that_of_its_block() -> None:
    """Blocks of 20 ms, of which the second second's are stamped 3 ms later: the line through them was fitted anew."""
    random = np.random.default_rng(1)
    samples = random.normal(0, 30, (3 * 48000, 2))
    samples[60_000:60_200] = 8000 * random.choice([-1, 1], (200, 2))
    samples[120_000:120_200] = 8000 * random.choice([-1, 1], (200, 1))
    blocks = []
    for first in range(0, len(samples), 960):
        late_ns = 3_000_000 if first >= 96_000 else 0
        blocks.append(block(first + 7, samples[first : first + 960].astype(np.int16), first * SECOND_NS // 48000 + late_ns))
    found = heard(SOUND, blocks)
    assert found.tolist() == pytest.approx([1_250_000_000, 2_503_000_000], abs=100_000)
    assert len(heard(None, [])) == len(heard(SOUND, [])) == 0


def encoded(levels: Sequence[int]) -> list[LiveMessage]:
    """Plain pictures of these levels in H.264 with B-frames, in decoding order; time_ns tells the picture's place."""
    encoder = av.CodecContext.create("libx264", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = 320, 180, "yuv420p", Fraction(1, 25)
    encoder.options = {"x264-params": "bframes=2:b-adapt=0:keyint=10:repeat-headers=1"}
    packets = []
    for n, level in enumerate(levels):
        frame = av.VideoFrame.from_ndarray(np.full((270, 320), level, np.uint8), format="yuv420p")
        frame.pts = n
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    return [
        LiveMessage(LiveKind.DATA, p.is_keyframe, int(p.pts or 0) * PICTURE_NS, int(p.pts or 0), 0, bytes(p)) for p in packets
    ]


def test_pictures_come_in_their_own_order_each_with_its_time() -> None:
    levels = list(range(40, 220, 6))
    units = encoded(levels)
    assert [u.pts for u in units] != sorted(u.pts for u in units)
    damaged = LiveMessage(LiveKind.DATA, False, 5, -1, 0, b"\0\0\1garbage")
    found = film(Format("video", "h264", Fraction(1, 25), width=320, height=180, fps=25.0), [*units, damaged])
    assert found.times_ns.tolist() == [n * PICTURE_NS for n in range(len(levels))]
    assert found.pictures.shape == (len(levels), 90, 160)
    assert np.all(np.diff(found.pictures.mean(axis=(1, 2))) > 3)


def test_a_collector_takes_the_newest_format_and_says_when_a_track_is_lost(tmp_path: Path) -> None:
    hub = LiveHub(tmp_path / "feed.sock", ["microphone"])
    track = LivePublisher(tmp_path / "feed.sock", "microphone")
    collector = Collector("microphone", tmp_path / "feed.sock")
    try:
        wait_for(lambda: track.connected, "the hub")
        collector.start()
        samples = np.zeros((10, 2), np.int16)
        deadline = time.monotonic() + 5

        def shown(count: int) -> bool:
            while len(collector.take()[1]) != count and time.monotonic() < deadline:
                time.sleep(0.01)
            return len(collector.take()[1]) == count

        track.publish(format_message(SOUND))
        track.publish(block(0, samples, 0))
        assert shown(1)
        track.publish(format_message(SOUND))
        track.publish(LiveMessage(LiveKind.DATA, False, 0, 0, 0, b""))
        track.publish(block(10, samples, 1))
        track.publish(block(20, samples, 2))
        assert shown(2), "what was encoded otherwise, and what nobody could decode, is left out"
        track.publish(LiveMessage(LiveKind.LOST))
        collector.join(5)
        with pytest.raises(DeviceSilent, match="microphone"):
            collector.take()
    finally:
        collector.stop()
        track.close()
        hub.close()


def take(delay_ns: int) -> Take:
    """Five lamps with beeps at phases of their own."""
    lit = np.array([1.0, 2.213, 3.421, 4.634, 5.848])
    times = np.arange(180) / 25
    pictures = np.random.default_rng(1).normal(100, 2, (180, 90, 160))
    for at in lit:
        pictures[(times >= at) & (times < at + 0.12), 30:50, 60:90] += 100
    moved = np.round(times * SECOND_NS).astype(np.int64) + delay_ns
    return Take(np.round(lit * SECOND_NS).astype(np.int64), {"overview": Film(moved, pictures.astype(np.uint8))})


def test_the_measured_delay_adds_to_what_was_taken_off() -> None:
    found = judge(take(70_000_000), "overview", before_ms=100.0, microphone_ms=20.0)
    assert found.latency_ms == pytest.approx(170, abs=12)
    assert judge(take(-110_000_000), "overview", before_ms=100.0, microphone_ms=0.0).latency_ms == pytest.approx(0, abs=10)


def test_a_picture_before_its_light_means_that_the_microphone_s_delay_is_too_small() -> None:
    with pytest.raises(NotMeasured) as refused:
        judge(take(-60_000_000), "overview", before_ms=0.0, microphone_ms=20.0)
    assert refused.value.values["early"] == pytest.approx(60, abs=12)
    assert 70 <= int(str(refused.value.values["least"])) <= 95


def track(room: Config, serial: str, model: str = "") -> None:
    """The track's status, written as its process would."""
    make_folder(room.storage.places.status)
    status = TrackStatus(name="overview", pid=1, boot_id=boot_id(), version="", at_ns=boottime_ns(), serial=serial, model=model)
    status.write(room.storage.places.status)


def test_what_is_in_force(tmp_path: Path) -> None:
    room = config(tmp_path, "[camera.closeup]\nlatency_ms = 30\n[microphone]\nlatency_ms = 5\n")
    make_folder(room.storage.root)
    store(room.storage.places.calibration, {"overview": CALIBRATION, "closeup": CALIBRATION})
    assert [in_force_ms(room, name, None) for name in ("overview", "closeup", "microphone")] == [182.4, 30.0, 5.0]


CALIBRATION = Calibration(
    182.4, 6.1, 5, "clap", 0.0, "2026-11-21T01:30:05.123Z", "李工", "1.0", CalibratedDevice("ACME", "C1", "123")
)


def test_the_self_check_knows_whose_delay_it_is(tmp_path: Path) -> None:
    room = config(tmp_path)
    make_folder(room.storage.root)
    place = room.storage.places.calibration
    unknown = check.look(Scene(room), "overview")
    assert (unknown.status, "not calibrated" in unknown.value.say("en"), "未校准" in unknown.value.say("zh")) == (
        "passed",
        True,
        True,
    )
    store(place, {"overview": CALIBRATION})
    track(room, serial="123")
    good = check.look(Scene(room), "overview")
    assert (good.status, good.value.say("en")) == ("passed", "182 ms, measured 2026-11-21")
    track(room, serial="124", model="C1")
    swapped = check.look(Scene(room), "overview")
    assert (swapped.status, "ACME C1 123" in swapped.what.say("en"), "C1 124" in swapped.what.say("zh")) == (
        "warning",
        True,
        True,
    )
    track(room, serial="123")
    other = config(tmp_path, "[microphone]\nlatency_ms = 40\n")
    moved = check.look(Scene(other), "overview")
    assert (moved.status, "it is 40" in moved.what.say("en")) == ("warning", True)
    fixed = check.look(Scene(config(tmp_path, "[camera.overview]\nlatency_ms = 90\n")), "overview")
    assert (fixed.status, fixed.value.say("en")) == ("passed", "90 ms, configured")
