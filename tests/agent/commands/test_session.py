"""`session start` says what the picture's overlay cannot show, and starts all the same."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agent.live import START, STOP, LiveAgent

CASE = "𠮷执〔2026〕\ue0001号"  # one that a font may have, and one that no font has


@pytest.fixture
def room(tmp_path: Path) -> Iterator[LiveAgent]:
    with LiveAgent(tmp_path) as room:
        room.selfcheck()
        yield room


def start(case: str) -> list[str]:
    words = list(START)
    words[words.index("--case") + 1] = case
    return words


def test_characters_that_the_overlay_cannot_show_are_named(room: LiveAgent) -> None:
    with room.agent():
        told = room.command(*start(CASE), "--language", "zh")
        assert told.code == 0 and "正式开始时间" in told.out
        assert "无法显示" in told.out and "(U+E000)" in told.out
        room.command(*STOP)
        answer = room.command(*start(CASE), "--json").json()
        assert answer["not_drawn"][-1] == "U+E000" and set(answer["not_drawn"]) <= {"U+20BB7", "U+E000"}
        folder = Path(answer["path"])
        assert json.loads((folder / "session.json").read_text("utf-8"))["case"]["number"] == CASE, "kept as it was given"
        room.command(*STOP)
        usual = room.command(*start("温综执〔2026〕第0123号"), "--json").json()
        assert usual["not_drawn"] == []
