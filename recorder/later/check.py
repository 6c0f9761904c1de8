"""Is ``later/`` what was made from the sealed originals? Needs the session's folder, or the disc, alone.

What is compared with what: later/manifest.sig with later/manifest.json, by the key that sealed the session; the seal that it
names with the session's; its journal's chain, head and parts with it; its parts with the gaps of the sealed composite, which they
fill exactly; the segments it was made from with the sealed ones; each MP4 with its length, SHA-256 and number of pictures.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import av

from recorder.clock.instants import PICTURE_NS
from recorder.disk import journal
from recorder.disk.digest import stored_sha256
from recorder.disk.durable import Json, read_as_written
from recorder.evidence.findings import Finding, bad, from_error, good, note
from recorder.evidence.signature import check_signature
from recorder.faults import EvidenceFault
from recorder.later.record import FOLDER, SCHEMA, LaterPart, missing_pictures, parts_of
from recorder.media.decoding import whole_pictures
from recorder.session.files import JOURNAL, MANIFEST, SIGNATURE
from wording import Fault
from wording.times import in_zone

RECORDS = (MANIFEST, SIGNATURE, JOURNAL)
# What a part's line in the journal and its entry in the manifest both say.
FACTS = ("bytes", "sha256", "first_picture", "pictures", "start_ns", "end_ns", "samples", "samples_missing", "sources")


@dataclass(frozen=True, slots=True)
class Seal:
    """The seal of the session. sha256: of the bytes of its manifest.json; signer: the key that signed it, 32 bytes."""

    manifest: Mapping[str, Any]
    sha256: str
    signer: bytes


def judge_records(
    records: Mapping[str, bytes], signature: Json, seal: Seal, where: str = FOLDER
) -> tuple[tuple[LaterPart, ...], list[Finding]]:
    """Pure: the parts that were made later, and what is found on the records of ``later/`` but for the MP4s themselves.

    records: MANIFEST and JOURNAL as they lie there; signature: the content of SIGNATURE. where: the folder in what is said.
    """
    path = f"{where}/{MANIFEST}"
    try:
        check_signature(records[MANIFEST], signature, trusted_public_key=seal.signer)
    except EvidenceFault as fault:
        return (), [Finding(False, fault.code, {**fault.values, "path": f"{where}/{SIGNATURE}"})]
    try:
        record = _object(records[MANIFEST])
        if record["schema"] != SCHEMA:
            return (), [bad("file-form-unknown", path=path, form=record["schema"])]
        return _judge(record, records[JOURNAL], seal, where)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:  # signed, but not made by us
        return (), [bad("file-not-of-known-form", path=path, why=repr(error))]


def _object(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except RecursionError as error:
        raise ValueError("nested without end") from error
    if not isinstance(value, dict):
        raise ValueError("no object")
    return value


def _judge(record: dict[str, Any], journal_data: bytes, seal: Seal, where: str) -> tuple[tuple[LaterPart, ...], list[Finding]]:
    path = f"{where}/{MANIFEST}"
    parts, manifest = parts_of(record), seal.manifest
    found: list[Finding] = []
    if (record["session"], record["manifest_sha256"]) != (manifest["session"], seal.sha256):
        found.append(bad("file-of-other-session-or-seal", path=path))
    found += _journal(record, journal_data, where)
    gaps = [(gap.first, gap.pictures) for gap in missing_pictures(manifest)]
    start_ns = int(manifest["start_ns"])
    if [(p.first_picture, p.pictures) for p in parts] != gaps or any(
        (p.start_ns - start_ns, p.end_ns - p.start_ns) != (p.first_picture * PICTURE_NS, p.pictures * PICTURE_NS) for p in parts
    ):
        found.append(bad("sealed-gaps-not-filled", path=path))
    sealed = {str(f["path"]): str(f["sha256"]) for f in manifest["files"]}
    strange = sorted({s.path for p in parts for s in p.sources if sealed.get(s.path) != s.sha256})
    found += [bad("made-from-unsealed-source", path=path, source=path_) for path_ in strange]
    template, at = "composite-made-later", in_zone(record["at"], ZoneInfo(manifest["timezone"]))
    found += [
        note(template, start=p["from"], end=p["to"], pictures=p["pictures"], at=at, by=record["by"]) for p in record["parts"]
    ]
    return parts, found


def _journal(record: dict[str, Any], data: bytes, where: str) -> list[Finding]:
    path = f"{where}/{JOURNAL}"
    try:
        lines = [(entry, head) for entry, head in journal.parse(journal.split_torn(data)[0], Path(path))]
    except EvidenceFault as fault:
        return [from_error(fault)]
    head = lines[-1][1] if lines else journal.Head(0, journal.ZERO)
    told = [
        {**{name: e.get(name) for name in FACTS}, "path": f"{FOLDER}/{e.get('file')}"} for e, _ in lines if e["kind"] == "part"
    ]
    said = [{name: part[name] for name in (*FACTS, "path")} for part in record["parts"]]
    if (record["journal"], told) != ({"entries": head.entries, "sha256": head.sha256}, said) or not data.endswith(b"\n"):
        return [bad("not-the-jointly-signed-journal", path=path)]
    return []


def verify_later(folder: Path, seal: Seal) -> list[Finding]:
    """Every finding on ``later/`` of a session's folder, nothing where there is none. Reads all of it again."""
    later = folder / FOLDER
    if not later.exists() and not later.is_symlink():
        return []
    parts, found = _read(folder, seal)
    names = {*RECORDS, *(part.path.rpartition("/")[2] for part in parts)}
    try:
        here = sorted(path.name for path in later.iterdir())
    except OSError as error:
        return [from_error(error)]
    if parts:
        found += [bad("added-after-making", path=f"{FOLDER}/{name}") for name in here if name not in names]
    for part in parts:
        found += _part(folder, part)
    return found


def checked(folder: Path, seal: Seal) -> tuple[LaterPart, ...]:
    """The parts in ``later/`` of a session's folder, its records checked; none where there is none. Raises EvidenceFault."""
    if not (folder / FOLDER).exists():
        return ()
    parts, found = _read(folder, seal)
    wrong = next((finding for finding in found if not finding.ok), None)
    if wrong is not None:
        text, mend = "made-later-disagrees-with-seal", "verify-session-first"
        raise EvidenceFault(text, mend, why=wrong.say())
    return parts


def _read(folder: Path, seal: Seal) -> tuple[tuple[LaterPart, ...], list[Finding]]:
    later = folder / FOLDER
    if later.is_symlink() or not later.is_dir():
        return (), [bad("file-outside-session", path=FOLDER)]
    missing = [name for name in RECORDS if not (later / name).is_file() or (later / name).is_symlink()]
    if missing:
        return (), [bad("file-missing", path=f"{FOLDER}/{name}") for name in missing]
    try:
        signature = read_as_written(later / SIGNATURE, f"{FOLDER}/{SIGNATURE}")
        records = {name: (later / name).read_bytes() for name in (MANIFEST, JOURNAL)}
    except (Fault, OSError) as error:
        return (), [from_error(error)]
    return judge_records(records, signature, seal)


def _part(folder: Path, part: LaterPart) -> list[Finding]:
    """Length, SHA-256 and pictures of one MP4."""
    path = folder / part.path
    if path.is_symlink() or path.parent != folder / FOLDER or not path.is_file():
        return [bad("file-missing", path=part.path)]
    size = path.stat().st_size
    if size != part.bytes:
        return [bad("file-size-differs", path=part.path, size=size, listed=part.bytes)]
    try:
        if stored_sha256(path) != part.sha256:
            return [bad("file-sha256-differs", path=part.path)]
        pictures = whole_pictures(path)
    except Fault as fault:
        return [from_error(fault)]
    except (av.error.FFmpegError, IndexError):
        return [bad("file-not-readable-as-video", path=part.path)]
    if pictures != part.pictures:
        template = "picture-count-differs"
        return [bad(template, path=part.path, pictures=pictures, listed=part.pictures)]
    return [good("picture-count-in-file", path=part.path, pictures=pictures)]
