"""What is heard of several channels, by the strengths at which a mean loses a voice."""

import numpy as np
import numpy.typing as npt
import pytest

from recorder.media.mixdown import Mixdown

RATE = 48_000
BLOCK = RATE // 25
TONE = 0.1 * np.sin(2 * np.pi * 440 * np.arange(RATE * 3) / RATE)


def heard(*channels: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """The mixdown, block by block."""
    mixdown = Mixdown(len(channels), RATE)
    frames = np.column_stack(channels).astype(np.float32)
    return np.concatenate([mixdown.mono(frames[n : n + BLOCK]) for n in range(0, len(frames), BLOCK)])


def level_db(samples: npt.NDArray[np.floating]) -> float:
    """Of the last second, against the tone."""
    return float(20 * np.log10(np.sqrt(np.mean(np.square(samples[-RATE:]))) / np.sqrt(np.mean(np.square(TONE)))))


def test_two_channels_that_agree_are_their_mean() -> None:
    assert np.allclose(heard(TONE, TONE), TONE, atol=1e-6)
    assert np.allclose(heard(TONE, 0.5 * TONE), 0.75 * TONE, atol=1e-6)


def test_one_channel_is_itself() -> None:
    assert np.allclose(heard(TONE), TONE, atol=1e-6)


@pytest.mark.parametrize("strength", [1.0, 0.7, 0.5])
def test_an_inverted_channel_takes_no_voice_away(strength: float) -> None:
    assert level_db(heard(TONE, -strength * TONE)) == pytest.approx(0, abs=0.1)
    assert level_db(heard(-strength * TONE, TONE)) == pytest.approx(0, abs=0.1)


def test_a_dead_channel_takes_nothing_away() -> None:
    assert level_db(heard(TONE, 0 * TONE)) == pytest.approx(0, abs=0.1)


def test_a_direct_voltage_is_no_voice() -> None:
    assert level_db(heard(TONE, 0.2 + 0 * TONE)) == pytest.approx(0, abs=0.1)


def test_noise_that_does_not_agree_stays_a_mean() -> None:
    rng = np.random.default_rng(1)
    one, other = rng.normal(0, 0.05, RATE * 3), rng.normal(0, 0.05, RATE * 3)
    assert np.allclose(heard(one, other), (one + other) / 2, atol=1e-6)


def test_a_channel_that_is_wired_right_again_is_heard_again_without_a_click() -> None:
    other = np.where(np.arange(len(TONE)) < RATE, -TONE, TONE)
    found = heard(TONE, other)
    assert np.abs(np.diff(found)).max() < 1.5 * np.abs(np.diff(TONE)).max()
    assert level_db(found) == pytest.approx(0, abs=0.1)


def test_a_silent_room_changes_nothing() -> None:
    assert not heard(0 * TONE, 0 * TONE).any()
