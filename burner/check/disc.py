"""Is this disc what was recorded? Needs the disc alone: no daemon, no network, no session folder (G-26).

What is compared with what: every file with the bag's lists; manifest.sig and delivery.sig with what they sign; each journal with
the head that the manifest sealed; coverage and gaps, computed again from the journals, with the manifest's; the MP4s with
delivery.json, which names the sealed segments that each was made from; every other file with the digests that lie there
(burner.check.records), and so the disc's names (burner.check.labels) and the files for the stranger (burner.check.kit); what was
made later with its own signed records (recorder.later.check); the session's journal with journal.sig, and session.json with what
it repeats (recorder.verify.after_seal); the transcript with its line in that journal.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from burner.check.films import FilmRead, FilmReader, judge_all
from burner.check.kit import check_kit
from burner.check.read import Contents, pieces, read_target
from burner.check.records import check_records
from burner.disc import bag
from recorder.disk.durable import Json
from recorder.evidence.findings import Finding, VerifyReport, Vouched, bad, from_error, good, left_notes, lines, note
from recorder.evidence.inventory import MISSING, RESIZED, JournalledFolder, read_writer
from recorder.evidence.manifest_form import understood
from recorder.evidence.sealed_segments import SealedSegment, sealed_files, segments
from recorder.evidence.signature import check_signature, fingerprint
from recorder.faults import EvidenceFault
from recorder.later.check import RECORDS, Seal, judge_records
from recorder.session.files import JOURNAL_SIGNATURE, SIGNATURE
from recorder.session.lines import Line
from recorder.session.tracks import COMPOSITE, MADE_LATER, track_name
from recorder.verify.after_seal import (
    OwnJournal,
    check_journal_head,
    check_own_journal,
    check_record,
    remark_notes,
    transcript_states,
)
from recorder.verify.session import check_composite, check_coverage
from wording import Exit, Language, Shown
from wording.sentence import Sentence

FIRST_READING = 0.6  # of the progress; the films are read once more
NOT_OURS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)  # what records of another form raise
SIGNED = ("manifest", "delivery")  # each .json has its .sig


@dataclass(frozen=True, slots=True)
class DiscReport:
    """ok: nothing disagrees. sha256: of the whole image (None for a folder, or where not all of it could be read).

    lines: the findings for a person, in the language asked for; the conclusion last. vouched: see recorder.evidence.findings.
    """

    target: str
    ok: bool
    findings: tuple[Finding, ...]
    lines: tuple[Shown, ...]
    label: str
    sha256: str | None
    vouched: Vouched
    exit_code: Exit = Exit.NO

    def as_dict(self) -> Json:
        """The report as ``--json`` answers it."""
        listed = [f.as_json() for f in self.findings]
        facts = {"target": self.target, "ok": self.ok, "vouched": self.vouched, "label": self.label, "sha256": self.sha256}
        return {**facts, "findings": listed}


def verify_disc(
    target: str,
    *,
    language: Language = "en",
    trusted_public_key: bytes | None = None,
    progress: Callable[[float], object] = lambda _: None,
) -> DiscReport:
    """Reads all of an image file, a ``stdio:`` file, a disc device or a mounted disc and judges it.

    trusted_public_key: the 32 bytes the signer must have; without it a person compares the fingerprint. Damage is a
    finding. Raises NotFound, BadInput, DeviceFault where there is nothing to read.
    """
    contents = read_target(target, progress=lambda share: progress(FIRST_READING * share))
    read = _read_films(target, contents, progress)
    report = judge(contents, contents.label or Path(target).name, trusted_public_key, films=read)
    said, vouched = tuple(lines(report, language)), report.vouched if report.ok else "nobody"
    return DiscReport(target, report.ok, report.findings, said, contents.label, contents.image_sha256, vouched, report.exit_code)


def _read_films(target: str, contents: Contents, progress: Callable[[float], object]) -> dict[str, FilmRead]:
    """Each film of originals, packet by packet. It is a second reading: which packets belong together stands in the journals."""
    found: dict[str, FilmRead] = {}
    try:
        made_of = _made_of(contents)
    except (*NOT_OURS, EvidenceFault):  # told where the records are judged
        return found
    total, done = sum(contents.sizes.get(path, 0) for path in made_of), 0
    for path, (_, sources) in made_of.items():
        if path not in contents.digests or not all(source.packets_sha256 for source in sources):
            continue
        reader = FilmReader([source.packets for source in sources])
        try:
            for data in pieces(target, contents, path):
                reader.feed(data)
                done += len(data)
                progress(FIRST_READING + (1 - FIRST_READING) * done / max(1, total))
        except OSError as error:
            reader.end()
            found[path] = FilmRead((), 0, error.strerror or type(error).__name__)
            continue
        found[path] = reader.end()
    progress(1.0)
    return found


def _made_of(contents: Contents) -> dict[str, tuple[int, list[SealedSegment]]]:
    """Of each film of originals, by its path, room time of its beginning and the segments that it was made from.

    Raises KeyError, ValueError, EvidenceFault where the records are not ours.
    """
    delivery: dict[str, Any] = _object(contents.kept["data/delivery.json"])
    known = {s.path: s for track in _manifest(contents)["tracks"] for s in segments(track, _lines(contents, track))}
    films = (f for f in delivery["files"] if f["track"] not in (COMPOSITE, MADE_LATER))
    return {str(f["path"]): (int(f["first_ns"]), [known[s["path"]] for s in f["sources"]]) for f in films}


def judge(
    contents: Contents, name: str, trusted: bytes | None = None, *, films: Mapping[str, FilmRead] | None = None
) -> VerifyReport:
    """Pure: every finding on what was read. name: what it is called. trusted: the key that must have signed, None for any.

    films: what the films hold, by path; None where they were not looked into.
    """
    signers, of_signatures = _signatures(contents, trusted)
    found = [bad(template, **values) for template, values in contents.damage]
    if contents.image_sha256:
        sums = {"bytes": contents.image_bytes, "sha256": contents.image_sha256}
        found.append(good("whole-disc-read-with-checksum", **sums))
    found += _bag(contents)
    if "data/manifest.json" in contents.kept:
        found += [*of_signatures, *_content(contents, signers.get("manifest")), *check_kit(contents, signers)]
        found += [] if films is None else _films(contents, films)
    else:
        found.append(bad("disc-holds-no-sealed-session"))
    vouched: Vouched = "manifest" if len(signers) < len(SIGNED) else "signer" if trusted is None else "trusted"
    keys = ", ".join(dict.fromkeys(fingerprint(key) for key in signers.values()))
    return VerifyReport(name, True, tuple(found), vouched, keys)


def _content(contents: Contents, sealed_by: str | None) -> Iterable[Finding]:
    """sealed_by: the key that signed the manifest, where one did."""
    signer = bytes.fromhex(sealed_by) if sealed_by else None
    for part in (_journals, _record, _records, _delivery, _made_later, _transcript):
        try:
            yield from part(contents, signer)
        except EvidenceFault as fault:
            yield from_error(fault)
        except NOT_OURS as error:
            yield bad("disc-records-not-understood", why=repr(error))


def _films(contents: Contents, films: Mapping[str, FilmRead]) -> Iterable[Finding]:
    try:
        yield from judge_all(films, _made_of(contents))
    except (*NOT_OURS, EvidenceFault):  # told where the records are judged
        return


def _bag(contents: Contents) -> Iterable[Finding]:
    if not contents.kept.get("bagit.txt", b"").startswith(b"BagIt-Version: "):
        yield bad("disc-bagit-file-missing")
        return
    if contents.kept["bagit.txt"] != bag.BAGIT.source:
        yield bad("disc-record-missing-or-altered", path="bagit.txt")
    listed: dict[str, str] = {}
    for name in ("manifest-sha256.txt", "tagmanifest-sha256.txt"):
        try:
            listed |= bag.parse_checksums(contents.kept[name])
        except (KeyError, ValueError) as error:
            yield bad("disc-file-missing-or-damaged", name=name, why=repr(error))
            return
    wrong = [
        *(bad("file-missing", path=p) for p in listed if p not in contents.digests),
        *(bad("disc-file-differs-from-list", path=p) for p, s in listed.items() if contents.digests.get(p, s) != s),
        *(bad("disc-file-not-in-list", path=p) for p in sorted(contents.digests) if p.startswith("data/") and p not in listed),
    ]
    yield from wrong or [good("all-disc-files-match-lists", count=len(listed))]


def _signatures(contents: Contents, trusted: bytes | None) -> tuple[dict[str, str], list[Finding]]:
    """The public keys (hex) that signed manifest and delivery, where they did.

    Who trusts a key needs both by it: without delivery.sig anybody could put other MP4s in place. With none to trust, a disc of
    a PC without a key is no forgery, and the conclusion says how little is vouched for.
    """
    found: list[Finding] = []
    signers: dict[str, str] = {}
    for name in SIGNED:
        data, stored = contents.kept.get(f"data/{name}.json"), contents.kept.get(f"data/{name}.sig")
        if data is None or stored is None:
            passes = name == "delivery" and trusted is None
            found.append(Finding(passes, "disc-record-unsigned", {"name": name}, note=passes))
            continue
        try:
            signers[name] = check_signature(data, _object(stored), trusted_public_key=trusted)
        except EvidenceFault as fault:
            why = Sentence(fault.code, {**fault.values, "path": f"data/{name}.sig"})
            found.append(bad("disc-record-signature-invalid", name=name, why=why))
            continue
        except ValueError as error:
            found.append(bad("disc-record-signature-invalid", name=name, why=repr(error)))
            continue
        found.append(good("disc-record-signed-by-key", name=name, key=fingerprint(signers[name])))
    if len(set(signers.values())) > 1:
        found.append(note("recording-and-disc-signers-differ"))
    if signers and trusted is None:
        found.append(note("compare-key-with-room-key"))
    return signers, found


def _object(data: bytes) -> Json:
    try:
        value = json.loads(data)
    except RecursionError as error:
        raise ValueError("nested without end") from error
    if not isinstance(value, dict):
        raise ValueError("no JSON object")
    return value


def _manifest(contents: Contents) -> dict[str, Any]:
    return understood(_object(contents.kept["data/manifest.json"]))


def _journal(contents: Contents, name: str) -> tuple[bytes, Path]:
    path = f"data/journals/{name}.jsonl"
    return contents.kept.get(path, b""), Path(path)


def _journals(contents: Contents, signer: bytes | None) -> Iterable[Finding]:
    manifest = _manifest(contents)
    lost = {p["path"] for p in manifest["problems"] if p["code"] in (MISSING, RESIZED)}
    heads = {"composite": manifest["composite"]["journal"], **{t: s["journal"] for t, s in manifest["tracks"].items()}}

    def writer_of(name: str) -> JournalledFolder | None:
        data, path = _journal(contents, name)
        check_journal_head(data, heads[name]["entries"], heads[name]["sha256"], path)
        if not data:
            return None
        folder = name if name == "composite" else f"tracks/{name}"
        writer, _ = read_writer(folder, data, path)
        writer.unusable |= {file for file in writer.listed if f"{folder}/{file}" in lost}
        return writer

    yield from left_notes(manifest)
    for track in manifest["tracks"]:
        yield from check_coverage(manifest, track, writer_of(track))
    yield from check_composite(manifest, writer_of("composite"))
    yield from _own_journal(contents, signer).findings


def _own_journal(contents: Contents, signer: bytes | None) -> OwnJournal:
    """signer: None where no signature of the seal holds, which is told already."""
    data, path = _journal(contents, "session")
    stored = contents.kept.get(f"data/{JOURNAL_SIGNATURE}")
    seal = Seal(_manifest(contents), sha256(contents.kept["data/manifest.json"]).hexdigest(), signer or b"")
    return check_own_journal(data, path, lambda: None if stored is None else _object(stored), seal)


def _record(contents: Contents, signer: bytes | None) -> Iterable[Finding]:
    record = _object(contents.kept["data/session.json"])
    yield from check_record(record, _manifest(contents), _own_journal(contents, signer), "data/session.json")


def _records(contents: Contents, _signer: bytes | None) -> Iterable[Finding]:
    yield from check_records(contents, _object(contents.kept["data/delivery.json"]))


def _delivery(contents: Contents, _signer: bytes | None) -> Iterable[Finding]:
    delivery: dict[str, Any] = _object(contents.kept["data/delivery.json"])
    manifest = _manifest(contents)
    sealed = sealed_files(manifest)
    sources = {s["path"]: s["sha256"] for f in delivery["files"] if f["track"] != MADE_LATER for s in f["sources"]}
    wrong = [
        bad("file-not-made-from-recording", path=f["path"])
        for f in delivery["files"]
        if contents.digests.get(f["path"]) != f["sha256"]
    ]
    for track in manifest["tracks"]:
        found = [s for s in segments(track, _lines(contents, track)) if sealed.get(s.path) == s.sha256]
        packets = sum(s["packets"] for f in delivery["files"] if f["track"] == track for s in f["streams"])
        if any(sources.get(s.path) != s.sha256 for s in found) or packets != sum(s.packets for s in found):
            wrong.append(bad("track-incomplete-on-disc", track=track_name(track)))
    if any(path not in sources for path in manifest["composite"]["parts"]):
        wrong.append(bad("track-incomplete-on-disc", track=track_name(COMPOSITE)))
    if any(sealed.get(path) != sha256 for path, sha256 in sources.items()):
        wrong.append(bad("disc-files-from-unsealed-segments"))
    yield from wrong or [good("copies-match-sealed-segments")]
    if delivery.get("draft"):
        yield note("disc-is-draft")


def _made_later(contents: Contents, signer: bytes | None) -> Iterable[Finding]:
    delivery: dict[str, Any] = _object(contents.kept["data/delivery.json"])
    folder = f"data/{MADE_LATER}"
    sources = [(s["path"], s["sha256"]) for f in delivery["files"] if f["track"] == MADE_LATER for s in f["sources"]]
    if signer is None or (not sources and not any(path.startswith(f"{folder}/") for path in contents.digests)):
        return
    records = {name: contents.kept[f"{folder}/{name}"] for name in RECORDS if f"{folder}/{name}" in contents.kept}
    if len(records) < len(RECORDS):
        yield from (bad("file-missing", path=f"{folder}/{name}") for name in RECORDS if name not in records)
        return
    seal = Seal(_manifest(contents), sha256(contents.kept["data/manifest.json"]).hexdigest(), signer)
    parts, found = judge_records(records, _object(records[SIGNATURE]), seal, folder)
    yield from found
    if parts and [(p.path, p.sha256) for p in parts] != sources:
        yield bad("track-incomplete-on-disc", track=track_name(MADE_LATER))


def _lines(contents: Contents, track: str) -> list[Line]:
    """What a track's journal lists; its head is checked with the journals."""
    data, path = _journal(contents, track)
    return read_writer(f"tracks/{track}", data, path)[0].lines


def _transcript(contents: Contents, signer: bytes | None) -> Iterable[Finding]:
    entries = _own_journal(contents, signer).vouched
    attached = [e for e in entries if e["kind"] == "transcript"]
    files = [p for p in contents.digests if p.startswith("data/transcript/")]
    if not attached and not files:
        yield note("no-transcript-attached")
    elif not attached or len(files) != 1 or contents.digests[files[0]] != attached[-1].get("sha256"):
        yield bad("disc-transcript-differs-from-attached")
    else:
        excepted = any(e["kind"] == "exception" for e in entries[entries.index(attached[-1]) :])
        verdict = Sentence("excepted" if excepted else str(attached[-1].get("verdict")))
        yield good("newest-transcript-verdict", path=files[0], verdict=verdict)
        yield from remark_notes(_manifest(contents), transcript_states(entries)[-1])
