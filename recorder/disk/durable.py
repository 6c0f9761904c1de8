"""The only writer of small durable files (invariant 3), and the locks that keep one writer a folder (invariant 2)."""

import errno
import json
import os
from contextlib import suppress
from pathlib import Path

from recorder.faults import EvidenceFault, NotFound, StorageFault

Json = dict[str, object]


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
