"""The microphone's segments; apart from recorder.track.segments so that video tracks need no numpy."""

from fractions import Fraction
from typing import Any

import av
import numpy as np

from recorder.disk.sink import Sink
from recorder.media.packets import Format, Packet
from recorder.track.video_writer import MATROSKA


class SoundWriter:
    """Blocks of samples as FLAC in Matroska: lossless, so the samples are the microphone's."""

    def __init__(self, sink: Sink, format_: Format) -> None:
        self.sink = sink
        self.packets = 0
        self.keyframes = 0
        self._format = format_
        self._container = av.open(self.sink, "w", format="matroska", options=MATROSKA)
        self._stream: Any = self._container.add_stream("flac", rate=format_.rate_hz)
        self._stream.layout = "mono" if format_.channels == 1 else "stereo"
        self._stream.format = "s16"

    def write(self, packet: Packet) -> None:
        samples = np.frombuffer(packet.data, dtype="<i2").reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout=self._stream.layout.name)
        frame.sample_rate = self._format.rate_hz
        frame.pts = packet.pts
        frame.time_base = Fraction(1, self._format.rate_hz)
        self._mux(frame)

    def _mux(self, frame: av.AudioFrame | None) -> None:
        for out in self._stream.encode(frame):
            if out.size:  # at the end the encoder adds an empty packet with a header that a growing file cannot take
                self._container.mux(out)
                self.packets += 1
                self.keyframes += 1
        self.sink.check()

    def finish(self) -> None:
        self._mux(None)
        self._container.close()
