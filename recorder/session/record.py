"""TODO docstring."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import tzinfo
from typing import Any, Literal, Self, get_args
from zoneinfo import ZoneInfo

from recorder.clock.instants import rfc3339
from recorder.faults import EvidenceFault
from recorder.process.wanted import Wanted

SCHEMA = "interview-room-session/1"
State = Literal["recording", "sealing", "sealed", "matched", "on-disc"]


@dataclass(frozen=True, slots=True)
class Case:
    """The register's fields (W-7.2.3)."""

    number: str
    cause: str
    handlers: tuple[str, ...]
    interviewee: str


@dataclass(frozen=True, slots=True)
class Session:
    """The content of session.json. Times are room time in ns; the official ones are RFC 3339 in the room's zone.

    left: who let the seal go on without which tracks, and why; more than one where it was done again.
    """

    id: str
    state: State
    start_ns: int
    official_start: str
    timezone: str
    room: Mapping[str, Any]
    case: Case
    planned_minutes: int
    selfcheck: Mapping[str, Any]
    stop_ns: int | None = None
    official_end: str | None = None
    stop: Mapping[str, Any] | None = None
    left: Sequence[Mapping[str, Any]] | None = None
    coverage: Mapping[str, Any] | None = None
    composite: Mapping[str, Any] | None = None
    transcript: Mapping[str, Any] | None = None
    disc: Mapping[str, Any] | None = None

    @property
    def active(self) -> bool:
        """It is being recorded or sealed: the room is taken."""
        return self.state in ("recording", "sealing")

    @property
    def left_tracks(self) -> frozenset[str]:
        """The tracks without which the seal goes on."""
        return frozenset(track for each in self.left or () for track in each["tracks"])

    def as_dict(self) -> dict[str, Any]:
        """As it lies in session.json."""
        return {"schema": SCHEMA, **asdict(self)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], where: object) -> Self:
        """The inverse of as_dict; where: named in the EvidenceFault raised for anything else."""
        names = {f.name for f in fields(cls)}
        if wrong := _wrong_field(data):
            text = "{path} is no session file: its field {field} is missing or not of the known form."
            raise EvidenceFault(text, "Restore it from a copy.", path=where, field=wrong)
        case = data["case"]
        made = Case(case["number"], case["cause"], tuple(case["handlers"]), case["interviewee"])
        return cls(**{**{k: v for k, v in data.items() if k in names}, "case": made})

    def wanted(self, before: Wanted) -> Wanted:
        """What the tracks and the composer are to do. before: what wanted.json says now; a composite given up stays given up."""
        if not self.active:
            return Wanted()
        composite = before.composite if before.session == self.id else True
        return Wanted(self.id, self.start_ns, self.stop_ns, self.case.number, composite)

    def stopping(self, stop_ns: int, by: str, reason: str, zone: tzinfo) -> "Session":
        """recording → sealing."""
        end = rfc3339(stop_ns, zone)
        return replace(
            self, state="sealing", stop_ns=stop_ns, official_end=end, stop={"by": by.strip(), "reason": reason.strip()}
        )

    def leaving(self, tracks: Sequence[str], by: str, reason: str) -> "Session":
        """A session that is being sealed, without these tracks."""
        entry = {"by": by.strip(), "reason": reason.strip(), "tracks": list(tracks)}
        return replace(self, left=[*(self.left or ()), entry])

    def sealed(self, coverage: Mapping[str, Any], composite: Mapping[str, Any] | None) -> "Session":
        """sealing → sealed. coverage: by track; composite: pictures due and written."""
        return replace(self, state="sealed", coverage=coverage, composite=composite)

    def with_transcript(self, transcript: Mapping[str, Any]) -> "Session":
        """sealed ↔ matched, by the newest transcript's verdict."""
        state: State = "matched" if transcript["verdict"] in ("match", "excepted") else "sealed"
        return replace(self, state=state, transcript=transcript)

    def with_disc(self, disc: Mapping[str, Any], copies: int) -> "Session":
        """Takes up a burn job's result; matched → on-disc where as many copies as required were verified."""
        done = self.state == "matched" and int(disc.get("verified", 0)) >= copies
        return replace(self, state="on-disc" if done else self.state, disc=disc)


_REQUIRED = {
    "id": str,
    "state": str,
    "start_ns": int,
    "official_start": str,
    "timezone": str,
    "room": dict,
    "case": dict,
    "planned_minutes": int,
    "selfcheck": dict,
}
_OPTIONAL = {
    "stop_ns": int,
    "official_end": str,
    "stop": dict,
    "left": list,
    "coverage": dict,
    "composite": dict,
    "transcript": dict,
    "disc": dict,
}


def _wrong_field(data: Mapping[str, Any]) -> str | None:
    """The first field of a session.json that is missing or of another kind."""
    for name, kind in _REQUIRED.items():
        if not isinstance(data.get(name), kind):
            return name
    for name, kind in _OPTIONAL.items():
        if not isinstance(data.get(name), kind | None):
            return name
    if data["state"] not in get_args(State) or (data["state"] != "recording" and data.get("stop_ns") is None):
        return "state"
    if not all(_names_tracks(each) for each in data.get("left") or ()):
        return "left"
    try:
        ZoneInfo(data["timezone"])
    except (LookupError, ValueError, OSError):
        return "timezone"
    case = data["case"]
    handlers = case.get("handlers")
    if not isinstance(handlers, (list, tuple)) or not all(isinstance(each, str) for each in handlers):
        return "case.handlers"
    return next((f"case.{name}" for name in ("number", "cause", "interviewee") if not isinstance(case.get(name), str)), None)


def _names_tracks(entry: object) -> bool:
    tracks = entry.get("tracks") if isinstance(entry, dict) else None
    return isinstance(tracks, list) and all(isinstance(track, str) for track in tracks)
