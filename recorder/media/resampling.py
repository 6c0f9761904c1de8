"""Sound on room time: samples of a card that runs a little fast or slow, read at the instants of an exact clock.

Each output sample is a windowed-sinc interpolation between input samples at the position that the card's line (sample count
against time) gives for its instant. The position moves smoothly: the step changes by at most 2·10⁻³, so there is neither a
jump nor, over hours, a drift. Where there are no samples there is silence.
"""

import math
from collections import deque
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from recorder.clock.instants import SECOND_NS

TAPS = 24
PHASES = 1024  # the nearest is taken: 1/2048 of a sample at most
MAX_STEP_ERROR = 2e-3  # relative; a card that is off by more is broken
BEHIND_S = 90.0  # a reader who is late by less than this finds everything
BEFORE_S = 1.0  # kept before the position that was read last
JUMP_S = 0.1  # a larger error is a hole or a new run: the position jumps

Samples = npt.NDArray[np.float32]


@cache
def kernel(cutoff: float) -> Samples:
    """Blackman-windowed sinc, shape (PHASES + 1, TAPS), each phase normalised to unit gain. cutoff: in input Nyquists, 0…1."""
    offsets = np.arange(TAPS) - (TAPS // 2 - 1)
    fractions = np.arange(PHASES + 1) / PHASES
    x = offsets[None, :] - fractions[:, None]
    window = 0.42 + 0.5 * np.cos(2 * np.pi * x / TAPS) + 0.08 * np.cos(4 * np.pi * x / TAPS)
    taps = np.sinc(cutoff * x) * np.where(np.abs(x) <= TAPS / 2, window, 0.0)
    normalised: Samples = (taps / taps.sum(axis=1, keepdims=True)).astype(np.float32)
    return normalised


@dataclass(slots=True)
class _Run:
    """Samples counted without a hole: block *i* begins at count ``starts[i]``."""

    rate_hz: int
    first: int
    blocks: deque[Samples]
    next: int
    line: tuple[int, int, float]  # count, its time in ns, ns per sample

    def position(self, time_ns: int) -> float:
        """The count at an instant."""
        count, at, step = self.line
        return count + (time_ns - at) / step

    @property
    def begins_ns(self) -> float:
        """The instant of the first sample that is kept."""
        count, at, step = self.line
        return at + (self.first - count) * step


class SoundLine:
    """The newest seconds of one microphone, readable at any instant. Times are CLOCK_BOOTTIME, ns. Not thread-safe."""

    def __init__(self, rate_hz: int, keep_s: float = 12.0) -> None:
        """rate_hz: of the output. keep_s: kept while nobody reads; a reader has at least 90 s to read it."""
        self._rate_hz = rate_hz
        self._idle_s = self._keep_s = keep_s
        self._runs: deque[_Run] = deque()
        self._position: float | None = None
        self._reading: _Run | None = None

    def begin(self, rate_hz: int) -> None:
        """A new connection: its counts have nothing to do with those before."""
        self._runs.append(_Run(rate_hz, 0, deque(), 0, (0, 0, SECOND_NS / rate_hz)))

    def add(self, count: int, time_ns: int, ppb: int, samples: Samples) -> None:
        """One block of mono samples, −1…1. count: of its first sample; time_ns: that sample's time; ppb: the card's drift."""
        if not self._runs:
            return
        run = self._runs[-1]
        if not run.blocks:
            run.first = run.next = count
        elif count < run.next:
            return
        elif count > run.next:
            self.begin(run.rate_hz)
            run = self._runs[-1]
            run.first = run.next = count
        run.blocks.append(samples)
        run.next = count + samples.size
        run.line = (count, time_ns, SECOND_NS / run.rate_hz * (1 + ppb * 1e-9))
        while run.next - run.first - run.blocks[0].size > self._keep_s * run.rate_hz:
            run.first += run.blocks.popleft().size
        while len(self._runs) > 1 and time_ns - self._end_ns(self._runs[0]) > self._keep_s * SECOND_NS:
            self._runs.popleft()

    @staticmethod
    def _end_ns(run: _Run) -> float:
        count, at, step = run.line
        return at + (run.next - count) * step

    def idle(self) -> None:
        """Nobody reads until further notice."""
        self._keep_s = self._idle_s

    def read(self, time_ns: int, count: int) -> tuple[Samples, int]:
        """count output samples from an instant on, and how many of them had no input (silence)."""
        end_ns = time_ns + count * SECOND_NS // self._rate_hz
        begins_ns = min((b for r in self._runs if r.blocks and time_ns < (b := r.begins_ns) < end_ns), default=end_ns)
        before = math.ceil((begins_ns - time_ns) * self._rate_hz / SECOND_NS)
        if not 0 < before < count:
            return self._read_one(time_ns, end_ns, count)
        there_ns = time_ns - -before * SECOND_NS // self._rate_hz  # rounded up
        first, missing = self._read_one(time_ns, there_ns, before)
        rest, more = self.read(there_ns, count - before)
        return np.concatenate((first, rest)), missing + more

    def _read_one(self, time_ns: int, end_ns: int, count: int) -> tuple[Samples, int]:
        """Reads from the one run of sound that covers time_ns."""
        out = np.zeros(count, np.float32)
        run = next((r for r in reversed(self._runs) if r.blocks and r.position(time_ns) >= r.first - TAPS), None)
        if run is None:
            run = next((r for r in self._runs if r.blocks), None)
        if run is None:
            return out, count
        start, stop = run.position(time_ns), run.position(end_ns)
        if run is not self._reading or self._position is None or abs(self._position - start) > JUMP_S * run.rate_hz:
            self._reading, self._position = run, start
        nominal = run.rate_hz / self._rate_hz
        step = (stop - self._position) / count
        step = min(max(step, nominal * (1 - MAX_STEP_ERROR)), nominal * (1 + MAX_STEP_ERROR))
        positions = self._position + step * np.arange(count)
        self._position += step * count
        self._keep_s = max(self._idle_s, BEHIND_S)
        while len(run.blocks) > 1 and run.first + run.blocks[0].size < positions[0] - BEFORE_S * run.rate_hz:
            run.first += run.blocks.popleft().size
        silent = self._interpolate(run, positions, out)
        return out, silent

    def _interpolate(self, run: _Run, positions: npt.NDArray[np.floating], out: Samples) -> int:
        whole = np.floor(positions).astype(np.int64)
        low, high = int(whole[0]) - (TAPS // 2 - 1), int(whole[-1]) + TAPS // 2 + 1
        data = self._slice(run, low, high)
        taps = kernel(min(1.0, self._rate_hz / run.rate_hz))[np.rint((positions - whole) * PHASES).astype(np.int64)]
        windows = np.lib.stride_tricks.sliding_window_view(data, TAPS)[whole - int(whole[0])]
        np.einsum("ij,ij->i", windows, taps, out=out)
        return int(np.count_nonzero((whole < run.first) | (whole >= run.next)))

    @staticmethod
    def _slice(run: _Run, low: int, high: int) -> Samples:
        """Samples [low, high) of the run, zero where there are none."""
        data = np.zeros(high - low, np.float32)
        at = run.first
        for block in run.blocks:
            left, right = max(low, at), min(high, at + block.size)
            if left < right:
                data[left - low : right - low] = block[left - at : right - at]
            at += block.size
            if at >= high:
                break
        return data
