"""A TCP service on the loopback interface whose conversations are a function each, and which keeps every byte it was told.

For devices that behave as no library would: ``with Service(talk) as service:``. ``talk`` gets a Talk for each connection, in a
thread of its own; its end, or the other side's, ends the connection.
"""

import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.equipment.process import HOST


class Talk:
    """One connection, from the service's side. number: which one, from 0."""

    def __init__(self, line: socket.socket, number: int, heard: bytearray) -> None:
        self._line, self.number, self._heard, self._rest = line, number, heard, b""
        self.body = b""  # of the last request

    def request(self) -> list[str]:
        """The lines of the next request's head, its body taken; none where the other side went away."""
        while b"\r\n\r\n" not in self._rest:
            if not self._more():
                return []
        head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        length = next((int(line.split(":")[1]) for line in lines if line.lower().startswith("content-length")), 0)
        while len(self._rest) < length and self._more():
            pass
        self.body, self._rest = self._rest[:length], self._rest[length:]
        return lines

    def _more(self) -> bool:
        piece = self._line.recv(65536)
        self._heard += piece
        self._rest += piece
        return bool(piece)

    def send(self, data: bytes) -> None:
        """Raises OSError once the other side went away."""
        self._line.sendall(data)

    def http(self, status: str, body: bytes = b"", *headers: str, length: int | None = None) -> None:
        """An answer of HTTP/1.1. length: where it is not that of the body."""
        told = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body) if length is None else length}"]
        self.send("\r\n".join([*told, "", ""]).encode() + body)

    def rtsp(self, asked: list[str], status: str = "200 OK", body: bytes = b"", *headers: str, length: int | None = None) -> None:
        """An answer of RTSP/1.0 to a request."""
        sequence = next((line for line in asked if line.lower().startswith("cseq")), "CSeq: 0")
        told = [f"RTSP/1.0 {status}", sequence, *headers]
        told += [f"Content-Length: {len(body) if length is None else length}"] if body or length else []
        self.send("\r\n".join([*told, "", ""]).encode() + body)


class Service:
    """heard: all that was told to it. connections: how many there were. certificate: for TLS. port: 0 takes any."""

    def __init__(self, talk: Callable[[Talk], None], certificate: "Certificate | None" = None, port: int = 0) -> None:
        self.heard = bytearray()
        self.connections = 0
        self._talk, self._certificate = talk, certificate
        self._listener = socket.create_server((HOST, port))
        self.port: int = self._listener.getsockname()[1]
        self._lines: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def _serve(self) -> None:
        while True:
            try:
                line, _ = self._listener.accept()
            except OSError:
                return
            number, self.connections = self.connections, self.connections + 1
            self._lines.append(line)
            threading.Thread(target=self._one, args=(line, number), daemon=True).start()

    def _one(self, line: socket.socket, number: int) -> None:
        with suppress(OSError):
            if self._certificate is not None:
                line = self._certificate.context.wrap_socket(line, server_side=True)
            with line:
                self._talk(Talk(line, number, self.heard))

    def __enter__(self) -> "Service":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for line in (self._listener, *self._lines):
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)


class Certificate:
    """A certificate that its holder signed, as a camera makes it. fingerprint: as the configuration names it."""

    def __init__(self, folder: Path, name: str = "camera") -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        who = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.now(UTC)
        built = x509.CertificateBuilder(who, who, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=9))
        made = built.sign(key, hashes.SHA256())
        self.fingerprint = "sha256:" + sha256(made.public_bytes(serialization.Encoding.DER)).hexdigest()
        path = folder / f"{name}.pem"
        kind, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        private = key.private_bytes(serialization.Encoding.PEM, kind, plain)
        path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + private)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(path)
