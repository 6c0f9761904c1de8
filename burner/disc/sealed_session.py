"""A sealed session as the burner reads it: who, when, which files, and which segments follow one another without a hole."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

from burner.faults import NotFinal, unreadable
from recorder.disk import journal
from recorder.disk.durable import Json, encode, read_json
from recorder.evidence.continuity import pictures_due
from recorder.evidence.signature import check_signature
from recorder.faults import EvidenceFault, NotFound
from recorder.later import record
from recorder.later.check import Seal, checked
from recorder.session.files import MANIFEST, is_sealed

SEAM_NS = 200_000_000  # segments nearer than this follow one another: the fitted line moves by some ms, a hole is seconds
FINAL_STATES = ("matched", "on-disc")
FINAL_VERDICTS = ("match", "excepted")

MADE_LATER = "made-later"  # what was composed after the seal (recorder.later.make), as a track of the disc

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Segment:
    """One journalled segment of a track. path: relative to the session. Times in room time, ns; ppm: of the source's clock."""

    path: str
    bytes: int
    sha256: str
    packets: int
    first_ns: int
    end_ns: int
    ppm: float
    codec: str
    recovered: bool


@dataclass(frozen=True, slots=True)
class Part:
    """One journalled part of the composite, up to the official end. path: relative to the session. Times in room time, ns.

    cut: the file goes on after the official end, which no disc shows.
    """

    path: str
    bytes: int
    sha256: str
    pictures: int
    start_ns: int
    end_ns: int
    cut: bool = False


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
    segments: dict[str, tuple[Segment, ...]]
    parts: tuple[Part, ...]
    later: tuple[Part, ...] = ()

    @property
    def verdict(self) -> str | None:
        """The transcript's verdict, None where none is attached."""
        transcript = self.record.get("transcript")
        return str(transcript["verdict"]) if isinstance(transcript, dict) and transcript.get("verdict") else None

    def transcript(self) -> Path | None:
        """The attached file."""
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
            "Session {session} is not sealed yet.",
            "Stop it, and wait until it is sealed.",
            session=identity,
        )
    manifest: dict[str, Any] = read_json(folder / "manifest.json")
    sealed, end_ns = sealed_files(manifest), _end_ns(manifest)
    present = sorted(p.parent.name for p in folder.glob("tracks/*/journal.jsonl"))
    tracks = sorted(present, key=[*manifest.get("tracks", ()), *present].index)
    journals = {"session": folder / "journal.jsonl", "composite": folder / "composite" / "journal.jsonl"}
    journals |= {track: folder / "tracks" / track / "journal.jsonl" for track in tracks}
    return Evidence(
        folder,
        identity,
        record,
        manifest,
        {name: path for name, path in journals.items() if path.exists()},
        {
            track: tuple(s for s in segments(track, journal.read(journals[track])) if sealed.get(s.path) == s.sha256)
            for track in tracks
        },
        tuple(
            until(p, end_ns)
            for p in parts(journal.read(journals["composite"]))
            if sealed.get(p.path) == p.sha256 and p.start_ns < end_ns
        ),
        _later(folder, manifest),
    )


def _end_ns(manifest: Mapping[str, Any]) -> int:
    end_ns = manifest.get("end_ns")
    if not isinstance(end_ns, int):
        raise EvidenceFault(
            "{path} is not of the known form: {why}.", "Check the session with `room-agent verify`.", path=MANIFEST, why="end_ns"
        )
    return end_ns


def _later(folder: Path, manifest: Mapping[str, Any]) -> tuple[Part, ...]:
    """The parts that were made later, their records checked. Raises EvidenceFault."""
    if not (folder / record.FOLDER).exists():
        return ()
    data = (folder / "manifest.json").read_bytes()
    signer = check_signature(data, read_json(folder / "manifest.sig"))
    found = checked(folder, Seal(manifest, sha256(data).hexdigest(), bytes.fromhex(signer)))
    return tuple(Part(p.path, p.bytes, p.sha256, p.pictures, p.start_ns, p.end_ns) for p in found)


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
        raise unreadable(path, error) from error


def sealed_files(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Pure: path to SHA-256 of what was sealed. What was missing or damaged then is a gap in the manifest."""
    return {str(f["path"]): str(f["sha256"]) for f in manifest.get("files") or ()}


def require_final(evidence: Evidence) -> None:
    """W-7.3.5 c: a final disc needs a transcript that agrees, or an exception. Raises NotFinal."""
    if evidence.verdict in FINAL_VERDICTS:
        return
    if evidence.verdict is None:
        if evidence.record.get("state") in FINAL_STATES:
            return
        raise NotFinal(
            "The session {session} has no transcript yet, so no final disc is made (W-7.3.5).",
            "Attach it with `room-agent transcript attach {session} FILE`.",
            session=evidence.id,
        )
    raise NotFinal(
        "The transcript of {session} does not agree with the recording: {verdict}. No final disc is made (W-7.3.5).",
        "Correct the transcript and attach it again, or have a second person record a reasoned exception.",
        session=evidence.id,
        verdict=evidence.verdict,
    )


def segments(track: str, entries: Iterable[Json]) -> tuple[Segment, ...]:
    """Pure: the segments that a track's journal lists, in order. Raises EvidenceFault where an entry is incomplete."""

    def make(e: dict[str, Any]) -> Segment:
        return Segment(
            f"tracks/{track}/{_plain_name(e['file'])}",
            int(e["bytes"]),
            str(e["sha256"]),
            int(e["packets"]),
            int(e["first_ns"]),
            int(e["end_ns"]),
            float(e.get("ppm") or 0.0),
            str(e["codec"]),
            bool(e.get("recovered", False)),
        )

    return _listed("segment", track, entries, make)


def parts(entries: Iterable[Json]) -> tuple[Part, ...]:
    """Pure: the parts that the composer's journal lists, in the order of their times: one that was torn is listed after its
    followers. Raises EvidenceFault."""

    def make(e: dict[str, Any]) -> Part:
        name = f"composite/{_plain_name(e['file'])}"
        return Part(name, int(e["bytes"]), str(e["sha256"]), int(e["pictures"]), int(e["start_ns"]), int(e["end_ns"]))

    return tuple(sorted(_listed("part", "composite", entries, make), key=lambda part: part.start_ns))


def until(part: Part, end_ns: int) -> Part:
    """Pure: the part as far as it lies before the end."""
    if part.end_ns <= end_ns:
        return part
    return replace(part, pictures=pictures_due(part.start_ns, end_ns), end_ns=end_ns, cut=True)


def _listed(kind: str, writer: str, entries: Iterable[Json], make: Callable[[dict[str, Any]], T]) -> tuple[T, ...]:
    made = []
    for entry in entries:
        if entry["kind"] != kind:
            continue
        try:
            made.append(make(entry))
        except (KeyError, ValueError, TypeError) as error:
            raise EvidenceFault(
                "The journal of {writer} has an incomplete entry {entry}.",
                "Check the session with `room-agent verify`.",
                writer=writer,
                entry=entry.get("seq"),
            ) from error
    return tuple(made)


def _plain_name(value: object) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", str(value)):
        raise ValueError(f"file name {value!r}")
    return str(value)


def runs(found: Sequence[Segment]) -> tuple[tuple[Segment, ...], ...]:
    """Pure: the segments grouped into runs without a hole and of one codec; a hole stays a hole between two files."""
    grouped: list[list[Segment]] = []
    for segment in found:
        last = grouped[-1][-1] if grouped else None
        if last is not None and abs(segment.first_ns - last.end_ns) <= SEAM_NS and segment.codec == last.codec:
            grouped[-1].append(segment)
        else:
            grouped.append([segment])
    return tuple(tuple(g) for g in grouped)


def session_folder(root: Path, session: str) -> Path:
    """The folder of a session id under storage.root. Raises NotFound."""
    folder = root / "sessions" / session
    if "/" in session or session.startswith(".") or not (folder / "session.json").exists():
        raise NotFound("There is no session {session}.", "`room-agent session list` shows the sessions.", session=session)
    return folder
