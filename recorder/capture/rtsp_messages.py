"""What runs through an RTSP connection, taken apart: interleaved frames, which nobody looks into, and bounded messages.

Pure. Source: RFC 2326, 4 (messages) and 10.12 (interleaved frames).
"""

import re
from dataclasses import dataclass, field

HEAD_BYTES = 1 << 16  # of a message's start line and headers
BODY_BYTES = 1 << 18  # of a session description
FRAME_HEAD = 4  # "$", channel, length in two bytes
DOLLAR = ord("$")
LENGTH_DIGITS = 9
STATUS = re.compile("[1-9][0-9][0-9]")


class TooLong(Exception):
    """A message is longer than is taken. most: so many bytes are."""

    def __init__(self, most: int) -> None:
        super().__init__(most)
        self.most = most


@dataclass(slots=True)
class Message:
    """A request or an answer. start: its first line. headers: in their order, names as they were written."""

    start: str
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""

    @property
    def status(self) -> int:
        """Of an answer; 0 where it is a request, or tells none."""
        words = self.start.split(" ", 2)
        return int(words[1]) if words[0].startswith("RTSP/") and STATUS.fullmatch(words[1] if len(words) > 1 else "") else 0

    def all(self, name: str) -> list[str]:
        """The values of every header with this name."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def first(self, name: str) -> str:
        """The value of the first header with this name, "" where there is none."""
        return next(iter(self.all(name)), "")

    def encoded(self) -> bytes:
        """The message as it is sent; the length of its body stands in it."""
        length = [("Content-Length", str(len(self.body)))] if self.body else []
        lines = [self.start, *(f"{name}: {value}" for name, value in [*self.headers, *length]), "", ""]
        return "\r\n".join(lines).encode("latin-1") + self.body


def message_of(head: bytes) -> Message | None:
    """The message that begins with this head, without its body; None where the head is none."""
    first, *lines = head.decode("latin-1").replace("\r\n", "\n").split("\n")
    if not (first.startswith("RTSP/") or first.rstrip().endswith(("RTSP/1.0", "RTSP/2.0"))):
        return None
    pairs = (line.partition(":") for line in lines)
    return Message(first.strip(), [(name.strip(), value.strip()) for name, colon, value in pairs if colon])


class Splitter:
    """One direction of a connection. Frames are handed on as they come, in any pieces; a message as soon as it is whole.

    Cameras send what is neither between two frames: it is dropped at the next line that begins a frame, as FFmpeg's client does.
    """

    def __init__(self) -> None:
        self._left = 0  # bytes of the present frame that are still to come
        self._text = bytearray()  # of a message, or of the head of a frame
        self._line = 0  # where its present line begins
        self._message: Message | None = None  # whose body is to come…
        self._need = 0  # …so many bytes

    def feed(self, data: bytes | memoryview) -> list[bytes | memoryview | Message]:
        """What the data completes. Raises TooLong."""
        found: list[bytes | memoryview | Message] = []
        if self._text or self._message is not None:
            self._text += data
            data = self._messages(found)
        while data:
            end = self._frames(data)
            if end:
                found.append(data[:end])
            if end == len(data):
                break
            self._text += data[end:]
            data = self._messages(found)
        return found

    def _frames(self, data: bytes | memoryview) -> int:
        """How far the data is frames, whole ones and the beginning of the last."""
        at, size = self._left, len(data)
        while at + FRAME_HEAD <= size and data[at] == DOLLAR:
            at += FRAME_HEAD + (data[at + 2] << 8 | data[at + 3])
        self._left = max(0, at - size)
        return min(at, size)

    def _messages(self, found: list[bytes | memoryview | Message]) -> bytes:
        """Takes messages out of the text; gives what follows them where that is a frame, b"" where more must come."""
        text = self._text
        while text or self._message is not None:
            if self._message is None:
                if not self._head():
                    return self._frame()
                continue
            if len(text) < self._need:
                return b""
            self._message.body = bytes(text[: self._need])
            del text[: self._need]
            found.append(self._message)
            self._message = None
        return b""

    def _frame(self) -> bytes:
        """The text where it begins a frame, which is then no text any more; else b""."""
        if self._text[:1] != b"$" or len(self._text) < FRAME_HEAD:
            return b""
        taken = bytes(self._text)
        self._text.clear()
        return taken

    def _head(self) -> bool:
        """Whether a head is whole. What stands before a frame, or is no message, is dropped."""
        text = self._text
        if not self._line:
            del text[: len(text) - len(text.lstrip(b"\r\n"))]
        while True:
            if text[self._line : self._line + 1] == b"$":
                del text[: self._line]
                self._line = 0
                return False
            end = text.find(b"\n", self._line)
            if max(end, self._line) > HEAD_BYTES or (end < 0 and len(text) > HEAD_BYTES):
                raise TooLong(HEAD_BYTES)
            if end < 0:
                return False
            if not text[self._line : end].strip(b"\r"):
                break
            self._line = end + 1
        self._message = message_of(bytes(text[: self._line]).rstrip(b"\r\n"))
        del text[: end + 1]
        self._line = 0
        if self._message is not None:
            self._need = _body_bytes(self._message)
        return True


def _body_bytes(message: Message) -> int:
    """The length that the message tells of its body; its headers then tell none. Raises TooLong."""
    told = [value for value in message.all("Content-Length") if value.isdecimal()]
    message.headers = [(name, value) for name, value in message.headers if name.lower() != "content-length"]
    if not told:
        return 0
    if len(told[-1]) > LENGTH_DIGITS or int(told[-1]) > BODY_BYTES:
        raise TooLong(BODY_BYTES)
    return int(told[-1])
