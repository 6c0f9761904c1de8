"""Unix sockets at any path, and what a hostile process at the other end may do to them.

The kernel's address holds 107 bytes, so a folder with a long or a Chinese name would not fit. The folder is opened and the socket
is named through ``/proc/self/fd/<folder>/<name>``, which always fits.

A process at the other end may send open files along (unix(7), SCM_RIGHTS). Whoever is the last to hold such a file closes it, and
closing can take as long as its sender wants: a TCP socket that lingers (socket(7), SO_LINGER), a file of a mount that hangs. So
``read_plain`` takes none, and ``Closer`` closes a connection that holds any in a thread that may stand still.
"""

import errno
import logging
import os
import queue
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ADDRESS_BYTES = 107
_UCRED = struct.Struct("3i")  # pid, uid, gid: unix(7), SO_PEERCRED
PAUSE_S = 0.1  # until the next attempt where no connection could be taken
BLOCK_BYTES = 1 << 16
CLOSERS, CLOSER_S = 64, 0.2  # threads of a Closer at most; another one begins where none has come back for so long

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

    Where the listener has its queue full, the kernel lets this process wait for a place in turn (SO_SNDTIMEO).

    Raises OSError: ENOENT where there is no such socket, ECONNREFUSED where nobody listens on it, BlockingIOError where the queue
    stayed full until the time was over.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    deadline = time.monotonic() + timeout_s
    try:
        with _address(path) as address:
            while True:
                seconds = max(deadline - time.monotonic(), 0.001)  # the kernel takes 0 for ever
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _time_value(seconds))
                sock.connect(address)
                if _has_peer(sock):
                    break
        sock.settimeout(timeout_s)
    except OSError:
        sock.close()
        raise
    return sock


def peer(connection: socket.socket) -> tuple[int, int]:
    """Process id and user id of whoever opened the connection, as the kernel tells. Raises OSError."""
    pid, uid, _ = _UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    return pid, uid


def _time_value(seconds: float) -> bytes:
    """A ``struct timeval``."""
    return struct.pack("@ll", int(seconds), int(seconds % 1 * 1_000_000))


def _has_peer(sock: socket.socket) -> bool:
    """False where a signal ended the waiting: Python then takes the socket for connected."""
    try:
        sock.getpeername()
    except OSError as error:
        if error.errno != errno.ENOTCONN:
            raise
        return False
    return True


class FilesSent(OSError):
    """The other end sends open files along, and nobody asked for them."""


def read_plain(connection: socket.socket, most: int = BLOCK_BYTES) -> bytes:
    """What has come, at most so many bytes; b"" at the end. Open files that come along are left where they are.

    Raises FilesSent, BlockingIOError, OSError.
    """
    data, _, flags, _ = connection.recvmsg(most, 0, socket.MSG_PEEK)
    if flags & socket.MSG_CTRUNC:
        raise FilesSent(errno.EPROTO, os.strerror(errno.EPROTO))
    return connection.recv(len(data)) if data else b""


class Closer:
    """Closes connections of strangers without ever standing still; see the module."""

    def __init__(self) -> None:
        self._left: queue.SimpleQueue[socket.socket | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = self._waiting = 0
        self._came_back_s = 0.0

    def close(self, connection: socket.socket) -> None:
        """Closes it here where it holds nothing, else in a thread."""
        connection.setblocking(False)
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RD)  # from here on nothing more can be sent
        try:
            while read_plain(connection):
                pass
        except FilesSent:
            self._later(connection)
        except OSError:  # nothing is left
            connection.close()
        else:
            connection.close()

    def _later(self, connection: socket.socket) -> None:
        with self._lock:
            now = time.monotonic()
            stuck = self._waiting > 0 and now - self._came_back_s > CLOSER_S
            if self._threads == 0 or (stuck and self._threads < CLOSERS):
                threading.Thread(target=self._work, name="closer", daemon=True).start()
                self._threads, self._came_back_s = self._threads + 1, now
            self._waiting += 1
        self._left.put(connection)

    def _work(self) -> None:
        while (connection := self._left.get()) is not None:
            connection.close()
            with self._lock:
                self._waiting -= 1
                self._came_back_s = time.monotonic()

    def end(self) -> None:
        """Ends the threads that are not in the middle of closing; the others end with the process."""
        with self._lock:
            for _ in range(self._threads):
                self._left.put(None)


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
