"""Small files that survive a power cut (invariant 3): the one place that writes and reads them."""

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
    """The fault for an OSError while a path was written, with what a person can do."""
    return StorageFault(
        "file-not-writable",
        "check-folder-owner-and-disk",
        path=path,
        why=error.strerror or error,
    )


def read_fault(path: Path, error: OSError) -> StorageFault:
    """The fault for an OSError while a path was read, with what a person can do."""
    return StorageFault(
        "path-cannot-be-read",
        "check-disk-mounted-and-readable",
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


def _temporary(path: Path) -> Path:
    """The name that a file has until it is whole: no reader takes names with a leading dot."""
    return path.with_name(f".{path.name}.{os.getpid()}.new")


def write_bytes(path: Path, data: bytes) -> None:
    """Replaces the file as a whole: temporary file, fsync, rename, folder fsync. Raises StorageFault."""
    temporary = _temporary(path)
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


def create_bytes(path: Path, data: bytes, *, mode: int = 0o640) -> bool:
    """Creates the file durably with its whole content unless it exists. True where this call made it. Raises StorageFault."""
    temporary = _temporary(path)
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
        with open(fd, "wb") as file:
            os.fchmod(fd, mode)
            file.write(data)
            file.flush()
            os.fsync(fd)
        return name_new(temporary, path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise storage_fault(path, error) from error


def name_new(temporary: Path, path: Path) -> bool:
    """Gives a synced file its final name unless that is taken, and removes the temporary name.

    True where the file got the name. Raises OSError.
    """
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink()
        fsync_folder(path.parent)  # so that a power cut does not bring the temporary name back into a sealed folder
    return True


def create_json(path: Path, value: Json) -> bool:
    """Creates the file durably with the value as JSON unless it exists. True where this call made it. Raises StorageFault."""
    return create_bytes(path, encode(value))


def replace_volatile(path: Path, value: Json) -> None:
    """Replaces a file that need not survive a power cut (status files): atomic, not synced. Raises StorageFault."""
    temporary = _temporary(path)
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
        raise NotFound("path-does-not-exist", "check-name", path=path) from error
    except OSError as error:
        raise read_fault(path, error) from error
    except (ValueError, RecursionError) as error:
        raise EvidenceFault("file-not-readable-json", "restore-file-never-edit", path=path, why=error) from error
    if not isinstance(value, dict):
        raise EvidenceFault(
            "file-not-readable-json",
            "restore-file-never-edit",
            path=path,
            why="no object",
        )
    return value


def read_as_written(path: Path, called: str = "") -> Json:
    """A JSON file that is byte for byte as write_json writes it. called: what the fault calls it, its name alone by default.

    Raises EvidenceFault, NotFound, StorageFault.
    """
    content = read_json(path)
    try:
        same = encode(content) == path.read_bytes()
    except UnicodeEncodeError:  # half a character, which JSON can hold and write_json never wrote
        same = False
    except OSError as error:
        raise read_fault(path, error) from error
    if not same:
        raise EvidenceFault("file-changed-after-writing", "compare-file-with-disc-or-copy", path=called or path.name)
    return content


def file_stamp(path: Path) -> tuple[int, int] | None:
    """A value that changes whenever the file is replaced or written to; None where there is no file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns
