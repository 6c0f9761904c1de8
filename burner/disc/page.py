"""The disc's page: plays the composite and every original on any PC, without a network and without a script. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from recorder.session.tracks import MADE_LATER, MICROPHONE, NAMES
from wording import Language, Shown
from wording.page import page as filled_in

VERDICTS = {
    "match": "transcript-times-agree",
    "excepted": "transcript-times-exception-accepted",
    "mismatch": "transcript-times-disagree",
    "not-found": "transcript-has-no-times",
}


@dataclass(frozen=True, slots=True)
class Clip:
    """One MP4 of the page. href: the file's path from the page. starts, ends: RFC 3339."""

    track: str
    href: str
    codec: str
    starts: str
    ends: str
    sha256: str

    @property
    def name(self) -> str:
        """The file's name."""
        return self.href.rsplit("/", 1)[-1]


@dataclass(frozen=True, slots=True)
class GapRow:
    """A hole of a track, with its cause in plain words. starts, ends: RFC 3339."""

    track: str
    starts: str
    ends: str
    seconds: float
    cause: str


@dataclass(frozen=True, slots=True)
class CutRow:
    """A picture of a track that is stored and does not count, with its cause in plain words. starts: RFC 3339."""

    track: str
    starts: str
    cause: str


@dataclass(frozen=True, slots=True)
class DamagedRow:
    """A file of the recording that was damaged after the seal and is not on the disc. starts, ends: RFC 3339."""

    track: str
    path: str
    starts: str
    ends: str


@dataclass(frozen=True, slots=True)
class Page:
    """What the page says. facts: code of the label, and the value. transcript: its path from the page, "" without one."""

    label: str
    draft: bool
    facts: Sequence[tuple[str, Shown]]
    verdict: str | None
    transcript: str
    clips: Sequence[Clip]
    gaps: Sequence[GapRow]
    cut: Sequence[CutRow]
    holes: Sequence[DamagedRow]
    signed: bool


def render(page: Page, language: Language) -> str:
    """The whole HTML document."""
    played = dict.fromkeys(clip.track for clip in page.clips)
    lacking = dict.fromkeys([*(gap.track for gap in page.gaps), *(hole.track for hole in page.holes)])
    return filled_in(
        "disc.html",
        language,
        page=page,
        verdict=VERDICTS.get(page.verdict or "", "no-transcript-attached"),
        tracks=[(track, NAMES.get(track, track)) for track in {**played, **lacking}],
        made_later=MADE_LATER,
        microphone=MICROPHONE,
    )


def doorway(language: Language) -> str:
    """The page beside the bag's tag files: leads to the real one."""
    return filled_in("doorway.html", language)
