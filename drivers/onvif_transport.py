"""HTTP towards a camera as cameras speak it: a connection a call, bodies that are not what their headers say, other answers.

Loaded with drivers.onvif_device alone.
"""

import zlib
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError, ReadTimeoutError
from zeep.exceptions import TransportError
from zeep.transports import Transport

MOST_BYTES = 4_000_000  # of an answer, packed and unpacked
PIECE_BYTES = 65_536
GZIP, ZLIB = b"\x1f\x8b", 32 + zlib.MAX_WBITS  # the decompressor finds out which of the two it is


class NotSoapError(TransportError):
    """What answers is no SOAP. kind: "html", "json", "text" or "nothing"; status_code: of HTTP."""

    def __init__(self, status: int, kind: str) -> None:
        super().__init__(f"HTTP {status}, {kind}", status_code=status)  # type: ignore[no-untyped-call]
        self.kind = kind


class _Fresh(HTTPAdapter):
    """A connection a request: one that is kept may be closed by the camera at any moment, without a word."""

    def send(self, *arguments: Any, **options: Any) -> requests.Response:
        self.poolmanager.clear()
        return super().send(*arguments, **options)


class CameraTransport(Transport):
    """zeep's transport without a kept-alive connection, a proxy or a redirection, and with a bound on what it reads."""

    def __init__(self, timeout_s: float) -> None:
        super().__init__(timeout=timeout_s, operation_timeout=timeout_s)  # type: ignore[no-untyped-call]
        self.session.mount("http://", _Fresh(pool_maxsize=1))
        self.session.trust_env = False  # cameras stand in the room's own network: no proxy, no .netrc
        self.session.headers.update({"Connection": "close", "Accept-Encoding": "identity"})

    def post(self, address: str, message: bytes, headers: dict[str, str]) -> requests.Response:
        """One call; once more where the connection ends before any answer. Nothing that is called changes a camera.

        Raises NotSoapError where the answer is of another kind, requests' exceptions.
        """
        try:
            response = self._sent(address, message, headers)
        except requests.ConnectionError as error:
            if "RemoteDisconnected" not in repr(error):  # of http.client; requests has no name of its own for it
                raise
            response = self._sent(address, message, headers)
        body = plain(_read(response))
        if b"Envelope" not in body and b"multipart/" not in response.headers.get("Content-Type", "").lower().encode():
            raise NotSoapError(response.status_code, kind_of(body))
        response._content = body  # what the caller's ``content`` is; the decoding of the headers would refuse a false one
        return response

    def _sent(self, address: str, message: bytes, headers: dict[str, str]) -> requests.Response:
        limit_s = self.operation_timeout
        return self.session.post(address, data=message, headers=headers, timeout=limit_s, stream=True, allow_redirects=False)


def _read(response: requests.Response) -> bytes:
    """The body as it came. Raises requests' exceptions; ValueError where it is too long."""
    found = bytearray()
    try:
        with response:
            while piece := response.raw.read(PIECE_BYTES, decode_content=False):
                found += piece
                if len(found) > MOST_BYTES:
                    raise ValueError("answer too long")
    except ReadTimeoutError as error:
        raise requests.ReadTimeout from error
    except HTTPError as error:
        raise requests.ConnectionError from error
    return bytes(found)


def plain(body: bytes) -> bytes:
    """A body unpacked by what it is, not by what its headers say. Pure. Raises ValueError where it is torn or too long."""
    if not body.startswith(GZIP):
        return body
    unpacker: Any = zlib.decompressobj(ZLIB)
    try:
        found: bytes = unpacker.decompress(body, MOST_BYTES)
    except zlib.error as error:
        raise ValueError("answer torn") from error
    if unpacker.unconsumed_tail:
        raise ValueError("answer too long")
    return found


def kind_of(body: bytes) -> str:
    """What a body that is no SOAP seems to be. Pure."""
    start = body[:400].lstrip().lower()
    if not start:
        return "nothing"
    if start.startswith((b"{", b"[")):
        return "json"
    return "html" if b"<html" in start or start.startswith(b"<!doctype") else "text"
