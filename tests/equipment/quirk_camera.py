"""A camera whose behaviour is a script of quirks, a line each: RTSP (RFC 2326) with RTP over TCP, one viewer or more.

    Quirks("25/s for 4 s", "silence of 1.2 s", "25/s for 4 s", "SETUP answers 461", "DESCRIBE takes 4.5 s")

Stretches are sent in their order, from the first PLAY on, and the last one goes on for ever; the other lines hold from the start.
``sent`` is the truth: each access unit with its stamp; ``heard`` is every byte that viewers told it.
"""

import re
import socket
import socketserver
import struct
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from hashlib import md5, sha256
from io import BufferedIOBase
from typing import Any

import av
import numpy as np

from tests.equipment.process import HOST
from tests.equipment.talk import Certificate

TICKS = 90_000
SIZE = (320, 192)
GROUP = 25
LEVEL, OTHER_LEVEL = 40, 42  # of H.264, times ten: it stands in the parameter sets
FRAGMENT = 1200  # bytes of a NAL unit in one RTP packet

STRETCH = re.compile(r"([\d.]+)/s for ([\d.]+) s")
SILENCE = re.compile(r"silence of ([\d.]+) s")
ANSWERS = re.compile(r"([A-Z_]+) answers (\d{3})")
TAKES = re.compile(r"([A-Z_]+) takes ([\d.]+) s")
FRAMERATE = re.compile(r"SDP says ([\d.]+)/s")
ENDS = re.compile(r"ends each connection after ([\d.]+) s")
FORGETS = re.compile(r"forgets a session that asks nothing for ([\d.]+) s")
SESSION = re.compile(r"Session says (.*)")
PUBLIC = re.compile(r"Public says (.*)")
BREAKS = re.compile(r"breaks off (in|behind) picture (\d+)")
SAYS = re.compile(r"says (.+) after (\d+) pictures", re.DOTALL)
GIVEN = re.compile(r'(\w+)=(?:"([^"]*)"|([^\s,]+))')
ENDLESS = "sends a picture without end"
REDIRECTS = "redirects to "
ALTERNATES = "alternates its parameter sets"
H265, B_FRAMES = "sends H.265", "sends B-frames"
METHODS = "OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN"


@dataclass(frozen=True, slots=True)
class Sent:
    """An access unit. stamp_ns: by the camera's count from its first one on; sha256: of its Annex B bytes."""

    stamp_ns: int
    sha256: str


@dataclass(slots=True)
class Quirks:
    """What the lines say. Raises ValueError for one that is none."""

    lines: tuple[str, ...]
    stretches: list[tuple[float, float]] = field(default_factory=list)  # pictures a second (0: silence), seconds
    answers: dict[str, int] = field(default_factory=dict)
    takes: dict[str, float] = field(default_factory=dict)
    framerate: str = ""
    ends_s: float = 0.0
    forgets_s: float = 0.0
    session: str = ";timeout=60"
    public: str = METHODS
    breaks: tuple[int, bool] | None = None  # number of the picture as sent, and whether in its middle; the first viewer's alone
    redirect: str = ""
    alternates: bool = False
    codec: str = "h264"
    b_frames: bool = False
    endless: bool = False
    says: dict[int, bytes] = field(default_factory=dict)  # after so many pictures, between two of them

    def __post_init__(self) -> None:
        for line in self.lines:
            if found := STRETCH.fullmatch(line):
                self.stretches.append((float(found[1]), float(found[2])))
            elif found := SILENCE.fullmatch(line):
                self.stretches.append((0.0, float(found[1])))
            elif found := ANSWERS.fullmatch(line):
                self.answers[found[1]] = int(found[2])
            elif found := TAKES.fullmatch(line):
                self.takes[found[1]] = float(found[2])
            elif found := FRAMERATE.fullmatch(line):
                self.framerate = found[1]
            elif found := ENDS.fullmatch(line):
                self.ends_s = float(found[1])
            elif found := FORGETS.fullmatch(line):
                self.forgets_s = float(found[1])
            elif found := SESSION.fullmatch(line):
                self.session = found[1]
            elif found := PUBLIC.fullmatch(line):
                self.public = found[1]
            elif found := BREAKS.fullmatch(line):
                self.breaks = int(found[2]), found[1] == "in"
            elif line.startswith(REDIRECTS):
                self.redirect = line.removeprefix(REDIRECTS)
            elif line == ALTERNATES:
                self.alternates = True
            elif line == H265:
                self.codec = "h265"
            elif line == B_FRAMES:
                self.b_frames = True
            elif line == ENDLESS:
                self.endless = True
            elif found := SAYS.fullmatch(line):
                self.says[int(found[2])] = found[1].encode()
            else:
                raise ValueError(f"no quirk: {line}")

    def film(self, level: int = LEVEL) -> "list[Unit]":
        """What it sends, again and again."""
        return _film(self.codec, level, self.b_frames)

    @property
    def interval_s(self) -> float:
        """Between two pictures, at first."""
        return 1 / (self.stretches[0][0] if self.stretches else 25.0)

    def stamps(self) -> Iterator[float]:
        """Seconds from the first picture on. The length of a silence is from the picture before it to the next one."""
        at, rate = 0.0, 25.0
        silence = 0.0
        for rate_or_none, seconds in self.stretches or [(25.0, 1.0)]:
            if not rate_or_none:
                silence = seconds
                continue
            rate = rate_or_none
            for _ in range(max(1, round(rate * seconds))):
                at, silence = at + silence, 0.0
                yield at
                at += 1 / rate
            at -= 1 / rate
            silence = silence or 1 / rate
        while True:
            at, silence = at + (silence or 1 / rate), 0.0
            yield at


def request_lines(reader: BufferedIOBase) -> list[str]:
    """The lines of an RTSP request's head; none where the viewer went away."""
    found: list[str] = []
    while (line := reader.readline()).strip():
        found.append(line.decode().strip())
    return found


class QuirkCamera:
    """The stand-in; ``with`` serves it. uri: its stream. sent: what it sent, to its first viewer's knowledge.

    asked: methods of what viewers asked while they were served.
    demands: its challenges, in their order, to everything but OPTIONS; password: of admin, in the first digest with MD5 or in
    Basic. expires: a nonce holds for so many requests. certificate: for RTSP over TLS.
    """

    def __init__(
        self,
        *lines: str,
        demands: tuple[str, ...] = (),
        password: str = "",
        expires: int = 1_000_000,
        certificate: Certificate | None = None,
    ) -> None:
        self.quirks = Quirks(lines)
        self.demands, self.password, self.expires, self.certificate = demands, password, expires, certificate
        self.heard = bytearray()
        self.connections = 0
        for level in (LEVEL, OTHER_LEVEL)[: 1 + self.quirks.alternates]:  # encoded before anybody waits for them
            self.quirks.film(level)
        self.sent: list[Sent] = []
        self.asked: list[str] = []
        self.viewers = 0
        self._began_s: float | None = None
        self._lock = threading.Lock()
        self._server = _Server((HOST, 0), _Session)
        self._server.camera = self
        self.port = self._server.server_address[1]
        self.uri = f"{'rtsps' if certificate else 'rtsp'}://{HOST}:{self.port}/main"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> "QuirkCamera":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def begun(self) -> float:
        """The monotonic time of the first PLAY."""
        with self._lock:
            self._began_s = self._began_s or time.monotonic()
            return self._began_s


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    block_on_close = False
    camera: QuirkCamera

    def __init__(self, *arguments: Any) -> None:
        self.stopping = threading.Event()
        super().__init__(*arguments)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A viewer that went away is no event."""


class _Session(socketserver.StreamRequestHandler):
    """One viewer's connection."""

    server: _Server

    def setup(self) -> None:
        camera = self.server.camera
        camera.connections += 1
        self._nonce, self._uses = f"n{camera.connections}", 0
        if camera.certificate is not None:
            self.request = camera.certificate.context.wrap_socket(self.request, server_side=True)
        super().setup()
        self._sending = threading.Lock()
        self._asked_s = 0.0

    def handle(self) -> None:
        with suppress(OSError):  # the viewer went away
            self._serve()

    def _serve(self) -> None:
        quirks = self.server.camera.quirks
        while lines := self._request():
            method, headers = lines[0].split(" ")[0], {k.lower(): v for k, _, v in (line.partition(": ") for line in lines[1:])}
            time.sleep(quirks.takes.get(method, 0.0))
            answer = quirks.answers.get(method, 200)
            if method != "OPTIONS" and not self._may(method, headers.get("authorization", "")):
                self._demand(headers)
            elif method == "DESCRIBE" and quirks.redirect:
                self._answer(headers, 302, Location=quirks.redirect)
            elif answer != 200:
                self._answer(headers, answer)
            elif method == "DESCRIBE":
                self._answer(headers, 200, _sdp(quirks).encode(), Content_Type="application/sdp")
            elif method == "SETUP":
                self._answer(headers, 200, Session=f"1{quirks.session}", Transport="RTP/AVP/TCP;unicast;interleaved=0-1")
            elif method == "PLAY":
                self._answer(headers, 200, Session="1")
                self._asked_s = time.monotonic()
                if self.server.camera.certificate is None:  # which no two threads may use at once
                    threading.Thread(target=self._listen, daemon=True).start()
                self._play()
                with suppress(OSError):
                    self.connection.shutdown(socket.SHUT_RDWR)  # which ends the listening as well
                return
            else:
                self._answer(headers, 200, Public=quirks.public)

    def _listen(self) -> None:
        """What the viewer asks while it is served. Its receiver reports are no request."""
        with suppress(OSError, ValueError):  # the connection is over
            while first := self.rfile.read(1):
                if first == b"$":
                    _, size = struct.unpack(">BH", self.rfile.read(3))
                    self.rfile.read(size)
                    continue
                lines = self._request(first)
                if lines[0].startswith("RTSP/"):  # an answer
                    continue
                headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in lines[1:])}
                self._asked_s = time.monotonic()
                self.server.camera.asked.append(lines[0].split(" ")[0])
                self._answer(headers, 200)

    def _request(self, first: bytes = b"") -> list[str]:
        """The lines of the next request's head. first: what of it was read already."""
        begun = [(first + self.rfile.readline()).decode().strip()] if first else []
        found = [*begun, *request_lines(self.rfile)]
        if found:
            self.server.camera.heard += "\r\n".join([*found, "", ""]).encode()
        return found

    def _demand(self, headers: dict[str, str]) -> None:
        camera = self.server.camera
        stale = ", stale=true" if self._uses >= camera.expires else ""
        if stale:
            self._nonce, self._uses = f"{self._nonce}x", 0
        told = "".join(f"WWW-Authenticate: {each.replace('NONCE', self._nonce)}{stale}\r\n" for each in camera.demands)
        self.wfile.write(f"RTSP/1.0 401 Unauthorized\r\nCSeq: {headers.get('cseq', '0')}\r\n{told}\r\n".encode())

    def _may(self, method: str, authorization: str) -> bool:
        """Whether a request carries the login that is demanded (RFC 7616; RFC 7617)."""
        camera = self.server.camera
        if not camera.demands:
            return True
        if authorization.startswith("Basic "):
            return authorization == "Basic " + b64encode(f"admin:{camera.password}".encode()).decode()
        given = {key: quoted or plain for key, quoted, plain in GIVEN.findall(authorization)}
        self._uses += 1
        if given.get("nonce") != self._nonce or self._uses > camera.expires:
            return False
        secret, action = _md5(f"admin:{given['realm']}:{camera.password}"), _md5(f"{method}:{given['uri']}")
        counted = f":{given['nc']}:{given['cnonce']}:auth" if "qop" in given else ""
        return bool(given["response"] == _md5(f"{secret}:{self._nonce}{counted}:{action}"))

    def _answer(self, asked: dict[str, str], status: int, body: bytes = b"", **headers: str) -> None:
        told = {
            "CSeq": asked.get("cseq", "0"),
            **{k.replace("_", "-"): v for k, v in headers.items()},
            "Content-Length": len(body),
        }
        head = "".join(f"{key}: {value}\r\n" for key, value in told.items())
        self._send(f"RTSP/1.0 {status} Quirk\r\n{head}\r\n".encode() + body)

    def _send(self, data: bytes) -> None:
        with self._sending:
            self.wfile.write(data)

    def _play(self) -> None:
        camera, quirks = self.server.camera, self.server.camera.quirks
        camera.viewers += 1
        first, began_s, opened_s, sequence, keyed = camera.viewers == 1, camera.begun(), time.monotonic(), 0, False
        for number, at in enumerate(quirks.stamps()):
            late_s = time.monotonic() - began_s - at
            unit = quirks.film()[number % len(quirks.film())]
            if quirks.alternates and unit.key and number // GROUP % 2:
                unit = quirks.film(OTHER_LEVEL)[number % len(quirks.film())]
            keyed = keyed or (unit.key and late_s <= 0.5)
            if not keyed:  # sent before this viewer came
                continue
            if self.server.stopping.wait(max(0.0, -late_s)):
                return
            if quirks.ends_s and time.monotonic() - opened_s > quirks.ends_s:
                return
            if quirks.forgets_s and time.monotonic() - self._asked_s > quirks.forgets_s:
                return
            self._send(quirks.says.get(number, b""))
            stamp_s = at + unit.later * quirks.interval_s
            breaks = first and quirks.breaks is not None and quirks.breaks[0] == number
            inside = breaks and quirks.breaks is not None and quirks.breaks[1]
            fragment = min(FRAGMENT, len(unit.data) // 4) if inside else FRAGMENT
            packets = list(_rtp(unit.data, quirks.codec, round(stamp_s * TICKS), sequence, fragment))
            for packet in packets[: len(packets) // 2] if inside else packets:
                self._send(b"$\x00" + struct.pack(">H", len(packet)) + packet)
            if breaks:
                return
            sequence += len(packets)
            if quirks.endless:
                self._endless(round(stamp_s * TICKS) + 1, sequence)
            if first or not camera.sent or camera.sent[-1].stamp_ns < round(stamp_s * 1e9):
                camera.sent.append(Sent(round(stamp_s * 1e9), sha256(unit.data).hexdigest()))

    def _endless(self, stamp: int, sequence: int) -> None:
        """A slice in pieces (FU-A), of which none is the last; each packet with a stamp of its own."""
        piece = bytes([0x7C, 0x05]) + bytes(range(1, 256)) * 200
        while True:
            header = struct.pack(">BBHII", 0x80, 96, sequence & 0xFFFF, stamp & 0xFFFFFFFF, 7)
            packet = header + piece
            self.wfile.write(b"$\x00" + struct.pack(">H", len(packet)) + packet)
            sequence, stamp = sequence + 1, stamp + 1


@dataclass(frozen=True, slots=True)
class Unit:
    """An access unit in Annex B. later: it is shown so many pictures after its number in the order of sending."""

    data: bytes
    key: bool
    later: int


def _md5(text: str) -> str:
    return md5(text.encode()).hexdigest()


@cache
def _film(codec: str, level: int, b_frames: bool) -> list[Unit]:
    """Four groups of pictures in the order of sending, parameter sets before each key frame."""
    context = av.CodecContext.create("libx264" if codec == "h264" else "libx265", "w")
    assert isinstance(context, av.VideoCodecContext)
    context.width, context.height, context.pix_fmt, context.time_base = *SIZE, "yuv420p", Fraction(1, 25)
    params = f"keyint={GROUP}:min-keyint={GROUP}:scenecut=0:bframes={2 * b_frames}:b-adapt=0:open-gop=0:repeat-headers=1:annexb=1"
    more = f":level={level / 10}" if codec == "h264" else ":log-level=none"
    tune = {} if b_frames else {"tune": "zerolatency"}
    context.options = {"preset": "ultrafast", **tune, f"x26{codec[-1]}-params": params + more}
    rng = np.random.default_rng(3)
    found = []
    for n in range(4 * GROUP):
        picture = rng.integers(0, 60, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
        picture[:, : n * 3 + 1] = 128
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts = n
        found += context.encode(frame)
    found += context.encode(None)
    return [Unit(bytes(packet), packet.is_keyframe, (packet.pts or 0) - n) for n, packet in enumerate(found)]


def _nal_units(unit: bytes) -> list[bytes]:
    return [nal.rstrip(b"\x00") for nal in re.split(rb"\x00\x00\x01", unit) if nal.strip(b"\x00")]


def _sdp(quirks: Quirks) -> str:
    nal_units = _nal_units(quirks.film()[0].data)
    lines = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=quirk", "t=0 0", "m=video 0 RTP/AVP 96", "c=IN IP4 0.0.0.0"]
    lines += [f"a=rtpmap:96 {quirks.codec.upper()}/90000", "a=control:track"]
    if quirks.codec == "h264":
        sets = [nal for nal in nal_units if nal[0] & 31 in (7, 8)]
        lines.append("a=fmtp:96 packetization-mode=1;sprop-parameter-sets=" + ",".join(b64encode(each).decode() for each in sets))
    else:
        found = {nal[0] >> 1: b64encode(nal).decode() for nal in nal_units}
        lines.append(f"a=fmtp:96 sprop-vps={found[32]};sprop-sps={found[33]};sprop-pps={found[34]}")
    if quirks.framerate:
        lines.append(f"a=framerate:{quirks.framerate}")
    return "\r\n".join([*lines, ""])


def _rtp(unit: bytes, codec: str, stamp: int, sequence: int, fragment: int) -> Iterator[bytes]:
    """The RTP packets of an access unit: single NAL units, and fragments of long ones (RFC 6184, 5.6, 5.8; RFC 7798, 4.4).

    fragment: bytes of a NAL unit in one packet, at most.
    """
    nal_units = _nal_units(unit)
    own = 1 if codec == "h264" else 2  # bytes of a NAL unit's header
    for n, nal in enumerate(nal_units):
        pieces = [nal] if len(nal) <= fragment else [nal[at : at + fragment] for at in range(own, len(nal), fragment)]
        for m, piece in enumerate(pieces):
            last = n == len(nal_units) - 1 and m == len(pieces) - 1
            head = b""
            if len(pieces) > 1 or len(nal) > fragment:
                edge = (0x80 if m == 0 else 0) | (0x40 if m == len(pieces) - 1 else 0)
                whole = bytes([nal[0] & 0x60 | 28]) if codec == "h264" else bytes([nal[0] & 0x81 | 49 << 1, nal[1]])
                head = whole + bytes([edge | (nal[0] & 31 if codec == "h264" else nal[0] >> 1)])
            header = struct.pack(">BBHII", 0x80, (0x80 if last else 0) | 96, sequence & 0xFFFF, stamp & 0xFFFFFFFF, 7)
            sequence += 1
            yield header + head + piece
