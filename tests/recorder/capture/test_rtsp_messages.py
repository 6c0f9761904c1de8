"""Frames and messages out of an RTSP connection, however its bytes come, and the bounds of what is taken."""

import random
import struct
from collections.abc import Iterable

import pytest

from recorder.capture.rtsp_messages import BODY_BYTES, HEAD_BYTES, Message, Splitter, TooLong


def frame(payload: bytes, channel: int = 0) -> bytes:
    return b"$" + bytes([channel]) + struct.pack(">H", len(payload)) + payload


ANSWER = b"RTSP/1.0 200 OK\r\nCSeq: 2\r\nContent-Type: application/sdp\r\nContent-Length: 7\r\n\r\nv=0\r\n$\x00"
REQUEST = b"OPTIONS * RTSP/1.0\nCSeq: 9\n\n"


def split(pieces: Iterable[bytes]) -> tuple[bytes, list[Message]]:
    """All frames in a row, and the messages between them."""
    splitter, frames, messages = Splitter(), bytearray(), []
    for piece in pieces:
        for part in splitter.feed(memoryview(piece)):
            if isinstance(part, Message):
                messages.append(part)
            else:
                frames += part
    return bytes(frames), messages


def cut(data: bytes, seed: int) -> list[bytes]:
    """The data in pieces of random lengths."""
    dice, at, pieces = random.Random(seed), 0, []
    while at < len(data):
        step = dice.choice((1, 2, 3, 5, 40, 700))
        pieces.append(data[at : at + step])
        at += step
    return pieces


@pytest.mark.parametrize("seed", range(30))
def test_frames_and_messages_in_any_pieces(seed: int) -> None:
    media = [frame(random.Random(seed).randbytes(n)) for n in (0, 1, 3, 1400, 9)]
    data = media[0] + ANSWER + media[1] + b"\r\n\r\n" + media[2] + REQUEST + media[3] + ANSWER + ANSWER + media[4]
    frames, messages = split(cut(data, seed))
    assert frames == b"".join(media)
    assert [each.start for each in messages] == ["RTSP/1.0 200 OK", "OPTIONS * RTSP/1.0", "RTSP/1.0 200 OK", "RTSP/1.0 200 OK"]
    assert messages[0].body == b"v=0\r\n$\x00" and messages[0].status == 200
    assert messages[1].first("cseq") == "9" and messages[1].status == 0


@pytest.mark.parametrize("seed", range(5))
def test_what_is_neither_is_dropped_at_the_next_frame(seed: int) -> None:
    """As tests.equipment.relay puts it between: without "$" and line feeds, CR LF behind it."""
    junk = random.Random(seed).randbytes(300).replace(b"$", b"x").replace(b"\n", b"x").replace(b"\r", b"x") + b"\r\n"
    frames, messages = split(cut(frame(b"a") + junk + frame(b"b" * 50) + b"no message\r\n\r\n" + frame(b"c") + ANSWER, seed))
    assert frames == frame(b"a") + frame(b"b" * 50) + frame(b"c")
    assert [each.status for each in messages] == [200]


def test_a_message_is_sent_as_it_came_with_the_length_of_its_body() -> None:
    [message] = split([ANSWER])[1]
    assert message.encoded() == ANSWER
    message.body = b""
    assert message.encoded() == b"RTSP/1.0 200 OK\r\nCSeq: 2\r\nContent-Type: application/sdp\r\n\r\n"
    assert Message("RTSP/1.0 none").status == Message("").status == Message("RTSP/1.0").status == 0


@pytest.mark.parametrize(
    "data",
    [
        b"RTSP/1.0 200 OK\r\nA: " + b"x" * HEAD_BYTES,
        b"RTSP/1.0 200 OK\r\n" + b"A: b\r\n" * (HEAD_BYTES // 6 + 1),
        b"x" * (HEAD_BYTES + 1),
        b"RTSP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % (BODY_BYTES + 1),
        b"RTSP/1.0 200 OK\r\nContent-Length: 2000000000\r\n\r\n",
        b"RTSP/1.0 200 OK\r\nContent-Length: 7\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
    ],
    ids=["line", "lines", "no-line", "body", "endless-body", "digits"],
)
@pytest.mark.parametrize("pieces", [1, 1000])
def test_what_is_too_long_is_not_taken(data: bytes, pieces: int) -> None:
    size = -(-len(data) // pieces)
    with pytest.raises(TooLong):
        split(data[at : at + size] for at in range(0, len(data), size))


def test_a_whole_description_is_taken() -> None:
    body = b"v" * BODY_BYTES
    assert split([b"RTSP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body])[1][0].body == body
