"""What arrives, measured: picture rate, bit rate, key frame distance, sound level. Pure."""

import math
from collections import deque
from dataclasses import dataclass

import numpy as np

from recorder.media import Packet
from recorder.room_time import SECOND_NS

WINDOW_NS = 5 * SECOND_NS
SILENT_DBFS = -120.0
FULL_SCALE = 32767


class VideoMeter:
    """Rates over the last five seconds of packets."""

    def __init__(self, ns_per_tick: float) -> None:
        self._ns_per_tick = ns_per_tick
        self._recent: deque[tuple[float, int]] = deque()  # (time by pts, bytes)
        self._last_key_ns: float | None = None
        self.keyframe_interval_s: float | None = None

    def add(self, packet: Packet) -> None:
        """Counts one packet."""
        at = packet.pts * self._ns_per_tick
        self._recent.append((at, len(packet.data)))
        while self._recent and not -SECOND_NS < at - self._recent[0][0] <= WINDOW_NS:
            self._recent.popleft()
        if packet.key:
            if self._last_key_ns is not None and at > self._last_key_ns:
                self.keyframe_interval_s = (at - self._last_key_ns) / SECOND_NS
            self._last_key_ns = at
        elif self._last_key_ns is not None and self.keyframe_interval_s is not None:
            self.keyframe_interval_s = max(self.keyframe_interval_s, (at - self._last_key_ns) / SECOND_NS)

    def _span_s(self) -> float:
        return (self._recent[-1][0] - self._recent[0][0]) / SECOND_NS if len(self._recent) > 1 else 0.0

    @property
    def fps(self) -> float:
        """Pictures a second; 0 before two pictures."""
        span = self._span_s()
        return (len(self._recent) - 1) / span if span > 0 else 0.0

    @property
    def bitrate_bps(self) -> float:
        """Bits a second; 0 before two pictures."""
        span = self._span_s()
        return 8 * sum(size for _, size in list(self._recent)[:-1]) / span if span > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Level:
    """One second of sound. dBFS of a full-scale sine's RMS is −3.01; of a full-scale peak 0."""

    rms_dbfs: float
    peak_dbfs: float
    clipped_ratio: float


class SoundMeter:
    """Level over the last second of blocks."""

    def __init__(self, rate_hz: int, channels: int) -> None:
        self._samples_per_second = rate_hz * channels
        self._blocks: deque[tuple[int, float, int, int]] = deque()  # samples, sum of squares, peak, clipped

    def add(self, packet: Packet) -> None:
        """Counts one block."""
        samples = np.frombuffer(packet.data, dtype="<i2").astype(np.float32)
        magnitude = np.abs(samples)
        peak = int(magnitude.max(initial=0))
        clipped = int(np.count_nonzero(magnitude >= FULL_SCALE)) if peak >= FULL_SCALE else 0
        self._blocks.append((samples.size, float(np.dot(samples, samples)), peak, clipped))
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
