"""The open file that a client sends with a command: the client opens it by its own rights, and the agent never sees its name.

The agent does not hold it either. ``agent/console/receive.py``, a process of its own, takes the descriptor out of the connection
(unix(7), SCM_RIGHTS), looks at its kind and length, reads so much of it as is asked for, and is killed when its time is over: a
pipe, a device or a file of a mount that hangs stops that process alone.
"""

import json
import logging
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from recorder.faults import BadInput
from wording import Exit, Fault

PROGRAM = Path(__file__).with_name("receive.py")
WAIT_S = 3.0  # for the file, once it was asked for
LIMIT_S = 6.0  # for all of it; a client waits longer for its answer
STUCK_MOST = 2  # processes of one user that did not end although they were killed

log = logging.getLogger(__name__)


class FileTooLarge(BadInput):
    """The file is larger than what is asked for. size: its bytes."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__("sent-file-too-large", "send-smaller-file", size=size, limit=limit)
        self.size = size


class SentFile:
    """Of a client that sends none."""

    def read(self, most: int) -> bytes:
        """The whole content. Takes up to LIMIT_S. Raises FileTooLarge, BadInput (no plain file, none came), Fault (too slow)."""
        raise self._fault("missing", most)

    def size(self) -> int:
        """How many bytes it has; nothing of it is read. Raises as ``read``."""
        raise self._fault("missing", 0)

    def close(self) -> None:
        """Lets go of the connection, once nobody asks for the file any more."""

    @staticmethod
    def _fault(reason: str, most: int, *, size: int = 0, why: str = "") -> Fault:
        if reason == "large":
            return FileTooLarge(size, most)
        if reason == "kind":
            return BadInput("sent-file-is-no-file", "send-plain-file")
        if reason == "read":
            return BadInput("sent-file-unreadable", "send-plain-file", why=why)
        if reason == "changed":
            return BadInput("sent-file-changed-while-read", "send-file-again")
        return BadInput("sent-file-missing", "use-matching-agent-version")


NO_FILE = SentFile()


class Receivers:
    """The receiving processes that did not end although they were killed, by user. The kernel holds them: their file hangs."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stuck: dict[int, list[subprocess.Popen[bytes]]] = {}

    def check(self, uid: int) -> None:
        """Raises Fault where this user has too many of them."""
        with self._lock:
            left = [process for process in self._stuck.pop(uid, []) if process.poll() is None]
            if left:
                self._stuck[uid] = left
        if len(left) >= STUCK_MOST:
            raise Fault("sent-files-hang", "end-hanging-mount", exit_code=Exit.REFUSED, count=len(left))

    def add(self, uid: int, process: subprocess.Popen[bytes]) -> None:
        """One more."""
        log.warning("a process that reads a client's file does not end", extra={"uid": uid, "pid": process.pid})
        with self._lock:
            self._stuck.setdefault(uid, []).append(process)


class ComingFile(SentFile):
    """Of a client at a connection of the console. Used by one thread, not by the agent's own."""

    def __init__(
        self, connection: socket.socket, uid: int, receivers: Receivers, close: Callable[[socket.socket], object]
    ) -> None:
        """connection: of its own, to be closed by ``close``."""
        self._connection, self._uid = connection, uid
        self._receivers, self._close = receivers, close
        self._closed = False

    def read(self, most: int) -> bytes:
        """See SentFile."""
        return self._received(most)[1]

    def size(self) -> int:
        """See SentFile."""
        return self._received(None)[0]

    def _received(self, most: int | None) -> tuple[int, bytes]:
        self._receivers.check(self._uid)
        words = [sys.executable, "-I", "-S", str(PROGRAM), str(WAIT_S), "" if most is None else str(most)]
        try:
            process = subprocess.Popen(
                words, stdin=self._connection.fileno(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={}, cwd="/"
            )
        except OSError as error:
            raise Fault("sent-file-not-received", "give-command-again", exit_code=Exit.STORAGE, why=error.strerror) from error
        try:
            told, _ = process.communicate(timeout=LIMIT_S)
        except subprocess.TimeoutExpired as error:
            process.kill()
            self._let_go(process)
            raise Fault("sent-file-too-slow", "send-plain-file", exit_code=Exit.INPUT, seconds=round(LIMIT_S)) from error
        head, _, content = told.partition(b"\n")
        try:
            facts = json.loads(head)
            size, reason, why = int(facts["size"]), str(facts["reason"]), str(facts["why"])
        except (ValueError, KeyError, TypeError) as error:  # it was ended from outside
            raise Fault("sent-file-not-received", "give-command-again", exit_code=Exit.STORAGE, why="-") from error
        if reason:
            raise self._fault(reason, most or 0, size=size, why=why)
        return size, content

    def _let_go(self, process: subprocess.Popen[bytes]) -> None:
        try:
            process.wait(0.5)
        except subprocess.TimeoutExpired:
            self._receivers.add(self._uid, process)
        if process.stdout is not None:
            with suppress(OSError):
                process.stdout.close()

    def close(self) -> None:
        """See SentFile."""
        if not self._closed:
            self._closed = True
            self._close(self._connection)
