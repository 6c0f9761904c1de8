"""One table of exit codes: the product's and the document's are the same, and no number means two things."""

import ast
import re
from pathlib import Path

import pytest

from wording import Exit
from wording.fault import EXIT_TEXTS
from wording.text import catalogue

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| *(\d+) *\| *`(\w+)` *\| *(.+?) *\|$", re.MULTILINE)
# Version 0.1.0 gave these, and scripts rely on them: a number never gets a second meaning.
BEFORE = {
    "OK": 0,
    "NO": 1,
    "USAGE": 2,
    "CONFIG": 3,
    "NO_AGENT": 4,
    "REFUSED": 5,
    "NOT_FOUND": 6,
    "DEVICE": 7,
    "STORAGE": 8,
    "INPUT": 9,
    "ALREADY_RUNNING": 10,
    "EVIDENCE": 11,
    "DEFECT": 70,
}


def documented() -> list[tuple[int, str, str]]:
    """Number, name and meaning of each row of the table in docs/operations.md."""
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    [section] = re.findall(r"^## Exit codes$\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    return [(int(number), name, meaning) for number, name, meaning in ROW.findall(section)]


def declared() -> list[tuple[str, int]]:
    """Name and number as they stand in the source: IntEnum hides a number that stands there twice."""
    tree = ast.parse((ROOT / "wording" / "fault.py").read_text(encoding="utf-8"))
    [enum] = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Exit"]
    return [(ast.unparse(each.targets[0]), ast.literal_eval(each.value)) for each in enum.body if isinstance(each, ast.Assign)]


def test_the_source_gives_each_number_once() -> None:
    numbers = [number for _, number in declared()]
    assert len(numbers) == len(set(numbers)) >= 14
    assert dict(declared()) == {each.name: int(each) for each in Exit}


def test_the_document_has_each_number_once_with_its_name() -> None:
    rows = documented()
    assert sorted((number, name) for number, name, _ in rows) == sorted((int(each), each.name) for each in Exit)
    assert all(meaning.strip() for _, _, meaning in rows)


def test_each_number_has_a_text_of_its_own_in_both_languages() -> None:
    assert set(EXIT_TEXTS) == set(Exit)
    codes = list(EXIT_TEXTS.values())
    for language in ("en", "zh"):
        texts = [catalogue()[code][language] for code in codes]
        assert len(set(texts)) == len(Exit)


@pytest.mark.parametrize(("name", "number"), BEFORE.items())
def test_the_numbers_of_version_0_1_0_stay(name: str, number: int) -> None:
    assert Exit[name] == number


def test_the_number_for_evidence_that_nobody_vouches_for_is_12() -> None:
    assert int(Exit.UNVOUCHED) == 12
