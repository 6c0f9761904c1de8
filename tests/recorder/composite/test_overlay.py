"""What the overlay line says."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from recorder.composite.letters import Letters
from recorder.composite.overlay import PUNCTUATION, OverlayFields, code_point, overlay_text, surely_drawn

MOMENT = datetime(2026, 11, 21, 9, 30, 5, tzinfo=ZoneInfo("Asia/Shanghai"))


def test_the_overlay_says_everything_in_chinese_and_english() -> None:
    fields = OverlayFields("调查询问室一", "温综执〔2026〕123号", 23.44, 45.06)
    text = overlay_text(MOMENT, fields, "zh")
    assert (text.mark, text.made_later) == ("● 录制", False)
    assert text.clock == "2026年11月21日 星期六 09:30:05"
    assert text.climate == "23.4°C  45.1%RH"
    assert text.free == ("调查询问室一", "案号 温综执〔2026〕123号")
    english = overlay_text(MOMENT, OverlayFields("Room 1", "A-7", 23.44, 45.06, made_later=True), "en")
    assert (english.mark, english.made_later) == ("MADE LATER", True)
    assert english.clock == "2026-11-21 Saturday 09:30:05"
    assert english.free == ("Room 1", "Case A-7")


def test_a_stale_reading_is_never_shown() -> None:
    text = overlay_text(MOMENT, OverlayFields("r", "", None, None), "zh")
    assert text.climate == "--.-°C  --.-%RH"
    assert text.free == ("r",), "without a case there is no row for it"


def test_the_hour_that_comes_twice_tells_its_offset() -> None:
    first = datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"))
    texts = [overlay_text(moment, OverlayFields("r", "", None, None), "en").clock for moment in (first, first.replace(fold=1))]
    assert [text[-6:] for text in texts] == ["+02:00", "+01:00"]
    assert overlay_text(first + timedelta(hours=2), OverlayFields("r", "", None, None), "en").clock.endswith("04:30:00")


def test_what_is_held_for_drawable_is() -> None:
    """Of the ideographs every seventh: another seventh with each digit of the code point."""
    sample = "".join(map(chr, (*range(0x20, 0x7F), *range(0x4E00, 0x9FA6, 7)))) + "".join(PUNCTUATION)
    assert surely_drawn(sample)
    assert Letters([]).lacking(sample) == ""


@pytest.mark.parametrize("text", ["𠮷", "龦", "é", "●", "温 \u200b1", "😀", "ｱ"])
def test_anything_else_is_looked_up(text: str) -> None:
    assert not surely_drawn(text)


def test_code_points() -> None:
    assert [code_point(c) for c in "A𠮷"] == ["U+0041", "U+20BB7"]
