"""TODO docstring."""

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from recorder.disk.durable import make_folder, storage_fault
from recorder.faults import AlreadyRunning

LOCK_ATTEMPTS, LOCK_PAUSE_S = 5, 0.02


@contextmanager
def exclusive(path: Path, what: str, *, named: bool = True) -> Iterator[None]:
    """Holds the lock file while the block runs; the kernel releases it at any death. Raises AlreadyRunning, StorageFault.

    named: False leaves out who holds it: who keeps processes alive takes the process that a lock names for the one it is of.
    A disk that is full or read-only lets a lock file that is there be held all the same; who holds it may then not stand in it.
    """
    make_folder(path.parent)
    fd = _open_lock(path)
    try:
        if not _locked(fd):
            holder = _holder(fd)
            raise AlreadyRunning(
                "{what} already runs on {folder} (process {holder}).",
                "Use the running one, or stop it first; two must never write one folder.",
                what=what,
                folder=path.parent,
                holder=holder or "?",
            )
        with suppress(OSError):
            line = f"{os.getpid()}\n".encode() if named else b""
            os.pwrite(fd, line, 0)  # before it is cut: a full disk takes what lies where something lay already
            os.ftruncate(fd, len(line))
        yield
    finally:
        os.close(fd)


def _open_lock(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    except OSError as error:
        if error.errno == errno.EROFS:
            with suppress(OSError):
                return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        raise storage_fault(path, error) from error


def _holder(fd: int) -> str:
    return os.pread(fd, 32, 0).decode(errors="replace").partition("\n")[0].strip()


def _locked(fd: int) -> bool:
    """Takes the lock; whoever only asks who holds it (``lock_holder``) has it for an instant, which is waited for."""
    for attempt in range(LOCK_ATTEMPTS):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(LOCK_PAUSE_S if attempt < LOCK_ATTEMPTS - 1 else 0)
        else:
            return True
    return False


def lock_holder(path: Path) -> int | None:
    """The process id that holds the lock, None where nobody does."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        text = _holder(fd)
        return int(text) if text.isdigit() else None
    else:
        return None
    finally:
        os.close(fd)
