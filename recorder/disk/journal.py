"""Hash-chained JSON Lines, one writer each (invariants 2 and 3).

Every line carries ``seq`` (from 0), ``at`` (RFC 3339, UTC, for people), ``kind`` and ``prev``: the SHA-256 of the bytes of the
line before, without its newline; the first line's is 64 zeros. A line is on stable storage when ``append`` returns.
"""

import errno
import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from recorder.disk.durable import Json, fsync_folder, storage_fault
from recorder.faults import EvidenceFault, StorageFault

ZERO = "0" * 64

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a chain: how many entries, and the SHA-256 of the last one's line."""

    entries: int
    sha256: str


def utc_now() -> str:
    """The wall clock as RFC 3339 with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Journal:
    """The appending side. Opening repairs a torn last line: its bytes are kept beside the journal and the fact is journalled."""

    def __init__(self, path: Path, *, wall: Callable[[], str] = utc_now) -> None:
        """Opens or creates the journal. Raises EvidenceFault (an earlier line is broken), StorageFault (it cannot be written)."""
        self.path = path
        self._wall = wall
        self._fd = -1
        try:
            new = not path.exists()
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
            if new:
                fsync_folder(path.parent)
            whole, torn = split_torn(path.read_bytes())
            if torn:
                self._keep_torn(torn, len(whole))
            self.head = chain_head(whole, path)
        except OSError as error:
            self.close()
            raise storage_fault(path, error) from error
        except EvidenceFault:
            self.close()
            raise
        self._end = len(whole)
        self._dirty = False  # bytes of a line that failed may lie after the end
        if torn:
            try:
                self.append("torn-line", bytes=len(torn), kept_as=self._torn_name(len(whole)))
            except StorageFault:
                self.close()
                raise

    def _torn_name(self, offset: int) -> str:
        return f"{self.path.name}.torn-{offset}"

    def _keep_torn(self, torn: bytes, offset: int) -> None:
        kept = os.open(self.path.with_name(self._torn_name(offset)), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o640)
        try:
            os.write(kept, torn)
            os.fsync(kept)
        finally:
            os.close(kept)
        fsync_folder(self.path.parent)
        os.ftruncate(self._fd, offset)
        os.fsync(self._fd)

    def append(self, kind: str, /, **fields: object) -> Head:
        """Writes one line and syncs it. Raises StorageFault; the chain is then as it was before."""
        entry: Json = {"seq": self.head.entries, "at": self._wall(), "kind": kind, **fields, "prev": self.head.sha256}
        line = json.dumps(entry, ensure_ascii=False, separators=(",", ":")).encode()
        try:
            if self._dirty:
                self._cut()
            self._dirty = True
            if os.pwrite(self._fd, line + b"\n", self._end) != len(line) + 1:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(self._fd)
        except OSError as error:
            with suppress(OSError):  # the next append tries again
                self._cut()
            raise storage_fault(self.path, error) from error
        self._dirty = False
        self._end += len(line) + 1
        self.head = Head(self.head.entries + 1, hashlib.sha256(line).hexdigest())
        return self.head

    def _cut(self) -> None:
        os.ftruncate(self._fd, self._end)
        self._dirty = False

    def close(self) -> None:
        """Closes the file, which may then be opened by another writer."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


@dataclass(frozen=True, slots=True)
class SetAside:
    """A damaged journal that was moved beside the new one. line: number of the first line that did not fit, from 1."""

    path: Path
    sha256: str
    line: object

    def as_json(self) -> Json:
        """The fact as the new journal's first line tells it."""
        return {"kept_as": self.path.name, "sha256": self.sha256, "line": self.line}


def legible(data: bytes) -> list[Json]:
    """Every line that has the form of a journal's entry, also where the chain is broken."""
    entries = []
    for line in data.split(b"\n"):
        with suppress(ValueError, RecursionError):
            entry = json.loads(line)
            if isinstance(entry, dict) and isinstance(entry.get("kind"), str):
                entries.append(entry)
    return entries


def open_or_set_aside(path: Path) -> tuple[Journal, SetAside | None]:
    """The journal; a damaged one is kept beside a new, empty one, since recording must go on. Raises StorageFault."""
    try:
        return Journal(path), None
    except EvidenceFault as fault:
        try:
            kept = path.with_name(f"{path.name}.damaged-{path.stat().st_mtime_ns}")
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            path.rename(kept)
            fsync_folder(path.parent)
        except OSError as error:
            raise storage_fault(path, error) from error
        log.error("journal is damaged and kept aside", extra={"path": str(kept), "fault": str(fault)})
        return Journal(path), SetAside(kept, digest, fault.values.get("line"))


class PatientJournal:
    """A journal that keeps lines in memory, in order, while the disk refuses them.

    It keeps a damaged journal aside and begins a new one, whose first line says so.
    """

    def __init__(self, path: Path) -> None:
        """Opens the journal; a damaged one is kept aside and a new one begins. Raises StorageFault."""
        self._journal, damaged = open_or_set_aside(path)
        self._waiting: list[tuple[str, Json]] = []
        if damaged is not None:
            self.later("damaged", **damaged.as_json())

    def entries(self) -> list[Json]:
        """The lines that are on the disk. Raises EvidenceFault, StorageFault."""
        return list(read(self._journal.path))

    def told_aside(self) -> list[Json]:
        """The lines that can still be read in the damaged journals that were kept aside here. Raises StorageFault."""
        path, told = self._journal.path, []
        for aside in sorted(path.parent.glob(f"{path.name}.damaged-*")):
            try:
                told += legible(aside.read_bytes())
            except OSError as error:
                raise storage_fault(aside, error) from error
        return told

    def announce(self, kind: str, /, **fields: object) -> None:
        """Writes a line about what the caller will do next. Raises StorageFault: then the caller must not do it."""
        self.flush()
        self._journal.append(kind, **fields)

    def keep(self, kind: str, /, **fields: object) -> None:
        """Writes a line about what has happened. Raises StorageFault: then the line waits in memory for the next call."""
        self.later(kind, **fields)
        self.flush()

    def later(self, kind: str, /, **fields: object) -> None:
        """Takes a line about what has happened; the next ``flush`` writes it."""
        self._waiting.append((kind, fields))

    def flush(self) -> None:
        """Writes the lines that wait in memory. Raises StorageFault."""
        while self._waiting:
            kind, fields = self._waiting[0]
            self._journal.append(kind, **fields)
            del self._waiting[0]

    def close(self) -> None:
        """Closes the file, which may then be opened by another writer."""
        self._journal.close()


def split_torn(data: bytes) -> tuple[bytes, bytes]:
    """A journal's whole lines, and what a power cut left of the last one."""
    end = data.rfind(b"\n") + 1
    return data[:end], data[end:]


def read(path: Path) -> Iterator[Json]:
    """The entries in order, the chain checked on the way. Raises EvidenceFault naming the first line that does not fit.

    A torn last line (a power cut) ends the reading without a fault.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return
    except OSError as error:
        raise storage_fault(path, error) from error
    yield from (entry for entry, _ in parse(split_torn(data)[0], path))


def parse(data: bytes, path: Path) -> Iterator[tuple[Json, Head]]:
    """Each entry of whole lines with the head after it. Raises EvidenceFault."""
    head = Head(0, ZERO)
    for number, line in enumerate(data.split(b"\n")[:-1]):  # not splitlines: \r ends no line
        try:
            entry = json.loads(line)
            fits = isinstance(entry, dict) and entry["prev"] == head.sha256 and entry["seq"] == number
        except (ValueError, KeyError, RecursionError):
            fits = False
        if not fits:
            raise EvidenceFault(
                "journal-chain-broken",
                "compare-journal-with-copy",
                path=path,
                line=number + 1,
            )
        head = Head(number + 1, hashlib.sha256(line).hexdigest())
        yield entry, head


def chain_head(data: bytes, path: Path) -> Head:
    """The head after whole lines. Raises EvidenceFault."""
    head = Head(0, ZERO)
    for _, after in parse(data, path):
        head = after
    return head


def head_of(path: Path) -> Head:
    """The head of a journal that may not exist. Raises EvidenceFault."""
    return chain_head(split_torn(path.read_bytes())[0], path) if path.exists() else Head(0, ZERO)
