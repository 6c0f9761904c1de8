"""Child processes that never outlive their parent, and waiting for a stated condition."""

import json
import os
import random
import select
import signal
import socket
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

HOST = "127.0.0.1"
PORT_SHARES = 16  # so many test workers side by side draw ports that no other draws
Json = dict[str, Any]

_handed_out: deque[int] = deque(maxlen=200)

# The kernel's parent-death signal comes when the *thread* dies that started the child: one thread, which lives as long as the
# process, starts them all.
_starter = ThreadPoolExecutor(1, thread_name_prefix="starter")


class EquipmentError(Exception):
    """A stand-in did not start, or did not answer."""


class Child:
    """One child process in a process group of its own, killed by the kernel when this process dies in whatever way.

    log: standard error, and standard output unless it is a pipe, are appended to it.
    """

    def __init__(
        self, name: str, command: Sequence[str | Path], log: Path, env: Mapping[str, str] | None = None, *, pipes: bool = False
    ):
        self.name = name
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "ab") as file:
            self._process: subprocess.Popen[bytes] = _starter.submit(
                subprocess.Popen,
                ["setpriv", "--pdeathsig", "KILL", "--", *map(str, command)],
                stdin=subprocess.PIPE if pipes else subprocess.DEVNULL,
                stdout=subprocess.PIPE if pipes else file,
                stderr=file,
                env={**os.environ, **(env or {})},
                start_new_session=True,
            ).result()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def signal(self, number: int) -> None:
        """Sends a signal to the child's group, as long as the child was not waited for."""
        if self.alive:
            os.killpg(self.pid, number)

    def end(self, limit_s: float = 3.0) -> None:
        """SIGTERM, then after limit_s SIGKILL; returns when it is gone."""
        self.signal(signal.SIGCONT)
        self._close_stdin()
        self.signal(signal.SIGTERM)
        try:
            self._process.wait(limit_s)
        except subprocess.TimeoutExpired:
            self.kill()
        if self._process.stdout:
            self._process.stdout.close()

    def kill(self) -> None:
        """SIGKILL; returns when it is gone."""
        self.signal(signal.SIGKILL)
        self._process.wait(5)
        self._close_stdin()

    def _close_stdin(self) -> None:
        if self._process.stdin:
            with suppress(BrokenPipeError):
                self._process.stdin.close()

    def failure(self, what: str) -> EquipmentError:
        """What a caller raises: what happened and the end of the log."""
        tail = self.log.read_text(encoding="utf-8", errors="replace")[-2000:]
        return EquipmentError(f"{self.name}: {what} (exit code {self._process.poll()})\n{tail}")


class Peer(Child):
    """A child that answers each JSON line on its standard input with one on its standard output."""

    def __init__(self, name: str, command: Sequence[str | Path], log: Path, env: Mapping[str, str] | None = None) -> None:
        super().__init__(name, command, log, env, pipes=True)
        self._turn = threading.Lock()

    def ask(self, values: Json, limit_s: float = 5.0) -> Json:
        """The answer. Raises EquipmentError where none comes or it says no."""
        assert self._process.stdin
        assert self._process.stdout
        with self._turn:
            try:
                self._process.stdin.write(json.dumps(values).encode() + b"\n")
                self._process.stdin.flush()
            except OSError as error:
                raise self.failure(f"does not take {values}") from error
            line = _read_line(self._process.stdout, limit_s)
        if not line:
            raise self.failure(f"no answer to {values}")
        answer: Json = json.loads(line)
        if not answer.get("ok"):
            raise self.failure(str(answer.get("error")))
        return answer


def _read_line(pipe: IO[bytes], limit_s: float) -> bytes:
    deadline, line = time.monotonic() + limit_s, b""
    while not line.endswith(b"\n"):
        ready, _, _ = select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))
        if not ready or not (piece := os.read(pipe.fileno(), 65536)):
            return b""
        line += piece
    return line


def wait_for(
    condition: Callable[[], Any], what: str, limit_s: float = 5.0, *, alive: Child | None = None, every_s: float = 0.01
) -> Any:
    """The condition's first true value. Raises EquipmentError after limit_s, or when the child that was to do it died.

    every_s: between two looks; a condition that costs something takes the processor from what is waited for.
    """
    deadline = time.monotonic() + limit_s
    while not (value := condition()):
        if alive and not alive.alive:
            raise alive.failure(f"ended before {what}")
        if time.monotonic() > deadline:
            raise alive.failure(f"not in {limit_s} s: {what}") if alive else EquipmentError(f"not in {limit_s} s: {what}")
        time.sleep(every_s)
    return value


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A free loopback port below the kernel's range for outgoing connections, so that it stays free while a device is gone.

    A device may bind its port later than it asks for it, or let go of it for a while. So none of the last ports that were handed
    out comes again, and test workers that run side by side draw from ports of their own.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % PORT_SHARES
    for _ in range(1000):
        port = random.randrange(20_000 + worker, 32_000, PORT_SHARES)
        if port in _handed_out:
            continue
        with socket.socket(socket.AF_INET, kind) as probe:
            if kind == socket.SOCK_STREAM:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            _handed_out.append(port)
            return port
    raise EquipmentError("no free port between 20000 and 32000")


def answers(port: int) -> bool:
    """Whether something accepts connections on the loopback port."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0
