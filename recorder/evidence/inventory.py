"""TODO docstring."""

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from recorder.disk import journal
from recorder.disk.durable import Json
from recorder.disk.journal import Head
from recorder.faults import EvidenceFault
from recorder.session.files import JOURNAL
from wording.sentence import Sentence

FOLDERS = ("tracks", "composite", "epochs")

MISSING = "{path} is listed in its journal and is not there."
RESIZED = "{path} has {found} bytes; its journal says {listed}."
BROKEN = "{path}: line {line} does not continue the chain."
INCOMPLETE = "{path}: line {line} lacks fields or has wrong ones."
TORN = "{path} ends in the middle of a line."
STRANGE = "{path} is no regular file."
UNREADABLE = "{path} cannot be read: {why}."

log = logging.getLogger(__name__)

_FILE: dict[str, tuple[type, ...]] = {"file": (str,), "bytes": (int,), "sha256": (str,)}
_FIELDS: dict[str, dict[str, tuple[type, ...]]] = {
    "segment": {**_FILE, "packets": (int,), "first_ns": (int,), "end_ns": (int,), "codec": (str,)},
    "part": {**_FILE, "first_picture": (int,), "pictures": (int,)},
    "open": {"file": (str,), "first_ns": (int,), "codec": (str,)},
    "part-open": {"file": (str,), "first_picture": (int,)},
    "lost": {"from_ns": (int, type(None)), "at_ns": (int, type(None))},
}


@dataclass(slots=True)
class Writer:
    """One folder with a journal: what the journal's good lines list. listed: file name to its ``segment`` or ``part`` line."""

    folder: str
    entries: list[Json]
    head: Head
    listed: dict[str, Json]
    known: frozenset[str]  # other file names the journal speaks of
    unusable: set[str] = field(default_factory=set)  # listed, and missing or of another size


def read_writer(folder: str, data: bytes, path: Path) -> tuple[Writer, list[Json]]:
    """What a journal's bytes say as far as its chain holds, with the problems found. folder: as in the manifest."""
    entries: list[Json] = []
    head, problems = Head(0, journal.ZERO), []
    whole = data[: data.rfind(b"\n") + 1]
    try:
        for entry, after in journal.parse(whole, path):
            if _usable(entry):
                entries.append(entry)
            else:
                problems.append(problem(f"{folder}/{JOURNAL}", INCOMPLETE, line=after.entries))
            head = after
    except EvidenceFault as fault:
        problems.append(problem(f"{folder}/{JOURNAL}", BROKEN, line=fault.values["line"]))
    if len(whole) < len(data):
        problems.append(problem(f"{folder}/{JOURNAL}", TORN))
    listed = {str(e["file"]): e for e in entries if e["kind"] in ("segment", "part")}
    known = {str(e.get("file", e.get("kept_as", ""))) for e in entries if e["kind"] in ("empty", "torn-line")}
    return Writer(folder, entries, head, listed, frozenset(known)), problems


def _usable(entry: Json) -> bool:
    """A line that the summaries can be made from."""
    wanted = _FIELDS.get(str(entry.get("kind")), {})
    return "kind" in entry and all(type(entry.get(name)) in types for name, types in wanted.items())


def problem(path: str, text: str, **values: object) -> Json:
    """One entry of ``problems``."""
    plain = {k: v if isinstance(v, int) else str(v) for k, v in values.items() if k != "path"}
    return {"path": path, **Sentence(text, {"path": path, **plain}).as_json()}


def file_digest(path: Path) -> str:
    """SHA-256 of a file in hexadecimal. Raises OSError."""
    with open(path, "rb") as file:
        return sha256_of(file)


def sha256_of(file: Any) -> str:
    """SHA-256 of what an open binary file still gives."""
    digest = sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


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
class _Inventory:
    """Everything that lies below tracks/, composite/ and epochs/, with what is wrong with it."""

    writers: dict[str, Writer] = field(default_factory=dict)
    files: list[Json] = field(default_factory=list)
    problems: list[Json] = field(default_factory=list)
    read: dict[Path, int] = field(default_factory=dict)  # journals, with the bytes that were read of them

    def unreadable(self, path: str, error: OSError) -> None:
        """A disk that gives back a part of a session only must not keep the rest from being sealed."""
        self.problems.append(problem(path, UNREADABLE, why=error.strerror or error))

    def stands(self) -> bool:
        """No journal has grown since it was read: somebody who was thought dead may still have had a last word."""
        return all(_size(path) == size for path, size in self.read.items())


def _size(path: Path) -> int:
    """Of a file; 0 where it cannot be said."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _take_inventory(folder: Path) -> _Inventory:
    stock = _Inventory()
    found = list(walk(folder, FOLDERS, stock.unreadable))
    for path, entry in found:
        if entry.name == JOURNAL and entry.is_file(follow_symlinks=False):
            name = path.rpartition("/")[0]
            data, problems = _read(Path(entry.path), path)
            stock.read[Path(entry.path)] = len(data)
            stock.problems += problems
            stock.writers[name], problems = read_writer(name, data, Path(entry.path))
            stock.problems += problems
    present = set()
    for path, entry in found:
        name, _, file = path.rpartition("/")
        writer = stock.writers.get(name)
        line = writer.listed.get(file) if writer else None
        if not entry.is_file(follow_symlinks=False):
            stock.problems.append(problem(path, STRANGE))
            continue
        present.add(path)
        try:
            size = entry.stat(follow_symlinks=False).st_size
        except OSError as error:
            stock.unreadable(path, error)
            stock.files.append({"path": path, "bytes": 0, "sha256": "", "unreadable": True})
            if writer is not None:
                writer.unusable.add(file)
            continue
        if writer is not None and line is not None and size == line["bytes"]:
            stock.files.append({"path": path, "bytes": size, "sha256": line["sha256"], **_marks(line)})
            continue
        read: Json = {"path": path, "bytes": size, "sha256": ""}
        try:
            read["sha256"] = file_digest(Path(entry.path))
        except OSError as error:
            stock.unreadable(path, error)
            read["unreadable"] = True
        if writer is not None and line is not None:
            stock.problems.append(problem(path, RESIZED, found=size, listed=line["bytes"]))
            writer.unusable.add(file)
        elif not name.startswith("epochs") and file != JOURNAL and (writer is None or file not in writer.known):
            read["unlisted"] = True
        stock.files.append(read)
    for name, writer in stock.writers.items():
        for file in writer.listed:
            if f"{name}/{file}" not in present:
                stock.problems.append(problem(f"{name}/{file}", MISSING))
                writer.unusable.add(file)
    return stock


def _read(file: Path, path: str) -> tuple[bytes, list[Json]]:
    """A journal's bytes; a disk that gives back a part of a session only must not keep the rest from being sealed."""
    try:
        return file.read_bytes(), []
    except FileNotFoundError:
        return b"", []
    except OSError as error:
        return b"", [problem(path, UNREADABLE, why=error.strerror or error)]


def _marks(line: Json) -> Json:
    return {"recovered": True} if line.get("recovered") else {}
