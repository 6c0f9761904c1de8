"""HTTP towards a camera as cameras speak it: a connection a call, bodies that are not what their headers say, other answers.

What a camera answers is bounded and never leads anywhere else: no redirection is followed, nothing is unpacked, and no scheme but
the camera's own is there. Loaded with drivers.onvif_device alone.
"""

import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError, ReadTimeoutError
from zeep.exceptions import TransportError
from zeep.transports import Transport

from drivers.login import Login
from drivers.ports import CameraAddress
from drivers.stream_address import host_of

MOST_BYTES = 1 << 20  # of an answer
PIECE_BYTES = 65_536
GZIP = b"\x1f\x8b"
TRIES = 3  # of a call, with the login that a camera demands
UNAUTHORIZED = 401


class NotSoapError(TransportError):
    """What answers is no SOAP. kind: "html", "json", "text", "packed" or "nothing"; status_code: of HTTP."""

    def __init__(self, status: int, kind: str) -> None:
        super().__init__(f"HTTP {status}, {kind}", status_code=status)  # type: ignore[no-untyped-call]
        self.kind = kind


class RedirectionError(TransportError):
    """The camera sends its callers elsewhere. target: scheme, host and port, as far as the answer names them."""

    def __init__(self, status: int, location: str) -> None:
        super().__init__(f"HTTP {status}", status_code=status)  # type: ignore[no-untyped-call]
        self.target = host_of(location)


class TooLongError(TransportError):
    """The answer is longer than MOST_BYTES."""


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> None:  # noqa: ARG002  # of requests, which would read the body for it
        return None


class _Fresh(HTTPAdapter):
    """A connection a request: one that is kept may be closed by the camera at any moment, without a word.

    pin: of the certificate, 64 hexadecimal digits; "" for HTTP.
    """

    def __init__(self, pin: str = "") -> None:
        self._pinned: dict[str, Any] = {}
        if pin:
            from drivers.tls import context

            self._pinned = {"ssl_context": context(), "assert_fingerprint": pin, "assert_hostname": False}
        super().__init__(pool_maxsize=1)

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **options: Any) -> None:
        super().init_poolmanager(connections, maxsize, block, **options, **self._pinned)

    def send(self, *arguments: Any, **options: Any) -> requests.Response:
        self.poolmanager.clear()
        return super().send(*arguments, **options)


class CameraTransport(Transport):
    """zeep's transport to one camera, and to nowhere else.

    login: what its challenges are answered with, None while nothing is to be told. definitions: the folder of the service
    descriptions; no other file is read.
    """

    def __init__(self, address: CameraAddress, timeout_s: float, definitions: Path) -> None:
        session = _Session()
        super().__init__(timeout=timeout_s, operation_timeout=timeout_s, session=session)  # type: ignore[no-untyped-call]
        pin = address.tls_fingerprint.removeprefix("sha256:")
        session.adapters.clear()  # zeep mounts file:// as well
        session.mount("https://" if pin else "http://", _Fresh(pin))
        session.trust_env = False  # cameras stand in the room's own network: no proxy, no .netrc
        session.max_redirects = 0
        session.verify = not pin  # the certificate is compared instead
        session.headers.update({"Connection": "close", "Accept-Encoding": "identity"})
        self.login: Login | None = None
        self._host, self._definitions = address.host.lower(), definitions

    def load(self, url: str) -> bytes:
        """A service description, or one that it imports. Raises ValueError for anything else."""
        path = Path(url).resolve()
        if not path.is_relative_to(self._definitions):
            raise ValueError("no service description")
        return path.read_bytes()

    def post(self, address: str, message: bytes, headers: dict[str, str]) -> requests.Response:
        """One call; once more where the connection ends before any answer. Nothing that is called changes a camera.

        Raises NotSoapError where the answer is of another kind, RedirectionError, TooLongError, NoLogin, requests' exceptions.
        """
        if urlsplit(address).hostname != self._host:
            raise ValueError("another host")
        try:
            response = self._logged_in(address, message, headers)
        except requests.ConnectionError as error:
            if "RemoteDisconnected" not in repr(error):  # of http.client; requests has no name of its own for it
                raise
            response = self._logged_in(address, message, headers)
        body = _read(response, self.operation_timeout)
        if b"Envelope" not in body and b"multipart/" not in response.headers.get("Content-Type", "").lower().encode():
            raise NotSoapError(response.status_code, kind_of(body))
        response._content = body  # what the caller's ``content`` is; the decoding of the headers would refuse a false one
        return response

    def _logged_in(self, address: str, message: bytes, headers: dict[str, str]) -> requests.Response:
        """The answer's head, after the login that the camera demands by HTTP. The body of a refusal is not read."""
        answered = False
        for _ in range(TRIES - 1):
            response, answered = self._sent(address, message, headers)
            if response.status_code != UNAUTHORIZED or self.login is None:
                if answered and self.login is not None:
                    self.login.succeeded()
                return response
            offered = response.raw.headers.getlist("WWW-Authenticate")
            if not self.login.challenged(offered, answered=answered):
                return response
            response.close()
        return self._sent(address, message, headers)[0]

    def _sent(self, address: str, message: bytes, headers: dict[str, str]) -> tuple[requests.Response, bool]:
        """The answer's head, and whether the call carried a login."""
        parts = urlsplit(address)
        uri = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        login = self.login.header("POST", uri) if self.login else ""
        told: dict[str, Any] = {**headers, "Authorization": login.encode()} if login else dict(headers)
        limit_s = self.operation_timeout
        response = self.session.post(address, data=message, headers=told, timeout=limit_s, stream=True, allow_redirects=False)
        if 300 <= response.status_code < 400:
            response.close()
            raise RedirectionError(response.status_code, response.headers.get("Location", ""))
        return response, bool(login)


def _read(response: requests.Response, limit_s: float) -> bytes:
    """The body as it came, within so much time. Raises requests' exceptions, TooLongError."""
    found = bytearray()
    deadline = time.monotonic() + limit_s
    try:
        with response:
            while piece := response.raw.read1(PIECE_BYTES, decode_content=False):
                found += piece
                if len(found) > MOST_BYTES:
                    raise TooLongError(f"{MOST_BYTES}")  # type: ignore[no-untyped-call]
                if time.monotonic() > deadline:
                    raise requests.ReadTimeout
    except ReadTimeoutError as error:
        raise requests.ReadTimeout from error
    except HTTPError as error:
        raise requests.ConnectionError from error
    return bytes(found)


def kind_of(body: bytes) -> str:
    """What a body that is no SOAP seems to be. Pure."""
    start = body[:400].lstrip().lower()
    if not start:
        return "nothing"
    if start.startswith(GZIP):
        return "packed"
    if start.startswith((b"{", b"[")):
        return "json"
    return "html" if b"<html" in start or start.startswith(b"<!doctype") else "text"
