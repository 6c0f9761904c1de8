"""Font files and what they say that they have."""

import struct
from pathlib import Path

import pytest

from recorder.composite.fonts import FontFile, installed


def cmap(*subtables: bytes) -> bytes:
    head, offset = struct.pack(">HH", 0, len(subtables)), 4 + 8 * len(subtables)
    for subtable in subtables:
        head += struct.pack(">HHI", 3, 10, offset)
        offset += len(subtable)
    return head + b"".join(subtables)


def format_12(*groups: tuple[int, int]) -> bytes:
    body = b"".join(struct.pack(">III", first, last, 1) for first, last in groups)
    return struct.pack(">HHIII", 12, 0, 16 + len(body), 0, len(groups)) + body


def format_4(*segments: tuple[int, int]) -> bytes:
    n = len(segments)
    lasts, firsts = (struct.pack(f">{n}H", *(s[i] for s in segments)) for i in (1, 0))
    return struct.pack(">7H", 4, 16 + 8 * n, 0, 2 * n, 0, 0, 0) + lasts + b"\0\0" + firsts + b"\0" * 4 * n


def font(table: bytes, at: int = 0) -> bytes:
    """A font whose directory stands at an offset of the file."""
    begin = at + 12 + 32
    entries = struct.pack(">4sIII", b"aaaa", 0, 0, 0) + struct.pack(">4sIII", b"cmap", 0, begin, len(table))
    return struct.pack(">IHHHH", 0x00010000, 2, 0, 0, 0) + entries + table


def write(path: Path, data: bytes) -> FontFile:
    path.write_bytes(data)
    return FontFile(path)


def test_both_forms_of_the_table_are_read(tmp_path: Path) -> None:
    table = cmap(
        format_4((0x41, 0x42), (0x4E00, 0x4E05), (0xFFFF, 0xFFFF)), format_12((0x41, 0x41), (0x4E00, 0x4FFF), (0x20BB7, 0x20BB7))
    )
    for data in (font(table), b"ttcf" + struct.pack(">III", 0, 1, 16) + font(table, 16)):
        file = write(tmp_path / "a.ttc", data)
        assert [c for c in "A@BC一\u4e06\u4fff\u5000𠮷𠮶" if file.has(c)] == [*"AB一\u4e06\u4fff𠮷"]


def test_a_table_that_is_cut_off_or_absurd_has_nothing(tmp_path: Path) -> None:
    whole = font(cmap(format_12((0x41, 0x5A))))
    assert write(tmp_path / "a.ttf", whole).has("A")
    for length in range(0, len(whole), 3):
        assert not write(tmp_path / "a.ttf", whole[:length]).has("A"), length
    many = font(cmap(struct.pack(">HHIII", 12, 0, 16, 0, 0xFFFFFFFF)))
    assert not write(tmp_path / "a.ttf", many).has("A")


def test_plain_faces_come_first(tmp_path: Path) -> None:
    for name in ("b/Bold-Sans.ttf", "b/Sans.TTC", "a/SansMono.otf", "readme.txt", "c/Han.otf"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = [path.relative_to(tmp_path).as_posix() for path in installed([tmp_path / "none", tmp_path])]
    assert found == ["b/Sans.TTC", "c/Han.otf", "a/SansMono.otf", "b/Bold-Sans.ttf"]


@pytest.mark.parametrize(("character", "there"), [("A", True), ("😀", True), ("𠮷", False)])
def test_a_real_font(character: str, there: bool) -> None:
    (path,) = [path for path in installed() if path.name == "DejaVuSans.ttf"]
    assert FontFile(path).has(character) is there
