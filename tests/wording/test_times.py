"""Instants, lengths and differences for a person: one form each, in both languages, also where a template asks for them."""

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from wording import Language, say, text
from wording.times import day, difference, in_zone, instant, instant_of, length

SHANGHAI = ZoneInfo("Asia/Shanghai")


@pytest.mark.parametrize(
    ("seconds", "zh", "en"),
    [
        (0, "0秒", "0 s"),
        (0.0, "0.0秒", "0.0 s"),
        (0.04, "0.0秒", "0.0 s"),
        (-0.04, "0.0秒", "0.0 s"),
        (8, "8秒", "8 s"),
        (8.0, "8.0秒", "8.0 s"),
        (9.94, "9.9秒", "9.9 s"),
        (9.96, "10秒", "10 s"),
        (59.4, "59秒", "59 s"),
        (59.9, "1分00秒", "1 min 00 s"),
        (60, "1分00秒", "1 min 00 s"),
        (61, "1分01秒", "1 min 01 s"),
        (3599, "59分59秒", "59 min 59 s"),
        (3599.6, "1小时00分00秒", "1 h 00 min 00 s"),
        (3600, "1小时00分00秒", "1 h 00 min 00 s"),
        (3725, "1小时02分05秒", "1 h 02 min 05 s"),
        (90061, "25小时01分01秒", "25 h 01 min 01 s"),
        (-5.0, "-5.0秒", "-5.0 s"),
        (-3700, "-1小时01分40秒", "-1 h 01 min 40 s"),
    ],
)
def test_a_length_carries_over_into_the_next_unit(seconds: float, zh: str, en: str) -> None:
    assert (length(seconds, "zh"), length(seconds, "en")) == (zh, en)


@pytest.mark.parametrize(
    ("seconds", "zh", "en"),
    [
        (0.0, "无偏差", "no difference"),
        (-0.0004, "无偏差", "no difference"),
        (0.095, "快95毫秒", "95 ms fast"),
        (-0.999, "慢999毫秒", "999 ms slow"),
        (0.9996, "快1.0秒", "1.0 s fast"),
        (-59.9, "慢1分00秒", "1 min 00 s slow"),
        (3600.0, "快1小时00分00秒", "1 h 00 min 00 s fast"),
        (-8225, "慢2小时17分05秒", "2 h 17 min 05 s slow"),
    ],
)
def test_a_difference_says_its_direction(seconds: float, zh: str, en: str) -> None:
    assert (difference(seconds, "zh"), difference(seconds, "en")) == (zh, en)


def test_an_instant_stands_in_the_zone_that_it_carries() -> None:
    moment = datetime(2026, 11, 30, 23, 59, 59, tzinfo=UTC)
    assert (instant(moment, "zh"), instant(moment, "en")) == ("2026年11月30日 23:59:59", "2026-11-30 23:59:59")
    local = moment.astimezone(SHANGHAI)
    assert (instant(local, "zh"), instant(local, "en")) == ("2026年12月01日 07:59:59", "2026-12-01 07:59:59")


def test_a_second_later_is_another_day_month_and_year() -> None:
    last = datetime(2026, 12, 31, 23, 59, 59, tzinfo=timezone(timedelta(hours=8)))
    first = last + timedelta(seconds=1)
    assert (instant(last, "zh"), instant(first, "zh")) == ("2026年12月31日 23:59:59", "2027年01月01日 00:00:00")
    assert (day(last, "zh"), day(first, "en")) == ("2026年12月31日", "2027-01-01")


@pytest.mark.parametrize(
    ("written", "zh", "en"),
    [
        ("2026-11-30T07:12:55.800+08:00", "2026年11月30日 07:12:55", "2026-11-30 07:12:55"),
        ("2026-11-29T23:12:55.800Z", "2026年11月29日 23:12:55", "2026-11-29 23:12:55"),
        ("2026-11-30 07:12:55", "2026年11月30日 07:12:55", "2026-11-30 07:12:55"),
        ("2026-11-30T07:12+08:00", "2026年11月30日 07:12", "2026-11-30 07:12"),
        ("2026-11-30 07:12", "2026年11月30日 07:12", "2026-11-30 07:12"),
        ("", "", ""),
        ("yesterday", "yesterday", "yesterday"),
        ("2026-13-01T00:00:00Z", "2026-13-01T00:00:00Z", "2026-13-01T00:00:00Z"),
    ],
)
def test_a_written_instant_keeps_its_offset_and_its_precision_and_is_shown_itself_where_it_is_none(
    written: str, zh: str, en: str
) -> None:
    assert (instant_of(written, "zh"), instant_of(written, "en")) == (zh, en)


def test_an_instant_of_another_offset_is_brought_to_the_rooms_zone_where_it_is_one() -> None:
    assert in_zone("2026-11-29T23:12:55.800Z", SHANGHAI) == "2026-11-30T07:12:55.800000+08:00"
    assert in_zone("2026-11-29 23:12:55", SHANGHAI) == "2026-11-29 23:12:55"  # of no known offset
    assert in_zone("0001-01-01T00:00:00+14:00", SHANGHAI) == "0001-01-01T00:00:00+14:00"
    assert in_zone("some day", SHANGHAI) == "some day"


@pytest.fixture
def templates(monkeypatch: pytest.MonkeyPatch) -> None:
    """A catalogue of two texts, one with every form."""
    en = "{at:instant}|{date:day}|{took:length}|{off:difference}|{share:.1f}"
    texts = {"times": {"en": en, "zh": en}, "took": {"en": "{took:length}", "zh": "用时{took:length}"}}
    monkeypatch.setattr(text, "catalogue", lambda: texts)


@pytest.mark.parametrize(
    ("language", "told"),
    [
        ("zh", "2026年11月30日 07:12:55|2026年11月30日|1分02秒|慢3.0秒|0.5"),
        ("en", "2026-11-30 07:12:55|2026-11-30|1 min 02 s|3.0 s slow|0.5"),
    ],
)
def test_a_template_names_the_form_of_each_time(templates: None, language: Language, told: str) -> None:
    at = "2026-11-30T07:12:55.800+08:00"
    assert say("times", language, at=at, date=at, took=62, off=-3.0, share=0.52) == told


def test_a_number_that_is_written_as_text_has_the_same_form(templates: None) -> None:
    assert say("took", "zh", took="11.5") == "用时12秒"


@pytest.mark.unknown_code
@pytest.mark.parametrize(
    ("value", "told"),
    [(float("nan"), "nan"), (float("inf"), "inf"), ("long\n", "long\\u000a"), (10**400, "1" + "0" * 199), (None, "None")],
)
def test_a_length_that_is_none_is_shown_beside_the_code(templates: None, value: object, told: str) -> None:
    assert say("took", "zh", took=value) == f"took (took={told})"
