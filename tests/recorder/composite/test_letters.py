"""Drawing texts with OpenCV's own font and with installed ones. The packages of the tests install DejaVu Sans."""

from pathlib import Path

import numpy as np
import pytest

from recorder.composite.fonts import installed
from recorder.composite.letters import Letters

ROCKET, FACE = "🚀", "😀"  # neither is in OpenCV's own fonts; DejaVu Sans has the second
RARE = "𠮷𬎆㛃䶮"  # characters of names, from the extensions A, B, E and the end of the first block


def drawn(letters: Letters, text: str, size: int = 34) -> np.ndarray:
    mask = np.zeros((64, 600), np.uint8)
    letters.draw(mask, text, (10, 44), size)
    return mask


@pytest.fixture(scope="module")
def dejavu() -> Path:
    return next(path for path in installed() if path.name == "DejaVuSans.ttf")


def test_characters_without_a_glyph_are_named() -> None:
    letters = Letters([])
    assert letters.lacking(f"温综执〔2026〕第1号 {ROCKET} é ? {ROCKET}") == ROCKET, "once"
    assert letters.lacking(RARE) == RARE, "a PC without fonts"
    assert letters.lacking("a\u3164\ufe0f　") == "\u3164\ufe0f", "what shows nothing and is no space"


def test_an_installed_font_helps_out(dejavu: Path) -> None:
    alone, helped = Letters([]), Letters([dejavu])
    assert alone.lacking(FACE) == FACE
    assert helped.lacking(FACE + ROCKET) == ROCKET
    assert np.array_equal(drawn(alone, FACE), drawn(alone, "?"))
    assert not np.array_equal(drawn(helped, FACE), drawn(helped, "?"))
    assert np.array_equal(drawn(helped, "号"), drawn(alone, "号")), "what OpenCV has stays OpenCV's"
    mixed = drawn(helped, f"案{FACE}号")
    assert np.array_equal(mixed[:, :40], drawn(helped, "案")[:, :40])
    assert helped.width(f"案{FACE}号", 34) == pytest.approx(sum(helped.width(c, 34) for c in f"案{FACE}号"), abs=3)


def test_a_file_that_is_no_font_is_passed_over(dejavu: Path, tmp_path: Path) -> None:
    data = dejavu.read_bytes()
    broken = [tmp_path / f"{n}.ttf" for n in range(5)]
    for path, content in zip(broken, (b"", b"ttcf", b"\0" * 400, data[:3000], data[:200_000]), strict=True):
        path.write_bytes(content)
    letters = Letters([*broken, tmp_path / "none.ttf", tmp_path, dejavu])
    assert letters.lacking(FACE + ROCKET) == ROCKET
    assert np.array_equal(drawn(letters, FACE), drawn(Letters([dejavu]), FACE))


@pytest.mark.parametrize("text", ["W" * 200, "号" * 200, FACE * 200, "e\u0301" * 100, "אב" * 90, "a" * 3 + "号" * 150])
def test_a_text_is_cut_to_its_room(text: str) -> None:
    letters = Letters([])
    cut = letters.fitted(text, 400, 22)
    assert cut.endswith("…") and text.startswith(cut[:-1])
    assert 330 < letters.width(cut, 22) <= 400
    assert letters.fitted(text, 20_000, 22) == text
