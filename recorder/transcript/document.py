"""The attached transcript's file: what it is, and its text or its fields. Pure: takes bytes."""

import json
from datetime import tzinfo

from recorder.disk.durable import Json
from recorder.faults import BadInput
from recorder.transcript.finding import find_times
from recorder.transcript.form import KEYS, SAVE, Document
from recorder.transcript.formats import formats
from recorder.transcript.moments import Moment, begin_of, end_of, moment_at, normalise
from recorder.transcript.times import NoTimes, TranscriptTimes
from wording.sentence import Sentence

LARGEST_BYTES = 1024 * 1024  # a second or two of the agent's processor; a day's transcript has a tenth of it


def check_size(name: str, size: int) -> None:
    """Raises BadInput where a file of so many bytes is too large."""
    if size > LARGEST_BYTES:
        raise BadInput(
            "transcript-too-large",
            SAVE,
            file=name,
            size=size,
            limit=LARGEST_BYTES,
        )


def read_transcript(name: str, data: bytes) -> Document:
    """The document in a file's bytes, read by the first of recorder.transcript.formats that knows it.

    Raises BadInput where it is empty, too large or of no known format, or its content is not usable.
    """
    check_size(name, len(data))
    for each in formats():
        document = each.read(name, data)
        if document is not None:
            return document
    raise BadInput("transcript-not-plain-text", SAVE, file=name, kind="?")


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
            return NoTimes(Sentence("transcript-field-missing-or-empty", {"field": key}))
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
        "transcript-field-unusable",
        "give-iso-times-or-transcript-text",
        file=document.name,
        field=field,
        value=str(value)[:80],
    )
