"""The live stream: packets from a track to the composer and the self-check, over a unix socket, never holding the track up
(invariant 6).

A message is a header (network order: magic, kind, key, payload length, time_ns, pts, ppb) and a payload. Kinds: FORMAT, a JSON
object that says what follows (media, codec, extradata in hexadecimal, width, height, fps, time_base, or rate_hz and channels);
DATA, one access unit or one block of samples; LOST, nothing comes for now. time_ns is CLOCK_BOOTTIME of the picture or of the
first sample, ppb the source's drift in 10⁻⁹. A reader gets the current group of pictures first, so it can decode at once.
"""

import contextlib
import json
import re
import socket
import struct
import threading
from collections import deque
from dataclasses import dataclass
from enum import IntEnum
from fractions import Fraction
from pathlib import Path
from typing import Literal

from recorder.disk.typed import typed
from recorder.media.packets import Format, Packet
from recorder.process import local_socket

HEADER = struct.Struct("!4sBBxxIqqq")
MAGIC = b"IRF1"
QUEUE_BYTES = 24 << 20
READERS = 4  # at once: the composer, a self-check and a calibration, and one to spare
PAYLOAD_BYTES = 24 << 20  # of one message that is read: no picture is so large
LARGEST = 1 << 24  # of a width, a rate and the like
TIME_BASE = re.compile(r"([1-9][0-9]{0,17})(?:/([1-9][0-9]{0,17}))?")
GROUP_BYTES = 12 << 20  # a longer group of pictures is not kept: who comes later waits for the next key frame


class LiveKind(IntEnum):
    """The kind of a message on a live stream, as its header holds it."""

    FORMAT = 1
    DATA = 2
    LOST = 3


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


class _Client:
    """One reader: a bounded queue and a thread that sends."""

    def __init__(self, connection: socket.socket, first: list[LiveMessage]) -> None:
        self._connection = connection
        self._queue: deque[LiveMessage] = deque(first)
        self._bytes = sum(len(m.payload) for m in first)
        self._ready = threading.Condition()
        self.closed = False
        self.dropped = 0
        self._thread = threading.Thread(target=self._send, name="live-client", daemon=True)
        self._thread.start()

    def put(self, message: LiveMessage) -> None:
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

    def _send(self) -> None:
        try:
            while not self.closed:
                with self._ready:
                    while not self._queue and not self.closed:
                        self._ready.wait(1.0)
                    if self.closed:
                        return
                    message = self._queue.popleft()
                    self._bytes -= len(message.payload)
                header = HEADER.pack(
                    MAGIC, message.kind, message.key, len(message.payload), message.time_ns, message.pts, message.ppb
                )
                self._connection.sendall(header + message.payload)
        except OSError:
            pass  # the reader went away: its own affair
        finally:
            self.closed = True
            self._connection.close()

    def close(self) -> None:
        with self._ready:
            self.closed = True
            self._ready.notify()
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._thread.join(2.0)


class LiveServer:
    """The track's side. The socket belongs to the service's user alone."""

    def __init__(self, path: Path) -> None:
        self._clients: list[_Client] = []
        self._lock = threading.Lock()
        self._format: LiveMessage | None = None
        self._group: list[LiveMessage] = []
        self._group_bytes = 0
        self._acceptor = local_socket.Acceptor(path, self._take, "live-accept", mode=0o600)

    def _take(self, connection: socket.socket) -> None:
        with self._lock:
            self._clients = [c for c in self._clients if not c.closed]
            if len(self._clients) >= READERS:
                connection.close()
                return
            first = [self._format, *self._group] if self._format else []
            self._clients.append(_Client(connection, first))

    def publish(self, message: LiveMessage) -> None:
        """Hands a message to every reader; never blocks on one."""
        with self._lock:
            if message.kind is LiveKind.FORMAT:
                self._format, self._group = message, []
            elif message.kind is LiveKind.LOST:
                self._group = []
            elif message.key:
                self._group, self._group_bytes = [message], len(message.payload)
            elif self._group:
                self._group.append(message)
                self._group_bytes += len(message.payload)
                if self._group_bytes > GROUP_BYTES:
                    self._group = []
            self._clients = [c for c in self._clients if not c.closed]
            for client in self._clients:
                client.put(message)

    def close(self) -> None:
        """Ends every reader's connection and removes the socket."""
        self._acceptor.close()
        with self._lock:
            for client in self._clients:
                client.close()


class LiveReader:
    """The other side. Use it as a context manager; one thread reads."""

    def __init__(self, path: Path, timeout_s: float = 2.0) -> None:
        """Connects. Raises OSError where the track does not listen."""
        self._socket = local_socket.connect(path, timeout_s)
        self._came = bytearray()

    def read(self) -> LiveMessage | None:
        """The next message, None at the end of the connection, and where what comes is no live stream.

        Raises TimeoutError after timeout_s of silence; what had come of a message by then is kept for the next call.
        """
        if not self._have(HEADER.size):
            return None
        magic, kind, key, size, time_ns, pts, ppb = HEADER.unpack_from(self._came)
        if magic != MAGIC or kind not in KINDS or size > PAYLOAD_BYTES or not self._have(HEADER.size + size):
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

    def close(self) -> None:
        """Ends the connection; a read in another thread returns None."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def __enter__(self) -> "LiveReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
