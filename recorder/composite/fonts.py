"""Which installed font file has a character, read from the file's own table.

Source: the OpenType specification, "cmap", subtable formats 4 and 12, and "Organization of an OpenType Font" for the directory of
tables and for collections (``ttcf``), of which the first font counts, as it does for OpenCV.
"""

import struct
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import BinaryIO

FOLDERS = (Path("/usr/share/fonts"), Path("/usr/local/share/fonts"))
SUFFIXES = frozenset({".ttf", ".otf", ".ttc"})
SPECIAL = ("bold", "black", "light", "italic", "oblique", "serif", "mono", "condensed")  # they look unlike the overlay's own
MOST_FILES, MOST_BYTES = 2000, 4 << 20

Range = tuple[int, int]  # of code points, both ends included


class FontFile:
    """One font file, and the characters that it says it has. A file that is no font has none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                ranges = _merged(_ranges(_cmap(file)))
        except (OSError, struct.error):
            ranges = []
        self._firsts = [first for first, _ in ranges]
        self._lasts = [last for _, last in ranges]

    def has(self, character: str) -> bool:
        """Whether the file says that it has the character."""
        at = bisect_right(self._firsts, ord(character)) - 1
        return at >= 0 and ord(character) <= self._lasts[at]


def _merged(ranges: Iterable[Range]) -> list[Range]:
    """The same code points, in rising ranges that neither touch nor overlap: a font often says the same in two subtables."""
    merged: list[Range] = []
    for first, last in sorted(ranges):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return merged


def installed(folders: Sequence[Path] = FOLDERS) -> list[Path]:
    """The font files of this PC, MOST_FILES at most: upright sans-serif faces of normal weight first, else by path."""
    found = (path for folder in folders for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    return sorted(islice(found, MOST_FILES), key=lambda path: (any(word in path.name.lower() for word in SPECIAL), str(path)))


def _cmap(file: BinaryIO) -> bytes:
    """The font's table of characters, b"" where it has none."""
    head = file.read(16)
    if head[:4] == b"ttcf":
        file.seek(struct.unpack_from(">I", head, 12)[0])
        head = file.read(16)
    file.seek(12 - len(head), 1)
    (tables,) = struct.unpack_from(">H", head, 4)
    for tag, _, offset, length in struct.iter_unpack(">4sIII", file.read(16 * tables)):
        if tag == b"cmap":
            file.seek(offset)
            return file.read(min(length, MOST_BYTES))
    return b""


def _ranges(cmap: bytes) -> Iterator[Range]:
    if not cmap:
        return
    (subtables,) = struct.unpack_from(">H", cmap, 2)
    for _, _, offset in struct.iter_unpack(">HHI", cmap[4 : 4 + 8 * subtables]):
        (form,) = struct.unpack_from(">H", cmap, offset)
        if form == 12:
            (groups,) = struct.unpack_from(">I", cmap, offset + 12)
            for first, last, _ in struct.iter_unpack(">III", cmap[offset + 16 : offset + 16 + 12 * groups]):
                yield first, last
        elif form == 4:
            (twice,) = struct.unpack_from(">H", cmap, offset + 6)
            lasts = struct.unpack_from(f">{twice // 2}H", cmap, offset + 14)
            firsts = struct.unpack_from(f">{twice // 2}H", cmap, offset + 16 + twice)
            yield from zip(firsts, lasts, strict=True)
