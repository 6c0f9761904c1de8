"""Whether a picture that was the last of its connection is whole: cut anywhere, of both codecs, with pictures in any order."""

import re
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest

from recorder.media import wholeness
from recorder.media.packets import Format, Packet
from recorder.media.parameter_sets import START, parameter_sets
from recorder.media.wholeness import last_is_whole

SIZE = (320, 192)
GROUP = 10
CODECS = {"h264": ("libx264", "x264-params"), "hevc": ("libx265", "x265-params")}
AUD = {"h264": START + b"\x09\xf0", "hevc": START + b"\x46\x01\x50"}  # an access unit delimiter alone


def film(codec: str, more: str = "bframes=0", *, groups: int = 1, group: int = GROUP) -> tuple[Format, list[Packet]]:
    """Groups of pictures, from a key frame on, as a camera sends them; pts counts pictures."""
    encoder, params = CODECS[codec]
    context = av.CodecContext.create(encoder, "w")
    assert isinstance(context, av.VideoCodecContext)
    context.width, context.height, context.pix_fmt, context.time_base = *SIZE, "yuv420p", Fraction(1, 25)
    told = f"keyint={group}:min-keyint={group}:scenecut=0:b-adapt=0:repeat-headers=1:annexb=1:{more}"
    told += ":log-level=none" if codec == "hevc" else ""
    context.options = {"preset": "ultrafast", params: told}
    rng = np.random.default_rng(5)
    packets = []
    for n in range(groups * group):
        picture = rng.integers(0, 80, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
        picture[:, : n * 9 + 1] = 128
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts = n
        packets += context.encode(frame)
    packets += context.encode(None)
    units = [Packet(packet.pts or 0, packet.is_keyframe, bytes(packet), 0) for packet in packets]
    return Format("video", codec, Fraction(1, 25), extradata=parameter_sets(units[0].data, codec)), units


def cut(packets: Sequence[Packet], size: int) -> list[Packet]:
    """The pictures, the last one of so many bytes (below zero: without so many)."""
    return [*packets[:-1], replace(packets[-1], data=packets[-1].data[:size])]


@pytest.mark.parametrize("order", ["bframes=0", "bframes=3:b-pyramid=0", "bframes=3"])
@pytest.mark.parametrize("codec", CODECS)
def test_a_picture_is_whole_to_its_last_bytes_and_cut_anywhere_before(codec: str, order: str) -> None:
    format_, packets = film(codec, order)
    for count in (1, 2, 4, 7, 10):
        pictures = packets[:count]
        assert last_is_whole(format_, pictures) is True, (count, "whole")
        size = len(pictures[-1].data)
        for left in (size // 10, size // 3, size // 2, size - size // 10, size - 12):
            assert last_is_whole(format_, cut(pictures, left)) is False, (count, left, size)


@pytest.mark.parametrize("codec", CODECS)
def test_slices_that_are_missing_altogether(codec: str) -> None:
    format_, packets = film(codec, "bframes=0:slices=4")
    assert last_is_whole(format_, packets[:5]) is True
    _, *later = [found.start() for found in re.finditer(b"\x00\x00\x01", packets[4].data)]
    assert later
    for end in later:
        assert last_is_whole(format_, cut(packets[:5], end)) is False, end


@pytest.mark.parametrize("codec", CODECS)
def test_an_access_unit_of_which_no_picture_came(codec: str) -> None:
    format_, packets = film(codec)
    assert last_is_whole(format_, [*packets[:3], Packet(3, False, AUD[codec], 0)]) is False
    sets = format_.extradata
    assert last_is_whole(format_, [*packets[:3], Packet(3, True, sets, 0)]) is False


@pytest.mark.parametrize("codec", CODECS)
def test_a_picture_that_is_shown_before_its_key_frame_needs_the_group_before(codec: str) -> None:
    format_, packets = film(codec, "bframes=2:b-pyramid=0:open-gop=1", groups=3, group=11)
    second = [n for n, packet in enumerate(packets) if packet.key][1]
    assert packets[second + 1].pts < packets[second].pts
    pictures = packets[: second + 2]
    assert last_is_whole(format_, pictures) is True
    assert last_is_whole(format_, cut(pictures, len(pictures[-1].data) // 2)) is False
    assert last_is_whole(format_, pictures[second:]) is None


def test_what_would_take_too_long_is_not_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    format_, packets = film("h264")
    assert last_is_whole(format_, packets[:4], lambda: True) is None
    for limit, most in (("MOST_PICTURES", 3), ("MOST_BYTES", 100)):
        with monkeypatch.context() as patch:
            patch.setattr(wholeness, limit, most)
            assert last_is_whole(format_, packets[:4]) is None
    assert last_is_whole(format_, packets[1:4]) is None, "without a key frame"
    assert last_is_whole(format_, []) is None
