"""What of [T0, T1] a track or the composite covers, and the gaps with their causes (invariant 4, W-7.3.5 a). Pure.

Reads the entries of a writer's journal (docs/formats.md); whatever no line proves is a gap.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo

from recorder.clock.instants import PICTURE_NS, SECOND_NS, rfc3339
from recorder.disk.durable import Json
from wording.sentence import Sentence

# Between two segments, and at T0 and T1, a hole up to this that no `lost` line explains is rounding of the fitted clock, not a
# gap: five pictures of 25 a second, the same figure below which a silence does not end a segment.
JOIN_NS = 5 * PICTURE_NS
# A hole that a `lost` line explains is a gap from this on: one picture, or one block of sound.
LOSS_NS = PICTURE_NS
# A `lost` line is written where the stored data ends; fits may move that by so much.
LOST_SLACK_NS = SECOND_NS

LATE = "The recording of this track began late."
DIED = "The recording process ended unexpectedly."
REBOOTED = "The PC was restarted or lost its power."
DAMAGED = "The file that covered this time is missing or damaged."
STOPPED = "The recording of this track ended before the interview."
NEVER = "Nothing of this track was recorded."
GIVEN_UP = "The composite was given up so that the originals could go on."
UNKNOWN = "The journal names no cause."


@dataclass(frozen=True, slots=True)
class Span:
    """Room time [from_ns, to_ns)."""

    from_ns: int
    to_ns: int

    @property
    def ns(self) -> int:
        return max(0, self.to_ns - self.from_ns)


@dataclass(frozen=True, slots=True)
class Gap:
    """A span of [T0, T1] that is not covered.

    cause: an English sentence; fault: the same as wording.Fault.as_dict(), where one was journalled, to be said in any language.
    """

    from_ns: int
    to_ns: int
    cause: str
    fault: Json | None = None

    def as_json(self, zone: tzinfo = UTC) -> Json:
        """As the manifest lists it."""
        gap: Json = {
            "from_ns": self.from_ns,
            "to_ns": self.to_ns,
            "from": rfc3339(self.from_ns, zone),
            "to": rfc3339(self.to_ns, zone),
            "seconds": round((self.to_ns - self.from_ns) / SECOND_NS, 3),
            "cause": self.cause,
        }
        return gap if self.fault is None else {**gap, "fault": self.fault}


def gap_cause(gap: Json) -> Sentence:
    """The cause of a gap as a manifest lists it, to be said in any language."""
    fault = gap.get("fault")
    if isinstance(fault, dict) and isinstance(fault.get("values"), dict):
        return Sentence(str(fault.get("text")), fault["values"])
    return Sentence(str(gap["cause"]))


@dataclass(frozen=True, slots=True)
class Coverage:
    """wanted_ns: length of [T0, T1]; covered_ns: of it, outside gaps."""

    wanted_ns: int
    covered_ns: int
    gaps: tuple[Gap, ...]

    @property
    def covered(self) -> float:
        """The covered share, cut (not rounded) to six digits, so that 1.0 means no gap at all."""
        return self.covered_ns * 1_000_000 // self.wanted_ns / 1_000_000 if self.wanted_ns else 0.0

    @property
    def covered_s(self) -> float:
        return self.covered_ns // 1_000_000 / 1000


def holes(spans: Iterable[Span], start_ns: int, end_ns: int, join_ns: int) -> list[Span]:
    """What of [start_ns, end_ns) no span covers, in order; holes up to join_ns left out."""
    result: list[Span] = []
    reached = start_ns
    for span in sorted(spans, key=lambda s: s.from_ns):
        if span.to_ns <= span.from_ns or span.to_ns <= start_ns:
            continue
        if span.from_ns >= end_ns:
            break
        if span.from_ns - reached > join_ns:
            result.append(Span(reached, span.from_ns))
        reached = max(reached, span.to_ns)
    if end_ns - reached > join_ns:
        result.append(Span(reached, end_ns))
    return result


def whole(value: object) -> int:
    """A journalled number of ns, bytes or packets. Raises ValueError where it is none."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError(f"{value!r} is no whole number")


def coverage(entries: Iterable[Json], start_ns: int, end_ns: int, *, without: Collection[str] = ()) -> Coverage:
    """A track's coverage of [start_ns, end_ns) by the ``segment`` lines of its journal, recovered ones included.

    without: names of files that are listed and cannot be counted, being missing or damaged.
    """
    lines = list(entries)
    segments = [e for e in lines if e["kind"] == "segment"]
    spans = [Span(whole(e["first_ns"]), whole(e["end_ns"])) for e in segments if e["file"] not in without]
    damaged = [Span(whole(e["first_ns"]), whole(e["end_ns"])) for e in segments if e["file"] in without]
    lost_ns = [start_ns if e.get("from_ns") is None else whole(e["from_ns"]) for e in lines if e["kind"] == "lost"]
    gaps = []
    for hole in holes(spans, start_ns, end_ns, LOSS_NS):
        if hole.ns <= JOIN_NS and not any(abs(at - hole.from_ns) <= LOSS_NS for at in lost_ns):
            continue
        if any(d.from_ns < hole.to_ns and d.to_ns > hole.from_ns for d in damaged):
            gaps.append(Gap(hole.from_ns, hole.to_ns, DAMAGED))
        else:
            gaps.append(_explained(hole, lines, start_ns, end_ns, any_data=bool(spans)))
    wanted_ns = max(0, end_ns - start_ns)
    return Coverage(wanted_ns, wanted_ns - sum(g.to_ns - g.from_ns for g in gaps), tuple(gaps))


def _explained(hole: Span, lines: Sequence[Json], start_ns: int, end_ns: int, *, any_data: bool) -> Gap:
    """The hole with the cause that the ``lost`` line nearest to its beginning names; else what the order of the lines shows."""
    best: tuple[int, Json] | None = None
    for entry in lines:
        if entry["kind"] != "lost":
            continue
        lost_ns = start_ns if entry.get("from_ns") is None else whole(entry["from_ns"])
        distance = abs(lost_ns - hole.from_ns)
        if hole.from_ns - LOST_SLACK_NS <= lost_ns < hole.to_ns and (best is None or distance < best[0]):
            best = distance, entry
    if best is not None:
        return _said(hole, best[1])
    return Gap(hole.from_ns, hole.to_ns, _inferred(hole, lines, start_ns, end_ns, any_data=any_data))


def _said(gap: Span, entry: Json) -> Gap:
    """A gap with the cause that a journal's line names. gap: room time."""
    fault = entry.get("fault")
    return Gap(gap.from_ns, gap.to_ns, str(entry.get("cause") or UNKNOWN), dict(fault) if isinstance(fault, dict) else None)


def _inferred(hole: Span, lines: Sequence[Json], start_ns: int, end_ns: int, *, any_data: bool) -> str:
    """What the order of the lines shows where no ``lost`` line explains the hole."""
    crash = _crash(hole, lines)
    if crash is not None:
        return crash
    if hole.to_ns >= end_ns:
        if not any_data:
            return NEVER
        return STOPPED if any(e["kind"] == "end" for e in lines) else DIED
    return LATE if hole.from_ns <= start_ns else UNKNOWN


def _crash(hole: Span, lines: Sequence[Json]) -> str | None:
    """A second ``begin`` between the data before the hole and the data after it: the process was started again."""
    boot: object = None
    last_open_ns = 0
    for entry in lines:
        if entry["kind"] == "begin":
            if boot is not None and last_open_ns <= hole.from_ns and _opens_after(entry, lines) >= hole.to_ns - JOIN_NS:
                return DIED if entry.get("boot_id") == boot else REBOOTED
            boot = entry.get("boot_id", "")
        elif entry["kind"] == "open":
            last_open_ns = whole(entry["first_ns"])
    return None


def _opens_after(begin: Json, lines: Sequence[Json]) -> int:
    """Where the first segment after a ``begin`` starts; far away where there is none."""
    later = (whole(e["first_ns"]) for e in lines if e["kind"] == "open" and whole(e["seq"]) > whole(begin["seq"]))
    return next(later, 1 << 62)


@dataclass(frozen=True, slots=True)
class CompositeCoverage:
    """pictures_due: of [T0, T1), picture n at T0 + n·40 ms; pictures_written: of those, in parts; gaps: the missing ones.

    pictures_after_end: in parts as well, due at T1 or later, since the composer learned of its end when they were written.
    """

    pictures_due: int
    pictures_written: int
    gaps: tuple[Gap, ...]
    pictures_after_end: int


def pictures_due(start_ns: int, end_ns: int) -> int:
    """The pictures of [start_ns, end_ns) at 25 a second, the first at start_ns."""
    return max(0, -(-(end_ns - start_ns) // PICTURE_NS))


def composite_coverage(
    entries: Iterable[Json], start_ns: int, end_ns: int, *, without: Collection[str] = ()
) -> CompositeCoverage:
    """The composite's coverage by the ``part`` lines of the composer's journal: every missing picture is in a gap."""
    lines = list(entries)
    due = pictures_due(start_ns, end_ns)
    parts = [e for e in lines if e["kind"] == "part"]
    spans = [_pictures(e) for e in parts if e["file"] not in without]
    damaged = [_pictures(e) for e in parts if e["file"] in without]
    missing = holes(spans, 0, due, 0)
    gaps = []
    for hole in missing:
        missed = Span(start_ns + hole.from_ns * PICTURE_NS, min(end_ns, start_ns + hole.to_ns * PICTURE_NS))
        failed = [e for e in lines if e["kind"] == "encoder" and missed.from_ns <= whole(e["at_ns"]) <= missed.to_ns]
        if any(d.from_ns < hole.to_ns and d.to_ns > hole.from_ns for d in damaged):
            gaps.append(Gap(missed.from_ns, missed.to_ns, DAMAGED))
        elif failed:
            gaps.append(_said(missed, failed[0]))
        else:
            gaps.append(Gap(missed.from_ns, missed.to_ns, _composite_cause(hole, lines, due, any_data=bool(spans))))
    after = sum(max(0, span.to_ns - max(due, span.from_ns)) for span in spans)
    return CompositeCoverage(due, due - sum(h.ns for h in missing), tuple(gaps), after)


def _composite_cause(hole: Span, lines: Sequence[Json], due: int, *, any_data: bool) -> str:
    """Why pictures are missing. hole: picture numbers."""
    if hole.to_ns == due and any(e["kind"] == "given-up" for e in lines):
        return GIVEN_UP
    before: object = None
    reached = 0
    for entry in lines:
        if entry["kind"] == "part-open":
            reached = whole(entry["first_picture"])
        elif entry["kind"] == "begin":
            if before is not None and reached <= hole.from_ns and _next_picture(entry, lines) >= hole.to_ns:
                return DIED if entry.get("boot_id") == before else REBOOTED
            before = entry.get("boot_id", "")
    if not any_data:
        return NEVER
    return LATE if hole.from_ns == 0 else STOPPED if hole.to_ns == due else UNKNOWN


def _next_picture(begin: Json, lines: Sequence[Json]) -> int:
    """The first picture of the first part after a ``begin``; far away where there is none."""
    later = (whole(e["first_picture"]) for e in lines if e["kind"] == "part-open" and whole(e["seq"]) > whole(begin["seq"]))
    return next(later, 1 << 62)


def _pictures(part: Json) -> Span:
    """The picture numbers of a part, as [first, end)."""
    first = whole(part["first_picture"])
    return Span(first, first + whole(part["pictures"]))
