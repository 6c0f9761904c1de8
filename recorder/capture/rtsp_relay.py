"""The connection to a camera's RTSP service, on behalf of FFmpeg, which speaks to this relay alone.

FFmpeg's client answers any demand for a password, follows a redirection anywhere, and takes messages of any length. So it gets
neither the password nor the camera's address. The relay connects, by TLS to the one certificate where one is named; it logs in,
refuses to be sent elsewhere, bounds every message, and passes the pictures on as they come. RFC 2326.
"""

import logging
import select
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from drivers.faults import DeviceFault
from drivers.login import NoLogin
from drivers.ports import CameraAddress
from drivers.stream_address import host_of, rtsp_place
from recorder.capture.peer import own, peer
from recorder.capture.rtsp_login import login_of, refused, unanswerable
from recorder.capture.rtsp_messages import Message, Splitter, TooLong
from recorder.process.runner import name_thread

if TYPE_CHECKING:
    from ssl import SSLSocket

LOOPBACK = "127.0.0.1"
PATH = "/camera"  # FFmpeg's name for the stream
STRANGERS = 1024  # who may wait before FFmpeg without keeping it waiting: they are let go one after the other
REACH_S = 0.8  # a connection that is not taken within a second will not be; a new one finds a camera that comes back
SEND_S = 5.0  # a camera that takes no request for so long is gone
PIECE_BYTES = 1 << 18
GATHER_S = 0.002  # packets of one picture come one after the other: they are passed on together
PICTURE_BYTES = 16 << 20  # no picture is larger
HELD_BYTES = PICTURE_BYTES + (8 << 20)  # that FFmpeg got and made no picture of; some of it waits in the loopback's sockets
WINDOW_S = 10.0
WINDOW_BYTES = 125_000_000  # 100 Mbit/s: several times what any camera sends; ten seconds of it are kept in memory
TRIES = 3  # of a request, with the login that the camera demands
OPEN_REQUESTS = 8  # that were not answered yet
# What FFmpeg needs to know of an answer. Others would have it behave as with servers that are no cameras.
PASSED_ON = frozenset({"content-base", "content-type", "public", "range", "rtp-info", "session", "transport"})
KNOWN_TO_US = ("OPTIONS", "GET_PARAMETER", "SET_PARAMETER")  # requests of a camera that mean nothing but whether we live
NOT_NOW = ("BlockingIOError", "SSLWantReadError", "SSLWantWriteError")  # by name: ssl is loaded where a camera wants it

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Request:
    """One of FFmpeg's, as the camera gets it. sequence: FFmpeg's. answered: it carried a login."""

    method: str
    uri: str
    sequence: str
    message: Message
    tries: int = 0
    answered: bool = False


class RtspRelay(threading.Thread):
    """Connected when it is made; FFmpeg opens ``url`` once, within limit_s. It ends with either side's connection.

    peer: host and port that deliver. fault: why the relay ended it, None where it did not. status: the last refusal of a request.
    """

    def __init__(self, uri: str, shown: str, address: CameraAddress, limit_s: float) -> None:
        """uri: as the camera gets it, with the login that some want in it; shown: without. Raises DeviceFault, OSError."""
        super().__init__(name=f"relay-{address.name}", daemon=True)
        self._name, self._shown, self._limit_s = address.name, shown, limit_s
        self._camera = self._connected(uri, address, limit_s)
        try:
            self._listener = socket.create_server((LOOPBACK, 0), backlog=STRANGERS)
        except OSError:
            self._camera.close()
            raise
        self.peer = peer(self._camera)
        self.fault: DeviceFault | None = None
        self.status = 0
        self._theirs, self._login = uri, login_of(address)
        self._client: socket.socket | None = None
        self.url = f"rtsp://{LOOPBACK}:{self._listener.getsockname()[1]}{PATH}{'/' if uri.endswith('/') else ''}"
        self._down, self._up = Splitter(), Splitter()
        self._requests: dict[int, _Request] = {}
        self._sequence = 0
        self._streaming = False
        self._waited_for = True  # FFmpeg is to give a packet…
        self._held = 0  # …and got so many bytes since it gave the last one
        self._window_s, self._window = time.monotonic(), 0  # since when, and how many bytes came since
        self.start()

    @staticmethod
    def _connected(uri: str, address: CameraAddress, limit_s: float) -> "socket.socket | SSLSocket":
        line = socket.create_connection(rtsp_place(uri), REACH_S)
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if uri.lower().startswith("rtsps:"):
            from drivers.tls import pinned

            return pinned(line, address.name, address.tls_fingerprint, limit_s)
        line.setblocking(False)
        return line

    # For FFmpeg's thread

    def wait(self) -> None:
        """FFmpeg is asked for a packet."""
        self._waited_for = True

    def handed(self) -> None:
        """FFmpeg gave a packet: what it got before is not held any more, and what comes now waits in the sockets."""
        self._waited_for, self._held = False, 0

    def too_large(self) -> DeviceFault:
        """A picture has more bytes than any has."""
        return self._wrong("camera-picture-too-large", limit=PICTURE_BYTES >> 20)

    def close(self) -> None:
        """Ends both connections, at once; the thread ends by itself."""
        for line in (self._listener, self._camera, self._client):
            if line is not None:
                with suppress(OSError):
                    line.shutdown(socket.SHUT_RDWR)

    # The thread

    def run(self) -> None:
        name_thread(self.name)
        try:
            self._client = self._accepted()
            self._pass_on(self._client)
        except DeviceFault as fault:
            self.fault = fault
        except TooLong as error:
            self.fault = self._wrong("camera-rtsp-answer-too-long", limit=error.most >> 10)
        except OSError:
            pass  # one side went away; the other one is told by its own connection
        except Exception:  # the top of this thread
            log.exception("relay failed", extra={"camera": self._name})
        finally:
            for line in (self._client, self._listener, self._camera):
                if line is not None:
                    line.close()

    def _accepted(self) -> socket.socket:
        """FFmpeg's connection; nobody else's. Raises OSError."""
        deadline = time.monotonic() + self._limit_s
        while True:
            self._listener.settimeout(max(0.01, deadline - time.monotonic()))
            client, _ = self._listener.accept()
            if own(client):
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._listener.close()
                return client
            client.close()

    def _pass_on(self, client: socket.socket) -> None:
        """Until either side ends. Raises OSError, DeviceFault, TooLong."""
        waiting = select.poll()
        waiting.register(self._camera, select.POLLIN)
        waiting.register(client, select.POLLIN)
        piece = memoryview(bytearray(PIECE_BYTES))
        camera = self._camera.fileno()
        while True:
            ready = [file for file, _ in waiting.poll()]
            if client.fileno() in ready and not self._from_client(client):
                return
            if camera in ready:
                if self._streaming:
                    time.sleep(GATHER_S)
                if not self._from_camera(client, piece):
                    return

    def _from_client(self, client: socket.socket) -> bool:
        """Whether FFmpeg is still there."""
        came = client.recv(PIECE_BYTES)
        for part in self._up.feed(came):
            if isinstance(part, Message):
                self._ask(part)
            else:
                self._tell_camera(part)
        return bool(came)

    def _from_camera(self, client: socket.socket, piece: memoryview) -> bool:
        """Whether the camera is still there. Everything that has come is taken, so that none of it stays unseen in TLS."""
        while True:
            try:
                count = self._camera.recv_into(piece)
            except OSError as error:
                if _not_now(error):
                    return True
                raise
            if not count:
                return False
            self._count(count)
            for part in self._down.feed(piece[:count]):
                if not isinstance(part, Message):
                    client.sendall(part)
                elif part.start.startswith("RTSP/"):
                    self._answer(client, part)
                else:
                    self._asked(part)
            if count < len(piece) and not getattr(self._camera, "pending", int)():
                return True

    def _count(self, count: int) -> None:
        """Raises DeviceFault where more comes than any camera sends."""
        self._held += count if self._waited_for else 0
        self._window += count
        if self._held > HELD_BYTES:
            raise self.too_large()
        if self._window > WINDOW_BYTES:
            now = time.monotonic()
            if now - self._window_s < WINDOW_S:
                raise self._wrong("camera-sends-too-much", limit=round(WINDOW_BYTES * 8 / WINDOW_S / 1e6))
            self._window_s, self._window = now, 0

    # Requests

    def _ask(self, asked: Message) -> None:
        """One request of FFmpeg's, by the camera's own names."""
        method, uri, version = (*asked.start.split(" ", 2), "", "")[:3]
        kept = [(name, value) for name, value in asked.headers if name.lower() not in ("cseq", "authorization")]
        message = Message(f"{method} {self._for_camera(uri)} {version}", kept, asked.body)
        self._send(_Request(method, self._for_camera(uri), asked.first("CSeq"), message))

    def _send(self, request: _Request) -> None:
        self._sequence += 1
        request.tries += 1
        login = self._login.header(request.method, request.uri)
        request.answered = bool(login)
        told = [("CSeq", str(self._sequence)), *request.message.headers, *([("Authorization", login)] if login else [])]
        self._requests[self._sequence] = request
        while len(self._requests) > OPEN_REQUESTS:
            del self._requests[min(self._requests)]
        self._tell_camera(Message(request.message.start, told, request.message.body).encoded())

    def _tell_camera(self, data: bytes | memoryview) -> None:
        """Raises OSError."""
        deadline = time.monotonic() + SEND_S
        left = memoryview(data)
        waiting = select.poll()
        waiting.register(self._camera, select.POLLOUT)
        while left:
            try:
                left = left[self._camera.send(left) :]
                continue
            except OSError as error:
                if not _not_now(error):
                    raise
            if not waiting.poll(max(0.0, deadline - time.monotonic()) * 1000):
                raise TimeoutError

    def _asked(self, message: Message) -> None:
        """A request of the camera's own. It is answered here; what it would lead to, such as another host, is not done."""
        method = message.start.partition(" ")[0]
        status = "200 OK" if method in KNOWN_TO_US else "501 Not Implemented"
        self._tell_camera(Message(f"RTSP/1.0 {status}", [("CSeq", message.first("CSeq"))]).encoded())

    # Answers

    def _answer(self, client: socket.socket, message: Message) -> None:
        """Raises DeviceFault where the answer ends the connection."""
        request = self._taken(message.first("CSeq"), final=message.status >= 200)
        if request is None:
            return
        status = message.status
        if status == 401 and self._again(request, message):
            return
        if request.answered and 200 <= status < 300:
            self._login.succeeded()
        if not self._streaming:
            if 300 <= status < 400:
                target = host_of(message.first("Location"))
                raise self._wrong("camera-redirects-stream", "give-address-camera-redirects-to", status=status, target=target)
            self.status = status if status >= 300 else self.status
            self._streaming = request.method == "PLAY" and status == 200
        client.sendall(self._for_client(request, message).encoded())

    def _taken(self, sequence: str, *, final: bool) -> _Request | None:
        """The request that an answer belongs to; the oldest one where a camera counts otherwise. None for one before the last."""
        number = int(sequence) if sequence.isdecimal() and len(sequence) < 10 else 0
        known = number if number in self._requests else min(self._requests, default=0)
        return self._requests.pop(known, None) if final else None

    def _again(self, request: _Request, message: Message) -> bool:
        """Whether a refused request is sent once more, with a login. Raises DeviceRefused where it is not, before PLAY.

        While pictures come, a refusal is no reason to lose them.
        """
        try:
            again = self._login.challenged(message.all("WWW-Authenticate"), answered=request.answered)
        except NoLogin as error:
            if self._streaming:
                return False
            raise unanswerable(error, self._name, self._shown) from None
        if again and request.tries < TRIES:
            self._send(request)
            return True
        if self._streaming:
            return False
        raise refused(self._name)

    def _for_client(self, request: _Request, message: Message) -> Message:
        headers = [(n, self._for_ffmpeg(v)) for n, v in message.headers if n.lower() in PASSED_ON]
        body = message.body
        if request.method == "DESCRIBE":
            body = self._for_ffmpeg(body.decode("latin-1")).encode("latin-1")
        return Message(message.start, [("CSeq", request.sequence), *headers], body)

    def _for_camera(self, text: str) -> str:
        """Addresses by which FFmpeg knows the stream, as the camera knows it."""
        return text.replace(self.url, self._theirs, 1) if text.startswith(self.url) else text

    def _for_ffmpeg(self, text: str) -> str:
        return text.replace(self._theirs, self.url)

    def _wrong(self, code: str, mend: str = "restart-camera-check-firmware", **values: Any) -> DeviceFault:
        return DeviceFault(code, mend, name=self._name, uri=self._shown, **values)


def _not_now(error: OSError) -> bool:
    return type(error).__name__ in NOT_NOW
