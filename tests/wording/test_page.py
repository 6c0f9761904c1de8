"""Pages in plain text: paragraphs in lines, and values that are one word of a command."""

import pytest

from wording import Shown, shown
from wording.page import COLUMNS, wrapped


def columns(line: str) -> int:
    return sum(2 if c >= "\u2e80" else 1 for c in line)


@pytest.mark.parametrize(
    "text",
    [
        "Plain words, one after another. " * 20,
        "光盘制成之后，其中的文件是否被改动、缺失或添加？" * 9,
        "请与 room-agent disc verify 的结果比对（data/index.html），共 32 位。" * 7,
        "x" * 300,
        "   ",
        "",
    ],
)
def test_a_paragraph_keeps_its_words_and_its_width(text: str) -> None:
    made = wrapped(shown(text))
    assert isinstance(made, Shown)
    lines = made.split("\n")
    assert "".join(made.split()) == "".join(text.split()), "nothing is lost"
    assert all(columns(line.rstrip("，。：；、）》”！？")) <= COLUMNS for line in lines if " " in line or line != "x" * 300)
    assert not any(line.startswith((" ", "，", "。", "、", "）")) or line.endswith(" ") for line in lines)


def test_what_turns_a_text_never_reaches_a_line() -> None:
    assert wrapped(shown("a\u202eb\nc")) == "a\\u202eb\\u000ac"
