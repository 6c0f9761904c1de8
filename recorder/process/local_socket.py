"""Unix sockets at any path.

The kernel's address holds 107 bytes, so a folder with a long or a Chinese name would not fit. The folder is opened and the socket
is named through ``/proc/self/fd/<folder>/<name>``, which always fits.
"""

import logging
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ADDRESS_BYTES = 107
_UCRED = struct.Struct("3i")  # pid, uid, gid: unix(7), SO_PEERCRED
PAUSE_S = 0.1  # until the next attempt where no connection could be taken

log = logging.getLogger(__name__)


def live_socket(run: Path) -> Path:
    """The composer's socket, to which the tracks and the self-check connect. run: storage.run."""
    return run / "live.sock"


@contextmanager
def _address(path: Path) -> Iterator[bytes]:
    """A short address of the path, good while the block runs. Raises OSError where the folder is missing or the name too long."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        address = f"/proc/self/fd/{folder}/".encode() + os.fsencode(path.name)
        if len(address) > ADDRESS_BYTES:
            raise OSError(36, "File name too long", str(path))
        yield address
    finally:
        os.close(folder)


def listen(path: Path, *, backlog: int = 16, mode: int = 0o660) -> socket.socket:
    """A listening socket at the path. What a dead process left there is replaced: the caller holds the lock of this path's owner.

    The name appears only when the socket accepts, with its final mode. Raises OSError.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with suppress(FileNotFoundError):
            temporary.unlink()
        with _address(temporary) as address:
            sock.bind(address)
        temporary.chmod(mode)
        sock.listen(backlog)
        temporary.replace(path)
    except OSError:
        sock.close()
        with suppress(OSError):
            temporary.unlink()
        raise
    return sock


def connect(path: Path, timeout_s: float) -> socket.socket:
    """A connected socket; the time-out holds for connecting and everything after.

    Raises OSError: ENOENT where there is no such socket, ECONNREFUSED where nobody listens on it.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        sock.settimeout(timeout_s)
        with _address(path) as address:
            sock.connect(address)
    except OSError:
        sock.close()
        raise
    return sock


def peer(connection: socket.socket) -> tuple[int, int]:
    """Process id and user id of whoever opened the connection, as the kernel tells. Raises OSError."""
    pid, uid, _ = _UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    return pid, uid


class Acceptor:
    """A listening socket with the thread that accepts on it."""

    def __init__(self, path: Path, take: Callable[[socket.socket], object], name: str, *, mode: int = 0o660) -> None:
        """Listens at the path. The accepting thread calls ``take`` with each connection, and closes one for which ``take`` fails.

        Raises OSError where the path cannot be listened on.
        """
        self._path, self._take = path, take
        self._closing = threading.Event()
        self._listener = listen(path, mode=mode)
        self._thread = threading.Thread(target=self._accept, name=name, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        failing = False
        while not self._closing.is_set():
            try:
                self._accept_one()
                failing = False
            except Exception:  # the top of this thread: files, memory or threads have run out; whoever connects waits
                if not (failing or self._closing.is_set()):
                    log.exception("no connection can be taken", extra={"path": str(self._path)})
                failing = True
                self._closing.wait(PAUSE_S)

    def _accept_one(self) -> None:
        connection, _ = self._listener.accept()
        try:
            self._take(connection)
        except BaseException:
            connection.close()
            raise

    def close(self) -> None:
        """Stops accepting connections and removes the socket."""
        self._closing.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(2.0)
        with suppress(OSError):
            self._path.unlink()
