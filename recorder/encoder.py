"""How the composite's pictures become H.264: by x264 in this process, or by a graphics processor.

Both are given one canvas after the other and give one packet for each, in order, without B-frames, a key frame every two seconds.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal, Protocol, TypeAlias

import av

from recorder.picture import HEIGHT, WIDTH, Plane
from wording import Exit, Fault

FPS = 25
GOP = 50

Kind = Literal["software", "vaapi", "qsv"]
Packet: TypeAlias = "av.Packet[Any]"


class EncoderFault(Fault):
    """A hardware encoder is missing, or does not do what it should: software does it then."""

    exit_code = Exit.DEVICE


@dataclass(frozen=True, slots=True)
class EncoderSettings:
    """How the composite is encoded.

    crf: x264's constant rate factor; a hardware encoder takes it as its constant quantiser, which is on the same scale (0-51).
    preset: x264's. threads: processors that x264 shares a picture's slices among. device: the render node of a hardware
    encoder. low_power: by its fixed-function units alone, which is the only way that some drivers offer (Intel's free one).
    """

    crf: int
    preset: str
    audio_kbps: int
    kind: Kind = "software"
    device: str = "/dev/dri/renderD128"
    low_power: bool = False
    threads: int = 1


class VideoEncoder(Protocol):
    """Pictures in, packets out, for one container whose header is written with the first packet.

    Each packet belongs to a stream of the container, its time is the picture's number. What an iterator gave before it raised is
    good; it must be exhausted.
    """

    name: Kind

    def encode(self, canvas: Plane) -> Iterator[Packet]:
        """Takes the next picture, the canvas is free afterwards; gives what is ready. Raises EncoderFault."""

    def flush(self) -> Iterator[Packet]:
        """The rest, once. Raises EncoderFault."""

    def close(self) -> None:
        """Ends whatever still runs; may be called at any time, and again."""


class SoftwareEncoder:
    """x264 in this process."""

    name: Kind = "software"

    def __init__(self, settings: EncoderSettings, container: av.container.OutputContainer) -> None:
        self._stream: Any = container.add_stream("libx264", rate=FPS, options=x264_options(settings))
        self._stream.width, self._stream.height, self._stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        # One thread costs least: with two the composer takes an eighth more. Slices delay no picture, whole-picture threads do.
        self._stream.codec_context.thread_count = settings.threads
        self._stream.codec_context.thread_type = "SLICE"
        self._pictures = 0

    def encode(self, canvas: Plane) -> Iterator[Packet]:
        frame = av.VideoFrame.from_numpy_buffer(canvas, format="yuv420p")
        frame.pts, frame.time_base = self._pictures, Fraction(1, FPS)
        self._pictures += 1
        yield from self._stream.encode(frame)

    def flush(self) -> Iterator[Packet]:
        yield from self._stream.encode(None)

    def close(self) -> None:
        """Nothing runs by itself."""


def open_encoder(settings: EncoderSettings, container: av.container.OutputContainer) -> VideoEncoder:
    """The encoder that the settings name. Raises EncoderFault."""
    if settings.kind == "software":
        return SoftwareEncoder(settings, container)
    from recorder.encoder_child import ChildEncoder

    return ChildEncoder(settings, container)


def x264_options(settings: EncoderSettings) -> dict[str, str]:
    """For libx264. No adaptive quantisation: it takes bits from faces and the clock and spends them on the noise of bare walls.

    Measured by bench/encoder against the preset's defaults at crf 26: at crf 27 the whole picture is as near to the camera's,
    face and clock are nearer by 1.3 and 3 dB, at a third of the bit rate and two thirds of the CPU time. No weighted
    prediction: a room does not fade.
    """
    return {"preset": settings.preset, "crf": str(settings.crf), "g": str(GOP), "bf": "0", "x264-params": "aq-mode=0:weightp=0"}
