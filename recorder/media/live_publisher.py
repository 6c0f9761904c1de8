"""A track's end of the live stream. It connects to the composer; nobody connects to a track, so nobody can hold it up
(invariant 6)."""

import socket
import threading
from contextlib import suppress
from pathlib import Path

from recorder.media.live import CurrentGroup, Hello, LiveMessage, LiveQueue
from recorder.process import local_socket

CONNECT_S = 1.0
RETRY_S = 0.2  # a composer that is started anew shows the cameras so soon
LOOK_S = 1.0


class LivePublisher:
    """Sends to the composer while there is one. What it does not take in time is dropped, in whole groups of pictures."""

    def __init__(self, path: Path, track: str) -> None:
        """path: see recorder.process.local_socket.live_socket."""
        self._path, self._track = path, track
        self._lock = threading.Lock()
        self._group = CurrentGroup()
        self._queue: LiveQueue | None = None  # while the composer is connected
        self._connection: socket.socket | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="live", daemon=True)
        self._thread.start()

    @property
    def connected(self) -> bool:
        """Whether a composer takes the stream."""
        return self._queue is not None

    def publish(self, message: LiveMessage) -> None:
        """Hands a message over; never waits."""
        with self._lock:
            self._group.add(message)
            if self._queue is not None:
                self._queue.put(message)

    def _run(self) -> None:
        while not self._closing.is_set():
            with suppress(OSError):  # no composer, or it went away: the recording does not need it
                self._send_to(local_socket.connect(self._path, CONNECT_S))
            self._closing.wait(RETRY_S)

    def _send_to(self, connection: socket.socket) -> None:
        with connection:
            connection.settimeout(None)
            with self._lock:
                queue = self._queue = LiveQueue((Hello(self._track, takes=False).message(), *self._group.messages()))
                self._connection = connection
            try:
                while not self._closing.is_set():
                    with suppress(TimeoutError):
                        message = queue.take(LOOK_S)
                        if message is None:
                            return
                        connection.sendall(message.packed())
            finally:
                with self._lock:
                    self._queue = self._connection = None

    def close(self) -> None:
        """Ends the connection."""
        self._closing.set()
        with self._lock:
            if self._queue is not None:
                self._queue.close()
            if self._connection is not None:  # it may be waiting for a composer that stands still
                with suppress(OSError):
                    self._connection.shutdown(socket.SHUT_RDWR)
        self._thread.join(2.0)
