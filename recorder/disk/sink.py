"""A file that only grows: hashed on the way, synced now and then, closed with its digest."""

import hashlib
import os
from pathlib import Path

from recorder.disk.durable import fsync_folder, storage_fault


class Sink:
    """A file that only grows: counts and hashes what is written. A failed write is remembered, since muxers may swallow it."""

    def __init__(self, path: Path) -> None:
        """Creates the file; never reuses a name. Raises StorageFault."""
        self.path = path
        self.bytes = 0
        self.synced = 0
        self.error: OSError | None = None
        self._digest = hashlib.sha256()
        try:
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        except OSError as error:
            raise storage_fault(path, error) from error

    def write(self, data: bytes) -> int:
        """Writes and hashes the bytes; the muxer calls this. A failure is kept for ``check``."""
        if self.error is not None:
            return len(data)
        view = memoryview(data)
        try:
            while view:
                count = os.write(self._fd, view)
                self._digest.update(view[:count])
                self.bytes += count
                view = view[count:]
        except OSError as error:
            self.error = error
        return len(data)

    def check(self) -> None:
        """Raises StorageFault where a write failed."""
        if self.error is not None:
            raise storage_fault(self.path, self.error) from self.error

    def sync(self) -> bool:
        """Syncs the data, and at the first call the file's name. True where there was something new. Raises StorageFault."""
        self.check()
        if self.synced == self.bytes:
            return False
        goal = self.bytes
        try:
            os.fdatasync(self._fd)
            if self.synced == 0:
                fsync_folder(self.path.parent)
        except OSError as error:
            self.error = error
            self.check()
        self.synced = goal
        return True

    def close(self) -> str:
        """fsync file, fsync folder; the SHA-256 in hexadecimal. Raises StorageFault; the file is closed in any case.

        It may be called again after a fault: the descriptor was closed then, and its number may belong to another file.
        """
        try:
            self.check()
            os.fsync(self._fd)
            fsync_folder(self.path.parent)
        except OSError as error:
            self.error = error
            raise storage_fault(self.path, error) from error
        finally:
            fd, self._fd = self._fd, -1
            if fd >= 0:
                os.close(fd)
        return self._digest.hexdigest()
