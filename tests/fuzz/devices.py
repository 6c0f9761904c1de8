"""Parsers of what devices, drives and the processes beside them say."""

import json
import math
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path

import av

from burner.work.drive import XorrisoMessage, XorrisoProgress, parse_line
from drivers.climate import ModbusClimate
from drivers.optical import judge, parse_toc
from drivers.ports import Reading
from recorder.media.decoding import whole_pictures
from recorder.media.live import HEADER, MESSAGE_BYTES, Hello, LiveKind, MessageReader, data_message, format_message
from recorder.media.packets import Format, Packet
from recorder.media.parameter_sets import completed, format_at, parameter_sets
from tests.drivers.serial_line import Line, answer
from tests.fuzz.target import LANGUAGES, Target, folder_alone, plain

MADE = Path(__file__).parents[1] / "recorder" / "verify" / "version_0_1_0"


# xorriso


TOC = (
    b"R:1: Media current: BD-R sequential recording\nR:1: Media status : is blank\n"
    b"R:1: Media blocks : 0 readable , 12219392 writable , 12219392 overall\n"
    b"libburn : SORRY : Drive is in use by another program\n"
)
LINES = (
    b"R:1: xorriso : UPDATE :  12 of 700 MB written (fifo 99%)  [buf 98%]  4.5x.\n",
    b"I:1: libburn : FATAL : SCSI error on write(16,16): [3 0C 00] Medium error. Write error.\n",
)


def toc(data: bytes) -> None:
    state = judge("/dev/sr0", parse_toc(data.decode(errors="replace")))
    assert state.state in ("blank", "written", "empty", "unusable", "absent")
    assert state.capacity_bytes >= 0 and state.free_bytes >= 0
    json.dumps(state.as_dict())
    if state.problem:
        for language in LANGUAGES:
            plain(state.problem.say(language) + state.problem.say_mend(language))


def progress(data: bytes) -> None:
    told = parse_line(data.decode(errors="replace"))
    assert told is None or isinstance(told, (XorrisoProgress, XorrisoMessage))
    if isinstance(told, XorrisoProgress):
        assert told.written_mb >= 0 and (told.total_mb is None or told.written_mb / max(1, told.total_mb) >= 0)


# the climate sensor


@contextmanager
def sensor(folder: Path) -> Iterator[tuple[Line, ModbusClimate]]:
    line = Line(folder / "port")
    device = ModbusClimate(str(line.port))
    yield line, device
    device.close()
    line.unplug()


def climate(data: bytes, around: tuple[Line, ModbusClimate]) -> None:
    """A reading that a room can have, or a fault."""
    line, device = around
    line.reply = lambda _: data[:256]
    read = device.read()
    assert isinstance(read, Reading) and -10 <= read.temperature_c <= 50 and 5 <= read.humidity_pct <= 95


# the live stream


def live(data: bytes) -> None:
    """Every message is one, and a FORMAT message holds a format; the rest is the end of the connection."""
    here, there = socket.socketpair()
    with here, there:
        sender = threading.Thread(target=_say, args=(there, data), daemon=True)
        sender.start()
        messages = MessageReader(here)
        while (message := messages.read()) is not None:
            assert message.kind in LiveKind and len(message.payload) <= MESSAGE_BYTES
            if message.kind is LiveKind.HELLO:
                with suppress(ValueError):
                    Hello.of(message)
            if message.kind is LiveKind.FORMAT:
                told = message.format
                assert told.time_base > 0 and told.width >= 0 and math.isfinite(told.fps)
                assert float(told.time_base) >= 0
        with suppress(OSError):
            here.shutdown(socket.SHUT_RDWR)
        sender.join(5)


def _say(line: socket.socket, data: bytes) -> None:
    with suppress(OSError):
        line.sendall(data)
        line.shutdown(socket.SHUT_WR)


def live_seeds() -> list[bytes]:
    video = format_message(Format("video", "h264", Fraction(1, 90_000), b"\0\0\0\1\x67\x42", 640, 360, 25.0))
    sound = format_message(Format("audio", "flac", Fraction(1, 48_000), rate_hz=48_000, channels=1))
    picture = data_message(Packet(9, True, b"\0\0\0\1\x65" * 9, 0), 9, 1.5)
    found = []
    for messages in ((video, picture, picture), (sound, picture)):
        whole = b""
        for each in messages:
            head = (b"IRF1", each.kind, each.key, len(each.payload), each.time_ns, each.pts, each.ppb)
            whole += HEADER.pack(*head) + each.payload
        found.append(whole)
    return found


# the camera's pictures


SETS = bytes.fromhex("00000001674200148d8d40501e900ff00010000003001000000303c8f162d3800000000168ce3c80")


def sets(data: bytes) -> None:
    """Parameter sets are found in whatever a camera sends, and a format follows from them or stays as it was."""
    for codec in ("h264", "hevc"):
        found = parameter_sets(data, codec)
        assert len(completed(found, SETS, codec)) <= 2 * len(data) + len(SETS) + 8
        like = Format("video", codec, Fraction(1, 90_000), SETS)
        told = format_at(data, like)
        assert told.width >= 0 and told.time_base == like.time_base


def pictures(data: bytes, folder: Path) -> None:
    """A stored video, however damaged. May raise FFmpeg's errors, IndexError, OSError."""
    path = folder / "part.mp4"
    path.write_bytes(data)
    assert whole_pictures(path) >= 0


def stored() -> list[bytes]:
    return [path.read_bytes() for path in sorted((MADE / "sealed").rglob("*")) if path.suffix in (".mp4", ".mkv")][:3]


FFMPEG = (av.error.FFmpegError, IndexError, OSError)
BOXES = tuple(
    struct.pack(">I4s", length, kind) for length in (0, 1, 8, 0x7FFFFFFF, 0xFFFFFFFF) for kind in (b"moof", b"mdat", b"trun")
)

TARGETS = (
    Target("xorriso-toc", toc, lambda: [TOC], words=(b"not present", b"not recognizable", b"readable , ", b"FATAL : ")),
    Target("xorriso-line", progress, lambda: LINES, words=(b"UPDATE : ", b" of ", b" MB written"), cases=300),
    Target("climate", climate, lambda: [answer(235, 482)], cases=4, around=sensor),
    Target("live-stream", live, live_seeds, words=(b"IRF2", b'"time_base": "1/0"', b"1e9999999")),
    Target(
        "parameter-sets", sets, lambda: [SETS + b"\0\0\0\1\x65" + b"x" * 40], words=(b"\0\0\1", b"\x67", b"\x68", b"\x40\x01")
    ),
    Target("stored-video", pictures, stored, allowed=FFMPEG, words=BOXES, cases=30, around=folder_alone),
)
