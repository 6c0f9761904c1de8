"""What was made later: pictures the composite lacks, composed from the originals after the seal, in ``later/`` of the session.

``later/`` has a journal and a signed manifest of its own (docs/formats.md) and names the seal it belongs to; the sealed recording
stays as it is, its gaps included (invariants 4 and 5). It is there as a whole or not at all. This module is light: it only reads.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recorder.clock.instants import PICTURE_NS, SECOND_NS
from recorder.disk.durable import Json, read_json
from recorder.disk.typed import typed
from recorder.faults import EvidenceFault, NotFound
from recorder.session.files import MANIFEST

FOLDER = "later"
SCHEMA = "interview-room-later/1"


@dataclass(frozen=True, slots=True)
class PictureSpan:
    """Pictures [first, end) of the composite; picture n is due at the official start + n·40 ms."""

    first: int
    end: int

    @property
    def pictures(self) -> int:
        return self.end - self.first


def missing_pictures(manifest: Mapping[str, Any]) -> tuple[PictureSpan, ...]:
    """Pure: the gaps of a sealed manifest's composite as picture numbers. Raises KeyError, TypeError where it is no manifest."""
    start_ns = int(manifest["start_ns"])
    spans = (
        PictureSpan((int(gap["from_ns"]) - start_ns) // PICTURE_NS, -(-(int(gap["to_ns"]) - start_ns) // PICTURE_NS))
        for gap in manifest["composite"]["gaps"]
    )
    return tuple(span for span in spans if span.pictures > 0)


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A sealed file from which something was made. path: relative to the session."""

    path: str
    sha256: str


@dataclass(frozen=True, slots=True)
class LaterPart:
    """One MP4 of ``later/``. path: relative to the session; times in room time, ns; sources: the segments it was made from."""

    path: str
    bytes: int
    sha256: str
    first_picture: int
    pictures: int
    start_ns: int
    end_ns: int
    sources: tuple[SourceFile, ...]


@dataclass(frozen=True, slots=True)
class _Listed:
    """``later/manifest.json`` as far as it is read here."""

    parts: tuple[LaterPart, ...]


def parts_of(record: Mapping[str, Any]) -> tuple[LaterPart, ...]:
    """Pure: the parts that ``later/manifest.json`` lists. Raises WrongField, a ValueError, where it is none."""
    return typed(_Listed, record).parts


def made_later(folder: Path) -> tuple[Json, tuple[LaterPart, ...]] | None:
    """What ``later/manifest.json`` of a session's folder says, unchecked (recorder.later.check checks); None where there is none.

    Raises EvidenceFault where it is of no known form, StorageFault.
    """
    path = folder / FOLDER / MANIFEST
    try:
        record = read_json(path)
    except NotFound:
        return None
    try:
        return record, parts_of(record)
    except (KeyError, TypeError, ValueError) as error:
        raise EvidenceFault("file-not-of-known-form", "verify-session-first", path=path, why=repr(error)) from error


def clock_span(part: LaterPart, official_start_ns: int) -> str:
    """Pure: where in the interview a part lies, ``00:03:10–00:03:14`` from the official start on, whole seconds outwards."""
    first, end = (part.start_ns - official_start_ns) // SECOND_NS, -(-(part.end_ns - official_start_ns) // SECOND_NS)
    return "–".join(f"{s // 3600:02d}:{s // 60 % 60:02d}:{s % 60:02d}" for s in (first, end))
