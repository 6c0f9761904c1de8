"""Small real streams for tests: encoded by libav, handed over as the sources hand packets over."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from recorder.media.packets import Format, Packet

TICKS = 90_000
PICTURE_TICKS = 3600


def video(folder: Path, seconds: int = 4, *, gop: int = 25, size: tuple[int, int] = (320, 180)) -> tuple[Format, list[Packet]]:
    """H.264 at 25 pictures a second, a key frame every gop pictures, arriving on time from CLOCK_BOOTTIME 0 on."""
    path = folder / f"sample-{seconds}-{gop}-{size[0]}.mp4"
    if not path.exists():
        _encode(path, seconds, gop, size)
    container = av.open(str(path))
    stream = container.streams.video[0]
    scale = Fraction(TICKS) * (stream.time_base or 1)
    packets = []
    for packet in container.demux(stream):
        if packet.size:
            pts = int((packet.pts or 0) * scale)
            packets.append(Packet(pts, packet.is_keyframe, bytes(packet), pts * 1_000_000_000 // TICKS))
    format_ = Format(
        "video",
        "h264",
        Fraction(1, TICKS),
        extradata=bytes(stream.codec_context.extradata or b""),
        width=size[0],
        height=size[1],
        fps=25.0,
        template=stream,
    )
    return format_, packets


def _encode(path: Path, seconds: int, gop: int, size: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    with av.open(str(path), "w") as out:
        stream = out.add_stream(
            "libx264", rate=25, options={"preset": "ultrafast", "g": str(gop), "bf": "0", "sc_threshold": "0"}
        )
        stream.width, stream.height, stream.pix_fmt = size[0], size[1], "yuv420p"
        for n in range(seconds * 25):
            picture = rng.integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
            picture[:, : (n * 4) % size[0]] = 128
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


def sound(seconds: float = 2.0, *, rate_hz: int = 48000, tone_hz: float = 440.0) -> tuple[Format, list[Packet]]:
    """Blocks of 40 ms of a tone, arriving on time from CLOCK_BOOTTIME 0 on."""
    format_ = Format("audio", "flac", Fraction(1, rate_hz), rate_hz=rate_hz, channels=1)
    size = rate_hz // 25
    packets = []
    for n in range(round(seconds * 25)):
        count = n * size
        samples = np.sin(2 * np.pi * tone_hz * np.arange(count, count + size) / rate_hz) * 12000
        packets.append(Packet(count, True, samples.astype("<i2").tobytes(), n * 40_000_000))
    return format_, packets
