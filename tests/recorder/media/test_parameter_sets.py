"""Parameter sets that come in two ways: some with the pictures, some in the session's description alone."""

import io
import re
from fractions import Fraction
from functools import cache
from typing import Any

import av
import numpy as np
import pytest

from recorder.media.packets import Format
from recorder.media.parameter_sets import KINDS, START, completed, format_at, parameter_sets

ENCODERS = {"h264": "libx264", "hevc": "libx265"}


@cache
def key_frame(codec: str, width: int = 320) -> bytes:
    """The first access unit of a real stream, Annex B, its parameter sets with it."""
    file = io.BytesIO()
    with av.open(file, "w", format=codec) as out:
        options = {"tune": "zerolatency"} | ({"x265-params": "log-level=none"} if codec == "hevc" else {})
        stream: Any = out.add_stream(ENCODERS[codec], rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = width, 192, "yuv420p"
        noise = np.random.default_rng(1).integers(0, 255, (192, width, 3), dtype=np.uint8)
        out.mux(stream.encode(av.VideoFrame.from_ndarray(noise, format="rgb24")))
        out.mux(stream.encode(None))
    return file.getvalue()


def kind_of(nal: bytes, codec: str) -> int:
    return nal[0] & 31 if codec == "h264" else nal[0] >> 1 & 63


def split(unit: bytes, codec: str, kinds: tuple[int, ...]) -> tuple[bytes, bytes]:
    """The NAL units of these kinds, and all others."""
    nals = [nal.rstrip(b"\0") for nal in re.split(rb"\x00\x00\x01", unit) if nal.strip(b"\0")]
    parts = [[START + nal for nal in nals if (kind_of(nal, codec) in kinds) is here] for here in (True, False)]
    return b"".join(parts[0]), b"".join(parts[1])


def announced(codec: str, extradata: bytes) -> Format:
    """A connection's Format before its first key frame: what the session description said."""
    return Format("video", codec, Fraction(1, 90_000), extradata=extradata, fps=25.0)


@pytest.mark.parametrize(
    ("codec", "said"), [("h264", (7,)), ("h264", (8,)), ("hevc", (32, 33)), ("hevc", (34,)), ("hevc", (33,))]
)
def test_what_a_key_frame_lacks_comes_from_the_description(codec: str, said: tuple[int, ...]) -> None:
    unit = key_frame(codec)
    description, sent = split(unit, codec, said)
    assert {kind_of(nal, codec) for nal in re.split(START, parameter_sets(sent, codec))[1:]} == set(KINDS[codec]) - set(said)
    found = format_at(sent, announced(codec, description))
    assert found.template is not None
    assert (found.width, found.height) == (320, 192)
    assert found.extradata == parameter_sets(unit, codec), "whole, and in the order in which one needs the other"
    context = found.template.codec_context
    assert bytes(context.extradata or b"").count(b"\0\0\1") >= len(KINDS[codec]), "a file's header has all of them"
    assert format_at(sent, found) is found, "the next key frame changes nothing"
    assert format_at(split(unit, codec, KINDS[codec])[1], found) is found, "nor one without any"


def test_a_key_frame_with_its_own_sets_stands_for_itself() -> None:
    unit, larger = key_frame("h264"), key_frame("h264", 640)
    found = format_at(unit, announced("h264", parameter_sets(larger, "h264")))
    assert (found.width, found.extradata) == (320, parameter_sets(unit, "h264"))
    changed = format_at(larger, found)
    assert (changed.width, changed.extradata) == (640, parameter_sets(larger, "h264"))
    bare = split(unit, "h264", KINDS["h264"])[1]
    assert format_at(bare, announced("h264", parameter_sets(unit, "h264"))).width == 320, "all in the description"
    nothing = announced("h264", b"")
    assert format_at(bare, nothing) is nothing


def test_completing_changes_nothing_that_is_complete() -> None:
    sets = parameter_sets(key_frame("h264"), "h264")
    swapped = b"".join(START + nal for nal in reversed(sets.split(START)[1:]))
    assert completed(swapped, sets, "h264") == swapped
    assert completed(b"", swapped, "h264") == swapped
    assert completed(sets, b"", "h264") == sets
