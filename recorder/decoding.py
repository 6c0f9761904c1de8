"""What stored and passed-on video is decoded with, and how its pictures are counted."""

from pathlib import Path

import av

from recorder.media import Format


def video_decoder(format_: Format) -> av.VideoCodecContext:
    """A decoder of this format, in one thread."""
    decoder = av.CodecContext.create(format_.codec, "r")
    assert isinstance(decoder, av.VideoCodecContext)
    if format_.extradata:
        decoder.extradata = format_.extradata
    decoder.thread_count = 1
    return decoder


def whole_pictures(path: Path) -> int:
    """Pictures in a video file, by its packets; one that was cut off in the middle is none.

    Raises av.error.FFmpegError, IndexError (no video in it), OSError.
    """
    with av.open(str(path)) as container:
        return sum(1 for packet in container.demux(video=0) if packet.size and not packet.is_corrupt)
