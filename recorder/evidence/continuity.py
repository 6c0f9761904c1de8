"""What of [T0, T1] a track or the composite covers, and the gaps with their causes (invariant 4, W-7.3.5 a). Pure.

Reads the lines of a writer's journal; whatever no line proves is a gap.
"""

from bisect import bisect_right
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, tzinfo

from recorder.clock.instants import GAP_FLOOR_NS, PICTURE_NS, SECOND_NS, rfc3339
from recorder.disk.durable import Json
from recorder.session.lines import (
    UNKNOWN_CAUSE,
    BackLine,
    BeginLine,
    CutLine,
    EncoderLine,
    EndLine,
    GivenUpLine,
    Line,
    LostLine,
    PartLine,
    PartOpenLine,
    SegmentLine,
    SegmentOpenLine,
    SilenceLine,
    cause_fields,
)
from wording.sentence import Sentence

# A hole that a `lost` line explains is a gap from this on: one picture, or one block of sound.
LOSS_NS = PICTURE_NS
# A `lost` line is written where the stored data ends; fits may move that by so much.
LOST_SLACK_NS = SECOND_NS

LATE = "track-began-late"
DIED = "recording-process-ended-unexpectedly"
REBOOTED = "pc-restarted-or-lost-power"
DAMAGED = "covering-file-missing-or-damaged"
STOPPED = "track-ended-early"
NEVER = "track-not-recorded"
GIVEN_UP = "composite-given-up-for-originals"
UNKNOWN = UNKNOWN_CAUSE


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
    """A span of [T0, T1] that is not covered. cause: code and values of its text, as the journal tells or shows it."""

    from_ns: int
    to_ns: int
    cause: Sentence

    def as_json(self, zone: tzinfo = UTC) -> Json:
        """The gap as the manifest lists it."""
        return {
            "from_ns": self.from_ns,
            "to_ns": self.to_ns,
            "from": rfc3339(self.from_ns, zone),
            "to": rfc3339(self.to_ns, zone),
            "seconds": round((self.to_ns - self.from_ns) / SECOND_NS, 3),
            **cause_fields(self.cause),
        }


@dataclass(frozen=True, slots=True)
class Interruption:
    """What a track's journal tells while the session runs. to_ns: None while it lasts. Room time."""

    from_ns: int
    to_ns: int | None
    cause: Sentence


def interruptions(lines: Iterable[Line]) -> list[Interruption]:
    """Each silence, and from each ``lost`` line, or a picture before it that was cut, to the ``back`` or ``end`` after it.

    Before the seal, which computes gaps from what is stored.
    """
    found: list[Interruption] = []
    lost: tuple[int, Sentence] | None = None
    cut: dict[int, int] = {}
    for line in lines:
        match line:
            case CutLine():
                cut[line.to_ns] = line.from_ns
            case LostLine(from_ns=int() as from_ns) if lost is None:
                lost = from_ns, line.said
            case BackLine(at_ns=int() as to_ns) | EndLine(stop_ns=int() as to_ns) if lost is not None:
                found.append(Interruption(lost[0], to_ns, lost[1]))
                lost = None
            case SilenceLine():
                found.append(Interruption(line.from_ns, line.to_ns, line.said))
    found.sort(key=lambda each: each.from_ns)  # a silence is told when what follows has shown that it is one
    found += [] if lost is None else [Interruption(lost[0], None, lost[1])]
    return [replace(each, from_ns=cut.get(each.from_ns, each.from_ns)) for each in found]


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
    """The parts of [start_ns, end_ns) that no span covers, in order. Holes of at most join_ns are left out."""
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


def coverage(entries: Iterable[Line], start_ns: int, end_ns: int, *, without: Collection[str] = ()) -> Coverage:
    """A track's coverage of [start_ns, end_ns) by the ``segment`` lines of its journal, recovered ones included.

    What a ``silence`` line tells is not covered, though a segment goes over it; what a ``cut`` line tells, in its own segment.
    without: names of files that are listed and cannot be counted, being missing or damaged.
    """
    lines = list(entries)
    segments = [line for line in lines if isinstance(line, SegmentLine)]
    silences = [Span(line.from_ns, line.to_ns) for line in lines if isinstance(line, SilenceLine)]
    cut = {line.file: Span(line.from_ns, line.to_ns) for line in lines if isinstance(line, CutLine)}
    stored = [(Span(s.first_ns, s.end_ns), cut.get(s.file)) for s in segments if s.file not in without]
    counted = [part for span, off in stored for part in (without_silences([span], [off]) if off else [span])]
    spans = without_silences(counted, silences)
    damaged = [Span(s.first_ns, s.end_ns) for s in segments if s.file in without]
    lost_ns = [_told_ns(line, start_ns) for line in lines if isinstance(line, LostLine | SilenceLine | CutLine)]
    gaps = []
    for hole in holes(spans, start_ns, end_ns, LOSS_NS):
        if hole.ns <= GAP_FLOOR_NS and not any(abs(at - hole.from_ns) <= LOSS_NS for at in lost_ns):
            continue
        if any(d.from_ns < hole.to_ns and d.to_ns > hole.from_ns for d in damaged):
            gaps.append(Gap(hole.from_ns, hole.to_ns, Sentence(DAMAGED)))
        else:
            gaps.append(_explained(hole, lines, start_ns, end_ns, any_data=bool(spans)))
    wanted_ns = max(0, end_ns - start_ns)
    return Coverage(wanted_ns, wanted_ns - sum(g.to_ns - g.from_ns for g in gaps), tuple(gaps))


def cut_pictures(lines: Iterable[Line], start_ns: int, end_ns: int) -> list[CutLine]:
    """The stored pictures of [start_ns, end_ns) that do not count."""
    cut = (line for line in lines if isinstance(line, CutLine))
    return [line for line in cut if line.from_ns < end_ns and line.to_ns > start_ns]


def without_silences(spans: Iterable[Span], silences: Iterable[Span]) -> list[Span]:
    """What is left of spans where nothing came."""
    silent: list[Span] = []
    for each in sorted(silences, key=lambda s: s.from_ns):
        if silent and each.from_ns <= silent[-1].to_ns:
            silent[-1] = Span(silent[-1].from_ns, max(silent[-1].to_ns, each.to_ns))
        else:
            silent.append(each)
    ends = [each.to_ns for each in silent]
    left: list[Span] = []
    for span in spans:
        reached = span.from_ns
        for each in silent[bisect_right(ends, span.from_ns) :]:
            if each.from_ns >= span.to_ns:
                break
            left.append(Span(reached, each.from_ns))
            reached = each.to_ns
        left.append(Span(reached, span.to_ns))
    return [span for span in left if span.ns]


def _told_ns(line: LostLine | SilenceLine | CutLine, start_ns: int) -> int:
    return start_ns if line.from_ns is None else line.from_ns


def _explained(hole: Span, lines: Sequence[Line], start_ns: int, end_ns: int, *, any_data: bool) -> Gap:
    """The hole with the cause that the ``lost`` or ``silence`` line nearest to its beginning names, or a ``cut`` line in it.

    Else what the order shows.
    """
    best: tuple[int, LostLine | SilenceLine] | None = None
    for line in lines:
        if not isinstance(line, LostLine | SilenceLine):
            continue
        lost_ns = _told_ns(line, start_ns)
        distance = abs(lost_ns - hole.from_ns)
        if hole.from_ns - LOST_SLACK_NS <= lost_ns < hole.to_ns and (best is None or distance < best[0]):
            best = distance, line
    if best is not None:
        return Gap(hole.from_ns, hole.to_ns, best[1].said)
    for line in lines:
        if isinstance(line, CutLine) and hole.from_ns - LOSS_NS <= line.from_ns < hole.to_ns:
            return Gap(hole.from_ns, hole.to_ns, line.said)
    return Gap(hole.from_ns, hole.to_ns, Sentence(_inferred(hole, lines, start_ns, end_ns, any_data=any_data)))


def _inferred(hole: Span, lines: Sequence[Line], start_ns: int, end_ns: int, *, any_data: bool) -> str:
    """The hole with a cause that follows from the order of the lines, for one that no ``lost`` line explains."""
    crash = _crash(hole, lines)
    if crash is not None:
        return crash
    if hole.to_ns >= end_ns:
        if not any_data:
            return NEVER
        return STOPPED if any(isinstance(line, EndLine) for line in lines) else DIED
    return LATE if hole.from_ns <= start_ns else UNKNOWN


def _crash(hole: Span, lines: Sequence[Line]) -> str | None:
    """A second ``begin`` between the data before the hole and the data after it: the process was started again."""
    boot: str | None = None
    last_open_ns = 0
    for line in lines:
        if isinstance(line, BeginLine):
            if boot is not None and last_open_ns <= hole.from_ns and _opens_after(line, lines) >= hole.to_ns - GAP_FLOOR_NS:
                return DIED if line.boot_id == boot else REBOOTED
            boot = line.boot_id
        elif isinstance(line, SegmentOpenLine):
            last_open_ns = line.first_ns
    return None


def _opens_after(begin: BeginLine, lines: Sequence[Line]) -> int:
    """Start of the first segment after a ``begin``; a time beyond all others where there is none."""
    later = (line.first_ns for line in lines if isinstance(line, SegmentOpenLine) and line.seq > begin.seq)
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
    entries: Iterable[Line], start_ns: int, end_ns: int, *, without: Collection[str] = ()
) -> CompositeCoverage:
    """The composite's coverage by the ``part`` lines of the composer's journal: every missing picture is in a gap."""
    lines = list(entries)
    due = pictures_due(start_ns, end_ns)
    parts = [line for line in lines if isinstance(line, PartLine)]
    spans = [_pictures(part) for part in parts if part.file not in without]
    damaged = [_pictures(part) for part in parts if part.file in without]
    missing = holes(spans, 0, due, 0)
    gaps = []
    for hole in missing:
        missed = Span(start_ns + hole.from_ns * PICTURE_NS, min(end_ns, start_ns + hole.to_ns * PICTURE_NS))
        failed = [line for line in lines if isinstance(line, EncoderLine) and missed.from_ns <= line.at_ns <= missed.to_ns]
        if any(d.from_ns < hole.to_ns and d.to_ns > hole.from_ns for d in damaged):
            gaps.append(Gap(missed.from_ns, missed.to_ns, Sentence(DAMAGED)))
        elif failed:
            gaps.append(Gap(missed.from_ns, missed.to_ns, failed[0].said))
        else:
            gaps.append(Gap(missed.from_ns, missed.to_ns, Sentence(_composite_cause(hole, lines, due, any_data=bool(spans)))))
    after = sum(max(0, span.to_ns - max(due, span.from_ns)) for span in spans)
    return CompositeCoverage(due, due - sum(h.ns for h in missing), tuple(gaps), after)


def _composite_cause(hole: Span, lines: Sequence[Line], due: int, *, any_data: bool) -> str:
    """The cause for missing pictures of the composite. hole: their numbers."""
    if hole.to_ns == due and any(isinstance(line, GivenUpLine) for line in lines):
        return GIVEN_UP
    boot: str | None = None
    reached = 0
    for line in lines:
        if isinstance(line, PartOpenLine):
            reached = line.first_picture
        elif isinstance(line, BeginLine):
            if boot is not None and reached <= hole.from_ns and _next_picture(line, lines) >= hole.to_ns:
                return DIED if line.boot_id == boot else REBOOTED
            boot = line.boot_id
    if not any_data:
        return NEVER
    return LATE if hole.from_ns == 0 else STOPPED if hole.to_ns == due else UNKNOWN


def _next_picture(begin: BeginLine, lines: Sequence[Line]) -> int:
    """Number of the first picture after a ``begin``; a number beyond all others where there is none."""
    later = (line.first_picture for line in lines if isinstance(line, PartOpenLine) and line.seq > begin.seq)
    return next(later, 1 << 62)


def _pictures(part: PartLine) -> Span:
    """The picture numbers of a part, as [first, end)."""
    return Span(part.first_picture, part.first_picture + part.pictures)
