"""A transcript's file as its format's reader gives it, whatever the format."""

from dataclasses import dataclass

from recorder.disk.durable import Json

KEYS = (("interview_start", "interview_end"), ("start", "end"))  # fields that hold the times
SAVE = "save-transcript-as-plain-text"


@dataclass(frozen=True, slots=True)
class Document:
    """A transcript as text, or as a JSON object (text is then its source). encoding: as Python names it."""

    name: str
    text: str
    encoding: str
    fields: Json | None = None
