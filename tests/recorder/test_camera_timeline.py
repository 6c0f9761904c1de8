"""Timestamps that jump, repeat or step back, against the arrivals that tell the truth."""

import random

import pytest

from recorder.camera_timeline import CameraTimeline
from recorder.room_time import SECOND_NS

TICKS = 90_000
PICTURE = 3600
PICTURE_NS = 40_000_000


def place(stamps: list[int], arrivals: list[int]) -> tuple[list[int], list[int]]:
    line = CameraTimeline(SECOND_NS / TICKS)
    placed, jumps = [], []
    for stamp, arrival in zip(stamps, arrivals, strict=True):
        placed.append(line.place(stamp, arrival))
        if line.jumped_ns:
            jumps.append(round(line.jumped_ns / SECOND_NS))
    return placed, jumps


def test_a_steady_clock_is_left_alone() -> None:
    stamps = [n * PICTURE for n in range(500)]
    noise = random.Random(1)
    arrivals = [n * PICTURE_NS + noise.randrange(80_000_000) for n in range(500)]
    assert place(stamps, sorted(arrivals)) == (stamps, [])


@pytest.mark.parametrize("ppm", [500, -500])
def test_drift_is_no_jump(ppm: int) -> None:
    stamps = [round(n * PICTURE * (1 + ppm * 1e-6)) for n in range(50_000)]
    assert place(stamps, [n * PICTURE_NS for n in range(50_000)]) == (stamps, [])


@pytest.mark.parametrize("seconds", [3600, -3600, 2, -2])
def test_a_jump_is_taken_out_to_the_picture(seconds: int) -> None:
    stamps = [n * PICTURE + (seconds * TICKS if n >= 60 else 0) for n in range(200)]
    placed, jumps = place(stamps, [n * PICTURE_NS for n in range(200)])
    assert placed == [n * PICTURE for n in range(200)]
    assert jumps == [seconds]


@pytest.mark.parametrize("turns", [1, -1, 3])
def test_a_count_that_wraps_is_no_jump(turns: int) -> None:
    stamps = [n * PICTURE + (turns << 32 if n >= 60 else 0) for n in range(200)]
    assert place(stamps, [n * PICTURE_NS for n in range(200)]) == ([n * PICTURE for n in range(200)], [])


def test_a_jump_back_that_shows_as_a_wrap_is_told_as_one() -> None:
    stamps = [n * PICTURE + ((1 << 32) - 3600 * TICKS if n >= 60 else 0) for n in range(200)]
    placed, jumps = place(stamps, [n * PICTURE_NS for n in range(200)])
    assert placed == [n * PICTURE for n in range(200)]
    assert jumps == [-3600]


def test_a_silence_is_a_silence_and_its_burst_is_no_jump() -> None:
    stamps = [n * PICTURE for n in range(200)]
    arrivals = [max(n * PICTURE_NS, 2 * SECOND_NS if n > 10 else 0) for n in range(200)]
    assert place(stamps, arrivals) == (stamps, [])
    gone = [n * PICTURE for n in (*range(50), *range(150, 200))]
    assert place(gone, [stamp * PICTURE_NS // PICTURE for stamp in gone]) == (gone, [])


def test_pictures_in_decoding_order_keep_their_times() -> None:
    order = [n + step for n in range(0, 300, 3) for step in (3, 1, 2)]
    stamps = [n * PICTURE for n in order]
    assert place(stamps, [n * PICTURE_NS for n in range(300)]) == (stamps, [])


def test_two_pictures_of_one_time_become_a_millisecond_apart() -> None:
    stamps = [n * PICTURE for n in (0, 1, 2, 2, 2, 5, 6)]
    placed, jumps = place(stamps, [n * PICTURE_NS for n in range(7)])
    assert placed == [0, 3600, 7200, 7290, 7380, 18000, 21600]
    assert jumps == []
