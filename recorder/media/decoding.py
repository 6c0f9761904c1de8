"""What stored and passed-on video is decoded with, which pictures are damaged, and how a file that was cut off is read."""

import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import av

from recorder.media.packets import FOREIGN_TEXT, Format


def video_decoder(format_: Format) -> av.VideoCodecContext:
    """A decoder of this format, in one thread."""
    decoder = av.CodecContext.create(format_.codec, "r")
    assert isinstance(decoder, av.VideoCodecContext)
    if format_.extradata:
        decoder.extradata = format_.extradata
    decoder.thread_count = 1
    return decoder


def decoded(decoder: av.VideoCodecContext, packet: "av.Packet[Any] | None") -> tuple[list[av.VideoFrame], int]:
    """The pictures that come out, and how many are damaged: the decoder says that something is wrong, or made something up.

    A packet that cannot be decoded at all is one, and brings no picture. packet: None for those that the decoder still holds.
    """
    try:
        frames = decoder.decode(packet)
    except av.error.FFmpegError:
        return [], 1
    return frames, sum(frame.is_corrupt for frame in frames)


def address(path: Path) -> str:
    """What libav opens a stored file by: of a fragmented MP4 that was cut off, as much as it can read. Raises OSError.

    An MP4 whose last box is cut cannot be opened at all where that is a ``moof``: it ends before that then (ffmpeg-protocols(1),
    subfile). A cut ``mdat`` can be read up to its last whole packet.
    """
    size, end = path.stat().st_size, _boxes_end(path)
    return f"file:{path}" if end == size else f"subfile,,start,0,end,{end},,:{path}"


def _boxes_end(path: Path) -> int:
    """Where the last whole top-level box ends (ISO/IEC 14496-12); the file's end inside an ``mdat``, and where it is no MP4."""
    size, at = path.stat().st_size, 0
    with open(path, "rb") as file:
        while at + 8 <= size:
            file.seek(at)
            length, kind = struct.unpack(">I4s", file.read(8))
            if at == 0 and kind != b"ftyp":
                return size
            if length == 1:
                length = int.from_bytes(file.read(8), "big")
            if length < 8 or (at + length > size and kind != b"mdat"):
                break
            at += length
    return min(at, size)


def whole_pictures(path: Path) -> int:
    """Pictures in a video file, by its packets; one that was cut off in the middle is none, nor is what lies behind damage.

    Raises av.error.FFmpegError (it cannot be opened), IndexError (no video in it), OSError.
    """
    pictures = 0
    with av.open(address(path), metadata_errors=FOREIGN_TEXT) as container:
        packets = container.demux(video=0)
        with suppress(av.error.FFmpegError):
            for packet in packets:
                pictures += bool(packet.size) and not packet.is_corrupt
    return pictures
