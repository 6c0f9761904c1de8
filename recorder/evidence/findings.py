"""What a verifier found, and how it is told."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from recorder.disk.durable import Json
from recorder.evidence.continuity import gap_cause
from wording import Fault, Language, say
from wording.sentence import Sentence

# Who vouches for what agrees: the key that was given to trust; some key, which a person compares; some key, and for the sealed
# manifest alone; nobody.
Vouched = Literal["trusted", "signer", "manifest", "nobody"]

TRACKS = {"overview": "Overview", "closeup": "Close-up", "microphone": "Microphone", "composite": "Composite"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. ok: it agrees. note: worth knowing (a gap, say), though it agrees."""

    ok: bool
    template: str
    values: dict[str, object]
    note: bool = False

    def say(self, language: Language = "en") -> str:
        """In the language."""
        return Sentence(self.template, self.values).say(language)

    def as_json(self) -> Json:
        return {"ok": self.ok, "note": self.note, **Sentence(self.template, self.values).as_json(), "says": self.say()}


@dataclass(frozen=True, slots=True)
class Report:
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

    def as_json(self) -> Json:
        """For --json: findings as templates with values, and as English text."""
        listed = [f.as_json() for f in self.findings]
        vouched = self.vouched if self.ok else "nobody"
        return {"name": self.name, "ok": self.ok, "sealed": self.sealed, "vouched": vouched, "findings": listed}


def good(template: str, /, **values: object) -> Finding:
    """It agrees."""
    return Finding(True, template, values)


def note(template: str, /, **values: object) -> Finding:
    """It agrees, and should be known."""
    return Finding(True, template, values, note=True)


def bad(template: str, /, **values: object) -> Finding:
    """It does not agree."""
    return Finding(False, template, values)


def from_error(error: Fault | OSError) -> Finding:
    """What could not be read, or does not agree."""
    if isinstance(error, Fault):
        return Finding(False, error.text, dict(error.values))
    return bad("{path} cannot be read: {why}.", path=error.filename, why=error.strerror)


def track_name(track: str) -> Sentence:
    """What a person calls a track or the composite."""
    return Sentence(TRACKS.get(track, track))


def gap_notes(track: str, gaps: Iterable[Json]) -> list[Finding]:
    """Each gap of a manifest's track or composite."""
    template = "Gap in {track}: {seconds} s, from {start} to {end}. {cause}"
    return [
        note(template, track=track_name(track), seconds=g["seconds"], start=g["from"], end=g["to"], cause=gap_cause(g))
        for g in gaps
    ]


def lines(report: Report, language: Language) -> list[str]:
    """The report for a person: one line a finding, bad ones marked ✗, notes !, good ones ✓; the conclusion last.

    That something is what was recorded is said where a trusted key signed it, and nowhere else: anybody can sign with some key.
    """
    told = [("✗" if not f.ok else "!" if f.note else "✓") + " " + f.say(language) for f in report.findings]
    if not report.ok:
        template = "{name} does NOT agree with its evidence: see the {count} line(s) marked ✗."
    elif report.vouched == "trusted":
        template = "{name} is what was recorded and sealed."
    elif report.vouched == "signer":
        template = "{name} agrees with what the key {keys} signed: it is what was recorded and sealed if that is the room's key."
    elif report.vouched == "manifest":
        template = "{name} agrees with itself, but nobody signed its files: the key {keys} vouches for the sealed manifest alone."
    else:
        template = "{name} is not sealed: what could be checked agrees, but nothing vouches for the whole."
    count = sum(not f.ok for f in report.findings)
    return [*told, say(template, language, name=report.name, count=count, keys=report.keys)]
