"""The interview's start and end as the transcript (笔录) states them, compared with the official times (W-7.3.5 c). Pure.

What counts is what stands behind a label (询问时间, 开始时间, Interview time, …). Labels are taken in this order, the first group
that names times decides, and a group that names two different pairs of times decides nothing: a time is never guessed. Nor
does one with a time whose minutes cannot be read (至十点三人).

1. a label of the interview with a span behind it (询问时间：…至…), or a pair of such labels (询问开始时间：… 询问结束时间：…)
2. a label of the interview with the start alone behind it, or 开始时间, Start, and any label of the end
3. a bare label (时间：…至…, Time: … to …)
4. a span with its full date in the head of the transcript, without any label

Lines that begin with 问：, 答：, Q: or A: are what was said, and never count.
"""

from dataclasses import dataclass
from datetime import date, datetime, tzinfo
from typing import Literal

from recorder.durable import Json
from recorder.moments import Normal, Unreadable, begin_of, end_of, normalise
from recorder.room_time import SECOND_NS
from recorder.sentence import Sentence
from recorder.transcript_labels import Span, collect, only_day, pairs, unlabelled

VerdictWord = Literal["match", "mismatch", "not-found"]


@dataclass(frozen=True, slots=True)
class TranscriptTimes:
    """Start and end, aware, in the room's zone. precision_s: 1 where seconds are written, else 60. line: from 1, or 0."""

    start: datetime
    end: datetime
    start_precision_s: int
    end_precision_s: int
    quote: str
    line: int

    @property
    def precision_s(self) -> int:
        return max(self.start_precision_s, self.end_precision_s)


@dataclass(frozen=True, slots=True)
class NoTimes:
    """Why no start and end were found."""

    reason: Sentence


def find_times(text: str, zone: tzinfo) -> TranscriptTimes | NoTimes:
    """The interview's start and end in the text; zone: of times that name none."""
    normal = normalise(text)
    found = collect(normal.text)
    lasts = sorted(found.lasts[3] + found.lasts[2], key=lambda m: m[0])
    groups = [found.spans[3] + pairs(found.firsts[3], found.lasts[3])]
    groups.append(pairs(found.alone or found.firsts[3] or found.firsts[2], found.lasts[3] or lasts))
    groups.append(found.spans[2])
    for number, group in enumerate(groups):
        if place := found.unreadable.get(number):
            return _unreadable(text, normal, place)
        if group:
            return _decide(group, normal, text, only_day(found.days), zone)
    if found.impossible:
        return _impossible(text, normal, found.impossible)
    if started := found.alone or found.firsts[3] or found.firsts[2]:
        begin, first = started[0]
        quote, line = _quote(text, normal, (begin, first.end))
        return NoTimes(
            Sentence(
                "The transcript names a start but no end of the interview (line {line}: {quote}).", {"line": line, "quote": quote}
            )
        )
    if not found.labelled:
        try:
            group = unlabelled(normal.text)
        except Unreadable as error:
            return _unreadable(text, normal, (error.begin, error.end))
        if group:
            return _decide(group, normal, text, None, zone)
    return NoTimes(Sentence("The transcript does not say when the interview began and ended.", {}))


def _quote(text: str, normal: Normal, *places: tuple[int, int]) -> tuple[str, int]:
    """The original words, on one line, and the line they begin on."""
    parts = [" ".join(text[normal.origin(begin) : normal.origin(end - 1) + 1].split()) for begin, end in places]
    words = " … ".join(parts)
    return (words if len(words) <= 200 else words[:199] + "…"), text.count("\n", 0, normal.origin(places[0][0])) + 1


def _impossible(text: str, normal: Normal, *places: tuple[int, int]) -> NoTimes:
    quote, line = _quote(text, normal, *places)
    return NoTimes(
        Sentence(
            "The transcript names a date or time that does not exist (line {line}: {quote}).", {"line": line, "quote": quote}
        )
    )


def _unreadable(text: str, normal: Normal, place: tuple[int, int]) -> NoTimes:
    quote, line = _quote(text, normal, place)
    return NoTimes(
        Sentence(
            "The transcript names a time whose minutes cannot be read (line {line}: {quote}).", {"line": line, "quote": quote}
        )
    )


def _decide(group: list[Span], normal: Normal, text: str, day: date | None, zone: tzinfo) -> TranscriptTimes | NoTimes:
    """The one pair of times that every span of the group names."""
    answers: dict[tuple[datetime, datetime], TranscriptTimes] = {}
    for span in group:
        try:
            start = begin_of(span.first, day, zone)
            if start is None:
                quote, line = _quote(text, normal, *span.places)
                return NoTimes(
                    Sentence(
                        "The transcript names the interview's times without a full date (line {line}: {quote}).",
                        {"line": line, "quote": quote},
                    )
                )
            end = end_of(span.last, start, span.first, zone)
        except (ValueError, OverflowError):
            return _impossible(text, normal, *span.places)
        if (start, end) in answers:
            continue  # without its quote: finding the line reads the text from its beginning
        quote, line = _quote(text, normal, *span.places)
        answers[start, end] = TranscriptTimes(start, end, span.first.precision_s, span.last.precision_s, quote, line)
        if len(answers) > 1:
            break
    first, *others = answers.values()
    if others:
        return NoTimes(
            Sentence(
                "The transcript names different times of the interview (line {line}: {quote}; line {other_line}: {other}).",
                {"line": first.line, "quote": first.quote, "other_line": others[0].line, "other": others[0].quote},
            )
        )
    return first


# --- comparing --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the comparison says. Differences: transcript minus recording, in whole seconds beyond the transcript's precision.

    reasons: why it is no match, and what to do; empty for a match.
    """

    verdict: VerdictWord
    start: datetime | None = None
    end: datetime | None = None
    start_difference_s: float | None = None
    end_difference_s: float | None = None
    precision_s: int | None = None
    reasons: tuple[Sentence, ...] = ()
    quote: str = ""
    line: int = 0

    def as_json(self) -> Json:
        """The fields that session.json and the session's journal carry."""
        return {
            "verdict": self.verdict,
            "start": self.start.isoformat() if self.start else None,
            "end": self.end.isoformat() if self.end else None,
            "precision_s": self.precision_s,
            "start_difference_s": self.start_difference_s,
            "end_difference_s": self.end_difference_s,
            "quote": self.quote,
            "line": self.line,
            "reasons": [reason.as_json() for reason in self.reasons],
        }


MEND = Sentence("Correct the transcript and attach it again, or have a second person accept the difference with a reason.", {})


def difference_s(written: datetime, precision_s: int, official_ns: int) -> float:
    """Seconds from the official time to the written one, 0 where they are the same at the written one's precision.

    A time written to the minute stands for all of its 60 seconds: 09:30 is 09:30:00 to 09:30:59.
    """
    first = round(written.timestamp())
    official = official_ns // SECOND_NS
    if official < first:
        return float(first - official)
    return float(min(0, first + precision_s - 1 - official))


def compare(
    times: TranscriptTimes | NoTimes, official_start_ns: int, official_end_ns: int, zone: tzinfo, tolerance_s: float
) -> Verdict:
    """The verdict on a transcript's times against the official ones (room time, ns since 1970 UTC)."""
    if isinstance(times, NoTimes):
        return Verdict("not-found", reasons=(times.reason, MEND))
    reasons: list[Sentence] = []
    if times.end < times.start:
        reasons.append(Sentence("In the transcript the interview ends before it begins ({quote}).", {"quote": times.quote}))
    elif times.end == times.start and (times.precision_s == 1 or official_end_ns - official_start_ns >= 60 * SECOND_NS):
        reasons.append(
            Sentence("In the transcript the interview begins and ends at the same time ({quote}).", {"quote": times.quote})
        )
    start = difference_s(times.start, times.start_precision_s, official_start_ns)
    end = difference_s(times.end, times.end_precision_s, official_end_ns)
    for difference, written, precision, official, earlier, later in (
        (
            start,
            times.start,
            times.start_precision_s,
            official_start_ns,
            "The transcript's start {written} is {seconds} s earlier than the recording's, {official}.",
            "The transcript's start {written} is {seconds} s later than the recording's, {official}.",
        ),
        (
            end,
            times.end,
            times.end_precision_s,
            official_end_ns,
            "The transcript's end {written} is {seconds} s earlier than the recording's, {official}.",
            "The transcript's end {written} is {seconds} s later than the recording's, {official}.",
        ),
    ):
        if abs(difference) > tolerance_s:
            values: dict[str, object] = {
                "written": _clock(written.astimezone(zone), precision),
                "seconds": round(abs(difference)),
                "official": _clock(datetime.fromtimestamp(official // SECOND_NS, zone), 1),
            }
            reasons.append(Sentence(earlier if difference < 0 else later, values))
    return Verdict(
        "mismatch" if reasons else "match",
        times.start,
        times.end,
        start,
        end,
        times.precision_s,
        (*reasons, MEND) if reasons else (),
        times.quote,
        times.line,
    )


def _clock(moment: datetime, precision_s: int) -> str:
    return f"{moment:%Y-%m-%d %H:%M}" if precision_s == 60 else f"{moment:%Y-%m-%d %H:%M:%S}"
