"""What goes on after the seal: the session's journal, signed with each line, and session.json, which repeats the evidence. Pure.

The agent signs the journal's head before the line ``sealed`` and after it, then with each further line, and only then writes
session.json (agent.session.keeper). So journal.sig is there as soon as that line is; at most the newest line lacks a signature,
after a power cut between the two; and session.json says nothing that rests on such a line.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recorder.disk import journal
from recorder.disk.durable import Json
from recorder.evidence.findings import Finding, bad, from_error, good, note
from recorder.evidence.signature import check_head_signature
from recorder.faults import EvidenceFault
from recorder.later.check import Seal
from recorder.session.files import JOURNAL_SIGNATURE, MANIFEST
from recorder.session.record import FIELDS, FINAL_VERDICTS, MATCHED_STATES, SEALED, SEALED_STATES, exception_remark

COMPARE = "compare-file-with-disc-or-copy"


@dataclass(frozen=True, slots=True)
class OwnJournal:
    """The session's journal. entries: all of it; signed: how many of them the seal or journal.sig vouches for."""

    entries: tuple[Json, ...]
    signed: int
    findings: tuple[Finding, ...]

    @property
    def vouched(self) -> tuple[Json, ...]:
        """The entries that are signed."""
        return self.entries[: self.signed]


def check_journal_head(data: bytes, entries: int, digest: str, path: Path) -> list[Json]:
    """All entries of a journal whose first ``entries`` lines end in the line with this SHA-256; it may have grown since.

    Raises EvidenceFault: the chain is broken, cut, or another one.
    """
    found: list[Json] = []
    fits = entries == 0
    for entry, head in journal.parse(journal.split_torn(data)[0], path):
        found.append(entry)
        if head.entries == entries:
            fits = head.sha256 == digest
    if not fits:
        raise EvidenceFault("signed-journal-line-differs", COMPARE, path=path.name, line=entries)
    return found


def check_own_journal(data: bytes, path: Path, signature: Callable[[], Json | None], seal: Seal) -> OwnJournal:
    """The session's journal: whole up to the seal, and signed after it by the key that sealed (any, where the signer is b"").

    signature: reads journal.sig, None where it is missing; an EvidenceFault that it raises becomes a finding. Raises KeyError,
    TypeError, ValueError where the seal is not of the known form.
    """
    sealed = seal.manifest["journal"]
    try:
        entries = check_journal_head(data, sealed["entries"], sealed["sha256"], path)
    except EvidenceFault as fault:
        return OwnJournal((), 0, (from_error(fault),))
    template = "session-journal-intact"
    found = [good(template, sealed=sealed["entries"], count=len(entries))]
    if data and not data.endswith(b"\n"):
        found.append(bad("file-ends-mid-line", path=path.name))
    if any(e.get("kind") == "sealed" and e.get("manifest_sha256") != seal.sha256 for e in entries):
        found.append(bad("journal-names-other-manifest", path=MANIFEST))
    signed = int(sealed["entries"])
    try:
        content = signature()
        if content is not None:
            head = check_head_signature(str(seal.manifest["session"]), content, trusted_public_key=seal.signer or None)
            check_journal_head(data, head.entries, head.sha256, path)
            signed = max(signed, head.entries)
        elif was_sealed(entries):
            found.append(bad("sealed-session-file-missing", path=JOURNAL_SIGNATURE))
    except EvidenceFault as fault:
        found.append(from_error(fault))
    if len(entries) > signed:
        cut_off = len(entries) == signed + 1 or not was_sealed(entries[:signed])
        text = "session-journal-tail-unsigned"
        found.append(Finding(cut_off, text, {"count": len(entries) - signed}, note=cut_off))
    return OwnJournal(tuple(entries), signed, tuple(found))


def was_sealed(entries: Iterable[Json]) -> bool:
    """The journal says so."""
    return any(entry.get("kind") == "sealed" for entry in entries)


def transcript_states(entries: Sequence[Json]) -> list[Json]:
    """What session.json says of the transcript after each line that changes it."""
    states: list[Json] = []
    for entry in entries:
        fields = {k: v for k, v in entry.items() if k not in ("seq", "kind", "prev")}
        if entry.get("kind") == "transcript":
            states.append(fields)
        elif entry.get("kind") == "exception" and states:
            states.append({**states[-1], "verdict": "excepted", "exception": fields})
    return states


def remark_notes(manifest: Mapping[str, Any], transcript: Json) -> list[Finding]:
    """What a reader should know of an exception: that it was typed by a login that took part. From what is signed.

    transcript: one of transcript_states.
    """
    remark = exception_remark({"asked": manifest.get("asked"), "stop": manifest.get("stop"), "transcript": transcript})
    return [note(remark.code, **remark.values)] if remark else []


def disc_states(entries: Sequence[Json]) -> list[Json]:
    """What session.json says of the discs after each line that changes it."""
    return [{k: v for k, v in e.items() if k not in ("seq", "at", "kind", "prev")} for e in entries if e.get("kind") == "burned"]


def check_record(record: Json, manifest: Mapping[str, Any], own: OwnJournal, path: str) -> list[Finding]:
    """session.json is not evidence; what it repeats of the evidence must agree. path: what the file is called."""
    state = record.get("state")
    different = [key for key, value in _sealed_fields(record, manifest).items() if record.get(key) != value]
    if state not in ("sealing", *SEALED_STATES):
        different.append("state")
    found = [bad("field-differs-from-seal", path=path, field=key) for key in different]
    told, vouched = own.entries, own.vouched
    transcripts, discs = transcript_states(vouched), disc_states(vouched)
    found += _repeated(record, "transcript", transcript_states(told), transcripts, path)
    found += _repeated(record, "disc", disc_states(told), discs, path)
    transcript = record.get("transcript")
    verdict = transcript.get("verdict") if isinstance(transcript, dict) else None
    if (
        (state in SEALED_STATES and not was_sealed(vouched))
        or (state in MATCHED_STATES and verdict not in FINAL_VERDICTS)
        or (state == "on-disc" and not any(_enough(disc) for disc in discs))
    ):
        found.append(bad("field-differs-from-session-journal", path=path, field="state"))
    if state == "sealing":
        found.append(note("seal-unknown-to-file", path=path))
    known = {"schema", *FIELDS}
    found += [note("field-unknown-in-file", path=path, field=key) for key in record if key not in known]
    return found or [good("file-repeats-evidence-rightly", path=path)]


def _sealed_fields(record: Json, manifest: Mapping[str, Any]) -> Json:
    wanted: Json = {"id": manifest["session"], "stop_ns": manifest["end_ns"], **{key: manifest.get(key) for key in SEALED}}
    written = record.get("state") in SEALED_STATES
    if written or record.get("coverage") is not None:
        tracks = manifest["tracks"]
        wanted["coverage"] = {n: {"covered": t["covered"], "gaps": len(t["gaps"])} for n, t in tracks.items()}
    if written or record.get("composite") is not None:
        wanted["composite"] = {key: manifest["composite"][key] for key in ("pictures_due", "pictures_written")}
    return wanted


def _repeated(record: Json, field: str, told: Sequence[Json], vouched: Sequence[Json], path: str) -> list[Finding]:
    """A field that is as a line of the journal says. told, vouched: it after each line, and after each that is signed."""
    value = record.get(field)
    if value not in [None, *told]:
        return [bad("field-differs-from-session-journal", path=path, field=field)]
    if value not in [None, *vouched]:
        return [bad("field-from-unsigned-journal-line", path=path, field=field)]
    if value == (told[-1] if told else None):
        return []
    newest = {"transcript": "newest-transcript-unknown-to-file", "disc": "newest-discs-unknown-to-file"}
    return [note(newest[field], path=path)]


def _enough(disc: Json) -> bool:
    """Whether as many discs were verified as are required."""
    verified, copies = disc.get("verified"), disc.get("copies")
    return isinstance(verified, int) and isinstance(copies, int) and verified >= copies > 0
