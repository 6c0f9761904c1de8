"""JSON: ``interview_start`` and ``interview_end``, or ``start`` and ``end``, or ``text``, which is searched as plain text is.

Each time is written as in a transcript, ISO 8601 best (``2026-11-21T09:30+08:00``). The name ends in .json, or the text
is an object with such keys.
"""

import json

from recorder.disk.durable import Json
from recorder.faults import BadInput
from recorder.transcript.form import KEYS, Document
from recorder.transcript.formats.plain_text import decode

ORDER = 90


def read(name: str, data: bytes) -> Document | None:
    """The fields. Raises BadInput where the bytes are no text, or JSON that is not usable."""
    text, encoding = decode(name, data)
    fields = _fields(name, text)
    return None if fields is None else Document(name, text, encoding, fields)


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
            "transcript-not-readable-json",
            "mend-file-or-attach-text",
            file=name,
            why=error,
        ) from error
    known = isinstance(value, dict) and any(key in value for key in ("text", *KEYS[0], *KEYS[1]))
    if known:
        _check_fields(name, value)
        return dict(value)
    if named:
        raise BadInput(
            "transcript-without-known-fields",
            "give-iso-times-or-transcript-text",
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
                "transcript-field-invalid-character",
                "mend-file-or-attach-text",
                file=name,
                field=field,
                value=ascii(error.object[error.start : error.end]),
            ) from error
