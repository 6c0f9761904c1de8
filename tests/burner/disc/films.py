"""Cameras that order their pictures in every way, what the recorder stores of them, and the MP4 that is made of it."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from burner.disc import remux
from recorder.clock.instants import SECOND_NS
from recorder.disk import journal
from recorder.evidence.sealed_segments import SealedSegment, segments
from recorder.media.packets import Format, Packet
from recorder.media.parameter_sets import format_at
from recorder.session.lines import read_lines
from recorder.track.recording import Identity, Recording

T0 = 1_795_224_605_280_000_000
TICKS = 90_000
SIZE = (320, 192)
SECONDS = 9

X264 = "keyint=25:min-keyint=25:scenecut=0:repeat-headers=1:annexb=1:"
X265 = "log-level=none:keyint=25:min-keyint=25:scenecut=0:repeat-headers=1:"
CAMERAS = {
    "no B-frames": ("libx264", X264 + "bframes=0"),
    "B-frames": ("libx264", X264 + "bframes=1:b-adapt=0:open-gop=0"),
    "a pyramid": ("libx264", X264 + "bframes=3:b-adapt=0:b-pyramid=normal:open-gop=0"),
    "a deep pyramid": ("libx264", X264 + "bframes=7:b-adapt=0:b-pyramid=normal:open-gop=0"),
    "a pyramid and open groups": ("libx264", X264 + "bframes=3:b-adapt=0:b-pyramid=normal:open-gop=1"),
    "two fields": ("libx264", X264 + "bframes=2:b-adapt=0:tff=1:open-gop=0"),
    "H.265": ("libx265", X265 + "bframes=0"),
    "H.265 with a pyramid": ("libx265", X265 + "bframes=4:b-adapt=0:b-pyramid=1:open-gop=0"),
    "H.265 with a pyramid and open groups": ("libx265", X265 + "bframes=4:b-adapt=0:b-pyramid=1:open-gop=1"),
}


def pictures() -> Iterator[av.VideoFrame]:
    rng = np.random.default_rng(1)
    for n in range(SECONDS * 25):
        picture = rng.integers(0, 60, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
        picture[:, : n + 1] = 128
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts = n
        yield frame


def encoded(encoder: str, options: str) -> list["av.Packet[Any]"]:
    """A camera's access units in decoding order, parameter sets before each key frame."""
    context = av.CodecContext.create(encoder, "w")
    assert isinstance(context, av.VideoCodecContext)
    context.width, context.height, context.pix_fmt = *SIZE, "yuv420p"
    context.framerate, context.time_base = Fraction(25), Fraction(1, 25)
    context.options = {"preset": "ultrafast", f"x{encoder[-3:]}-params": options}
    return [p for frame in [*pictures(), None] for p in context.encode(frame)]


def recorded(folder: Path, units: list["av.Packet[Any]"], codec: str) -> tuple[SealedSegment, ...]:
    """What the recorder makes of them: segments of two seconds, times of a clock that is 40 ppm slow."""
    recording = Recording(folder / "tracks" / "closeup", Identity("closeup", "s", "b", "1"), T0, 2 * SECOND_NS)
    format_ = Format("video", codec, Fraction(1, TICKS), extradata=b"")
    for unit in units:
        if unit.is_keyframe:
            format_ = format_at(bytes(unit), format_)
        pts = (unit.pts or 0) * TICKS // 25 + 3600 * TICKS
        room_ns = T0 + (unit.pts or 0) * 40_001_600
        recording.write(Packet(pts, unit.is_keyframe, bytes(unit), room_ns), room_ns, format_, 40.0)
    recording.end(T0 + SECONDS * SECOND_NS, 40.0)
    recording.close()
    return segments("closeup", read_lines(journal.read(folder / "tracks" / "closeup" / "journal.jsonl")))


def made(folder: Path, found: tuple[SealedSegment, ...], name: str = "x.mp4") -> tuple[Path, remux.StreamDigest]:
    target = folder / name
    return target, remux.segments_to_mp4(folder, found, target, stopped=lambda: False, done=lambda _: None)
