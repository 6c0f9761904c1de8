"""A camera's packets into one Matroska file, unchanged (invariant 1); and what every writer of a segment can do."""

from typing import Protocol

import av

from recorder.disk.sink import Sink
from recorder.media.packets import Format, Packet

# The muxer keeps a cluster in memory until it is closed, after 100 ms or 32 KiB: a power cut costs it, and what is not synced.
REORDER_S = 1  # pictures in decoding order step back by less than this
MATROSKA = {"flush_packets": "1", "cluster_time_limit": "100", "live": "1"}


class SegmentWriter(Protocol):
    """Puts packets of one medium into one file."""

    sink: Sink
    packets: int
    keyframes: int

    def write(self, packet: Packet) -> None:
        """One packet. Raises StorageFault."""

    def finish(self) -> None:
        """Everything into the sink."""


class VideoWriter:
    """The camera's packets, unchanged, in Matroska (invariant 1). Timestamps are the camera's, to the millisecond."""

    def __init__(self, sink: Sink, format_: Format) -> None:
        self.sink = sink
        self.packets = 0
        self.keyframes = 0
        self._time_base = format_.time_base
        self._container = av.open(self.sink, "w", format="matroska", options=MATROSKA)
        self._stream = self._container.add_stream_from_template(format_.template)
        self._reorder = round(REORDER_S / self._time_base)
        self._dts: int | None = None

    def write(self, packet: Packet) -> None:
        """One packet. Matroska keeps no decoding times: for the muxer they have to rise and to lie before the picture's."""
        self._dts = packet.pts - self._reorder if self._dts is None else max(packet.pts - self._reorder, self._dts + 1)
        out = av.Packet(packet.data)
        out.pts, out.dts, out.time_base = packet.pts, self._dts, self._time_base
        out.is_keyframe = packet.key
        out.stream = self._stream
        self._container.mux(out)
        self.sink.check()
        self.packets += 1
        self.keyframes += packet.key

    def finish(self) -> None:
        self._container.close()
