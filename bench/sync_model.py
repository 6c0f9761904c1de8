"""Lip sync over hours in simulated time: a camera and a sound card with clocks of their own, through the product's time model.

Every packet and every block of the simulated hours goes through ``EnvelopeFit`` as a track gives it, and every block through the
composer's ``SoundLine``, at a low sample rate. What is known here and nowhere in a room is the true instant of each. Pure but for
the seed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench.rig import slope
from recorder.clock.fit import EnvelopeFit
from recorder.clock.instants import PICTURE_NS, SECOND_NS
from recorder.media.resampling import SoundLine

MS = 1_000_000
CAMERA_HZ = 90_000
SOUND_HZ = 100  # of the simulated card: four samples a block, so that hours take seconds
BLOCK = SOUND_HZ * PICTURE_NS // SECOND_NS
WRAP = 8192  # a sample's value is its count within this, which a float32 holds to 5 µs
THERMAL_S = 3600.0  # period of the slow change of a clock's rate
PICTURES_PER_S = SECOND_NS // PICTURE_NS
DELAY_NS = 300 * MS  # the composer reads so far behind
TRANSPORT_NS = 2 * MS
CARD_DELAY_MS = 1.0  # mean of what a block waits for its callback, exponential

Instants = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Simulation:
    """One run. ppm: of the clocks; thermal_ppm: amplitude of their slow change; jitter_ms: a packet waits 0 to this, uniform."""

    hours: float = 4.0
    camera_ppm: float = 0.0
    microphone_ppm: float = 0.0
    jitter_ms: float = 80.0
    thermal_ppm: float = 5.0
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Simulated:
    """offsets_ms: by minute, the median of picture minus sound. max_abs_offset_ms: of all instants, one a second."""

    offsets_ms: tuple[float, ...]
    max_abs_offset_ms: float
    drift_ms: float


def true_ns(clock_s: Instants, ppm: float, thermal_ppm: float, phase: float) -> Instants:
    """True instants at which a clock that is so much too fast shows these seconds."""
    turn = 2 * np.pi / THERMAL_S
    wander_s = thermal_ppm * 1e-6 / turn * (np.cos(phase) - np.cos(turn * clock_s + phase))
    instants: Instants = (clock_s * (1 - ppm * 1e-6) - wander_s) * SECOND_NS
    return instants


def change_ms(offsets_ms: Sequence[float]) -> float:
    """How far a series drifts from its first to its last value: by a robust line or by its ends, whichever says more."""
    if len(offsets_ms) < 2:
        return 0.0
    line = slope(list(enumerate(offsets_ms))) * (len(offsets_ms) - 1)
    ends = offsets_ms[-1] - offsets_ms[0]
    return max(line, ends, key=abs)


def simulate(run: Simulation) -> Simulated:
    """Picture and sound of the same true instant: how far apart the composite puts them, minute by minute."""
    rng = np.random.default_rng(run.seed)
    seconds = round(run.hours * 3600)
    clock_s = np.arange((seconds + 8) * PICTURES_PER_S) / PICTURES_PER_S
    seen = true_ns(clock_s, run.camera_ppm, run.thermal_ppm, rng.uniform(0, 2 * np.pi))
    heard = true_ns(clock_s, run.microphone_ppm, run.thermal_ppm, rng.uniform(0, 2 * np.pi))
    # TCP keeps the order: a packet that waits holds up the ones behind it.
    came = np.maximum.accumulate(seen + TRANSPORT_NS + rng.uniform(0, run.jitter_ms * MS, seen.size))
    handed = np.maximum.accumulate(heard[1:] + rng.exponential(CARD_DELAY_MS * MS, heard.size - 1))
    pictures, sound = _PictureTimes(came.astype(np.int64).tolist()), _SoundTimes(handed.astype(np.int64).tolist(), heard)
    minutes: list[list[float]] = [[] for _ in range(-(-seconds // 60))]
    for second in range(2, seconds):
        now_ns = second * SECOND_NS
        shown = pictures.at(now_ns - DELAY_NS, now_ns)
        played_ns = sound.at(now_ns - DELAY_NS, now_ns)
        if played_ns is not None:
            picture_error = pictures.assigned[shown] - TRANSPORT_NS - seen[shown]
            minutes[second // 60].append((picture_error - (now_ns - DELAY_NS - played_ns)) / MS)
    medians = tuple(round(float(np.median(values)), 3) for values in minutes if values)
    worst = max(abs(value) for values in minutes for value in values)
    return Simulated(medians, round(float(worst), 3), round(change_ms(medians), 3))


class _PictureTimes:
    """The camera's track. came: arrivals in ns; assigned: room time of each picture, as of its arrival, in ns."""

    def __init__(self, came: list[int]) -> None:
        self.assigned: list[int] = []
        self._came = came
        self._fit = EnvelopeFit(SECOND_NS / CAMERA_HZ)
        self._shown = 0

    def at(self, due_ns: int, now_ns: int) -> int:
        """Takes what has come by now; the number of the picture that the composite shows."""
        while self._came[len(self.assigned)] <= now_ns:
            ticks = len(self.assigned) * (CAMERA_HZ // PICTURES_PER_S)
            self._fit.add(ticks, self._came[len(self.assigned)])
            self.assigned.append(self._fit.line.at(ticks))
        while self._shown + 1 < len(self.assigned) and self.assigned[self._shown + 1] - TRANSPORT_NS <= due_ns:
            self._shown += 1
        return self._shown


class _SoundTimes:
    """The microphone's track and the composer's sound. handed: when each block was complete here; heard: true instants, ns."""

    def __init__(self, handed: list[int], heard: Instants) -> None:
        self._handed, self._heard = handed, heard
        self._fit, self._line = EnvelopeFit(SECOND_NS / SOUND_HZ), SoundLine(SOUND_HZ, keep_s=3.0)
        self._line.begin(SOUND_HZ)
        self._ramp = (np.arange(WRAP + BLOCK) % WRAP / WRAP).astype(np.float32)
        self._blocks = 0

    def at(self, due_ns: int, now_ns: int) -> float | None:
        """Takes what has come by now; when the sample was heard that the composite plays, None where it cannot be told."""
        while self._handed[self._blocks] <= now_ns:
            count = self._blocks * BLOCK
            # A block's time is that of its first sample: recorder.capture.microphone
            self._fit.add(count, self._handed[self._blocks] - BLOCK * SECOND_NS // SOUND_HZ)
            line = self._fit.line
            self._line.add(count, line.at(count), round(line.ppm * 1000), self._ramp[count % WRAP : count % WRAP + BLOCK])
            self._blocks += 1
        played = self._line.read(due_ns, SOUND_HZ)[0].astype(np.float64) * WRAP
        value = float(played[0])
        if abs(played[1] - value - 1) > 0.1:  # interpolated across the wrap
            return None
        position = value + WRAP * round((due_ns * SOUND_HZ / SECOND_NS - value) / WRAP)
        block = int(position // BLOCK)
        return float(self._heard[block] + (position / BLOCK - block) * (self._heard[block + 1] - self._heard[block]))
