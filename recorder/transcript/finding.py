"""The interview's start and end as the transcript (笔录) states them. Pure.

What counts is what stands behind a label (询问时间, 开始时间, Interview time, …). Labels are taken in this order, the first group
that names times decides, and a group that names two different pairs of times decides nothing: a time is never guessed. Nor
does one with a time whose minutes cannot be read (至十点三人).

1. a label of the interview with a span behind it (询问时间：…至…), or a pair of such labels (询问开始时间：… 询问结束时间：…)
2. a label of the interview with the start alone behind it, or 开始时间, Start, and any label of the end
3. a bare label (时间：…至…, Time: … to …)
4. a span with its full date in the head of the transcript, without any label

Lines that begin with 问：, 答：, Q: or A: are what was said, and never count.
"""

from datetime import date, datetime, tzinfo

from recorder.transcript.labels import StatedSpan, collect, only_day, pairs, unlabelled
from recorder.transcript.moments import Normal, Unreadable, begin_of, end_of, normalise
from recorder.transcript.times import NoTimes, TranscriptTimes
from wording.sentence import Sentence


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
        return NoTimes(Sentence("transcript-end-missing", {"line": line, "quote": quote}))
    if not found.labelled:
        try:
            group = unlabelled(normal.text)
        except Unreadable as error:
            return _unreadable(text, normal, (error.begin, error.end))
        if group:
            return _decide(group, normal, text, None, zone)
    return NoTimes(Sentence("transcript-without-interview-times", {}))


def _quote(text: str, normal: Normal, *places: tuple[int, int]) -> tuple[str, int]:
    """The original words, on one line, and the line they begin on."""
    parts = [" ".join(text[normal.origin(begin) : normal.origin(end - 1) + 1].split()) for begin, end in places]
    words = " … ".join(parts)
    return (words if len(words) <= 200 else words[:199] + "…"), text.count("\n", 0, normal.origin(places[0][0])) + 1


def _impossible(text: str, normal: Normal, *places: tuple[int, int]) -> NoTimes:
    quote, line = _quote(text, normal, *places)
    return NoTimes(Sentence("transcript-date-or-time-nonexistent", {"line": line, "quote": quote}))


def _unreadable(text: str, normal: Normal, place: tuple[int, int]) -> NoTimes:
    quote, line = _quote(text, normal, place)
    return NoTimes(Sentence("transcript-minutes-unreadable", {"line": line, "quote": quote}))


def _decide(group: list[StatedSpan], normal: Normal, text: str, day: date | None, zone: tzinfo) -> TranscriptTimes | NoTimes:
    """The one pair of times that every span of the group names."""
    answers: dict[tuple[datetime, datetime], TranscriptTimes] = {}
    for span in group:
        try:
            start = begin_of(span.first, day, zone)
            if start is None:
                quote, line = _quote(text, normal, *span.places)
                return NoTimes(
                    Sentence(
                        "transcript-date-incomplete",
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
                "transcript-times-contradictory",
                {"line": first.line, "quote": first.quote, "other_line": others[0].line, "other": others[0].quote},
            )
        )
    return first
