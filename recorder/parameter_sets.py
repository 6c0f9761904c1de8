"""The parameter sets that a camera repeats before its key frames: what a decoder and a file's header need. Annex B throughout.

NAL unit types: ITU-T H.264 table 7-1 (7 SPS, 8 PPS), H.265 table 7-1 (32 VPS, 33 SPS, 34 PPS).
"""

import io
import re
from dataclasses import replace
from typing import Any

import av

from recorder.media import Format

START = b"\x00\x00\x00\x01"
_PIECES = re.compile(rb"\x00\x00\x01")


def parameter_sets(unit: bytes, codec: str) -> bytes:
    """The parameter sets of one access unit, in their order, each behind a start code; empty where it has none."""
    wanted = (7, 8) if codec == "h264" else (32, 33, 34)
    found = []
    starts = [m.end() for m in _PIECES.finditer(unit)]
    for start, following in zip(starts, [*starts[1:], len(unit) + 3], strict=True):
        if start < len(unit):
            kind = unit[start] & 31 if codec == "h264" else unit[start] >> 1 & 63
            if kind in wanted:
                found.append(START + unit[start : following - 3].rstrip(b"\x00"))
    return b"".join(dict.fromkeys(found))


def format_of(unit: bytes, sets: bytes, like: Format) -> Format | None:
    """The Format of a key frame with these parameter sets; None where they describe no picture.

    like: the connection's Format, whose rate and time base stand. The template is a stream demuxed from the key frame itself.
    """
    try:
        container = av.open(io.BytesIO(unit if parameter_sets(unit, like.codec) else sets + unit), format=like.codec)
        stream: Any = container.streams.video[0]
    except (av.error.FFmpegError, IndexError):
        return None
    context = stream.codec_context
    if not context.width or not context.height:
        return None
    return replace(like, extradata=sets, width=context.width, height=context.height, template=stream)
