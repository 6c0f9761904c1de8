"""The composer's end of the live stream: it takes every track's, and passes it on to its own inputs and to the self-check."""

import logging
import os
import select
import socket
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from recorder.disk.durable import storage_fault
from recorder.media.live import CurrentGroup, Hello, LiveMessage, LiveQueue, MessageReader
from recorder.process import local_socket

HELLO_S = 2.0
READERS = 12  # at once: a self-check and a calibration read every track, and some to spare
CONNECTIONS = 2 * READERS  # with those that have not said what they want
LOOK_S = 1.0

log = logging.getLogger(__name__)


class _Stream:
    """One track's stream, and those who take it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._source: socket.socket | None = None
        self._group = CurrentGroup()
        self._queues: list[LiveQueue] = []

    @property
    def connected(self) -> bool:
        return self._source is not None

    @property
    def takers(self) -> int:
        with self._lock:
            return sum(not queue.closed for queue in self._queues)

    def listen(self) -> LiveQueue:
        with self._lock:
            if self._source is None:
                raise ConnectionRefusedError("the track's process is not connected")
            queue = LiveQueue(self._group.messages())
            self._queues.append(queue)
            return queue

    def begin(self, source: socket.socket) -> None:
        """Another process of the track takes the place of the one before."""
        with self._lock:
            before, self._source = self._source, source
            self._end_queues()
        if before is not None:
            with suppress(OSError):
                before.shutdown(socket.SHUT_RDWR)

    def put(self, source: socket.socket, message: LiveMessage) -> None:
        with self._lock:
            if self._source is not source:
                return
            self._group.add(message)
            self._queues = [queue for queue in self._queues if not queue.closed]
            for queue in self._queues:
                queue.put(message)

    def end(self, source: socket.socket) -> None:
        with self._lock:
            if self._source is source:
                self._source = None
                self._end_queues()

    def _end_queues(self) -> None:
        for queue in self._queues:
            queue.close()
        self._queues, self._group = [], CurrentGroup()


class LiveHub:
    """Listens for the tracks' processes and for readers. The socket belongs to the service's user alone."""

    def __init__(self, path: Path, tracks: Iterable[str]) -> None:
        """path: see recorder.process.local_socket.live_socket; the caller holds the composer's lock. Raises StorageFault."""
        self._streams = {track: _Stream() for track in tracks}
        self._room = threading.BoundedSemaphore(CONNECTIONS)
        self._readers = threading.BoundedSemaphore(READERS)
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        try:
            self._acceptor = local_socket.Acceptor(path, self._take, "live-accept", mode=0o600)
        except OSError as error:
            raise storage_fault(path, error) from error

    def connected(self, track: str) -> bool:
        """Whether the track's process is there."""
        return self._streams[track].connected

    def takers(self, track: str) -> int:
        """How many take this track's stream now."""
        return self._streams[track].takers

    def listen(self, track: str) -> LiveQueue:
        """A track's stream from now on, its current group first; the taker closes it.

        It ends where the track's process goes away. Raises ConnectionRefusedError where it is not there.
        """
        return self._streams[track].listen()

    def _take(self, connection: socket.socket) -> None:
        _, uid = local_socket.peer(connection)
        if uid not in (0, os.getuid()) or not self._room.acquire(blocking=False):
            connection.close()
            return
        try:
            threading.Thread(target=self._serve, args=(connection,), name="live-peer", daemon=True).start()
        except RuntimeError:  # no thread is to be had
            self._room.release()
            raise

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection:
                with self._lock:
                    self._connections.add(connection)
                self._begin(connection)
        except (OSError, ValueError) as error:  # what it sent makes no sense, or it went away
            log.debug("live connection ended", extra={"error": str(error)})
        finally:
            with self._lock:
                self._connections.discard(connection)
            self._room.release()

    def _begin(self, connection: socket.socket) -> None:
        connection.settimeout(HELLO_S)
        messages = MessageReader(connection)
        hello = Hello.of(messages.read())
        stream = self._streams.get(hello.track)
        if stream is None:
            raise ValueError("no such track")
        connection.settimeout(None)
        if not hello.takes:
            self._receive(connection, messages, stream)
        elif self._readers.acquire(blocking=False):
            try:
                self._give(connection, stream)
            finally:
                self._readers.release()

    def _receive(self, connection: socket.socket, messages: MessageReader, stream: _Stream) -> None:
        stream.begin(connection)
        try:
            while (message := messages.read()) is not None:
                stream.put(connection, message)
        finally:
            stream.end(connection)

    def _give(self, connection: socket.socket, stream: _Stream) -> None:
        queue = stream.listen()
        gone = select.poll()
        gone.register(connection, select.POLLIN)  # a reader says nothing until it goes
        try:
            while True:
                try:
                    message = queue.take(LOOK_S)
                except TimeoutError:
                    if gone.poll(0):
                        return
                    continue
                if message is None:
                    return
                connection.sendall(message.packed())
        finally:
            queue.close()

    def close(self) -> None:
        """Ends every connection and removes the socket."""
        self._acceptor.close()
        with self._lock:
            for connection in self._connections:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
