"""Is this disc what was recorded? Needs the disc alone: no daemon, no network, no session folder (G-26).

What is compared with what: every file with the bag's lists; manifest.sig and delivery.sig with what they sign; each journal with
the head that the manifest sealed; coverage and gaps, computed again from the journals, with the manifest's; the MP4s with
delivery.json, which names the sealed segments that each was made from; every other file with the digests that lie there
(burner.check.records); what was made later with its own signed records (recorder.later.check); the session's journal with
journal.sig, and session.json with what it repeats (recorder.verify.after_seal); the transcript with its line in that journal.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from burner.check.read import Contents, read_target
from burner.check.records import check_records
from burner.disc import bag
from burner.disc.page import TRACK_NAMES
from burner.disc.sealed_session import MADE_LATER, sealed_files, segments
from recorder.disk.durable import Json
from recorder.evidence.findings import Finding, Report, Vouched, bad, from_error, good, lines, note
from recorder.evidence.inventory import MISSING, RESIZED, Writer, read_writer
from recorder.evidence.signature import check_signature, fingerprint
from recorder.faults import EvidenceFault
from recorder.later.check import RECORDS, Seal, judge_records
from recorder.session.files import JOURNAL_SIGNATURE, SIGNATURE
from recorder.verify.after_seal import OwnJournal, check_journal_head, check_own_journal, check_record
from recorder.verify.session import check_composite, check_coverage
from wording import Language
from wording.sentence import Sentence

SIGNED = ("manifest", "delivery")  # each .json has its .sig


@dataclass(frozen=True, slots=True)
class DiscReport:
    """ok: nothing disagrees. sha256: of the whole image (None for a folder, or where not all of it could be read).

    lines: the findings for a person, in the language asked for; the conclusion last. vouched: see recorder.evidence.findings.
    """

    target: str
    ok: bool
    findings: tuple[Finding, ...]
    lines: tuple[str, ...]
    label: str
    sha256: str | None
    vouched: Vouched

    def as_dict(self) -> Json:
        """For --json."""
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
    contents = read_target(target, progress=progress)
    report = judge(contents, contents.label or Path(target).name, trusted_public_key)
    said, vouched = tuple(lines(report, language)), report.vouched if report.ok else "nobody"
    return DiscReport(target, report.ok, report.findings, said, contents.label, contents.image_sha256, vouched)


def judge(contents: Contents, name: str, trusted: bytes | None = None) -> Report:
    """Pure: every finding on what was read. name: what it is called. trusted: the key that must have signed, None for any."""
    signers, of_signatures = _signatures(contents, trusted)
    found = [bad(template, **values) for template, values in contents.damage]
    if contents.image_sha256:
        sums = {"bytes": contents.image_bytes, "sha256": contents.image_sha256}
        found.append(good("The whole disc was read: {bytes} bytes, SHA-256 {sha256}.", **sums))
    found += _bag(contents)
    if "data/manifest.json" in contents.kept:
        found += [*of_signatures, *_content(contents, signers.get("manifest"))]
    else:
        found.append(bad("The disc holds no sealed session."))
    vouched: Vouched = "manifest" if len(signers) < len(SIGNED) else "signer" if trusted is None else "trusted"
    keys = ", ".join(dict.fromkeys(fingerprint(key) for key in signers.values()))
    return Report(name, True, tuple(found), vouched, keys)


def _content(contents: Contents, sealed_by: str | None) -> Iterable[Finding]:
    """sealed_by: the key that signed the manifest, where one did."""
    signer = bytes.fromhex(sealed_by) if sealed_by else None
    for part in (_journals, _record, _records, _delivery, _made_later, _transcript):
        try:
            yield from part(contents, signer)
        except EvidenceFault as fault:
            yield from_error(fault)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            yield bad("The disc's records cannot be understood: {why}.", why=repr(error))


def _bag(contents: Contents) -> Iterable[Finding]:
    if not contents.kept.get("bagit.txt", b"").startswith(b"BagIt-Version: "):
        yield bad("The disc is no bag: bagit.txt is missing.")
        return
    listed: dict[str, str] = {}
    for name in ("manifest-sha256.txt", "tagmanifest-sha256.txt"):
        try:
            listed |= bag.parse_checksums(contents.kept[name])
        except (KeyError, ValueError) as error:
            yield bad("{name} is missing or damaged: {why}.", name=name, why=repr(error))
            return
    wrong = [
        *(bad("{path} is missing.", path=p) for p in listed if p not in contents.digests),
        *(bad("{path} is not what the disc's list says.", path=p) for p, s in listed.items() if contents.digests.get(p, s) != s),
        *(
            bad("{path} is not in the disc's list.", path=p)
            for p in sorted(contents.digests)
            if p.startswith("data/") and p not in listed
        ),
    ]
    yield from wrong or [good("All {count} files are what the disc's lists say.", count=len(listed))]


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
            found.append(Finding(passes, "data/{name}.json carries no signature.", {"name": name}, note=passes))
            continue
        try:
            signers[name] = check_signature(data, _object(stored), trusted_public_key=trusted)
        except EvidenceFault as fault:
            why = Sentence(fault.text, {**fault.values, "path": f"data/{name}.sig"})
            found.append(bad("The signature of data/{name}.json is not valid: {why}", name=name, why=why))
            continue
        except ValueError as error:
            found.append(bad("The signature of data/{name}.json is not valid: {why}", name=name, why=repr(error)))
            continue
        found.append(good("data/{name}.json is signed by the key {key}.", name=name, key=fingerprint(signers[name])))
    if len(set(signers.values())) > 1:
        found.append(note("Recording and disc were signed by different PCs."))
    if signers and trusted is None:
        found.append(note("Compare that key with the room's: none was given to trust."))
    return signers, found


def _object(data: bytes) -> Json:
    value = json.loads(data)
    if not isinstance(value, dict):
        raise ValueError("no JSON object")
    return value


def _manifest(contents: Contents) -> dict[str, Any]:
    return _object(contents.kept["data/manifest.json"])


def _journal(contents: Contents, name: str) -> tuple[bytes, Path]:
    path = f"data/journals/{name}.jsonl"
    return contents.kept.get(path, b""), Path(path)


def _journals(contents: Contents, signer: bytes | None) -> Iterable[Finding]:
    manifest = _manifest(contents)
    lost = {p["path"] for p in manifest["problems"] if p["text"] in (MISSING, RESIZED)}
    heads = {"composite": manifest["composite"]["journal"], **{t: s["journal"] for t, s in manifest["tracks"].items()}}

    def writer_of(name: str) -> Writer | None:
        data, path = _journal(contents, name)
        check_journal_head(data, heads[name]["entries"], heads[name]["sha256"], path)
        if not data:
            return None
        folder = name if name == "composite" else f"tracks/{name}"
        writer, _ = read_writer(folder, data, path)
        writer.unusable |= {file for file in writer.listed if f"{folder}/{file}" in lost}
        return writer

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
        bad("{path} is not the file that was made from the recording.", path=f["path"])
        for f in delivery["files"]
        if contents.digests.get(f["path"]) != f["sha256"]
    ]
    for track in manifest["tracks"]:
        found = [s for s in segments(track, _entries(contents, track)) if sealed.get(s.path) == s.sha256]
        packets = sum(s["packets"] for f in delivery["files"] if f["track"] == track for s in f["streams"])
        if any(sources.get(s.path) != s.sha256 for s in found) or packets != sum(s.packets for s in found):
            wrong.append(bad("Track {track} is not complete on this disc.", track=Sentence(TRACK_NAMES.get(track, track))))
    if any(path not in sources for path in manifest["composite"]["parts"]):
        wrong.append(bad("Track {track} is not complete on this disc.", track=Sentence(TRACK_NAMES["composite"])))
    if any(sealed.get(path) != sha256 for path, sha256 in sources.items()):
        wrong.append(bad("Files of this disc were made from other segments than the sealed ones."))
    yield from wrong or [good("Composite and originals were made from the sealed segments, and from all of them.")]
    if delivery.get("draft"):
        yield note("This is a DRAFT, not the final disc of the interview.")


def _made_later(contents: Contents, signer: bytes | None) -> Iterable[Finding]:
    delivery: dict[str, Any] = _object(contents.kept["data/delivery.json"])
    folder = f"data/{MADE_LATER}"
    sources = [(s["path"], s["sha256"]) for f in delivery["files"] if f["track"] == MADE_LATER for s in f["sources"]]
    if signer is None or (not sources and not any(path.startswith(f"{folder}/") for path in contents.digests)):
        return
    records = {name: contents.kept[f"{folder}/{name}"] for name in RECORDS if f"{folder}/{name}" in contents.kept}
    if len(records) < len(RECORDS):
        yield from (bad("{path} is missing.", path=f"{folder}/{name}") for name in RECORDS if name not in records)
        return
    seal = Seal(_manifest(contents), sha256(contents.kept["data/manifest.json"]).hexdigest(), signer)
    parts, found = judge_records(records, _object(records[SIGNATURE]), seal, folder)
    yield from found
    if parts and [(p.path, p.sha256) for p in parts] != sources:
        yield bad("Track {track} is not complete on this disc.", track=Sentence(TRACK_NAMES[MADE_LATER]))


def _entries(contents: Contents, name: str) -> list[Json]:
    data, path = _journal(contents, name)
    return check_journal_head(data, 0, "", path)


def _transcript(contents: Contents, signer: bytes | None) -> Iterable[Finding]:
    entries = _own_journal(contents, signer).vouched
    attached = [e for e in entries if e["kind"] == "transcript"]
    files = [p for p in contents.digests if p.startswith("data/transcript/")]
    if not attached and not files:
        yield note("No transcript is attached.")
    elif not attached or len(files) != 1 or contents.digests[files[0]] != attached[-1].get("sha256"):
        yield bad("The transcript on the disc is not the one that was attached.")
    else:
        excepted = any(e["kind"] == "exception" for e in entries[entries.index(attached[-1]) :])
        verdict = Sentence("excepted" if excepted else str(attached[-1].get("verdict")))
        yield good("The newest transcript is {path}, its verdict {verdict}.", path=files[0], verdict=verdict)
