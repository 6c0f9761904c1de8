"""The seal: manifest.json, the signed list of everything in a session (docs/formats.md), and manifest.sig.

Digests of media come from the journals, where they were written while recording, so that a seal takes no longer for four hours
than for a minute. A file whose size is not what its journal says is read again; what does not fit stands under ``problems``
and never keeps a session from being sealed.
"""

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from recorder import journal
from recorder.continuity import composite_coverage, coverage
from recorder.durable import Json, encode, read_json, storage_fault, write_bytes, write_json
from recorder.faults import EvidenceFault, StorageFault
from recorder.journal import Head
from recorder.sentence import Sentence
from recorder.session_files import JOURNAL, JOURNAL_SIGNATURE, MANIFEST, SIGNATURE, is_sealed
from recorder.signature import check_signature, device_key, fingerprint, public_key, sign_head, sign_manifest

__all__ = ["Sealed", "build", "check_signature", "device_key", "fingerprint", "public_key", "seal", "sign_journal"]

SCHEMA = "interview-room-manifest/1"
SOFTWARE = "interview-room-agent"
REQUIRED = ("overview", "closeup", "microphone")
FOLDERS = ("tracks", "composite", "epochs")
LOOKS = 3  # at the folder, while a journal still grows
# What the manifest takes over from session.json as it stands.
COPIED = (
    "room",
    "case",
    "official_start",
    "official_end",
    "start_ns",
    "timezone",
    "planned_minutes",
    "selfcheck",
    "stop",
    "left",
)

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


def track_summary(writer: Writer | None, start_ns: int, end_ns: int, zone: ZoneInfo) -> Json:
    """What the manifest says of a track; None: the track has no journal."""
    writer = writer or Writer("", [], Head(0, journal.ZERO), {}, frozenset())
    covered = coverage(writer.entries, start_ns, end_ns, without=writer.unusable)
    good = [line for name, line in writer.listed.items() if name not in writer.unusable]
    codecs = [str(e["codec"]) for e in writer.entries if e["kind"] in ("segment", "open")]
    devices = [e["device"] for e in writer.entries if e["kind"] in ("begin", "back") and e.get("device")]
    return {
        "codec": codecs[-1] if codecs else "",
        "covered": covered.covered,
        "covered_s": covered.covered_s,
        "segments": len(good),
        "packets": sum(int(str(line["packets"])) for line in good),
        "bytes": sum(int(str(line["bytes"])) for line in good),
        "gaps": [gap.as_json(zone) for gap in covered.gaps],
        "journal": {"entries": writer.head.entries, "sha256": writer.head.sha256},
        "device": devices[-1] if devices else {},
    }


def composite_summary(writer: Writer | None, start_ns: int, end_ns: int, zone: ZoneInfo) -> Json:
    """What the manifest says of the composite; None: it has no journal. A part that begins after the end is none of its parts."""
    writer = writer or Writer("composite", [], Head(0, journal.ZERO), {}, frozenset())
    covered = composite_coverage(writer.entries, start_ns, end_ns, without=writer.unusable)
    due = covered.pictures_due
    parts = [n for n, line in writer.listed.items() if n not in writer.unusable and int(str(line.get("first_picture", 0))) < due]
    return {
        "pictures_due": covered.pictures_due,
        "pictures_written": covered.pictures_written,
        **({"pictures_after_end": covered.pictures_after_end} if covered.pictures_after_end else {}),
        "parts": [f"{writer.folder}/{name}" for name in parts],
        "gaps": [gap.as_json(zone) for gap in covered.gaps],
        "journal": {"entries": writer.head.entries, "sha256": writer.head.sha256},
    }


def build(folder: Path, session: Mapping[str, Any], *, software_version: str, required: Sequence[str] = REQUIRED) -> Json:
    """The manifest of a session as its folder stands. session: the content of session.json, with stop_ns.

    Tracks are those that are required and those that have a journal. What cannot be read stands under ``problems``.
    """
    start_ns, end_ns, zone = int(session["start_ns"]), int(session["stop_ns"]), ZoneInfo(str(session["timezone"]))
    stock = _take_inventory(folder)
    for _ in range(LOOKS - 1):
        if not stock.stands():
            stock = _take_inventory(folder)
    own = folder / JOURNAL
    data, problems = _read(own, JOURNAL)
    session_writer, found = read_writer("", data, own)
    problems += found
    epochs = list(_epochs(folder, problems))
    names = [*required, *sorted(n.removeprefix("tracks/") for n in stock.writers if n.startswith("tracks/"))]
    ties = [e for e in session_writer.entries if e["kind"] == "tie"]
    return {
        "schema": SCHEMA,
        "session": session["id"],
        **{key: session.get(key) for key in COPIED},
        "end_ns": end_ns,
        "software": {"name": SOFTWARE, "version": software_version},
        "epochs": epochs,
        "ties": [{k: v for k, v in tie.items() if k not in ("seq", "kind", "prev")} for tie in ties],
        "tracks": {n: track_summary(stock.writers.get(f"tracks/{n}"), start_ns, end_ns, zone) for n in dict.fromkeys(names)},
        "composite": composite_summary(stock.writers.get("composite"), start_ns, end_ns, zone),
        "journal": {"entries": session_writer.head.entries, "sha256": session_writer.head.sha256},
        "problems": stock.problems + problems,
        "files": stock.files,
    }


def _epochs(folder: Path, problems: list[Json]) -> Iterator[Json]:
    for path, entry in walk(folder, ["epochs"], lambda *_: None):  # told by the inventory
        if entry.name.startswith("."):  # on its way to its name when its writer died; kept, and no epoch
            continue
        try:
            yield read_json(Path(entry.path))
        except (EvidenceFault, StorageFault) as fault:
            problems.append(problem(path, UNREADABLE, why=fault.values.get("why", "")))


@dataclass(frozen=True, slots=True)
class Sealed:
    """manifest: its content; manifest_sha256: of the bytes of manifest.json."""

    manifest: dict[str, Any]
    manifest_sha256: str

    @property
    def coverage(self) -> dict[str, Any]:
        """By track: covered share and number of gaps, as session.json keeps it."""
        return {n: {"covered": t["covered"], "gaps": len(t["gaps"])} for n, t in self.manifest["tracks"].items()}

    @property
    def composite(self) -> dict[str, Any]:
        """Pictures due and written, as session.json keeps it."""
        return {key: self.manifest["composite"][key] for key in ("pictures_due", "pictures_written")}


def _not_protected(path: str, error: OSError) -> None:
    log.warning("not made read-only", extra={"path": path, "fault": str(error)})


def seal(
    folder: Path, session: Mapping[str, Any], keys_folder: Path, *, software_version: str, required: Sequence[str] = REQUIRED
) -> Sealed:
    """Writes manifest.json and manifest.sig durably and makes the recording read-only; a whole seal that is there already stands.

    A seal that was cut off between its two files is made again. Raises StorageFault, EvidenceFault (a seal is there and its
    signature does not fit, or this PC's key is damaged).
    """
    manifest_path, signature_path = folder / MANIFEST, folder / SIGNATURE
    if not is_sealed(folder):
        key = device_key(keys_folder)
        data = encode(build(folder, session, software_version=software_version, required=required))
        write_bytes(manifest_path, data)
        write_json(signature_path, sign_manifest(data, key))
    try:
        data = manifest_path.read_bytes()
    except OSError as error:
        raise storage_fault(folder, error) from error
    check_signature(data, read_json(signature_path))
    sealed = (Path(entry.path) for _, entry in walk(folder, FOLDERS, _not_protected) if entry.is_file(follow_symlinks=False))
    for path in (*sealed, manifest_path, signature_path):
        try:
            path.chmod(0o440)
        except OSError as error:  # another user's file, perhaps: the seal stands without it, since the signature protects
            _not_protected(str(path), error)
    return Sealed(read_json(manifest_path), sha256(data).hexdigest())


def sign_journal(folder: Path, session: str, keys_folder: Path) -> Head:
    """Signs the present head of the session's journal into journal.sig, durably; called after each line that follows the seal.

    A chain alone shows neither a changed last line nor a cut tail. Raises StorageFault, EvidenceFault.
    """
    head = journal.head_of(folder / JOURNAL)
    write_json(folder / JOURNAL_SIGNATURE, sign_head(session, head, device_key(keys_folder)))
    return head
