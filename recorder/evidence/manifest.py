"""The seal: manifest.json, the signed list of everything in a session (docs/formats.md), and manifest.sig.

Digests of media come from the journals, where they were written while recording, so that a seal takes no longer for four hours
than for a minute. A file whose size is not what its journal says is read again; what does not fit stands under ``problems``
and never keeps a session from being sealed.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from recorder.disk import journal
from recorder.disk.durable import Json, encode, read_json, storage_fault, write_bytes, write_json
from recorder.disk.journal import Head
from recorder.evidence.continuity import Gap, composite_coverage, coverage, cut_pictures
from recorder.evidence.inventory import (
    FOLDERS,
    UNREADABLE,
    JournalledFolder,
    problem,
    read_journal,
    read_writer,
    take_inventory,
    walk,
)
from recorder.evidence.manifest_form import SCHEMA
from recorder.evidence.signature import check_signature, device_key, sign_head, sign_manifest
from recorder.faults import EvidenceFault, StorageFault
from recorder.session.files import JOURNAL, JOURNAL_SIGNATURE, MANIFEST, SIGNATURE, is_sealed
from recorder.session.lines import BackLine, BeginLine, PartLine, SegmentLine, SegmentOpenLine, TieLine
from recorder.session.record import SEALED
from recorder.session.tracks import TRACKS

SOFTWARE = "interview-room-agent"
LOOKS = 3  # at the folder, while a journal still grows
log = logging.getLogger(__name__)


def track_summary(writer: JournalledFolder | None, start_ns: int, end_ns: int, zone: ZoneInfo) -> Json:
    """The manifest's section for a track. writer: its journal and files; None where it has no journal."""
    writer = writer or JournalledFolder("", [], Head(0, journal.ZERO), {}, frozenset())
    covered = coverage(writer.lines, start_ns, end_ns, without=writer.unusable)
    good = [s for name, s in writer.listed.items() if isinstance(s, SegmentLine) and name not in writer.unusable]
    codecs = [line.codec for line in writer.lines if isinstance(line, SegmentLine | SegmentOpenLine)]
    cut = [
        {"path": f"{writer.folder}/{line.file}", **Gap(line.from_ns, line.to_ns, line.said).as_json(zone)}
        for line in cut_pictures(writer.lines, start_ns, end_ns)
    ]
    devices = [line.device for line in writer.lines if isinstance(line, BeginLine | BackLine) and line.device]
    return {
        "codec": codecs[-1] if codecs else "",
        "covered": covered.covered,
        "covered_s": covered.covered_s,
        "segments": len(good),
        "packets": sum(line.packets for line in good),
        "bytes": sum(line.bytes for line in good),
        "gaps": [gap.as_json(zone) for gap in covered.gaps],
        **({"cut": cut} if cut else {}),
        "journal": {"entries": writer.head.entries, "sha256": writer.head.sha256},
        "device": devices[-1] if devices else {},
    }


def composite_summary(writer: JournalledFolder | None, start_ns: int, end_ns: int, zone: ZoneInfo) -> Json:
    """The manifest's section for the composite. writer: its journal and files; None where it has no journal.

    A part that begins after the official end is left out.
    """
    writer = writer or JournalledFolder("composite", [], Head(0, journal.ZERO), {}, frozenset())
    covered = composite_coverage(writer.lines, start_ns, end_ns, without=writer.unusable)
    due = covered.pictures_due
    parts = [
        name
        for name, part in writer.listed.items()
        if name not in writer.unusable and isinstance(part, PartLine) and part.first_picture < due
    ]
    damaged: Counter[str] = Counter()
    for line in writer.lines:
        damaged.update((line.damaged or {}) if isinstance(line, PartLine) else {})
    return {
        "pictures_due": covered.pictures_due,
        "pictures_written": covered.pictures_written,
        **({"pictures_after_end": covered.pictures_after_end} if covered.pictures_after_end else {}),
        **({"damaged": dict(sorted(damaged.items()))} if damaged else {}),
        "parts": [f"{writer.folder}/{name}" for name in parts],
        "gaps": [gap.as_json(zone) for gap in covered.gaps],
        "journal": {"entries": writer.head.entries, "sha256": writer.head.sha256},
    }


def build(folder: Path, session: Mapping[str, Any], *, software_version: str, required: Sequence[str] = TRACKS) -> Json:
    """The manifest of a session as its folder stands. session: the content of session.json, with stop_ns.

    Tracks are those that are required and those that have a journal. What cannot be read stands under ``problems``.
    """
    start_ns, end_ns, zone = int(session["start_ns"]), int(session["stop_ns"]), ZoneInfo(str(session["timezone"]))
    inventory = take_inventory(folder)
    for _ in range(LOOKS - 1):
        if not inventory.stands():
            inventory = take_inventory(folder)
    own = folder / JOURNAL
    data, problems = read_journal(own, JOURNAL)
    session_writer, found = read_writer("", data, own)
    problems += found
    epochs = list(_epochs(folder, problems))
    names = [*required, *sorted(n.removeprefix("tracks/") for n in inventory.writers if n.startswith("tracks/"))]
    return {
        "schema": SCHEMA,
        "session": session["id"],
        **{key: session.get(key) for key in SEALED},
        "end_ns": end_ns,
        "software": {"name": SOFTWARE, "version": software_version},
        "epochs": epochs,
        "ties": [line.as_json() for line in session_writer.lines if isinstance(line, TieLine)],
        "tracks": {n: track_summary(inventory.writers.get(f"tracks/{n}"), start_ns, end_ns, zone) for n in dict.fromkeys(names)},
        "composite": composite_summary(inventory.writers.get("composite"), start_ns, end_ns, zone),
        "journal": {"entries": session_writer.head.entries, "sha256": session_writer.head.sha256},
        "problems": inventory.problems + problems,
        "files": inventory.files,
    }


def _epochs(folder: Path, problems: list[Json]) -> Iterator[Json]:
    for path, entry in walk(folder, ["epochs"], lambda *_: None):  # told by the inventory
        if entry.name.startswith("."):  # a temporary file whose writer died: it is kept, and is no epoch
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
    folder: Path, session: Mapping[str, Any], keys_folder: Path, *, software_version: str, required: Sequence[str] = TRACKS
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
        except OSError as error:  # perhaps another user's file; the signature protects it all the same
            _not_protected(str(path), error)
    return Sealed(read_json(manifest_path), sha256(data).hexdigest())


def sign_journal(folder: Path, session: str, keys_folder: Path) -> Head:
    """Signs the present head of the session's journal into journal.sig, durably; called after each line that follows the seal.

    A chain alone shows neither a changed last line nor a cut tail. Raises StorageFault, EvidenceFault.
    """
    head = journal.head_of(folder / JOURNAL)
    write_json(folder / JOURNAL_SIGNATURE, sign_head(session, head, device_key(keys_folder)))
    return head
