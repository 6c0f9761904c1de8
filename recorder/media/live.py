"""The live stream: what a track gives to the composer, and the composer to the self-check, over a unix socket.

A message is a header (network order: magic, kind, key, payload length, time_ns, pts, ppb) and a payload. Kinds: FORMAT, a JSON
object that says what follows (media, codec, extradata in hexadecimal, width, height, fps, time_base, or rate_hz and channels);
DATA, one access unit or one block of samples; LOST, nothing comes for now; HELLO, the first message of each connection, a JSON
object that says of which track it is and whether its sender gives or takes. time_ns is CLOCK_BOOTTIME of the picture or of the
first sample, ppb the source's drift in 10⁻⁹. Whoever takes gets the current group of pictures first, so it can decode at once.
"""

import contextlib
import json
import re
import socket
import struct
import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from fractions import Fraction
from pathlib import Path
from typing import Literal

from recorder.disk.typed import typed
from recorder.media.packets import Format, Packet
from recorder.process import local_socket

HEADER = struct.Struct("!4sBBxxIqqq")
MAGIC = b"IRF2"
MESSAGE_BYTES = 24 << 20  # of a payload: no picture is so large; a longer one ends the connection
HELLO_BYTES = 256
QUEUE_BYTES = 24 << 20
LARGEST = 1 << 24  # of a width, a rate and the like
TIME_BASE = re.compile(r"([1-9][0-9]{0,17})(?:/([1-9][0-9]{0,17}))?")
GROUP_BYTES = 12 << 20  # a longer group of pictures is not kept: who comes later waits for the next key frame


class LiveKind(IntEnum):
    """The kind of a message on a live stream, as its header holds it."""

    FORMAT = 1
    DATA = 2
    LOST = 3
    HELLO = 4


KINDS = frozenset(LiveKind)


@dataclass(frozen=True, slots=True)
class LiveMessage:
    """One message of the live stream."""

    kind: LiveKind
    key: bool = False
    time_ns: int = 0
    pts: int = 0
    ppb: int = 0
    payload: bytes = b""

    @property
    def tells_format(self) -> bool:
        """Whether ``format`` is one."""
        try:
            return bool(self.format)
        except ValueError:
            return False

    @property
    def format(self) -> Format:
        """The Format of a FORMAT message. Raises ValueError where it is none."""
        try:
            told = typed(_Told, json.loads(self.payload))
            base = TIME_BASE.fullmatch(told.time_base)
            if base is None or not all(
                0 <= n < LARGEST for n in (told.width, told.height, told.rate_hz, told.channels, told.fps)
            ):
                raise ValueError("no format")
            time_base, extradata = Fraction(int(base[1]), int(base[2] or 1)), bytes.fromhex(told.extradata)
        except RecursionError as error:
            raise ValueError("no format") from error
        return Format(
            media=told.media,
            codec=told.codec,
            time_base=time_base,
            extradata=extradata,
            width=told.width,
            height=told.height,
            fps=told.fps,
            rate_hz=told.rate_hz,
            channels=told.channels,
        )

    def packed(self) -> bytes:
        """The message as it goes over the socket."""
        return HEADER.pack(MAGIC, self.kind, self.key, len(self.payload), self.time_ns, self.pts, self.ppb) + self.payload


@dataclass(frozen=True, slots=True)
class _Told:
    """The payload of a FORMAT message."""

    media: Literal["video", "audio"]
    codec: str
    time_base: str
    extradata: str
    width: int
    height: int
    fps: float
    rate_hz: int
    channels: int


def format_message(format_: Format) -> LiveMessage:
    """The FORMAT message of a Format."""
    names = ("media", "codec", "width", "height", "fps", "rate_hz", "channels")
    data = {name: getattr(format_, name) for name in names}
    data |= {"time_base": str(format_.time_base), "extradata": format_.extradata.hex()}
    return LiveMessage(LiveKind.FORMAT, payload=json.dumps(data).encode())


def data_message(packet: Packet, time_ns: int, ppm: float) -> LiveMessage:
    """The DATA message of a packet."""
    return LiveMessage(LiveKind.DATA, packet.key, time_ns, packet.pts, round(ppm * 1000), packet.data)


@dataclass(frozen=True, slots=True)
class Hello:
    """How a connection begins. takes: its sender takes the track's stream; else it gives it."""

    track: str
    takes: bool

    def message(self) -> LiveMessage:
        """The HELLO message."""
        return LiveMessage(LiveKind.HELLO, payload=json.dumps({"track": self.track, "takes": self.takes}).encode())

    @classmethod
    def of(cls, message: LiveMessage | None) -> "Hello":
        """Raises ValueError where the message is none."""
        if message is None or message.kind is not LiveKind.HELLO or len(message.payload) > HELLO_BYTES:
            raise ValueError("a connection begins with a HELLO")
        data = json.loads(message.payload)
        if not isinstance(data, dict) or not isinstance(data.get("track"), str) or not isinstance(data.get("takes"), bool):
            raise ValueError("a HELLO names a track, and says whether its sender takes")
        return cls(data["track"], data["takes"])


class CurrentGroup:
    """What somebody who comes later needs first: the newest format, and everything since the last key frame."""

    def __init__(self) -> None:
        self._format: LiveMessage | None = None
        self._data: list[LiveMessage] = []
        self.size = 0  # bytes of data that are kept

    def add(self, message: LiveMessage) -> None:
        """The next message of the stream."""
        if message.kind is LiveKind.FORMAT:
            self._format, self._data, self.size = message, [], 0
        elif message.kind is LiveKind.LOST:
            self._data, self.size = [], 0
        elif message.key:
            self._data, self.size = [message], len(message.payload)
        elif self._data:
            self._data.append(message)
            self.size += len(message.payload)
            if self.size > GROUP_BYTES:
                self._data, self.size = [], 0

    def messages(self) -> list[LiveMessage]:
        """What there is, in the stream's order; none before a format came."""
        return [self._format, *self._data] if self._format else []


class LiveQueue:
    """Messages on their way to one taker, who may be slow: then whole groups of pictures are dropped, the oldest first.

    Whoever puts never waits.
    """

    def __init__(self, first: Iterable[LiveMessage] = ()) -> None:
        self._queue: deque[LiveMessage] = deque(first)
        self._bytes = sum(len(m.payload) for m in self._queue)
        self._ready = threading.Condition()
        self.closed = False
        self.dropped = 0

    def put(self, message: LiveMessage) -> None:
        """Adds a message."""
        with self._ready:
            self._queue.append(message)
            self._bytes += len(message.payload)
            if self._bytes > QUEUE_BYTES:
                self._drop_oldest_group()
            self._ready.notify()

    def _drop_oldest_group(self) -> None:
        kept: list[LiveMessage] = []
        began = False
        while self._queue:
            message = self._queue[0]
            if message.kind is not LiveKind.DATA:
                kept.append(self._queue.popleft())
                continue
            if message.key and began:
                break
            began = True
            self._bytes -= len(message.payload)
            self.dropped += 1
            self._queue.popleft()
        self._queue.extendleft(reversed(kept))

    def take(self, timeout_s: float) -> LiveMessage | None:
        """The next message; None where the queue is closed and nothing is left. Raises TimeoutError."""
        with self._ready:
            if not self._ready.wait_for(lambda: self._queue or self.closed, timeout_s):
                raise TimeoutError
            if not self._queue:
                return None
            message = self._queue.popleft()
            self._bytes -= len(message.payload)
            return message

    def close(self) -> None:
        """Nothing is put any more."""
        with self._ready:
            self.closed = True
            self._ready.notify()


class MessageReader:
    """Reads messages from a connected socket. One thread reads."""

    def __init__(self, connection: socket.socket) -> None:
        """connection: with the time-out that holds for each read."""
        self._socket = connection
        self._came = bytearray()

    def read(self) -> LiveMessage | None:
        """The next message, None at the end of the connection, and where what comes is no message.

        Raises TimeoutError after a time-out's silence; what had come of a message by then is kept for the next call.
        """
        if not self._have(HEADER.size):
            return None
        magic, kind, key, size, time_ns, pts, ppb = HEADER.unpack_from(self._came)
        if magic != MAGIC or kind not in KINDS or size > MESSAGE_BYTES or not self._have(HEADER.size + size):
            return None
        payload = bytes(memoryview(self._came)[HEADER.size : HEADER.size + size])
        del self._came[: HEADER.size + size]
        message = LiveMessage(LiveKind(kind), bool(key), time_ns, pts, ppb, payload)
        return message if message.kind is not LiveKind.FORMAT or message.tells_format else None

    def _have(self, count: int) -> bool:
        """Waits until so many bytes have come; False at the end of the connection."""
        while len(self._came) < count:
            try:
                piece = self._socket.recv(1 << 16)
            except TimeoutError:
                raise
            except OSError:
                return False
            if not piece:
                return False
            self._came += piece
        return True


class LiveReader:
    """Takes one track's live stream from the composer. Use it as a context manager; one thread reads."""

    def __init__(self, path: Path, track: str, timeout_s: float = 2.0) -> None:
        """path: see recorder.process.local_socket.live_socket. Raises OSError where no composer listens."""
        self._socket = local_socket.connect(path, timeout_s)
        self._messages = MessageReader(self._socket)
        try:
            self._socket.sendall(Hello(track, takes=True).message().packed())
        except OSError:
            self._socket.close()
            raise

    def read(self) -> LiveMessage | None:
        """See MessageReader.read. None, too, where the track gives the composer nothing, since its process is not there."""
        return self._messages.read()

    def close(self) -> None:
        """Ends the connection; a read in another thread returns None."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def __enter__(self) -> "LiveReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
