"""What a power cut leaves of a folder, by the calls that its processes made (world.c): what was synced, and some of the rest.

- A file has what it had when its last sync began, and of what came after as much as chance leaves.
- A folder has the entries that it had when its last sync began; of the changes that came after, in their order, any first few.
"""

import os
import random
import shutil
import stat
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

NOTHING_SHARE = 0.4  # of the files: nothing is left of what was not synced


@dataclass(frozen=True, slots=True)
class Change:
    """One entry of a folder that a call changed. kept: where what the call took away lies, or ""."""

    call: str
    path: Path
    inode: int = 0
    to: Path | None = None
    kept: str = ""

    def undo(self) -> None:
        """As if the call had never been made; nothing where it was not, or where its folder is gone as well."""
        if not self.path.parent.is_dir():
            return
        match self.call:
            case "create":
                self.path.unlink(missing_ok=True)
            case "mkdir":
                shutil.rmtree(self.path, ignore_errors=True)
            case "rmdir":
                self.path.mkdir(exist_ok=True)
            case "unlink" if self.kept and not self.path.exists():
                os.link(self.kept, self.path)
            case "rename" if self.to is not None and self.to.exists() and self.to.stat().st_ino == self.inode:
                self.to.rename(self.path)
                if self.kept:
                    os.link(self.kept, self.to)
            case _:
                pass


@dataclass(slots=True)
class Spool:
    """pending: changes of entries, in order, that no sync of their folder made durable. synced: bytes of files, by inode."""

    pending: list[Change] = field(default_factory=list)
    synced: dict[int, int] = field(default_factory=dict)


def read(log: Path) -> Spool:
    """The state of the disk at the end of the log."""
    changes: dict[Path, list[tuple[int, Change]]] = defaultdict(list)
    began: dict[tuple[int, str], int] = {}
    spool = Spool()
    for number, (call, inode, size, path, rest) in enumerate(_lines(log)):
        match call:
            case "sync":
                began[inode, path] = number
            case "synced":
                since = began.get((inode, path), 0)
                changes[Path(path)] = [each for each in changes[Path(path)] if each[0] > since]
                spool.synced[inode] = max(spool.synced.get(inode, 0), size)
            case "truncate":
                spool.synced[inode] = min(spool.synced.get(inode, 0), size)
            case "rename":
                to, kept = rest
                if Path(to).parent != Path(path).parent:
                    raise ValueError(f"{path} is moved to another folder: {to}")
                changes[Path(path).parent].append((number, Change(call, Path(path), inode, Path(to), kept)))
            case _:
                changes[Path(path).parent].append((number, Change(call, Path(path), inode, None, rest[0])))
    spool.pending = [change for _, change in sorted((c for each in changes.values() for c in each), key=lambda c: c[0])]
    return spool


def _lines(log: Path) -> Iterator[tuple[str, int, int, str, list[str]]]:
    for line in log.read_text(encoding="utf-8", errors="replace").split("\n"):
        if line.endswith("\t."):  # else its writer was killed amid it, before the call
            call, inode, size, path, *rest = line.split("\t")[:-1]
            yield call, int(inode), int(size), path, rest


def cut(root: Path, log: Path, chance: random.Random, *, within: str = "") -> list[str]:
    """Makes of the folder what a power cut would have left, which is what the log begins anew with. Nobody writes there.

    within: files with this in their path are cut in the middle of what was not synced. What was done, for people.
    """
    spool = read(log)
    told = list(_forget_entries(spool.pending, chance))
    for path in sorted(root.rglob("*")):
        facts = path.lstat()
        if stat.S_ISREG(facts.st_mode) and not path.name.endswith("-shm"):
            middle = bool(within) and within in str(path)
            told += _tear(path, facts.st_size, spool.synced.get(facts.st_ino, 0), chance, middle=middle)
    for path in root.rglob("*-shm"):  # memory, shared by way of a file
        path.unlink()
    with log.open("w", encoding="utf-8") as file:
        for path in root.rglob("*"):
            file.write(f"synced\t{path.lstat().st_ino}\t{path.lstat().st_size}\t{path}\t\t.\n")
    return told


def _forget_entries(pending: Iterable[Change], chance: random.Random) -> Iterator[str]:
    by_folder: dict[Path, list[Change]] = defaultdict(list)
    for change in pending:
        by_folder[change.path.parent].append(change)
    gone = {id(c) for changes in by_folder.values() for c in changes[chance.randint(0, len(changes)) :]}
    for change in [c for changes in by_folder.values() for c in changes][::-1]:
        if id(change) in gone:
            change.undo()
            yield f"forgotten: {change.call} {change.path}"


def _tear(path: Path, size: int, synced: int, chance: random.Random, *, middle: bool) -> Iterator[str]:
    """Cuts a file to what was synced and a random part of what came behind."""
    if size <= synced:
        return
    left = (synced + size) // 2 if middle else synced if chance.random() < NOTHING_SHARE else chance.randint(synced, size)
    os.truncate(path, left)
    yield f"torn: {path} synced {synced}, left {left}, was {size}"
