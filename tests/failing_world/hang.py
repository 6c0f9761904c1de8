"""A process that hangs: every thread of it stopped by ptrace, as if the kernel held it. SIGCONT does not help; SIGKILL does."""

import ctypes
import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

PTRACE_ATTACH, PTRACE_DETACH = 16, 17
WALL = 0x40000000  # __WALL: threads as well
_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long


def _ptrace(request: int, thread: int) -> None:
    """Raises OSError."""
    if _libc.ptrace(request, thread, None, None) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


class Hang:
    """``with Hang(pid):`` holds the process until it is killed or the block ends. Raises OSError where this is not allowed.

    One thread of this process is the tracer: it holds them, buries the dead (the kernel keeps a traced thread until its tracer
    has heard of its death), and lets go of those that live at the end.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._held: set[int] = set()
        self._ready, self._release = threading.Event(), threading.Event()
        self._error: OSError | None = None
        self._thread = threading.Thread(target=self._run, name=f"hang-{pid}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        if self._error is not None:
            raise self._error
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._release.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            self._hold()
        except OSError as error:
            self._error = error
        self._ready.set()
        while self._held and not self._release.is_set():
            self._bury()
            time.sleep(0.005)
        for thread in self._held:
            with suppress(OSError):
                _ptrace(PTRACE_DETACH, thread)

    def _hold(self) -> None:
        """Every thread, and those that were made meanwhile."""
        while new := {int(task.name) for task in Path(f"/proc/{self.pid}/task").iterdir()} - self._held:
            for thread in new:
                try:
                    _ptrace(PTRACE_ATTACH, thread)
                    os.waitpid(thread, WALL)
                except ProcessLookupError:
                    continue
                self._held.add(thread)

    def _bury(self) -> None:
        for thread in list(self._held):
            with suppress(ChildProcessError):
                found, status = os.waitpid(thread, WALL | os.WNOHANG)
                if found == 0 or os.WIFSTOPPED(status):
                    continue
            self._held.discard(thread)
