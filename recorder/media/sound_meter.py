"""Measures the level and the clipping of sound that arrives. Pure.

It is a module of its own so that the processes of video tracks load no numpy.
"""

import math
from collections import deque
from dataclasses import dataclass

import numpy as np

from recorder.media.mixdown import Mixdown
from recorder.media.packets import Packet

SILENT_DBFS = -120.0
FULL_SCALE = 32767


@dataclass(frozen=True, slots=True)
class Level:
    """One second of sound. dBFS of a full-scale sine's RMS is −3.01; of a full-scale peak 0.

    rms_dbfs: of what is heard in the composite, without DC; peak and clipping: of any channel.
    """

    rms_dbfs: float
    peak_dbfs: float
    clipped_ratio: float


class SoundMeter:
    """Level over the last second of blocks."""

    def __init__(self, rate_hz: int, channels: int) -> None:
        self._samples_per_second = rate_hz * channels
        self._channels = channels
        self._mixdown = Mixdown(channels, rate_hz)
        self._blocks: deque[tuple[int, float, int, int]] = deque()  # samples, sum of squares as if heard, peak, clipped

    def add(self, packet: Packet) -> None:
        """Adds one block of samples and drops those that are older than a second."""
        samples = np.frombuffer(packet.data, dtype="<i2").astype(np.float32)
        magnitude = np.abs(samples)
        peak = int(magnitude.max(initial=0))
        clipped = int(np.count_nonzero(magnitude >= FULL_SCALE)) if peak >= FULL_SCALE else 0
        heard = self._mixdown.mono(samples.reshape(-1, self._channels))
        heard = heard - heard.mean() if heard.size else heard
        self._blocks.append((samples.size, float(np.dot(heard, heard)) * self._channels, peak, clipped))
        while sum(b[0] for b in self._blocks) - self._blocks[0][0] >= self._samples_per_second:
            self._blocks.popleft()

    @property
    def level(self) -> Level | None:
        """None before the first block."""
        total = sum(b[0] for b in self._blocks)
        if not total:
            return None
        rms = math.sqrt(sum(b[1] for b in self._blocks) / total)
        return Level(
            rms_dbfs=dbfs(rms),
            peak_dbfs=dbfs(max(b[2] for b in self._blocks)),
            clipped_ratio=sum(b[3] for b in self._blocks) / total,
        )


def dbfs(value: float) -> float:
    """Amplitude of signed 16-bit samples in dB of full scale, −120 for silence."""
    return max(SILENT_DBFS, 20 * math.log10(value / 32768)) if value > 0 else SILENT_DBFS
