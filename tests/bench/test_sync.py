"""Lip sync as bench/sync measures it: on a composite made by the product's own writer, and in simulated time."""

from pathlib import Path

import numpy as np
import pytest

from bench.flash_beep import beep_onset, flashes, within
from bench.sync_measure import LAMPS, Event, Session, aligned_epoch_ns, by_minute, events_of, summary, track_errors
from bench.sync_model import Simulation, change_ms, simulate
from recorder.clock.instants import PICTURE_NS, SECOND_NS
from recorder.composite.encoder import EncoderSettings
from recorder.composite.part import SAMPLES_PER_PICTURE, SOUND_HZ, Part
from recorder.composite.picture import FULL, Rect, inset_rect, new_canvas
from tests.equipment.microphone import BEEP_HZ, BEEP_S
from tests.equipment.scene import FLASH_PERIOD_S, FLASH_RECT

MS = 1_000_000
START_NS = 1_795_224_605_280_000_000
LAMP_NS = START_NS + 1 * SECOND_NS  # of a true flash
SECONDS = 8
PICTURE_LATE_MS, INSET_LATE_MS, SOUND_LATE_MS = 80.0, 120.0, -13.37


def beep(onset_s: float, seconds: float, level: float = 0.25) -> np.ndarray:
    """Sound with one beep over the noise of a room."""
    sound = np.random.default_rng(1).normal(0, 0.0012, round(seconds * SOUND_HZ))
    time_s = np.arange(sound.size) / SOUND_HZ - onset_s
    edge = np.clip(np.minimum(time_s, BEEP_S - time_s) / 0.001, 0, 1)
    sound += level * np.sin(2 * np.pi * BEEP_HZ * time_s) * edge
    return sound.astype(np.float32)


def lit(canvas: np.ndarray, rect: Rect, value: int) -> None:
    """Paints the whole lamp of a camera that is shown in the rectangle."""
    x, y, width, height = FLASH_RECT
    scale = rect.width / 1920
    left, top = rect.x + round(x * scale), rect.y + round(y * scale)
    canvas[top : top + round(height * scale), left : left + round(width * scale)] = value


@pytest.fixture(scope="module")
def composite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight seconds, flashes at 1 s and 6 s, each picture late by 80 ms, in the inset by 120 ms, the beep early by 13.37 ms."""
    path = tmp_path_factory.mktemp("composite") / "part-001.mp4"
    part = Part(path, EncoderSettings(35, "ultrafast", 96), 0, lambda: 0)
    first, second = (beep(flash_s + SOUND_LATE_MS / 1000, SECONDS) for flash_s in (1.0, 6.0))
    sound = first + second
    for n in range(SECONDS * 25):
        canvas = new_canvas()
        canvas[:1080] = 90
        for rect, late_ms in ((FULL, PICTURE_LATE_MS), (inset_rect(640, 360, "bottom-right"), INSET_LATE_MS)):
            since_ms = n * 40 - late_ms - 1000
            lit(canvas, rect, 225 if 0 <= since_ms % (FLASH_PERIOD_S * 1000) < 120 and since_ms >= 0 else 130)
        samples = sound[n * SAMPLES_PER_PICTURE : (n + 1) * SAMPLES_PER_PICTURE]
        part.put(canvas, np.ascontiguousarray(samples, np.float32), n * PICTURE_NS)
    part.finish()
    return path


def test_flash_and_beep_are_found_in_a_composite_where_they_are(composite: Path) -> None:
    events = events_of(composite, START_NS, START_NS + SECONDS * SECOND_NS, LAMP_NS)
    assert [e.at_ns for e in events] == [LAMP_NS, LAMP_NS + 5 * SECOND_NS]
    for event in events:
        assert event.picture_ms == PICTURE_LATE_MS
        assert event.inset_ms == INSET_LATE_MS
        assert event.sound_ms == pytest.approx(SOUND_LATE_MS, abs=0.1)
        assert event.offset_ms == pytest.approx(PICTURE_LATE_MS - SOUND_LATE_MS, abs=0.1)


def test_where_there_is_no_flash_and_no_beep_none_is_found(composite: Path) -> None:
    nowhere_ns = LAMP_NS + 2_500 * MS
    assert flashes(composite, START_NS, [nowhere_ns], LAMPS) == {"main": [None], "inset": [None]}
    (event,) = events_of(composite, START_NS, START_NS + 5 * SECOND_NS, nowhere_ns)
    assert event == Event(nowhere_ns, None, None, None)


@pytest.mark.parametrize("onset", [5000.0, 9999.5, 20000.25])
def test_a_beep_is_found_to_a_fraction_of_a_sample(onset: float) -> None:
    found = beep_onset(beep(onset / SOUND_HZ, 1.0))
    assert found == pytest.approx(onset, abs=0.1)
    assert beep_onset(beep(onset / SOUND_HZ, 1.0, level=0.0)) is None


def test_only_whole_windows_are_looked_at() -> None:
    expected = [n * SECOND_NS for n in range(10)]
    assert within(expected, SECOND_NS, 4 * SECOND_NS) == [2 * SECOND_NS, 3 * SECOND_NS]


def test_a_summary_by_the_minute() -> None:
    minute_ns = 60 * SECOND_NS
    events = tuple(
        Event(START_NS + n * 5 * SECOND_NS, 20.0, 20.0, 5.0 - n // 12 * 2.0) for n in range(36)
    )  # the sound comes 2 ms earlier each minute
    lost = Event(START_NS + 3 * minute_ns - 1, None, 20.0, 1.0)
    track = tuple((START_NS + n * 10 * SECOND_NS, 3.0) for n in range(-1, 18))
    told = summary(Session(START_NS, START_NS + 3 * minute_ns, (*events, lost), track), None)
    assert told["offsets_ms"] == [15.0, 17.0, 19.0]
    assert (told["calibration_ms"], told["max_abs_offset_ms"], told["max_abs_raw_offset_ms"]) == (15.0, 4.0, 19.0)
    assert (told["drift_ms"], told["fine_drift_ms"], told["fine_offsets_ms"]) == (4.0, 4.0, [-2.0, 0.0, 2.0])
    assert (told["events"], told["not_found"]) == (37, 1)
    assert told["sound_vs_truth_ms"] == {"median": 3.0, "min": 1.0, "max": 5.0}
    calibrated = summary(Session(START_NS, START_NS + 3 * minute_ns, events, track), 10.0)
    assert calibrated["max_abs_offset_ms"] == 9.0


def test_medians_by_the_minute_leave_out_what_was_not_found() -> None:
    points = [(0, 1.0), (30 * SECOND_NS, None), (59 * SECOND_NS, 3.0), (130 * SECOND_NS, 7.0)]
    assert by_minute(points, 0) == [2.0, None, 7.0]


def test_a_key_frame_is_off_from_the_nearest_second_of_the_camera() -> None:
    entries = [
        {"kind": "segment", "first_ns": LAMP_NS + 10 * SECOND_NS + 3 * MS},
        {"kind": "open", "first_ns": LAMP_NS},
        {"kind": "segment", "first_ns": LAMP_NS - 7 * SECOND_NS - 4 * MS},
    ]
    assert [error for _, error in track_errors(entries, LAMP_NS)] == [3.0, -4.0]


def test_the_cameras_are_put_on_the_composites_grid() -> None:
    epoch_ns = aligned_epoch_ns(5_000_000_123, START_NS + 17 * MS, 5 * MS)
    assert epoch_ns == 5_000_000_123 - 12 * MS
    assert (START_NS + 17 * MS + epoch_ns - 5_000_000_123) % PICTURE_NS == 5 * MS


def test_change_is_told_by_line_or_ends() -> None:
    assert change_ms([1.0, 2.0, 3.0, 4.0]) == 3.0
    assert change_ms([1.0, 1.0, 1.0, 9.0]) == 8.0
    assert change_ms([0.0, 2.0, 4.0, 6.0, 0.0]) == pytest.approx(8.0)
    assert change_ms([1.0]) == 0.0


def test_exact_clocks_without_jitter_stay_together_to_a_fraction_of_a_millisecond() -> None:
    """What the measure itself adds."""
    run = simulate(Simulation(hours=0.2, jitter_ms=0.0, thermal_ppm=0.0))
    assert len(run.offsets_ms) == 12 and run.max_abs_offset_ms < 0.2


def test_four_hours_with_everything_at_once_stay_within_the_promise() -> None:
    run = simulate(Simulation(hours=4.0, camera_ppm=100.0, microphone_ppm=-200.0, jitter_ms=80.0, seed=2))
    assert len(run.offsets_ms) == 240
    assert run.max_abs_offset_ms <= 40
    assert abs(run.drift_ms) <= 10


def test_a_clock_that_the_model_did_not_follow_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the fitted slope a card that is 200 ppm slow is 72 ms behind after six minutes."""
    monkeypatch.setattr("recorder.clock.fit.EnvelopeFit._slope", lambda *_: 0.0)
    assert simulate(Simulation(hours=0.1, microphone_ppm=-200.0)).max_abs_offset_ms > 40
