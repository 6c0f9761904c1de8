"""The lines of a session's journals as values. Every module reads them through this one; docs/formats.md has the fields.

``recorder.disk.journal`` checks the chain and gives each line as JSON; ``read_line`` gives it its type. A line whose fields are
missing or wrong is refused as a whole. A kind that is not known here is an ``OtherLine``: a later version may have written it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from recorder.disk.durable import Json
from recorder.disk.typed import WrongField, typed
from wording.sentence import Sentence
from wording.text import code_of

UNKNOWN_CAUSE = "no-cause-in-journal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What every line has. seq: its number in its journal; at: when it was written, RFC 3339, for people."""

    seq: int = 0
    at: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BeginLine(Line):
    """A process opened the folder. device: what the device says of itself, where the writer is a track."""

    boot_id: str = ""
    device: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CauseLine(Line):
    """A line that may name a cause."""

    cause: str = ""
    values: dict[str, Any] | None = None
    fault: dict[str, Any] | None = None

    @property
    def said(self) -> Sentence:
        """The cause as a sentence, see ``cause_of``."""
        return cause_of({"cause": self.cause, "values": self.values, "fault": self.fault})


@dataclass(frozen=True, slots=True, kw_only=True)
class LostLine(CauseLine):
    """A track's source stopped at from_ns (None: before anything came); or the composer lost a camera at at_ns. Room time."""

    from_ns: int | None = None
    at_ns: int | None = None
    camera: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BackLine(Line):
    """The source delivers again. device: what it says of itself, where that changed."""

    at_ns: int | None = None
    camera: str | None = None
    device: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SilenceLine(CauseLine):
    """Between two pictures of one connection nothing came. Room time: where the one before ends, and where the next begins."""

    from_ns: int
    to_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CutLine(CauseLine):
    """The last picture before a ``lost`` line is stored, in this segment, and does not count. Room time.

    from_ns: where the picture shown before it ends; to_ns: where the one shown after it begins, or the segment ends.
    """

    file: str
    from_ns: int
    to_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentOpenLine(Line):
    """A segment is about to be written."""

    file: str
    first_ns: int
    codec: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentLine(Line):
    """A closed segment of a track. Times are room time, ns; ppm: of the source's clock, as fitted.

    packets_sha256: of its packets; run_sha256: of those of all segments from the file run_since on, see
    recorder.media.packet_digest. "" where nobody could read them, and in the lines of version 0.1.0.
    """

    file: str
    bytes: int
    sha256: str
    packets: int
    first_ns: int
    end_ns: int
    codec: str
    last_ns: int | None = None
    first_pts: int | None = None
    ppm: float | None = None
    samples: int | None = None
    recovered: bool = False
    packets_sha256: str = ""
    run_sha256: str = ""
    run_since: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmptyLine(Line):
    """A file that was begun and holds nothing."""

    file: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PartOpenLine(Line):
    """A part of the composite is about to be written."""

    file: str
    first_picture: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PartLine(Line):
    """A closed part of the composite: pictures [first_picture, first_picture + pictures). Times are room time, ns.

    damaged: pictures of each camera that could not be decoded whole; None where that is not known.
    """

    file: str
    bytes: int
    sha256: str
    first_picture: int
    pictures: int
    start_ns: int | None = None
    end_ns: int | None = None
    recovered: bool = False
    damaged: dict[str, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderLine(CauseLine):
    """The hardware encoder failed; the next part is encoded by another one."""

    at_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenUpLine(Line):
    """The composer gave the composite up, so that the originals can go on."""

    at_ns: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EndLine(Line):
    """The writer reached the official end. stop_ns: that end, in the journal of a track."""

    stop_ns: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TornLine(Line):
    """A line that a power cut left in halves was moved to the file kept_as."""

    kept_as: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TieLine(Line):
    """Room time against the wall clock, once a minute. Times in ns."""

    boot_id: str
    boottime_ns: int
    utc_ns: int
    room_ns: int
    source: str
    offset_s: float | None = None

    def as_json(self) -> Json:
        """The tie as the manifest lists it."""
        return {name: value for name, value in asdict(self).items() if name != "seq"}


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherLine(Line):
    """A line of a kind that this version does not know; a later version may have written it."""

    kind: str


KINDS: Mapping[str, type[Line]] = {
    "begin": BeginLine,
    "lost": LostLine,
    "back": BackLine,
    "silence": SilenceLine,
    "cut": CutLine,
    "open": SegmentOpenLine,
    "segment": SegmentLine,
    "empty": EmptyLine,
    "part-open": PartOpenLine,
    "part": PartLine,
    "encoder": EncoderLine,
    "given-up": GivenUpLine,
    "end": EndLine,
    "torn-line": TornLine,
    "tie": TieLine,
}


def read_line(entry: Json) -> Line:
    """One line of a journal. Raises WrongField where it has no kind, or lacks fields of its kind or has wrong ones."""
    kind = entry.get("kind")
    if not isinstance(kind, str):
        raise WrongField("kind")
    return typed(KINDS.get(kind, OtherLine), entry)


def read_lines(entries: Iterable[Json]) -> Iterator[Line]:
    """Lines of a journal whose writer is this product, in order. Raises WrongField."""
    return map(read_line, entries)


def usable(entries: Iterable[Json]) -> Iterator[Line]:
    """The lines that can be read; the others are left out. For a bound, not for evidence."""
    for entry in entries:
        try:
            yield read_line(entry)
        except WrongField:
            continue


def cause_fields(cause: Sentence) -> Json:
    """``cause`` and ``values``, as a line of a journal and a gap of a manifest carry them."""
    return {"cause": cause.code, "values": cause.as_json()["values"]}


def cause_of(told: Mapping[str, object]) -> Sentence:
    """The inverse of cause_fields, for a line or a gap that anybody may have written.

    Version 0.1.0 wrote an English sentence as ``cause``, and the fault's template and values as ``fault`` beside it.
    """
    fault = told.get("fault")
    if isinstance(fault, dict):
        return Sentence.from_json(fault)
    code = code_of(str(told.get("cause") or UNKNOWN_CAUSE))
    return Sentence.from_json({"code": code, "values": told.get("values")})
