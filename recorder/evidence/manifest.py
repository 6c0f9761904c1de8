"""The seal: manifest.json, the signed list of everything in a session (docs/formats.md), and manifest.sig.

Digests of media come from the journals, where they were written while recording, so that a seal takes no longer for four hours
than for a minute. A file whose size is not what its journal says is read again; what does not fit stands under ``problems``
and never keeps a session from being sealed.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from recorder.disk import journal
from recorder.disk.durable import Json, encode, read_json, storage_fault, write_bytes, write_json
from recorder.disk.journal import Head
from recorder.evidence.continuity import composite_coverage, coverage
from recorder.evidence.inventory import FOLDERS, UNREADABLE, Writer, _read, _take_inventory, problem, read_writer, walk
from recorder.evidence.signature import check_signature, device_key, fingerprint, public_key, sign_head, sign_manifest
from recorder.faults import EvidenceFault, StorageFault
from recorder.session.files import JOURNAL, JOURNAL_SIGNATURE, MANIFEST, SIGNATURE, is_sealed

__all__ = ["Sealed", "build", "check_signature", "device_key", "fingerprint", "public_key", "seal", "sign_journal"]

SCHEMA = "interview-room-manifest/1"
SOFTWARE = "interview-room-agent"
REQUIRED = ("overview", "closeup", "microphone")
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

log = logging.getLogger(__name__)


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
