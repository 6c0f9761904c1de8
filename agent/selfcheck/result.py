"""Findings and reports of the self-check as values, and where they lie: ``<root>/selfcheck/<stamp>.json`` and ``latest.json``."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Self

from agent.config.model import Config
from agent.devices.kinds import KINDS
from recorder.clock.instants import SECOND_NS, rfc3339
from recorder.disk.durable import Json, make_folder, read_json, write_json
from recorder.faults import BadInput
from wording import Fault
from wording.sentence import Sentence, sentence, verbatim

SCHEMA = "interview-room-selfcheck/2"
SCHEMAS = (SCHEMA, "interview-room-selfcheck/1")  # /1: version 0.1.0, with its texts in both languages

CheckStatus = Literal["passed", "failed", "warning", "skipped"]
Heading = Literal["devices", "connections", "sound", "picture"]

HEADINGS: dict[Heading, str] = {
    "devices": "devices-intact",
    "connections": "connections-open",
    "sound": "sound-clear",
    "picture": "picture-clear",
}


DEVICES = {kind.id: kind.title for kind in KINDS}


NOTHING = Sentence("")


def device_name(device: str) -> Sentence:
    """What a person calls the device."""
    return sentence(DEVICES[device]) if device in DEVICES else verbatim(device)


def of_fault(fault: Fault) -> tuple[Sentence, Sentence]:
    """What a fault says, and its mend."""
    return Sentence(fault.code, fault.values), Sentence(fault.mend, fault.values)


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of one check on one device.

    check: its id. device: track or device name, "" for the room. value, threshold: what was measured, what it had to be.
    what, mend: what happened and what to do; empty where it passed. clauses: of the standards, as W-8.1.3.
    """

    check: str
    heading: Heading
    title: Sentence
    device: str
    status: CheckStatus
    value: Sentence = NOTHING
    threshold: Sentence = NOTHING
    clauses: tuple[str, ...] = ()
    what: Sentence = NOTHING
    mend: Sentence = NOTHING
    required: bool = True
    seconds: float = 0.0

    @property
    def key(self) -> str:
        """Check and device as one word, for lists and messages."""
        return f"{self.check}:{self.device}" if self.device else self.check

    def as_dict(self) -> Json:
        """For the report's JSON."""
        texts = {name: getattr(self, name).as_json() for name in ("title", "value", "threshold", "what", "mend")}
        plain = {name: getattr(self, name) for name in ("check", "device", "heading", "status", "required")}
        return {**plain, **texts, "clauses": list(self.clauses), "seconds": round(self.seconds, 2)}


@dataclass(frozen=True, slots=True)
class SelfcheckReport:
    """A whole self-check. at: UTC. room: id, name, centre, class. Passed: nothing that is required failed."""

    at: datetime
    seconds: float
    room: dict[str, Any]
    findings: tuple[CheckResult, ...]
    timezone: str = "UTC"
    version: str = ""

    @property
    def passed(self) -> bool:
        """Lets a session start."""
        return not any(f.status == "failed" for f in self.findings)

    @property
    def failed_checks(self) -> tuple[str, ...]:
        """Keys of what failed."""
        return tuple(f.key for f in self.findings if f.status == "failed")

    @property
    def counts(self) -> dict[CheckStatus, int]:
        """How many findings of each status."""
        counted = Counter(f.status for f in self.findings)
        return {status: counted[status] for status in ("passed", "failed", "warning", "skipped")}

    def as_dict(self) -> Json:
        """The report as selfcheck.json holds it."""
        return {
            "schema": SCHEMA,
            "at": self.at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "seconds": round(self.seconds, 2),
            "room": self.room,
            "timezone": self.timezone,
            "version": self.version,
            "passed": self.passed,
            "counts": dict(self.counts),
            "failed_checks": list(self.failed_checks),
            "findings": [f.as_dict() for f in self.findings],
        }


@dataclass(frozen=True, slots=True)
class ReportSummary:
    """What a session's start asks of the newest self-check. at_ns: UTC, ns since 1970. valid_ns: for how long it counts."""

    at_ns: int
    passed: bool
    failed_checks: tuple[str, ...]
    valid_ns: int

    @property
    def at(self) -> str:
        """When, RFC 3339 in UTC with milliseconds."""
        return rfc3339(self.at_ns)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], valid_minutes: int) -> Self:
        """Out of a stored report. Raises KeyError, ValueError, TypeError where it is none."""
        at = datetime.fromisoformat(str(data["at"]))
        failed = data["failed_checks"]
        if data["schema"] not in SCHEMAS or not isinstance(failed, list):
            raise ValueError("no self-check report")
        at_ns = round(at.timestamp() * 1000) * (SECOND_NS // 1000)
        if not 0 <= at_ns < 1 << 63:
            raise ValueError("no time of a self-check")
        return cls(at_ns, data["passed"] is True, tuple(str(key) for key in failed), valid_minutes * 60 * SECOND_NS)

    def valid(self, now_ns: int) -> bool:
        """Whether it lets a session start at now_ns (UTC): passed, not too old, and not from the future by more than a minute."""
        age = now_ns - self.at_ns
        return self.passed and -60 * SECOND_NS <= age <= self.valid_ns


def store_report(report: Mapping[str, Any], config: Config) -> Path:
    """Writes a report, in the form of Report.as_dict, under its stamp and as the newest, durably. For the agent alone.

    Raises BadInput where it is none, or another room's; StorageFault.
    """
    try:
        summary = ReportSummary.from_dict(report, config.recording.selfcheck_valid_minutes)
        room = report["room"]["id"]
    except (KeyError, ValueError, TypeError, OverflowError) as error:
        raise BadInput("selfcheck-report-not-usable", "run-selfcheck-again", why=repr(error)[:200]) from error
    if room != config.room.id:
        raise BadInput("selfcheck-report-of-other-room", "run-selfcheck-in-this-room", room=str(room)[:80])
    place = make_folder(config.storage.places.selfcheck)
    at = datetime.fromtimestamp(summary.at_ns / SECOND_NS, UTC)
    path = place / f"{at:%Y%m%dT%H%M%S.%f}Z.json"
    write_json(path, dict(report))
    write_json(place / "latest.json", dict(report))
    return path


def load_latest(config: Config) -> ReportSummary | None:
    """The newest report's summary; None where there is none that can be read: it then counts as not done."""
    try:
        return ReportSummary.from_dict(
            read_json(config.storage.places.selfcheck / "latest.json"), config.recording.selfcheck_valid_minutes
        )
    except (Fault, KeyError, ValueError, TypeError, OverflowError):
        return None
