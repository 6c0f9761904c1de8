"""The start and end that a transcript states, or why none was found."""

from dataclasses import dataclass
from datetime import datetime

from wording.sentence import Sentence


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
