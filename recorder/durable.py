"""The only writer of small durable files (invariant 3), and the locks that keep one writer a folder (invariant 2)."""

import errno
import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from recorder.faults import AlreadyRunning, EvidenceFault, NotFound, StorageFault

Json = dict[str, object]
LOCK_ATTEMPTS, LOCK_PAUSE_S = 5, 0.02


def fsync_folder(folder: Path) -> None:
    """Puts the folder's entries on stable storage."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def settle(path: Path) -> None:
    """Makes what can be read of a file that was cut off the same as what its disk has: written back, and out of the page cache.

    After a failed sync the cache may still give what the disk never took (fsync(2), Errors and Notes). A disk that refuses this
    too, or a file that is not there, is no obstacle here: reading tells.
    """
    with suppress(OSError):
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            with suppress(OSError):
                os.fsync(fd)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(fd)
        fsync_folder(path.parent)


def storage_fault(path: Path, error: OSError) -> StorageFault:
    """The mendable form of an OSError on a path."""
    return StorageFault(
        "{path} cannot be written: {why}.",
        "Check that the folder exists, belongs to the agent's user, and that the disk is neither full nor read-only.",
        path=path,
        why=error.strerror or error,
    )


def read_fault(path: Path, error: OSError) -> StorageFault:
    """The mendable form of an OSError on a path that is only read."""
    return StorageFault(
        "{path} cannot be read: {why}.",
        "Check that its disk is mounted and in order, and that you may read it (group room-agent).",
        path=path,
        why=error.strerror or error,
    )


def make_folder(folder: Path) -> Path:
    """Creates the folder with its parents; each new entry is durable. Raises StorageFault."""
    missing = [folder, *folder.parents]
    missing = missing[: next((i for i, p in enumerate(missing) if p.is_dir()), len(missing))]
    try:
        for path in reversed(missing):
            path.mkdir(exist_ok=True)
            fsync_folder(path.parent)
    except FileExistsError as error:  # a file is in the way
        raise storage_fault(path, NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))) from error
    except OSError as error:
        raise storage_fault(folder, error) from error
    return folder


def write_bytes(path: Path, data: bytes) -> None:
    """Replaces the file as a whole: temporary file, fsync, rename, folder fsync. Raises StorageFault."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        fsync_folder(path.parent)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise storage_fault(path, error) from error


def encode(value: Json) -> bytes:
    """JSON as it lies on the disk: UTF-8, readable, sorted as given, one newline at the end."""
    return (json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode()


def write_json(path: Path, value: Json) -> None:
    """Replaces the file durably. Raises StorageFault."""
    write_bytes(path, encode(value))


def create_json(path: Path, value: Json) -> bool:
    """Creates the file durably with its whole content unless it exists. True where this call made it. Raises StorageFault."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        write_bytes(temporary, encode(value))
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        finally:
            temporary.unlink()
            fsync_folder(path.parent)  # of both: a name that a power cut brought back would lie beside what was sealed since
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise storage_fault(path, error) from error
    return True


def replace_volatile(path: Path, value: Json) -> None:
    """Replaces a file that need not survive a power cut (status files): atomic, not synced. Raises StorageFault."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        temporary.write_bytes(encode(value))
        temporary.replace(path)
    except OSError as error:
        raise storage_fault(path, error) from error


def read_json(path: Path) -> Json:
    """The file's object. Raises NotFound where there is none, EvidenceFault where it is not a JSON object."""
    try:
        value = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound("{path} does not exist.", "Check the name.", path=path) from error
    except OSError as error:
        raise read_fault(path, error) from error
    except ValueError as error:
        raise EvidenceFault(
            "{path} is not readable JSON: {why}.", "Restore the file from a copy; do not edit it by hand.", path=path, why=error
        ) from error
    if not isinstance(value, dict):
        raise EvidenceFault(
            "{path} is not readable JSON: {why}.",
            "Restore the file from a copy; do not edit it by hand.",
            path=path,
            why="no object",
        )
    return value


def file_stamp(path: Path) -> tuple[int, int] | None:
    """Another value whenever the file was replaced or written to; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


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
