"""Pictures that arrive, measured: rate, bit rate, key frame distance. Pure."""

from collections import deque

from recorder.clock.instants import SECOND_NS
from recorder.media.packets import Packet

WINDOW_NS = 5 * SECOND_NS


class VideoMeter:
    """Rates over the last five seconds of packets."""

    def __init__(self, ns_per_tick: float) -> None:
        self._ns_per_tick = ns_per_tick
        self._recent: deque[tuple[float, int]] = deque()  # (time by pts, bytes)
        self._last_key_ns: float | None = None
        self.keyframe_interval_s: float | None = None

    def add(self, packet: Packet) -> None:
        """Adds one packet to the rates, and measures the distance of key frames."""
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
