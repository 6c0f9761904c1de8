"""Timestamps that jump, repeat or step back, against the arrivals that tell the truth."""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from recorder.capture.camera_timeline import CameraTimeline
from recorder.clock.fit import EnvelopeFit
from recorder.clock.instants import MS_NS, SECOND_NS

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


# Small steps, and what is none: the time line as a track uses it, a new fit behind each step.

COUNT = 3000
AT = 1000
BEFORE, AFTER = range(125, AT), range(AT + 5, COUNT - 10)  # at a step, one group of reordered pictures is left out


@dataclass
class Camera:
    """A camera whose pictures arrive later than their true time by jitter and delays. between: B pictures between two others."""

    between: int = 0
    fps: int = 25
    count: int = COUNT
    ppm: float = 0.0
    jitter_ms: int = 5
    step_s: float = 0.0
    at: int = AT
    late_s: Callable[[float], float] = lambda _sent_s: 0.0
    lost: Callable[[int], bool] = lambda _n: False
    stamp_of: Callable[[int], int] = lambda n: n

    def pictures(self) -> list[tuple[int, int, int]]:
        """Stamp, arrival and true time (ns) of each, as they come."""
        noise, last_ns, found = random.Random(2), 0, []
        step = self.between + 1
        order = [0, *(n for p in range(step, self.count, step) for n in (p, *range(p - self.between, p)))]
        for index, n in enumerate(order):
            sent_s = (index + self.between) / self.fps
            last_ns = max(last_ns, round((sent_s + self.late_s(sent_s)) * SECOND_NS) + noise.randrange(self.jitter_ms * MS_NS))
            moved_s = self.step_s if index >= self.at else 0.0
            stamp = round((self.stamp_of(n) / self.fps * (1 + self.ppm * 1e-6) + moved_s) * TICKS)
            if not self.lost(n):
                found.append((stamp, last_ns, round(n / self.fps * SECOND_NS)))
        return found


@dataclass
class Timed:
    """What became of a camera's pictures, ms: the error of each time when it was told and in the end, that of each count."""

    told: list[float]
    final: list[float]
    count: list[float]
    jumps_s: list[float]


def timed(camera: Camera) -> Timed:
    line, fit = CameraTimeline(SECOND_NS / TICKS), EnvelopeFit(SECOND_NS / TICKS)
    told, kept, counts, jumps = [], [], [], []
    for stamp, arrival_ns, true_ns in camera.pictures():
        placed = line.place(stamp, arrival_ns)
        if line.jumped_ns:
            fit = EnvelopeFit(SECOND_NS / TICKS)
            jumps.append(line.jumped_ns / SECOND_NS)
        fit.add(placed, arrival_ns)
        told.append((fit.line.at(placed) - true_ns) / MS_NS)
        counts.append((placed * SECOND_NS / TICKS - true_ns) / MS_NS)
        kept.append((fit, placed, true_ns))
    return Timed(told, [(fit.line.at(placed) - true_ns) / MS_NS for fit, placed, true_ns in kept], counts, jumps)


def worst(errors: list[float], where: range) -> float:
    return max(abs(errors[n]) for n in where if n < len(errors))


@pytest.mark.parametrize("between", [0, 1, 2, 3])
@pytest.mark.parametrize("seconds", [sign * size for size in (0.1, 0.3, 0.5, 0.9, 5.0) for sign in (1, -1)])
def test_a_step_is_taken_out_however_small(seconds: float, between: int) -> None:
    for at in range(AT, AT + between + 1):
        found = timed(Camera(between, step_s=seconds, at=at))
        assert found.jumps_s == [pytest.approx(seconds, abs=0.05 + between * 0.05)]
        for errors in (found.told, found.final):
            assert max(worst(errors, BEFORE), worst(errors, AFTER)) < 40
        assert worst(found.count, AFTER) < 40, "a segment's times are its first one's and the count"


@pytest.mark.parametrize("fps", [10, 25, 50])
@pytest.mark.parametrize("seconds", [0.07, -0.07, 0.1, -0.1])
def test_a_step_that_leaves_the_stamps_rising_is_seen_within_a_second(seconds: float, fps: int) -> None:
    found = timed(Camera(fps=fps, step_s=seconds))
    assert found.jumps_s == [pytest.approx(seconds, abs=0.02)]
    assert worst(found.told, range(AT + fps + 2, COUNT)) < 40


def test_a_network_that_scatters_hides_no_step() -> None:
    for seconds in (0.2, -0.2, 0.9, -0.9):
        found = timed(Camera(jitter_ms=80, step_s=seconds))
        assert found.jumps_s == [pytest.approx(seconds, abs=0.1)]
        assert max(worst(found.told, BEFORE), worst(found.told, range(AT + 50, COUNT))) < 40


def test_two_steps_are_two_and_the_way_back_is_one() -> None:
    pictures = [(n * PICTURE + (3 * TICKS // 10 if n == 500 else 0), n * PICTURE_NS) for n in range(1000)]
    line = CameraTimeline(SECOND_NS / TICKS)
    steps = [line.jumped_ns for stamp, arrival in pictures if line.place(stamp, arrival) is not None and line.jumped_ns]
    assert steps == [300 * MS_NS, pytest.approx(-300 * MS_NS, abs=MS_NS)]


def stall(begin_s: float, until_s: float, *, drain: float = 1e9) -> Callable[[float], float]:
    """TCP: nothing comes from begin_s on; at until_s what waited comes, drain times as fast as it was made."""
    return lambda t: max(0.0, (until_s - begin_s) - (t - begin_s) * (1 - 1 / drain)) if t >= begin_s else 0.0


NO_STEP = {
    "jitter": Camera(jitter_ms=80),
    "stall": Camera(late_s=stall(40, 43)),
    "stall, slowly drained": Camera(late_s=stall(40, 43, drain=2)),
    "stall with losses in its burst": Camera(late_s=stall(40, 44), lost=lambda n: 1020 <= n < 1060),
    "losses": Camera(lost=lambda n: n % 50 == 7 or 900 <= n < 1000, jitter_ms=80),
    "burst at the beginning": Camera(late_s=stall(0, 3)),
    "slow burst at the beginning": Camera(late_s=stall(0, 3, drain=3)),
    "a key frame that was kept": Camera(lost=lambda n: 0 < n < 20, late_s=lambda t: 2.0 if t < 0.4 else 0.0),
    "equal stamps": Camera(stamp_of=lambda n: n - n % 3 if n % 60 < 9 else n, jitter_ms=40),
    "two stamps for four": Camera(stamp_of=lambda n: n - n % 2),
    "a path that becomes slower": Camera(late_s=lambda t: 0.3 if 40 < t < 80 else 0.0),
    "a path that was slow and becomes quick": Camera(late_s=lambda t: 0.7 if t < 40 else 0.0),
    "a clock too fast": Camera(ppm=500, count=20_000),
    "a clock too slow": Camera(ppm=-500, count=20_000),
}


@pytest.mark.parametrize("between", [0, 2, 3])
@pytest.mark.parametrize("fps", [10, 25])
@pytest.mark.parametrize("disturbance", NO_STEP)
def test_what_is_no_step(disturbance: str, fps: int, between: int) -> None:
    camera = replace(NO_STEP[disturbance], fps=fps, between=between)
    found = timed(camera)
    assert found.jumps_s == []
    if disturbance not in ("equal stamps", "two stamps for four"):
        assert worst(found.final, range(camera.count)) < 40


def test_a_camera_that_begins_to_reorder_is_soon_believed() -> None:
    order = [*range(500), *(n for p in range(502, 2000, 3) for n in (p, p - 2, p - 1))]
    _, jumps = place([n * PICTURE for n in order], [n * PICTURE_NS for n in range(len(order))])
    assert len(jumps) <= 3
