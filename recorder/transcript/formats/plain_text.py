"""Plain text: UTF-8 (with or without BOM), UTF-16 or UTF-32 with BOM, and GB18030 where the bytes are plainly Chinese in it."""

import re

from recorder.faults import BadInput
from recorder.transcript.form import SAVE, Document

ORDER = 100  # the last: whatever no other format took must be text

_BOMS = (
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")


def read(name: str, data: bytes) -> Document:
    """The text. Raises BadInput where the bytes are empty or no text."""
    text, encoding = decode(name, data)
    return Document(name, text, encoding)


def decode(name: str, data: bytes) -> tuple[str, str]:
    """The text and its encoding, as Python names it. Raises BadInput as read does."""
    text, encoding = _decoded(name, data)
    if not text.strip("\ufeff\x00 \t\r\n\u3000"):
        raise BadInput("transcript-empty", "check-chosen-file", file=name)
    return text, encoding


def _decoded(name: str, data: bytes) -> tuple[str, str]:
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
    return BadInput("transcript-not-utf8", SAVE, file=name, place=place)


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
