"""Is a session what was recorded? Reads everything again; needs no daemon and no network (G-26).

What is compared with what: manifest.sig with manifest.json; the manifest with every file of tracks/, composite/ and epochs/
(length and SHA-256 of the bytes on the disk now); each journal's chain and head with the manifest; coverage and gaps, computed
again from the journals, with the manifest's; the session's journal after the seal with journal.sig; the transcripts with their
lines in that journal; what was made later (recorder.later.check); and session.json, which is rewritten while the case goes on,
with what it repeats of all these (recorder.verify.after_seal).
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import av

from recorder.clock.instants import PICTURE_NS, SECOND_NS
from recorder.disk import journal
from recorder.disk.digest import file_sha256
from recorder.disk.durable import Json, read_as_written, read_json
from recorder.evidence.findings import (
    Finding,
    VerifyReport,
    Vouched,
    bad,
    cut_notes,
    from_error,
    gap_notes,
    good,
    left_notes,
    note,
)
from recorder.evidence.inventory import FOLDERS, MISSING, RESIZED, TORN, JournalledFolder, read_writer, walk
from recorder.evidence.manifest import composite_summary, track_summary
from recorder.evidence.manifest_form import SCHEMA, SCHEMA_BEFORE, understood
from recorder.evidence.signature import check_signature, fingerprint
from recorder.faults import EvidenceFault, NotFound
from recorder.later.check import Seal, verify_later
from recorder.media.decoding import whole_pictures
from recorder.session.files import JOURNAL, JOURNAL_SIGNATURE, MANIFEST, SIGNATURE
from recorder.session.lines import PartLine
from recorder.session.record import SEALED_STATES
from recorder.session.tracks import track_name
from recorder.verify.after_seal import (
    COMPARE,
    OwnJournal,
    check_own_journal,
    check_record,
    remark_notes,
    transcript_states,
    was_sealed,
)
from wording import Fault
from wording.sentence import Sentence

SESSION = "session.json"
ReadProgress = Callable[[int, int], object]


# --- pieces that a disc's verifier uses too ---------------------------------------------------------------------------------


def check_coverage(manifest: dict[str, Any], track: str, writer: JournalledFolder | None) -> list[Finding]:
    """A track's coverage and gaps, computed again from its journal (read_writer) and compared with the manifest's."""
    listed = manifest["tracks"][track]
    if track_summary(writer, manifest["start_ns"], manifest["end_ns"], ZoneInfo(manifest["timezone"])) != listed:
        return [bad("manifest-differs-from-track-journal", track=track_name(track))]
    percent = f"{listed['covered'] * 100:.4f}".rstrip("0").rstrip(".")
    template = "track-coverage"
    counts = {"segments": listed["segments"], "packets": listed["packets"]}
    told = [*gap_notes(track, listed["gaps"]), *cut_notes(track, listed.get("cut") or ())]
    return [good(template, track=track_name(track), percent=percent, **counts), *told]


def check_composite(manifest: dict[str, Any], writer: JournalledFolder | None) -> list[Finding]:
    """The composite's pictures and gaps, computed again from its journal and compared with the manifest's."""
    listed = manifest["composite"]
    if composite_summary(writer, manifest["start_ns"], manifest["end_ns"], ZoneInfo(manifest["timezone"])) != listed:
        return [bad("manifest-differs-from-track-journal", track=track_name("composite"))]
    template = "composite-pictures-listed"
    counted = good(template, written=listed["pictures_written"], due=listed["pictures_due"])
    found = [counted, *gap_notes("composite", listed["gaps"])]
    for camera, pictures in (listed.get("damaged") or {}).items():
        found.append(note("pictures-damaged-in-composite", track=track_name(camera), pictures=pictures))
    if after := listed.get("pictures_after_end"):
        template = "composite-continues-after-official-end"
        found.append(note(template, seconds=round(after * PICTURE_NS / SECOND_NS, 2)))
    return found


def count_pictures(path: Path) -> int:
    """Pictures in a video file, by its packets. Raises EvidenceFault where it is no such file."""
    try:
        return whole_pictures(path)
    except (av.error.FFmpegError, IndexError, OSError) as error:
        raise EvidenceFault("file-not-readable-as-video", COMPARE, path=path.name) from error


# --- a session's folder -----------------------------------------------------------------------------------------------------


def verify_session(
    folder: Path, *, trusted_public_key: bytes | None = None, progress: ReadProgress = lambda *_: None
) -> VerifyReport:
    """Checks a session's folder. trusted_public_key: the 32 bytes of the room's key (manifest.public_key), where it is known.

    progress: bytes read again, and bytes to read. Raises NotFound where there is no session; whatever is wrong with it is a
    finding. A session that is not sealed gets a partial check, and the report says so.
    """
    if not any((folder / name).exists() for name in (MANIFEST, SESSION, JOURNAL)):
        raise NotFound("no-session-in-folder", "name-session-folder", folder=folder)
    try:
        signed = _manifest(folder, trusted_public_key)
    except (Fault, OSError) as error:
        return VerifyReport(folder.name, True, (from_error(error), *_unsealed(folder, progress)))
    if signed is None:
        started = note("session-not-sealed-partial-check")
        return VerifyReport(folder.name, False, (started, *_own_files(folder), *_unsealed(folder, progress)))
    manifest, signer = signed
    found = [good("manifest-signing-key", key=fingerprint(signer))]
    if trusted_public_key is None:
        found.append(note("compare-key-with-room-key"))
    try:
        found += _sealed(folder, manifest, bytes.fromhex(signer), progress)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:  # signed, but not made by our seal
        found.append(bad("file-not-of-known-form", path=MANIFEST, why=repr(error)))
    except (Fault, OSError) as error:
        found.append(from_error(error))
    vouched: Vouched = "signer" if trusted_public_key is None else "trusted"
    return VerifyReport(str(manifest.get("session", folder.name)), True, tuple(found), vouched, fingerprint(signer))


def _manifest(folder: Path, trusted: bytes | None) -> tuple[dict[str, Any], str] | None:
    """The signed manifest with its signer; None where the session was never sealed. Raises EvidenceFault, NotFound, OSError."""
    manifest, signature = folder / MANIFEST, folder / SIGNATURE
    if not (manifest.exists() and signature.exists()):
        if _was_sealed(folder):
            missing = SIGNATURE if manifest.exists() else MANIFEST
            raise EvidenceFault("sealed-session-file-missing", COMPARE, path=missing)
        return None
    data = manifest.read_bytes()
    signer = check_signature(data, read_as_written(signature), trusted_public_key=trusted)
    content = read_json(manifest)
    if content.get("schema") not in (SCHEMA, SCHEMA_BEFORE):
        raise EvidenceFault("file-form-unknown", COMPARE, path=MANIFEST, form=content.get("schema"))
    return understood(content), signer


def _was_sealed(folder: Path) -> bool:
    """Either of the session's own two files says that there was a seal."""
    with suppress(EvidenceFault, NotFound):
        if read_json(folder / SESSION).get("state") in SEALED_STATES:
            return True
    with suppress(EvidenceFault):
        return was_sealed(journal.read(folder / JOURNAL))
    return False


def _own_files(folder: Path) -> list[Finding]:
    """Every session has these two from its first moment."""
    found = [] if (folder / JOURNAL).is_file() else [bad("file-missing", path=JOURNAL)]
    try:
        read_json(folder / SESSION)
    except Fault as fault:
        found.append(from_error(fault))
    return found


def _unsealed(folder: Path, progress: ReadProgress) -> list[Finding]:
    """The chains, and the files that the journals list."""
    found: list[Finding] = []
    listed: list[Json] = []
    for path, entry in [(JOURNAL, folder / JOURNAL), *((p, Path(e.path)) for p, e in walk(folder, FOLDERS) if e.name == JOURNAL)]:
        if not entry.is_file():
            continue
        writer, problems = read_writer(path.removesuffix(JOURNAL).rstrip("/"), entry.read_bytes(), entry)
        found += [_problem(p) for p in problems] or [good("journal-chain-holds", path=path, entries=writer.head.entries)]
        listed += [
            {"path": f"{writer.folder}/{name}", "bytes": line.bytes, "sha256": line.sha256}
            for name, line in writer.listed.items()
        ]
    return found + _files(folder, listed, progress)


def _problem(problem: Json, code: str = "") -> Finding:
    """A problem with a journal, as it is or, with a code, inside another sentence."""
    said = Sentence.from_json(problem)
    values: dict[str, object] = {"problem": said} if code else dict(said.values)
    return Finding(said.code == TORN, code or said.code, values, note=said.code == TORN)


def _sealed(folder: Path, manifest: dict[str, Any], signer: bytes, progress: ReadProgress) -> list[Finding]:
    found = _files(folder, manifest["files"], progress)
    names = {str(file["path"]) for file in manifest["files"]}
    found += [bad("file-added-after-seal", path=path) for path, _ in walk(folder, FOLDERS) if path not in names]
    found += left_notes(manifest)
    found += [_problem(p, "problem-at-seal") for p in manifest["problems"]]
    writers = {name: _writer(folder, name, manifest) for name in ("composite", *(f"tracks/{t}" for t in manifest["tracks"]))}
    for track in manifest["tracks"]:
        found += check_coverage(manifest, track, writers[f"tracks/{track}"])
    composite = writers["composite"]
    found += check_composite(manifest, composite)
    found += _pictures(folder, manifest, composite)
    seal = Seal(manifest, sha256((folder / MANIFEST).read_bytes()).hexdigest(), signer)
    found += verify_later(folder, seal)
    own = _own_journal(folder, seal)
    return [*found, *own.findings, *_transcripts(folder, manifest, own), *_record(folder, manifest, own)]


def _files(folder: Path, listed: Sequence[Json], progress: ReadProgress) -> list[Finding]:
    """Length and SHA-256 of every listed file."""
    found: list[Finding] = []
    total, done, fit, unread = sum(int(str(f["bytes"])) for f in listed), 0, 0, 0
    for file in listed:
        name, size = str(file["path"]), int(str(file["bytes"]))
        finding = None if file.get("unreadable") else _file(folder, name, size, str(file["sha256"]))  # told with the problems
        found += [finding] if finding else []
        fit += finding is None
        unread += finding is not None and not finding.disagrees
        done += size
        progress(done, total)
        if file.get("unlisted"):
            found.append(note("sealed-file-in-no-journal", path=name))
        if file.get("recovered"):
            found.append(note("file-cut-off-while-recording", path=name))
    template = "files-match-length-and-sha256"
    values: dict[str, object] = {"good": fit, "count": len(listed), "mb": f"{total / 1e6:.1f}"}
    summary = Finding(fit + unread == len(listed), template, values, note=unread > 0)
    return [summary, *found]


def _file(folder: Path, name: str, size: int, digest: str) -> Finding | None:
    path = folder / name
    if path.is_symlink() or not path.resolve().is_relative_to(folder.resolve()):
        return bad("file-outside-session", path=name)
    if not path.is_file():
        return bad("file-missing", path=name)
    found = path.stat().st_size
    if found != size:
        return bad("file-size-differs", path=name, size=found, listed=size)
    try:
        same = file_sha256(path) == digest
    except OSError as error:
        return bad("path-cannot-be-read", path=name, why=error.strerror)
    return None if same else bad("file-sha256-differs", path=name)


def _writer(folder: Path, name: str, manifest: dict[str, Any]) -> JournalledFolder | None:
    """A journal's content as the seal saw it; None where there is none."""
    path = folder / name / JOURNAL
    if not path.is_file():
        return None
    writer, _ = read_writer(name, path.read_bytes(), path)
    lost = {p["path"] for p in manifest["problems"] if p["code"] in (MISSING, RESIZED)}
    writer.unusable |= {file for file in writer.listed if f"{name}/{file}" in lost}
    return writer


def _pictures(folder: Path, manifest: dict[str, Any], writer: JournalledFolder | None) -> list[Finding]:
    found: list[Finding] = []
    for path in manifest["composite"]["parts"]:
        line = writer.listed.get(path.rpartition("/")[2]) if writer else None
        listed = line.pictures if isinstance(line, PartLine) else None
        try:
            pictures = count_pictures(folder / path)
        except EvidenceFault as fault:
            found.append(from_error(fault))
            continue
        if pictures == listed:
            found.append(good("picture-count-in-file", path=path, pictures=pictures))
        else:
            template = "picture-count-differs"
            found.append(bad(template, path=path, pictures=pictures, listed=listed))
    return found


def _own_journal(folder: Path, seal: Seal) -> OwnJournal:
    path, signature = folder / JOURNAL, folder / JOURNAL_SIGNATURE
    data = path.read_bytes() if path.is_file() else b""
    return check_own_journal(data, path, lambda: read_as_written(signature) if signature.exists() else None, seal)


def _transcripts(folder: Path, manifest: dict[str, Any], own: OwnJournal) -> list[Finding]:
    """Every transcript that was attached is there as it was; the verdict of the newest one whose line is signed."""
    found: list[Finding] = []
    attached = [e for e in own.entries if e.get("kind") == "transcript"]
    for entry in attached:
        name = str(entry.get("file"))
        path = folder / name
        if not path.resolve().is_relative_to((folder / "transcript").resolve()) or not path.is_file():
            found.append(bad("file-missing", path=name))
        elif sha256(path.read_bytes()).hexdigest() != entry.get("sha256"):
            found.append(bad("file-sha256-differs", path=name))
    if states := transcript_states(own.vouched):
        expected = states[-1]
        template = "newest-transcript-verdict"
        found.append(good(template, path=expected.get("file"), verdict=Sentence(str(expected.get("verdict")))))
        found += remark_notes(manifest, expected)
    names = {str(e.get("file")) for e in attached}
    others = [path for path, _ in walk(folder, ["transcript"]) if path not in names]
    return found + [note("file-in-no-journal", path=path) for path in others]


def _record(folder: Path, manifest: dict[str, Any], own: OwnJournal) -> list[Finding]:
    try:
        return check_record(read_as_written(folder / SESSION), manifest, own, SESSION)
    except Fault as fault:
        return [from_error(fault)]
