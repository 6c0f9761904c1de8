"""Whether the last picture of a connection that broke is whole: FFmpeg's demuxer gives what came of it as if it were.

Its group of pictures is decoded. Of H.264 the decoder says of the last one what it says of any damaged picture. The decoder of
H.265 reads on behind the end of a picture that was cut, and says nothing. But a picture that is whole stays as it is, whatever
bytes are put behind its end, and one that was cut does not (H.265, 9.3.2.5: a slice ends where its own data say so).
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import av

from recorder.media.decoding import decoded, video_decoder
from recorder.media.packets import Format, Packet

MOST_PICTURES, MOST_BYTES = 600, 16 << 20  # of what is decoded
TAILS = (b"\x55\xe3" * 64, b"\xaa\x1c" * 64)  # without a start code in them
FIELDS = 0.75  # a decoder that gives pictures for a smaller share of the packets gets a field in each
STARTS = (b"\x00\x00\x01", b"\x00\x00\x00\x01")
_NAL = re.compile(STARTS[0])


def last_is_whole(format_: Format, packets: Sequence[Packet], stopped: Callable[[], bool] = lambda: False) -> bool | None:
    """packets: the newest groups of pictures in decoding order, Annex B. None where it cannot be told: too much, or stopped.

    A picture that is shown before the key frame it was sent behind needs the group before as well.
    """
    keys = [number for number, packet in enumerate(packets) if packet.key]
    early = bool(keys) and packets[-1].pts < packets[keys[-1]].pts
    if len(keys) < 1 + early:
        return None
    needed = packets[keys[-1 - early] :]
    if len(needed) > MOST_PICTURES or sum(len(packet.data) for packet in needed) > MOST_BYTES:
        return None
    counts = [_slices(packet.data, format_.codec) for packet in needed]
    if not counts[-1] and packets[-1].data.startswith(STARTS):
        return False
    if format_.codec != "hevc":
        last = _last(format_, needed, b"", stopped)
        return last.whole if last.frame is None else not last.frame.is_corrupt
    if len(needed) > 1 and len(set(counts[:-1])) == 1 and counts[-1] < counts[0]:
        return False  # slices are missing altogether
    return _ends_by_itself(format_, needed, stopped)


def _slices(unit: bytes, codec: str) -> int:
    """How many slices of a picture an access unit has (types 1 to 5 of H.264, 0 to 31 of H.265)."""
    ends = [*(found.end() for found in _NAL.finditer(unit)), len(unit)]
    kinds = [unit[at] for at, following in pairwise(ends) if at < following]
    return sum(1 <= kind & 31 <= 5 if codec == "h264" else kind >> 1 & 63 < 32 for kind in kinds)


def _ends_by_itself(format_: Format, packets: Sequence[Packet], stopped: Callable[[], bool]) -> bool | None:
    """By what other bytes behind the last picture change of it."""
    seen = []
    for tail in TAILS:
        last = _last(format_, packets, tail, stopped)
        if last.frame is None:
            return last.whole
        seen.append(_pixels(last.frame))
    return seen[0] == seen[1]


@dataclass(frozen=True, slots=True)
class _Last:
    """The last picture as it was decoded. whole: what is known where there is none."""

    frame: av.VideoFrame | None = None
    whole: bool | None = None


def _last(format_: Format, packets: Sequence[Packet], tail: bytes, stopped: Callable[[], bool]) -> _Last:
    """Decodes all of them. tail: bytes that are put behind the last one."""
    decoder = video_decoder(format_)
    last, pictures = len(packets) - 1, 0
    found: av.VideoFrame | None = None
    for number, each in enumerate([*packets, None]):
        if stopped():
            return _Last()
        packet = None
        if each is not None:
            packet = av.Packet(each.data + tail if number == last else each.data)
            packet.pts = packet.dts = number
        frames, damaged = decoded(decoder, packet)
        if number == last and damaged and not frames:
            return _Last(whole=False)
        pictures += len(frames)
        found = next((frame for frame in frames if frame.pts == last), found)
    if found is None and pictures < FIELDS * len(packets):
        return _Last()
    return _Last(found, whole=False)


def _pixels(frame: av.VideoFrame) -> list[bytes]:
    """What is seen of a picture, without the bytes that fill up its rows."""
    found = []
    for plane in frame.planes:
        rows, size = bytes(plane), plane.line_size
        used = plane.width * (frame.format.components[0].bits + 7 >> 3)
        found.append(b"".join(rows[at : at + used] for at in range(0, size * plane.height, size)))
    return found
