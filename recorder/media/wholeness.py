"""Whether the last picture of a connection that broke is whole: FFmpeg's demuxer gives what came of it as if it were.

H.264: the group of pictures is decoded, and the decoder says of its last picture what it says of any damaged one. H.265: the
decoder reads on behind the end of a picture that was cut and says nothing. But a picture that is whole stays as it is, whatever
bytes are put behind its end, and one that was cut does not (H.265, 9.3.4.3.5: a slice ends where its data say so). For that it
needs no other picture than a key frame, since how an H.265 slice is parsed depends on no other picture's content.
"""

import re
from collections.abc import Callable, Sequence
from itertools import pairwise

import av

from recorder.media.decoding import decoded, video_decoder
from recorder.media.packets import Format, Packet

MOST_PICTURES, MOST_BYTES = 600, 16 << 20  # of a group that is decoded
TAILS = (b"", b"\x55\xe3" * 64, b"\xaa\x1c" * 64)  # without a start code in them
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
    counts = [_slices(packet.data, format_.codec) for packet in needed]
    if not counts[-1] and packets[-1].data.startswith(STARTS):
        return False
    if format_.codec != "hevc":
        return _decodes(format_, needed, stopped)
    if len(needed) > 1 and len(set(counts[:-1])) == 1 and counts[-1] < counts[0]:
        return False  # slices are missing altogether
    return _ends_by_itself(format_, needed)


def _slices(unit: bytes, codec: str) -> int:
    """How many slices of a picture an access unit has (types 1 to 5 of H.264, 0 to 31 of H.265)."""
    ends = [*(found.end() for found in _NAL.finditer(unit)), len(unit)]
    kinds = [unit[at] for at, following in pairwise(ends) if at < following]
    return sum(1 <= kind & 31 <= 5 if codec == "h264" else kind >> 1 & 63 < 32 for kind in kinds)


def _decodes(format_: Format, packets: Sequence[Packet], stopped: Callable[[], bool]) -> bool | None:
    """By decoding all of them."""
    if len(packets) > MOST_PICTURES or sum(len(packet.data) for packet in packets) > MOST_BYTES:
        return None
    decoder = video_decoder(format_)
    last, shown = len(packets) - 1, {}
    for number, each in enumerate([*packets, None]):
        if stopped():
            return None
        frames, damaged = decoded(decoder, _numbered(each.data, number) if each is not None else None)
        if number == last and damaged and not frames:
            return False
        shown |= {frame.pts: bool(frame.is_corrupt) for frame in frames}
    if last in shown:
        return not shown[last]
    return None if len(shown) < FIELDS * len(packets) else False


def _ends_by_itself(format_: Format, packets: Sequence[Packet]) -> bool | None:
    """By what other bytes behind the last picture change of it."""
    keys = [packet.data for packet in packets[:-1] if packet.key]
    seen = []
    for tail in TAILS:
        decoder = video_decoder(format_)
        for data in keys:
            decoded(decoder, _numbered(data, -1))
        frames, damaged = decoded(decoder, _numbered(packets[-1].data + tail, 0))
        if damaged and not frames:
            return False
        more, _ = decoded(decoder, None)
        found = [frame for frame in (*frames, *more) if frame.pts == 0]
        if not found:
            return None
        seen.append(_pixels(found[0]))
    return all(one == seen[0] for one in seen)


def _numbered(data: bytes, number: int) -> "av.Packet[av.VideoStream]":
    packet: av.Packet[av.VideoStream] = av.Packet(data)
    packet.pts = packet.dts = number
    return packet


def _pixels(frame: av.VideoFrame) -> list[bytes]:
    """What is seen of a picture, without the bytes that fill up its rows."""
    found = []
    for plane in frame.planes:
        rows, size = bytes(plane), plane.line_size
        used = plane.width * (frame.format.components[0].bits + 7 >> 3)
        found.append(b"".join(rows[at : at + used] for at in range(0, size * plane.height, size)))
    return found
