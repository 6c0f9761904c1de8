"""The parameter sets that a camera repeats before its key frames: what a decoder and a file's header need. Annex B throughout.

NAL unit types: ITU-T H.264 table 7-1 (7 SPS, 8 PPS), H.265 table 7-1 (32 VPS, 33 SPS, 34 PPS).
"""

import io
import re
from dataclasses import replace
from itertools import pairwise
from typing import Any

import av

from recorder.media.packets import Format

START = b"\x00\x00\x00\x01"
_PIECES = re.compile(rb"\x00\x00\x01")
KINDS = {"h264": (7, 8), "hevc": (32, 33, 34)}  # in the order in which one needs the other


def parameter_sets(unit: bytes, codec: str) -> bytes:
    """The parameter sets of one access unit, in their order, each behind a start code; empty where it has none."""
    return b"".join(nal for _, nal in _found(unit, codec))


def completed(sets: bytes, known: bytes, codec: str) -> bytes:
    """The parameter sets with those kinds that they lack and known has; where they lack none, as they are.

    A camera may send one kind in the stream and another one in its session description alone.
    """
    if not sets:
        return known
    own, others = _found(sets, codec), _found(known, codec)
    present = {kind for kind, _ in own}
    lacking = [(kind, nal) for kind, nal in others if kind not in present]
    if not lacking:
        return sets
    return b"".join(nal for _, nal in sorted([*lacking, *own], key=lambda each: each[0]))


def _found(unit: bytes, codec: str) -> list[tuple[int, bytes]]:
    """Kind and bytes of each parameter set, with its start code, in their order, none twice."""
    found: list[tuple[int, bytes]] = []
    wanted = KINDS["h264" if codec == "h264" else "hevc"]
    starts = [m.end() for m in _PIECES.finditer(unit)]
    for start, following in pairwise([*starts, len(unit) + 3]):
        if start < len(unit):
            kind = unit[start] & 31 if codec == "h264" else unit[start] >> 1 & 63
            if kind in wanted:
                found.append((kind, START + unit[start : following - 3].rstrip(b"\x00")))
    return list(dict.fromkeys(found))


def format_at(unit: bytes, like: Format) -> Format:
    """The Format from this key frame on: like, but where there was no template yet, or its parameter sets are others.

    A camera may change its parameters, the picture's size among them, at any key frame.
    """
    sets = completed(parameter_sets(unit, like.codec), like.extradata, like.codec)
    if like.template is not None and sets == like.extradata:
        return like
    return format_of(unit, sets, like) or like


def format_of(unit: bytes, sets: bytes, like: Format) -> Format | None:
    """The Format of a key frame with these parameter sets; None where they describe no picture.

    like: the connection's Format, whose rate and time base stand. The template is a stream demuxed from the key frame itself.
    """
    try:
        container = av.open(io.BytesIO(unit if parameter_sets(unit, like.codec) == sets else sets + unit), format=like.codec)
        stream: Any = container.streams.video[0]
    except (av.error.FFmpegError, IndexError):
        return None
    context = stream.codec_context
    if not context.width or not context.height:
        return None
    return replace(like, extradata=sets, width=context.width, height=context.height, template=stream)
