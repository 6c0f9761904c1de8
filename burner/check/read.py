"""Reading a disc, an image or a folder once, from its beginning to its end: the digest of everything and of each file."""

import hashlib
import os
import stat
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import pycdlib
from pycdlib.pycdlibexception import PyCdlibException

from burner.check.labels import labels_of
from burner.disc.image import PADDING, SECTOR
from drivers.faults import DeviceFault
from drivers.optical import MIB, STDIO
from recorder.faults import BadInput, NotFound

KEEP_BYTES = 64 * MIB  # of one text file that is looked into
BULK = ("data/composite/", "data/originals/")

# What a parser meets on a damaged volume.
DAMAGED = (PyCdlibException, LookupError, ValueError, ArithmeticError, struct.error, AttributeError, TypeError, RecursionError)

Extents = tuple[tuple[int, int], ...]  # (byte offset, length), in the file's order


@dataclass(slots=True)
class Contents:
    """What was read. digests: path to SHA-256. kept: content of the text files. damage: English template and values a trouble."""

    digests: dict[str, str] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    kept: dict[str, bytes] = field(default_factory=dict)
    damage: list[tuple[str, dict[str, object]]] = field(default_factory=list)
    label: str = ""
    labels: tuple[str, ...] = ()  # every name that the volume has; none of a folder
    image_bytes: int = 0
    image_sha256: str | None = None
    extents: dict[str, Extents] = field(default_factory=dict)  # of an image: where each file lies


def read_target(target: str, *, progress: Callable[[float], object] = lambda _: None) -> Contents:
    """target: an image file, ``stdio:`` file, disc device or mounted folder. Raises NotFound, BadInput, DeviceFault (no disc)."""
    path = Path(target.removeprefix(STDIO))
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise NotFound("path-does-not-exist", "check-name", path=path) from error
    if stat.S_ISDIR(mode):
        return _read_folder(path)
    if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
        raise BadInput("not-a-disc-source", "name-iso-drive-or-mounted-disc", path=path)
    try:
        with open(path, "rb", buffering=0) as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
            return _read_image(file, path, progress)
    except OSError as error:
        raise DeviceFault(
            "path-cannot-be-read",
            "check-disc-inserted-and-clean",
            path=path,
            why=error.strerror,
        ) from error


def pieces(target: str, contents: Contents, name: str) -> Iterator[bytes]:
    """One file of what was read, once more, a MiB at a time. Raises OSError."""
    path = Path(target.removeprefix(STDIO))
    if path.is_dir():
        with open(path / name, "rb", buffering=0) as file:
            while data := file.read(MIB):
                yield data
        return
    with open(path, "rb", buffering=0) as file:
        for offset, length in contents.extents.get(name, ()):
            for at in range(offset, offset + length, MIB):
                yield os.pread(file.fileno(), min(MIB, offset + length - at), at)


def _read_folder(folder: Path) -> Contents:
    found = Contents()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = path.relative_to(folder).as_posix()
        digest = hashlib.sha256()
        kept = bytearray()
        try:
            with open(path, "rb", buffering=0) as file:
                while data := file.read(MIB):
                    digest.update(data)
                    if _keeps(name, len(kept) + len(data)):
                        kept += data
        except OSError as error:
            found.damage.append(("path-cannot-be-read", {"path": name, "why": error.strerror}))
            continue
        found.digests[name], found.sizes[name] = digest.hexdigest(), path.stat().st_size
        found.kept[name] = bytes(kept)
    return found


def _keeps(name: str, size: int) -> bool:
    return not name.startswith(BULK) and not name.endswith(".mp4") and size <= KEEP_BYTES


def _read_image(file: BinaryIO, path: Path, progress: Callable[[float], object]) -> Contents:
    found = Contents()
    trees: dict[str, dict[str, Extents]] = {}
    iso: Any = pycdlib.PyCdlib()
    try:
        iso.open_fp(file)
    except DAMAGED as error:
        found.damage.append(("no-readable-disc-image", {"path": path.name, "why": error}))
        return found
    try:
        found.label = iso.pvd.volume_identifier.decode("ascii", "replace").strip()
        found.labels = tuple(labels_of(iso))
        found.image_bytes = -(-iso.pvd.space_size * SECTOR // PADDING) * PADDING
        for kind in ("udf_path", "iso_path", "joliet_path"):
            try:
                trees[kind] = _tree(iso, kind)
            except DAMAGED as error:
                found.damage.append(("disc-tree-unreadable", {"tree": kind.removesuffix("_path"), "why": error}))
    finally:
        iso.close()
    if not trees:
        return found
    first_kind, files = next(iter(trees.items()))
    for kind, other in trees.items():
        if _flat(other) != _flat(files):
            names: dict[str, object] = {"one": first_kind.removesuffix("_path"), "other": kind.removesuffix("_path")}
            found.damage.append(("disc-trees-disagree", names))
    found.extents = files
    _read_through(file, files, found, progress)
    return found


def _tree(iso: Any, kind: str) -> dict[str, Extents]:
    """Path to extents. The ISO 9660 tree is shown by its Rock Ridge names (pycdlib's own look-up by them misses extents)."""
    files: dict[str, Extents] = {}
    for folder, _, names in iso.walk(**{kind: "/"}):
        for name in names:
            path = f"{folder.rstrip('/')}/{name}"
            extents = tuple((int(o), int(n)) for o, n in iso.get_file_byte_extents(**{kind: path}) if n)
            if kind == "iso_path":
                path = iso.full_path_from_dirrecord(iso.get_record(iso_path=path), rockridge=True)
            files[path.lstrip("/")] = extents
    return files


def _flat(files: dict[str, Extents]) -> dict[str, Extents]:
    """Runs that follow one another joined: the trees cut large files at different lengths."""
    flat: dict[str, Extents] = {}
    for name, extents in files.items():
        joined: list[tuple[int, int]] = []
        for offset, length in extents:
            if joined and sum(joined[-1]) == offset:
                joined[-1] = (joined[-1][0], joined[-1][1] + length)
            else:
                joined.append((offset, length))
        flat[name] = tuple(joined)
    return flat


def _read_through(file: BinaryIO, files: dict[str, Extents], found: Contents, progress: Callable[[float], object]) -> None:
    """One pass over the whole image, feeding the image's digest and each file's."""
    whole = hashlib.sha256()
    digests = {name: hashlib.sha256() for name in files}
    keep: dict[str, bytearray] = {n: bytearray() for n, e in files.items() if _keeps(n, sum(x[1] for x in e))}
    spans = sorted((offset, length, name) for name, extents in _flat(files).items() for offset, length in extents)
    at = 0
    broken: set[str] = set()

    def take(until: int, name: str | None) -> bool:
        nonlocal at
        while at < until:
            try:
                data = os.pread(file.fileno(), min(MIB, until - at), at)
            except OSError as error:
                where = {"path": name or "-", "at": at, "why": error.strerror}
                found.damage.append(("disc-unreadable-at-byte", where))
                return False
            if not data:
                missing = {"missing": found.image_bytes - at, "path": name or "-"}
                found.damage.append(("disc-image-truncated", missing))
                return False
            whole.update(data)
            if name is not None:
                digests[name].update(data)
                if name in keep:
                    keep[name] += data
            at += len(data)
            progress(at / max(1, found.image_bytes))
        return True

    good = True
    for offset, length, name in spans:
        if offset < at:
            found.damage.append(("disc-files-overlap", {"at": offset, "path": name}))
            good = False
        if not good or not take(offset, None) or not take(offset + length, name):
            good = False
            broken.add(name)
    good = good and take(found.image_bytes, None)
    for name, extents in files.items():
        if name not in broken:
            found.digests[name], found.sizes[name] = digests[name].hexdigest(), sum(n for _, n in extents)
            if name in keep:
                found.kept[name] = bytes(keep[name])
    if good:
        found.image_sha256 = whole.hexdigest()
