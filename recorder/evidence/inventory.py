"""Everything that lies in a session's folder, held against what its journals list.

What does not fit is a problem, never an obstacle.
"""

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from recorder.disk import journal
from recorder.disk.digest import file_sha256
from recorder.disk.durable import Json
from recorder.disk.journal import Head
from recorder.disk.typed import WrongField
from recorder.faults import EvidenceFault
from recorder.session.files import JOURNAL
from recorder.session.lines import EmptyLine, Line, PartLine, SegmentLine, TornLine, read_line
from wording.sentence import Sentence

FOLDERS = ("tracks", "composite", "epochs")

MISSING = "journal-listed-file-missing"
RESIZED = "journal-listed-size-differs"
BROKEN = "journal-chain-broken"
INCOMPLETE = "journal-line-fields-wrong"
TORN = "file-ends-mid-line"
STRANGE = "not-a-regular-file"
UNREADABLE = "path-cannot-be-read"

log = logging.getLogger(__name__)


@dataclass(slots=True)
class JournalledFolder:
    """One folder with a journal: what the journal's good lines list. listed: file name to its ``segment`` or ``part`` line."""

    folder: str
    lines: list[Line]
    head: Head
    listed: dict[str, SegmentLine | PartLine]
    known: frozenset[str]  # other file names the journal speaks of
    unusable: set[str] = field(default_factory=set)  # listed, and missing or of another size


def read_writer(folder: str, data: bytes, path: Path) -> tuple[JournalledFolder, list[Json]]:
    """Reads a journal's bytes as far as the chain holds, and notes the problems found. folder: as the manifest names it."""
    lines: list[Line] = []
    head, problems = Head(0, journal.ZERO), []
    whole, torn = journal.split_torn(data)
    try:
        for entry, after in journal.parse(whole, path):
            head = after
            try:
                lines.append(read_line(entry))
            except WrongField:
                problems.append(problem(f"{folder}/{JOURNAL}", INCOMPLETE, line=after.entries))
    except EvidenceFault as fault:
        problems.append(problem(f"{folder}/{JOURNAL}", BROKEN, line=fault.values["line"]))
    if torn:
        problems.append(problem(f"{folder}/{JOURNAL}", TORN))
    listed = {line.file: line for line in lines if isinstance(line, SegmentLine | PartLine)}
    known = {
        line.file if isinstance(line, EmptyLine) else line.kept_as for line in lines if isinstance(line, EmptyLine | TornLine)
    }
    return JournalledFolder(folder, lines, head, listed, frozenset(known)), problems


def problem(path: str, text: str, **values: object) -> Json:
    """One entry of ``problems``."""
    plain = {k: v if isinstance(v, int) else str(v) for k, v in values.items() if k != "path"}
    return {"path": path, **Sentence(text, {"path": path, **plain}).as_json()}


def walk(
    folder: Path, names: Iterable[str], unreadable: Callable[[str, OSError], None] | None = None
) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Every entry below the named folders that is no folder, as (path in the session, entry), in order.

    unreadable: told of each folder that cannot be read, which is then left out. Raises OSError where there is none to tell.
    """
    for name in names:
        here, entries = folder / name, list[os.DirEntry[str]]()
        try:
            if here.is_dir():
                with os.scandir(here) as found:
                    entries = sorted(found, key=lambda e: e.name)
        except OSError as error:
            if unreadable is None:
                raise
            unreadable(name, error)
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from walk(folder, [f"{name}/{entry.name}"], unreadable)
            else:
                yield f"{name}/{entry.name}", entry


@dataclass(slots=True)
class Inventory:
    """Everything that lies below tracks/, composite/ and epochs/, with what is wrong with it."""

    writers: dict[str, JournalledFolder] = field(default_factory=dict)
    files: list[Json] = field(default_factory=list)
    problems: list[Json] = field(default_factory=list)
    read: dict[Path, int] = field(default_factory=dict)  # journals, with the bytes that were read of them

    def unreadable(self, path: str, error: OSError) -> None:
        """Notes a path that the disk does not give back as a problem; the rest is sealed all the same."""
        self.problems.append(problem(path, UNREADABLE, why=error.strerror or error))

    def stands(self) -> bool:
        """Whether no journal has grown since it was read. A process that was thought dead may have written a last line."""
        return all(_size(path) == size for path, size in self.read.items())


def _size(path: Path) -> int:
    """Size of a file in bytes; 0 where the disk does not tell it."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def take_inventory(folder: Path) -> Inventory:
    """Everything below tracks/, composite/ and epochs/ of a session. What the disk does not give back becomes a problem."""
    inventory = Inventory()
    found = list(walk(folder, FOLDERS, inventory.unreadable))
    for path, entry in found:
        if entry.name == JOURNAL and entry.is_file(follow_symlinks=False):
            name = path.rpartition("/")[0]
            data, problems = read_journal(Path(entry.path), path)
            inventory.read[Path(entry.path)] = len(data)
            inventory.problems += problems
            inventory.writers[name], problems = read_writer(name, data, Path(entry.path))
            inventory.problems += problems
    present = set()
    for path, entry in found:
        name, _, file = path.rpartition("/")
        writer = inventory.writers.get(name)
        line = writer.listed.get(file) if writer else None
        if not entry.is_file(follow_symlinks=False):
            inventory.problems.append(problem(path, STRANGE))
            continue
        present.add(path)
        try:
            size = entry.stat(follow_symlinks=False).st_size
        except OSError as error:
            inventory.unreadable(path, error)
            inventory.files.append({"path": path, "bytes": 0, "sha256": "", "unreadable": True})
            if writer is not None:
                writer.unusable.add(file)
            continue
        if writer is not None and line is not None and size == line.bytes:
            inventory.files.append({"path": path, "bytes": size, "sha256": line.sha256, **_marks(line)})
            continue
        read: Json = {"path": path, "bytes": size, "sha256": ""}
        try:
            read["sha256"] = file_sha256(Path(entry.path))
        except OSError as error:
            inventory.unreadable(path, error)
            read["unreadable"] = True
        if writer is not None and line is not None:
            inventory.problems.append(problem(path, RESIZED, found=size, listed=line.bytes))
            writer.unusable.add(file)
        elif not name.startswith("epochs") and file != JOURNAL and (writer is None or file not in writer.known):
            read["unlisted"] = True
        inventory.files.append(read)
    for name, writer in inventory.writers.items():
        for file in writer.listed:
            if f"{name}/{file}" not in present:
                inventory.problems.append(problem(f"{name}/{file}", MISSING))
                writer.unusable.add(file)
    return inventory


def read_journal(file: Path, path: str) -> tuple[bytes, list[Json]]:
    """A journal's bytes; a disk that gives back a part of a session only must not keep the rest from being sealed."""
    try:
        return file.read_bytes(), []
    except FileNotFoundError:
        return b"", []
    except OSError as error:
        return b"", [problem(path, UNREADABLE, why=error.strerror or error)]


def _marks(line: SegmentLine | PartLine) -> Json:
    return {"recovered": True} if line.recovered else {}
