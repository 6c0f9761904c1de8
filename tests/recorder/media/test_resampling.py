"""Sound on room time: exact instants from a card that is off, silence where nothing was recorded."""

import numpy as np
import pytest

from recorder.media.resampling import SoundLine

RATE = 48000
BLOCK = 1920


def play(line: SoundLine, ppm: float, seconds: float, tone_hz: float = 1000.0, rate_hz: int = RATE) -> None:
    """A card that runs ppm fast records a tone of exactly tone_hz."""
    true_rate = rate_hz * (1 + ppm * 1e-6)
    line.begin(rate_hz)
    block = rate_hz // 25
    for n in range(round(seconds * 25)):
        count = n * block
        samples = np.sin(2 * np.pi * tone_hz * np.arange(count, count + block) / true_rate).astype(np.float32)
        line.add(count, int(count / true_rate * 1e9), round((rate_hz / true_rate - 1) * 1e9), samples)


def read(line: SoundLine, first_s: float, seconds: float) -> tuple[np.ndarray, int]:
    parts, missing = [], 0
    for n in range(round(seconds * 25)):
        samples, silent = line.read(int(first_s * 1e9) + n * 40_000_000, BLOCK)
        parts.append(samples)
        missing += silent
    return np.concatenate(parts), missing


@pytest.mark.parametrize("ppm", [0, 200, -200, 1000])
def test_a_tone_keeps_its_pitch_and_its_phase(ppm: float) -> None:
    line = SoundLine(RATE, keep_s=30)
    play(line, ppm, 20)
    heard, missing = read(line, 1.0, 18)
    expected = np.sin(2 * np.pi * 1000 * (1.0 + np.arange(heard.size) / RATE))
    assert np.abs(heard - expected).max() < 2e-3
    assert missing == 0


@pytest.mark.parametrize("rate_hz", [16000, 44100])
def test_other_rates_come_out_at_the_composite_s(rate_hz: int) -> None:
    line = SoundLine(RATE, keep_s=10)
    play(line, 0, 4, rate_hz=rate_hz)
    heard, _ = read(line, 1.0, 2)
    expected = np.sin(2 * np.pi * 1000 * (1.0 + np.arange(heard.size) / RATE))
    assert np.abs(heard - expected)[50:-50].max() < 0.02


def test_lost_samples_are_silence_and_what_follows_is_in_its_place() -> None:
    line = SoundLine(RATE)
    play(line, 0, 1.0)
    hole_s = 0.5
    line.begin(RATE)
    for n in range(50):
        samples = np.full(BLOCK, 0.5, np.float32)
        line.add(n * BLOCK, int((1.0 + hole_s) * 1e9) + n * 40_000_000, 0, samples)
    heard, missing = read(line, 0.0, 3.0)
    assert np.abs(heard[int(1.05 * RATE) : int(1.45 * RATE)]).max() == 0
    assert heard[int(1.55 * RATE) : int(2.9 * RATE)] == pytest.approx(0.5, abs=1e-3)
    assert missing == pytest.approx(hole_s * RATE, abs=BLOCK)


@pytest.mark.parametrize("hole_s", [0.05, 0.5, 100])
def test_a_hole_in_the_count_is_silence_counted_to_the_sample_and_no_more(hole_s: float) -> None:
    line = SoundLine(RATE, keep_s=200)
    line.begin(RATE)
    first = round((1 + hole_s) * RATE)
    for count in (*range(0, RATE, BLOCK), *range(first, first + RATE, BLOCK)):
        line.add(count, round(count * 1e9 / RATE), 0, np.full(BLOCK, 0.5, np.float32))
    heard, missing = read(line, 1 - 0.2, 0.4)  # each in steps as the composer reads
    assert missing == min(round(hole_s * RATE), round(0.2 * RATE))
    assert heard[: round(0.199 * RATE)] == pytest.approx(0.5, abs=1e-3)
    heard, missing = read(line, 1 + hole_s - 0.1, 0.8)
    silent = round(min(0.1, hole_s) * RATE)
    assert missing == pytest.approx(silent, abs=1)
    assert heard[round(0.101 * RATE) :] == pytest.approx(0.5, abs=1e-3), "what follows is heard, in its place"


def test_nothing_recorded_is_silence() -> None:
    heard, missing = SoundLine(RATE).read(0, BLOCK)
    assert not heard.any()
    assert missing == BLOCK


def test_a_wandering_estimate_makes_no_click() -> None:
    """The line moves by a millisecond from one block to the next: the position follows slowly."""
    line = SoundLine(RATE)
    line.begin(RATE)
    for n in range(200):
        count = n * BLOCK
        samples = np.sin(2 * np.pi * 200 * np.arange(count, count + BLOCK) / RATE).astype(np.float32)
        line.add(count, n * 40_000_000 + (1_000_000 if n > 100 else 0), 0, samples)
    heard, _ = read(line, 1.0, 6)
    steepest = 2 * np.pi * 200 / RATE
    assert np.abs(np.diff(heard)).max() < 1.02 * steepest
