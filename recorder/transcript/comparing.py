"""Whether the transcript's start and end are the recording's (W-7.3.5 c). Pure."""

from dataclasses import dataclass
from datetime import datetime, tzinfo

from recorder.clock.instants import SECOND_NS
from recorder.disk.durable import Json
from recorder.session.record import Verdict
from recorder.transcript.times import NoTimes, TranscriptTimes
from wording.sentence import Sentence


@dataclass(frozen=True, slots=True)
class Comparison:
    """What the comparison says. Differences: transcript minus recording, in whole seconds beyond the transcript's precision.

    reasons: why it is no match, and what to do; empty for a match.
    """

    verdict: Verdict
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


MEND = Sentence("correct-transcript-or-accept-difference", {})


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
) -> Comparison:
    """The verdict on a transcript's times against the official ones (room time, ns since 1970 UTC)."""
    if isinstance(times, NoTimes):
        return Comparison("not-found", reasons=(times.reason, MEND))
    reasons: list[Sentence] = []
    if times.end < times.start:
        reasons.append(Sentence("transcript-end-before-start", {"quote": times.quote}))
    elif times.end == times.start and (times.precision_s == 1 or official_end_ns - official_start_ns >= 60 * SECOND_NS):
        reasons.append(Sentence("transcript-start-equals-end", {"quote": times.quote}))
    start = difference_s(times.start, times.start_precision_s, official_start_ns)
    end = difference_s(times.end, times.end_precision_s, official_end_ns)
    for difference, written, precision, official, earlier, later in (
        (
            start,
            times.start,
            times.start_precision_s,
            official_start_ns,
            "transcript-start-too-early",
            "transcript-start-too-late",
        ),
        (
            end,
            times.end,
            times.end_precision_s,
            official_end_ns,
            "transcript-end-too-early",
            "transcript-end-too-late",
        ),
    ):
        if abs(difference) > tolerance_s:
            values: dict[str, object] = {
                "written": _clock(written.astimezone(zone), precision),
                "seconds": round(abs(difference)),
                "official": _clock(datetime.fromtimestamp(official // SECOND_NS, zone), 1),
            }
            reasons.append(Sentence(earlier if difference < 0 else later, values))
    return Comparison(
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
