"""The attached transcript's file: what it is, and its text or its fields. Pure: takes bytes.

Text: UTF-8 (with or without BOM), UTF-16 or UTF-32 with BOM, and GB18030 where the bytes are plainly Chinese text in it; which
one it was is kept as ``encoding``. JSON (the name ends in .json, or an object with the known keys): ``interview_start`` and
``interview_end``, or ``start`` and ``end``, each a time as in a transcript, ISO 8601 best (``2026-11-21T09:30+08:00``); or
``text``, to be searched.
"""

import json
import re
from dataclasses import dataclass
from datetime import tzinfo

from recorder.disk.durable import Json
from recorder.faults import BadInput
from recorder.transcript.finding import find_times
from recorder.transcript.moments import Moment, begin_of, end_of, moment_at, normalise
from recorder.transcript.times import NoTimes, TranscriptTimes
from wording.sentence import Sentence

LARGEST_BYTES = 1024 * 1024  # a second or two of the agent's processor; a day's transcript has a tenth of it
KEYS = (("interview_start", "interview_end"), ("start", "end"))
SAVE = "Save the transcript as plain UTF-8 text (.txt) and attach that; the signed original is kept elsewhere."

_MAGIC = (
    (b"%PDF", "PDF"),
    (b"PK\x03\x04", "docx/xlsx/ofd"),
    (b"\xd0\xcf\x11\xe0", "doc/wps"),
    (b"{\\rtf", "RTF"),
    (b"\x89PNG", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"GIF8", "GIF"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"\x1f\x8b", "gzip"),
    (b"7z\xbc\xaf", "7z"),
    (b"Rar!", "RAR"),
)
_BOMS = (
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Document:
    """A transcript as text, or as a JSON object (text is then its source). encoding: as Python names it."""

    name: str
    text: str
    encoding: str
    fields: Json | None = None


def check_size(name: str, size: int) -> None:
    """Raises BadInput where a file of so many bytes is too large."""
    if size > LARGEST_BYTES:
        raise BadInput(
            "The transcript {file} is too large: {size} bytes, at most {limit} are read.",
            SAVE,
            file=name,
            size=size,
            limit=LARGEST_BYTES,
        )


def read_transcript(name: str, data: bytes) -> Document:
    """The document in a file's bytes. Raises BadInput where it is empty, too large or no text, or its JSON is not usable."""
    check_size(name, len(data))
    for magic, kind in _MAGIC:
        if data.startswith(magic):
            raise BadInput("The transcript {file} is no plain text but {kind}.", SAVE, file=name, kind=kind)
    text, encoding = _decode(name, data)
    if not text.strip("\ufeff\x00 \t\r\n\u3000"):
        raise BadInput("The transcript {file} is empty.", "Check that the right file was chosen.", file=name)
    return Document(name, text, encoding, _fields(name, text))


def _decode(name: str, data: bytes) -> tuple[str, str]:
    for bom, encoding in _BOMS:
        if data.startswith(bom):
            return _strictly(name, data, encoding), encoding.removesuffix("-sig")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        try:
            text = data.decode("gb18030")
        except UnicodeDecodeError:
            raise _no_text(name, error.start) from error
        if not _plainly_chinese(text):
            raise _no_text(name, error.start) from error
        return text, "gb18030"
    if control := _CONTROL.search(text):
        raise _no_text(name, len(text[: control.start()].encode()))
    return text, "utf-8"


def _strictly(name: str, data: bytes, encoding: str) -> str:
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise _no_text(name, error.start) from error
    if control := _CONTROL.search(text):
        raise _no_text(name, control.start())
    return text


def _no_text(name: str, place: int) -> BadInput:
    return BadInput("The transcript {file} is not readable as UTF-8 text (byte {place}).", SAVE, file=name, place=place)


def _plainly_chinese(text: str) -> bool:
    """Bytes of another kind decode to rare characters: of the non-ASCII ones, 19 in 20 must be of GB 2312, the everyday set."""
    if _CONTROL.search(text):
        return False
    others = [c for c in text if ord(c) > 127]
    everyday = sum(1 for c in others if _in_gb2312(c))
    return everyday * 20 >= len(others) * 19


def _in_gb2312(character: str) -> bool:
    try:
        character.encode("gb2312")
    except UnicodeEncodeError:
        return character in "—·〇…￥"  # GB 18030 maps some punctuation of GB 2312 to other code points
    return True


def _fields(name: str, text: str) -> Json | None:
    named = name.lower().endswith(".json")
    if not named and not text.lstrip().startswith("{"):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        if not named:
            return None
        raise BadInput(
            "The transcript {file} is not readable JSON: {why}.",
            "Mend the file, or attach the transcript as text.",
            file=name,
            why=error,
        ) from error
    known = isinstance(value, dict) and any(key in value for key in ("text", *KEYS[0], *KEYS[1]))
    if known:
        _check_fields(name, value)
        return dict(value)
    if named:
        raise BadInput(
            "The transcript {file} has none of the known fields.",
            "Give interview_start and interview_end as ISO 8601 times, or the transcript's words as text.",
            file=name,
        )
    return None


def _check_fields(name: str, fields: Json) -> None:
    """JSON can carry halves of characters (``\\ud83d``), which no file can. Raises BadInput where a known field does."""
    for field in ("text", *KEYS[0], *KEYS[1]):
        value = fields.get(field)
        if not isinstance(value, str):
            continue
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise BadInput(
                "The transcript {file}: field {field} holds what is no character: {value}.",
                "Mend the file, or attach the transcript as text.",
                file=name,
                field=field,
                value=ascii(error.object[error.start : error.end]),
            ) from error


def times_of(document: Document, zone: tzinfo) -> TranscriptTimes | NoTimes:
    """The interview's start and end in the document; zone: of times that name none. Raises BadInput where a field is no time."""
    if document.fields is None:
        return find_times(document.text, zone)
    for first, last in KEYS:
        if first in document.fields or last in document.fields:
            return _from_fields(document, document.fields, first, last, zone)
    text = document.fields["text"]
    if not isinstance(text, str):
        raise _no_time(document, "text", text)
    return find_times(text, zone)


def _from_fields(document: Document, fields: Json, first: str, last: str, zone: tzinfo) -> TranscriptTimes | NoTimes:
    for key in (first, last):
        if fields.get(key) in (None, ""):
            return NoTimes(Sentence("The transcript's field {field} is missing or empty.", {"field": key}))
    start_moment, end_moment = _moment(document, fields, first), _moment(document, fields, last)
    try:
        start = begin_of(start_moment, None, zone)
    except (ValueError, OverflowError) as error:
        raise _no_time(document, first, fields[first]) from error
    if start is None:
        raise _no_time(document, first, fields[first])
    try:
        end = end_of(end_moment, start, start_moment, zone)
    except (ValueError, OverflowError) as error:
        raise _no_time(document, last, fields[last]) from error
    quote = json.dumps({first: fields[first], last: fields[last]}, ensure_ascii=False)
    return TranscriptTimes(start, end, start_moment.precision_s, end_moment.precision_s, quote, 0)


def _moment(document: Document, fields: Json, key: str) -> Moment:
    value = fields[key]
    if isinstance(value, str):
        plain = normalise(value).text.strip()
        try:
            moment = moment_at(plain, 0)
        except ValueError:
            moment = None
        if moment is not None and moment.end == len(plain):
            return moment
    raise _no_time(document, key, value)


def _no_time(document: Document, field: str, value: object) -> BadInput:
    return BadInput(
        "The transcript {file}: field {field} is not usable: {value}.",
        "Give interview_start and interview_end as ISO 8601 times, or the transcript's words as text.",
        file=document.name,
        field=field,
        value=str(value)[:80],
    )
