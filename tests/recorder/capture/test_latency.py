"""Claps in the sound and in the picture, with delays that are known; and the file in which the result lies."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from recorder.capture.clap import HEIGHT, WIDTH, Film, NotMeasured, difference, onsets
from recorder.capture.latency import CalibratedDevice, Calibration, Latency, latency_ns, read, store
from recorder.clock.instants import SECOND_NS
from wording import Exit

RATE_HZ = 48_000
START_NS = 3600 * SECOND_NS
Array = NDArray[np.float64]
ROWS, COLUMNS = np.mgrid[0:HEIGHT, 0:WIDTH]


def at_random(seed: int, count: int = 5) -> tuple[np.random.Generator, Array, float]:
    """A generator, instants of claps in s, and how long everything takes."""
    random = np.random.default_rng(seed)
    claps = 1.5 + np.cumsum(random.uniform(1.0, 1.7, count))
    return random, claps, float(claps[-1]) + 1.5


def sound(random: np.random.Generator, claps: Array, seconds: float, *, voice: float = 0.02, beep: bool = False) -> Array:
    """Claps (or beeps) in a room with its echo and its noise, and somebody who speaks between them; full scale 1."""
    samples = random.normal(0, 0.001, int(seconds * RATE_HZ))
    at = 0.3
    while voice and at < seconds - 0.6:
        length = random.uniform(0.08, 0.25)
        time = np.arange(int(length * RATE_HZ)) / RATE_HZ
        shape = np.minimum(time / random.uniform(0.01, 0.05), 1) * np.minimum((length - time) / 0.03, 1)
        pitch = random.uniform(100, 250)
        wave = sum(np.sin(2 * np.pi * pitch * n * time) / n for n in range(1, 12)) + 0.3 * random.normal(size=len(time))
        if not np.any((claps > at - 0.2) & (claps < at + length + 0.2)):
            samples[int(at * RATE_HZ) :][: len(time)] += voice * random.uniform(0.3, 2) * shape * wave
        at += length + random.choice([0.02, 0.1, 0.4])
    time = np.arange(int(0.25 * RATE_HZ)) / RATE_HZ
    for clap in claps:
        if beep:
            edge = np.clip(np.minimum(time, 0.06 - time) / 0.001, 0, 1)
            wave = 0.25 * np.sin(2 * np.pi * 1000 * time) * edge
        else:
            wave = random.normal(size=len(time)) * (0.3 * np.exp(-time / 0.006) + 0.02 * np.exp(-time / 0.08))
        samples[int(clap * RATE_HZ) :][: len(wave)] += wave * random.uniform(0.7, 1.3)
    return samples


def apart(since: float, until: float) -> float:
    """How far apart hands are that met so long ago and meet again in so long, 0 to 1."""
    if until < 0.25:
        return 1 - (1 - until / 0.25) ** 2
    return 0.5 - 0.5 * float(np.cos(np.pi * np.clip((since - 0.2) / 0.6, 0, 1)))


def film(
    random: np.random.Generator, claps: Array, seconds: float, delay: float, *, lamp: bool = False, walker: bool = False
) -> Film:
    """A noisy picture 25 times a second, at a phase that is random to the claps: hands, or a lamp, and perhaps a passer-by."""
    pictures = np.empty((int(seconds * 25), HEIGHT, WIDTH), np.uint8)
    taken = random.uniform(0, 0.04) + np.arange(len(pictures)) / 25
    wall = 120 + 30 * np.sin(COLUMNS / 9) + 20 * np.cos(ROWS / 7)
    for n, now in enumerate(taken):
        picture = wall.copy()
        if walker:
            x = int(now * 25 % 220) - 30
            picture[20:85, max(0, x) : max(0, x + 22)] = 60
            swing = int(30 + 8 * np.sin(2 * np.pi * 1.1 * now))
            picture[40:48, swing : swing + 6] = 200
        since, until = min([now - c for c in claps if c <= now], default=99), min([c - now for c in claps if c > now], default=99)
        if lamp and since < 0.12:
            picture += 6
            picture[20:34, 100:120] = 250
        for side in () if lamp else (-1, 1):
            middle = 95 + side * (4 + 26 * apart(since, until))
            picture[((COLUMNS - middle) / 4) ** 2 + ((ROWS - 55) / 7) ** 2 < 1] = 225
        pictures[n] = np.clip(picture + random.normal(0, 2, picture.shape), 0, 255)
    return Film(START_NS + np.round((taken + delay) * SECOND_NS).astype(np.int64), pictures)


def instants(samples: Array) -> NDArray[np.int64]:
    return START_NS + np.round(onsets(samples, RATE_HZ) * (SECOND_NS / RATE_HZ)).astype(np.int64)


def test_claps_are_found_to_the_millisecond_among_speech() -> None:
    random, claps, seconds = at_random(1)
    found = onsets(sound(random, claps, seconds), RATE_HZ) / RATE_HZ
    assert all(np.abs(found - clap).min() < 0.001 for clap in claps)
    assert len(found) <= len(claps) + 3, "a voice that swells is no clap"
    assert np.all(np.diff(found) >= 0.4)


def test_an_echo_is_no_second_clap_and_silence_has_none() -> None:
    random, claps, seconds = at_random(2)
    dry = sound(random, claps, seconds, voice=0)
    echo = dry + 0.5 * np.concatenate([np.zeros(RATE_HZ // 4), dry[: -RATE_HZ // 4]])
    assert len(onsets(echo, RATE_HZ)) == len(claps)
    assert len(onsets(np.zeros(RATE_HZ * 3), RATE_HZ)) == 0
    assert len(onsets(np.zeros(100), RATE_HZ)) == 0


@pytest.mark.parametrize("walker", [False, True])
@pytest.mark.parametrize(("seed", "delay_ms"), [(1, -50), (2, 0), (3, 90), (4, 150), (5, 263), (6, 400)])
def test_hands_that_meet_tell_the_delay(seed: int, delay_ms: float, walker: bool) -> None:
    random, claps, seconds = at_random(seed)
    heard = instants(sound(random, claps, seconds))
    found = difference(film(random, claps, seconds, delay_ms / 1000, walker=walker), heard)
    assert found.difference_ms == pytest.approx(delay_ms, abs=10)
    assert found.kind == "clap" and found.claps >= 4 and found.spread_ms < 10


@pytest.mark.parametrize(("seed", "delay_ms"), [(1, -50), (2, 150), (3, 400)])
def test_a_lamp_with_a_beep_tells_it_too(seed: int, delay_ms: float) -> None:
    """A lamp's instant is known to one picture only: the claps' random phases narrow it."""
    random, claps, seconds = at_random(seed, 6)
    heard = instants(sound(random, claps, seconds, beep=True))
    found = difference(film(random, claps, seconds, delay_ms / 1000, lamp=True, walker=True), heard)
    assert found.difference_ms == pytest.approx(delay_ms, abs=15)
    assert found.kind == "flash"


def test_a_clap_that_does_not_agree_with_the_others_does_not_count() -> None:
    random, claps, seconds = at_random(7, 6)
    heard = instants(sound(random, claps, seconds, voice=0))
    claps[2] += 0.07
    found = difference(film(random, claps, seconds, 0.1), heard)
    assert found.difference_ms == pytest.approx(100, abs=10)
    assert found.claps == 5


@pytest.mark.parametrize("others", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_claps_out_of_the_picture_are_refused(seed: int, others: bool) -> None:
    """In the picture nobody claps, or somebody else does: three of whose claps (seed 3) agree with the sound by chance."""
    random, claps, seconds = at_random(seed)
    heard = instants(sound(random, claps, seconds))
    shown = at_random(seed + 50)[1] if others else np.array([99.0])
    with pytest.raises(NotMeasured, match="Clap again") as refused:
        difference(film(random, shown, seconds, 0.1, walker=True), heard)
    assert refused.value.exit_code == Exit.NO


def test_too_few_claps_and_no_pictures_are_refused() -> None:
    random, claps, seconds = at_random(3, 2)
    pictures = film(random, claps, seconds, 0.1)
    with pytest.raises(NotMeasured, match="2 claps were heard; it takes 3"):
        difference(pictures, instants(sound(random, claps, seconds, voice=0)))
    with pytest.raises(NotMeasured, match="the picture does not show"):
        difference(Film(pictures.times_ns[:9], pictures.pictures[:9]), np.arange(5) * SECOND_NS)


CAMERA = CalibratedDevice("ACME", "C1", "123")
MEASURED = Calibration(182.4, 6.1, 5, "clap", 20.0, "2026-11-21T01:30:05.123Z", "李工", "1.0", CAMERA)


def test_what_was_stored_is_read_and_other_cameras_keep_theirs(tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    assert read(path) == {}
    store(path, {"overview": MEASURED})
    store(path, {"closeup": MEASURED})
    assert read(path) == {"overview": MEASURED, "closeup": MEASURED}
    assert json.loads(path.read_bytes())["schema"] == "interview-room-calibration/1"


def test_a_configured_delay_wins_over_a_measured_one(tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    store(path, {"overview": MEASURED})
    assert latency_ns(path, "overview", None) == 182_400_000
    assert latency_ns(path, "overview", 0.0) == 0
    assert latency_ns(path, "overview", 12.5) == 12_500_000
    assert latency_ns(path, "closeup", None) == latency_ns(None, "overview", None) == 0


@pytest.mark.parametrize(
    "content",
    [
        "no json",
        "[]",
        '{"schema": "interview-room-calibration/2", "cameras": {}}',
        '{"schema": "interview-room-calibration/1", "cameras": []}',
        '{"schema": "interview-room-calibration/1", "cameras": {"overview": {"latency_ms": 1}}}',
        '{"schema": "interview-room-calibration/1", "cameras": {"overview": {"latency_ms": "soon"}}}',
        '{"schema": "interview-room-calibration/1", "cameras": {"overview": 7}}',
    ],
)
def test_a_bad_file_is_logged_and_takes_nothing_off(tmp_path: Path, caplog: pytest.LogCaptureFixture, content: str) -> None:
    path = tmp_path / "calibration.json"
    path.write_text(content)
    assert latency_ns(path, "overview", None) == 0
    assert "calibration unreadable" in caplog.text
    assert latency_ns(path, "overview", 7.0) == 7_000_000


@pytest.mark.parametrize("value", [-1, 5001, float("nan")])
def test_an_impossible_delay_is_not_taken(tmp_path: Path, value: float) -> None:
    path = tmp_path / "calibration.json"
    store(path, {"overview": MEASURED})
    data: dict[str, Any] = json.loads(path.read_bytes())
    data["cameras"]["overview"]["latency_ms"] = value
    path.write_text(json.dumps(data))
    assert latency_ns(path, "overview", None) == 0


def test_a_process_follows_the_file(tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    latency, fixed = Latency(0, path, "overview"), Latency(40_000_000)
    assert (latency.ns, fixed.ns, latency.refresh()) == (0, 40_000_000, False)
    store(path, {"overview": MEASURED})
    assert (latency.ns, latency.refresh(), latency.ns) == (0, True, 182_400_000)
    assert (latency.refresh(), fixed.refresh(), fixed.ns) == (False, False, 40_000_000)
    path.unlink()
    assert (latency.refresh(), latency.ns) == (True, 0)


def test_another_camera_is_noticed() -> None:
    assert CAMERA.differs(CalibratedDevice("ACME", "C1", "124"))
    assert not CAMERA.differs(CalibratedDevice("ACME", "C1-renamed", "123"))
    assert CAMERA.differs(CalibratedDevice("ACME", "C2"))
    assert not CAMERA.differs(CalibratedDevice()) and not CalibratedDevice().differs(CAMERA)
