"""A sealed session as the burner reads it: who, when, which files, and which segments follow one another without a hole."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from burner.faults import NotFinal
from recorder.clock.instants import GAP_FLOOR_NS
from recorder.disk.durable import Json, encode, read_fault, read_json
from recorder.evidence.continuity import pictures_due
from recorder.evidence.manifest_form import understood
from recorder.evidence.sealed_segments import SealedPart, SealedSegment, sealed_parts, sealed_segments
from recorder.evidence.signature import check_signature
from recorder.faults import EvidenceFault, NotFound
from recorder.later import record
from recorder.later.check import Seal, checked
from recorder.session.files import MANIFEST, is_sealed
from recorder.session.record import FINAL_VERDICTS, MATCHED_STATES


@dataclass(frozen=True, slots=True)
class Evidence:
    """A session folder with a seal. record, manifest: session.json and manifest.json; journals: name to path.

    segments, parts: those that were whole when the session was sealed. later: what was made later of the composite.
    """

    folder: Path
    id: str
    record: dict[str, Any]
    manifest: dict[str, Any]
    journals: dict[str, Path]
    segments: dict[str, tuple[SealedSegment, ...]]
    parts: tuple[SealedPart, ...]
    later: tuple[SealedPart, ...] = ()

    @property
    def verdict(self) -> str | None:
        """The transcript's verdict, None where none is attached."""
        transcript = self.record.get("transcript")
        return str(transcript["verdict"]) if isinstance(transcript, dict) and transcript.get("verdict") else None

    def transcript(self) -> Path | None:
        """Path of the attached transcript; None where there is none or its path leads out of the session's folder."""
        transcript = self.record.get("transcript")
        if not isinstance(transcript, dict) or not transcript.get("file"):
            return None
        path = (self.folder / str(transcript["file"])).resolve()
        return path if path.is_relative_to((self.folder / "transcript").resolve()) else None


def read(folder: Path) -> Evidence:
    """Raises NotFound (no session there), NotFinal (not sealed), EvidenceFault (a journal or JSON is damaged), StorageFault."""
    record: dict[str, Any] = read_json(folder / "session.json")
    identity = str(record.get("id", folder.name))
    if not is_sealed(folder):
        raise NotFinal(
            "session-not-sealed-yet",
            "stop-session-and-wait-for-sealing",
            session=identity,
        )
    manifest = understood(read_json(folder / MANIFEST))
    end_ns = _end_ns(manifest)
    present = sorted(p.parent.name for p in folder.glob("tracks/*/journal.jsonl"))
    tracks = [track for track in manifest["tracks"] if track in present]  # one that came after the seal is none of it
    journals = {"session": folder / "journal.jsonl", "composite": folder / "composite" / "journal.jsonl"}
    journals |= {track: folder / "tracks" / track / "journal.jsonl" for track in tracks}
    return Evidence(
        folder,
        identity,
        record,
        manifest,
        {name: path for name, path in journals.items() if path.exists()},
        {track: sealed_segments(folder, manifest, track) for track in tracks},
        tuple(until(part, end_ns) for part in sealed_parts(folder, manifest) if part.start_ns < end_ns),
        _later(folder, manifest),
    )


def _end_ns(manifest: Mapping[str, Any]) -> int:
    end_ns = manifest.get("end_ns")
    if not isinstance(end_ns, int):
        raise EvidenceFault("file-not-of-known-form", "verify-session-first", path=MANIFEST, why="end_ns")
    return end_ns


def _later(folder: Path, manifest: Mapping[str, Any]) -> tuple[SealedPart, ...]:
    """The parts that were made later, their records checked. Raises EvidenceFault."""
    if not (folder / record.FOLDER).exists():
        return ()
    data = (folder / "manifest.json").read_bytes()
    signer = check_signature(data, read_json(folder / "manifest.sig"))
    found = checked(folder, Seal(manifest, sha256(data).hexdigest(), bytes.fromhex(signer)))
    return tuple(SealedPart(p.path, p.bytes, p.sha256, p.pictures, p.start_ns, p.end_ns) for p in found)


def content(folder: Path, damaged: Sequence[str] = ()) -> str:
    """SHA-256 over what a session's discs hold and what may change after the seal: only discs of equal content are copies.

    The sealed manifest, the transcript with its verdict and exception, the manifest of what was made later, and the paths that
    are left out as damaged. Raises NotFound, EvidenceFault (session.json is damaged), StorageFault.
    """
    transcript = read_json(folder / "session.json").get("transcript")
    known = transcript if isinstance(transcript, dict) else {}
    records: Json = {
        "manifest": _digest(folder / MANIFEST),
        "transcript": {key: known.get(key) for key in ("sha256", "verdict", "exception")},
        "later": _digest(folder / record.FOLDER / MANIFEST),
    }
    if damaged:
        records["damaged"] = sorted(damaged)
    return sha256(encode(records)).hexdigest()


def _digest(path: Path) -> str | None:
    """None where there is no such file. Raises StorageFault."""
    try:
        return sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise read_fault(path, error) from error


def require_final(evidence: Evidence) -> None:
    """W-7.3.5 c: a final disc needs a transcript that agrees, or an exception. Raises NotFinal."""
    if evidence.verdict in FINAL_VERDICTS:
        return
    if evidence.verdict is None:
        if evidence.record.get("state") in MATCHED_STATES:
            return
        raise NotFinal(
            "final-disc-refused-transcript-missing",
            "attach-transcript-with-command",
            session=evidence.id,
        )
    raise NotFinal(
        "final-disc-refused-transcript-disagrees",
        "correct-transcript-or-record-exception",
        session=evidence.id,
        verdict=evidence.verdict,
    )


def until(part: SealedPart, end_ns: int) -> SealedPart:
    """Pure: the part as far as it lies before the end."""
    if part.end_ns <= end_ns:
        return part
    return replace(part, pictures=pictures_due(part.start_ns, end_ns), end_ns=end_ns, cut=True)


def runs(found: Sequence[SealedSegment]) -> tuple[tuple[SealedSegment, ...], ...]:
    """Pure: the segments grouped into runs without a hole and of one codec; a hole stays a hole between two files."""
    grouped: list[list[SealedSegment]] = []
    for segment in found:
        last = grouped[-1][-1] if grouped else None
        if last is not None and abs(segment.first_ns - last.end_ns) <= GAP_FLOOR_NS and segment.codec == last.codec:
            grouped[-1].append(segment)
        else:
            grouped.append([segment])
    return tuple(tuple(g) for g in grouped)


def session_folder(root: Path, session: str) -> Path:
    """The folder of a session id under storage.root. Raises NotFound."""
    folder = root / "sessions" / session
    if "/" in session or session.startswith(".") or not (folder / "session.json").exists():
        raise NotFound("session-not-found", "list-sessions-with-command", session=session)
    return folder
