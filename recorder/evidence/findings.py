"""What a verifier found, and how it is told."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from recorder.disk.durable import Json
from recorder.session.lines import cause_of
from recorder.session.record import sealed_without
from recorder.session.tracks import track_name
from wording import Exit, Fault, Language, Shown, say
from wording.border import laid_out
from wording.sentence import Sentence

# Who vouches for what agrees: the trusted key; some key, whose fingerprint a person must compare; some key that signed the
# manifest alone; or nobody.
Vouched = Literal["trusted", "signer", "manifest", "nobody"]


# Codes of findings that make a signature worthless without showing that anything was changed.
UNVOUCHED = frozenset({"signed-by-other-key", "ed25519-key-unreadable", "path-cannot-be-read"})


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. ok: it agrees. note: worth knowing (a gap, say), though it agrees."""

    ok: bool
    code: str
    values: dict[str, object]
    note: bool = False

    @property
    def disagrees(self) -> bool:
        """Something is other than what was sealed: more than that nobody can vouch for it."""
        why = self.values.get("why")
        return not (self.ok or self.code in UNVOUCHED or (isinstance(why, Sentence) and why.code in UNVOUCHED))

    def say(self, language: Language = "en") -> Shown:
        """The finding as a sentence in the language."""
        return Sentence(self.code, self.values).say(language)

    def as_json(self) -> Json:
        return {"ok": self.ok, "note": self.note, **Sentence(self.code, self.values).as_json(), "says": self.say()}


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """name: of what was checked. sealed: there is a seal, so that all of it was checked. keys: fingerprints of who signed."""

    name: str
    sealed: bool
    findings: tuple[Finding, ...]
    vouched: Vouched = "nobody"
    keys: str = ""

    @property
    def ok(self) -> bool:
        """Everything that was checked agrees."""
        return all(finding.ok for finding in self.findings)

    @property
    def exit_code(self) -> Exit:
        """OK: it agrees, and a signature vouches for all of it. UNVOUCHED: nothing disagrees, but nobody vouches. Else NO."""
        if any(finding.disagrees for finding in self.findings):
            return Exit.NO
        return Exit.OK if self.ok and self.vouched in ("trusted", "signer") else Exit.UNVOUCHED

    def as_json(self) -> Json:
        """The report for ``--json``: each finding as a code with values and as an English text."""
        listed = [f.as_json() for f in self.findings]
        vouched = self.vouched if self.ok else "nobody"
        return {"name": self.name, "ok": self.ok, "sealed": self.sealed, "vouched": vouched, "findings": listed}


def good(code: str, /, **values: object) -> Finding:
    """A finding that agrees."""
    return Finding(True, code, values)


def note(code: str, /, **values: object) -> Finding:
    """A finding that agrees and that a reader should know, such as a gap."""
    return Finding(True, code, values, note=True)


def bad(code: str, /, **values: object) -> Finding:
    """A finding that does not agree."""
    return Finding(False, code, values)


def from_error(error: Fault | OSError) -> Finding:
    """The finding for a fault: something could not be read, or does not agree."""
    if isinstance(error, Fault):
        return Finding(False, error.code, dict(error.values))
    return bad("path-cannot-be-read", path=error.filename, why=error.strerror)


def gap_notes(track: str, gaps: Iterable[Json]) -> list[Finding]:
    """Each gap of a manifest's track or composite."""
    template = "gap-in-track"
    return [
        note(template, track=track_name(track), seconds=g["seconds"], start=g["from"], end=g["to"], cause=cause_of(g))
        for g in gaps
    ]


def cut_notes(track: str, pictures: Iterable[Json]) -> list[Finding]:
    """Each picture of a manifest's track that is stored and does not count."""
    return [note("picture-that-does-not-count", track=track_name(track), start=p["from"], cause=cause_of(p)) for p in pictures]


def left_notes(manifest: Mapping[str, Any]) -> list[Finding]:
    """Who let the seal go on without which tracks, and why: what a reader of the whole must be told first."""
    return [note(said.code, **said.values) for said in sealed_without(manifest)]


def lines(report: VerifyReport, language: Language) -> list[Shown]:
    """The report for a person: one line a finding, bad ones marked ✗, notes !, good ones ✓; the conclusion last.

    Only where a trusted key signed does the conclusion say that this is what was recorded: anybody can sign with some key.
    """
    told = [
        laid_out("{mark} {finding}", mark="✗" if not f.ok else "!" if f.note else "✓", finding=f.say(language))
        for f in report.findings
    ]
    if not report.ok:
        template = "verdict-disagrees-with-evidence"
    elif report.vouched == "trusted":
        template = "verdict-recorded-and-sealed"
    elif report.vouched == "signer":
        template = "verdict-sealed-if-room-key"
    elif report.vouched == "manifest":
        template = "verdict-files-unsigned-manifest-signed"
    else:
        template = "verdict-agrees-but-unsealed"
    count = sum(not f.ok for f in report.findings)
    return [*told, say(template, language, name=report.name, count=count, keys=report.keys)]
