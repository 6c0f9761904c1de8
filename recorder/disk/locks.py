"""Locks that one process holds while it lives, and who holds one."""

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

    named: False writes no process id into the file. The supervisor takes the process whose id stands in a lock file for the
    process that the lock is named after, so somebody else who holds the lock must leave his id out.
    An existing lock file can be held on a full or read-only disk as well; then it may lack the id of its holder.
    """
    make_folder(path.parent)
    fd = _open_lock(path)
    try:
        if not _locked(fd):
            holder = _holder(fd)
            raise AlreadyRunning(
                "folder-already-in-use",
                "use-or-stop-running-process",
                what=what,
                folder=path.parent,
                holder=holder or "?",
            )
        with suppress(OSError):
            line = f"{os.getpid()}\n".encode() if named else b""
            os.pwrite(fd, line, 0)  # written before the file is cut to length: a full disk still takes bytes in place of old ones
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
    """Takes the lock. ``lock_holder`` takes it for an instant to find out who holds it, so the first refusal is not final."""
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
