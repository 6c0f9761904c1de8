"""TLS towards a camera: exactly one certificate, known by its SHA-256, whoever signed it; cameras sign their own.

Loading it takes 3 MB: it is loaded where a camera is reached by TLS.
"""

import hmac
import select
import socket
import ssl
import time
from contextlib import suppress
from hashlib import sha256

from drivers.faults import DeviceFault, DeviceRefused

PREFIX = "sha256:"


def context() -> ssl.SSLContext:
    """Takes any certificate; which one it is, is compared after the handshake, before anything is sent."""
    found = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    found.check_hostname = False
    found.verify_mode = ssl.CERT_NONE
    return found


def fingerprint(line: ssl.SSLSocket) -> str:
    """``sha256:`` and 64 hexadecimal digits of the certificate at the other end."""
    return PREFIX + sha256(line.getpeercert(binary_form=True) or b"").hexdigest()


def encrypted(line: socket.socket, limit_s: float) -> ssl.SSLSocket:
    """The connection with TLS, in the non-blocking mode. limit_s: for the whole handshake.

    Raises OSError; the connection is then closed.
    """
    deadline = time.monotonic() + limit_s
    waiting = select.poll()
    try:
        line.setblocking(False)
        found = context().wrap_socket(line, do_handshake_on_connect=False)
    except BaseException:
        line.close()
        raise
    try:
        while True:
            try:
                found.do_handshake()
                return found
            except ssl.SSLWantReadError:
                waiting.register(found, select.POLLIN)
            except ssl.SSLWantWriteError:
                waiting.register(found, select.POLLOUT)
            if not waiting.poll(max(0.0, deadline - time.monotonic()) * 1000):
                raise TimeoutError
    except BaseException:
        found.close()
        raise


def pinned(line: socket.socket, name: str, pin: str, limit_s: float) -> ssl.SSLSocket:
    """``encrypted`` with the one certificate. name: the camera's. pin: as ``fingerprint`` gives it, "" takes any.

    Raises DeviceRefused where the certificate is another, DeviceFault where no TLS is spoken there, OSError.
    """
    host, port = line.getpeername()[:2]
    where = {"name": name, "host": host, "port": port}
    try:
        found = encrypted(line, limit_s)
    except ssl.SSLError as error:
        raise DeviceFault("camera-speaks-no-tls", "check-camera-tls-port", why=error.reason or "-", **where) from error
    met = fingerprint(found)
    if pin and not hmac.compare_digest(met, pin):
        found.close()
        raise DeviceRefused("camera-certificate-is-another", "compare-camera-certificate", met=met, pin=pin, **where)
    return found


def met_at(host: str, port: int, limit_s: float) -> str:
    """The fingerprint of what answers there by TLS, "" where nothing does."""
    with suppress(OSError, UnicodeError):
        line = socket.create_connection((host, port), limit_s)
        with encrypted(line, limit_s) as found:
            return fingerprint(found)
    return ""
