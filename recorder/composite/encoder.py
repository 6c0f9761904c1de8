"""How the composite's pictures become H.264: by x264 in this process, or by a graphics processor.

Both are given one canvas after the other and give one packet for each, in order, without B-frames, a key frame every two seconds.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

import av

from recorder.composite.picture import Plane
from wording import Exit, Fault

FPS = 25
GOP = 50

EncoderKind = Literal["software", "vaapi", "qsv"]
EncodedPacket: TypeAlias = "av.Packet[Any]"


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
    kind: EncoderKind = "software"
    device: str = "/dev/dri/renderD128"
    low_power: bool = False
    threads: int = 1


class VideoEncoder(Protocol):
    """Pictures in, packets out, for one container whose header is written with the first packet.

    Each packet belongs to a stream of the container, its time is the picture's number. What an iterator gave before it raised is
    good; it must be exhausted.
    """

    name: EncoderKind

    def encode(self, canvas: Plane) -> Iterator[EncodedPacket]:
        """Takes the next picture, the canvas is free afterwards; gives what is ready. Raises EncoderFault."""

    def flush(self) -> Iterator[EncodedPacket]:
        """The rest, once. Raises EncoderFault."""

    def close(self) -> None:
        """Ends whatever still runs; may be called at any time, and again."""
