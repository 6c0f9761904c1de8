"""Files that hold no plain text, told by their first bytes. They are refused, with the mend: save it as plain text."""

from recorder.faults import BadInput
from recorder.transcript.form import SAVE, Document

ORDER = 80  # after every format that can be read, before plain text

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


def read(name: str, data: bytes) -> Document | None:
    """Never a document. Raises BadInput where the bytes begin as one of the known kinds."""
    for magic, kind in _MAGIC:
        if data.startswith(magic):
            raise BadInput("transcript-not-plain-text", SAVE, file=name, kind=kind)
    return None
