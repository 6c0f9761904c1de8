"""Finding the interview's times in a transcript, and comparing them with the official ones."""

import itertools
import json
import random
import time
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from recorder.clock.instants import SECOND_NS
from recorder.faults import BadInput
from recorder.transcript.comparing import compare, difference_s
from recorder.transcript.document import LARGEST_BYTES, read_transcript, times_of
from recorder.transcript.finding import find_times
from recorder.transcript.moments import normalise, number
from recorder.transcript.times import NoTimes, TranscriptTimes

ZONE = ZoneInfo("Asia/Shanghai")
DAY = "2026-11-21"


def found(text: str) -> tuple[str, str, int]:
    """Start, end (local, ISO) and precision, or a failure that says why not."""
    times = find_times(text, ZONE)
    assert isinstance(times, TranscriptTimes), times
    assert times.start.utcoffset() == times.end.utcoffset() == timedelta(hours=8)
    return f"{times.start:%Y-%m-%d %H:%M:%S}", f"{times.end:%Y-%m-%d %H:%M:%S}", times.precision_s


def why_not(text: str) -> str:
    """The reason why no times were found."""
    times = find_times(text, ZONE)
    assert isinstance(times, NoTimes), times
    return times.reason.say("en")


MORNING = [
    "询问时间：2026年11月21日09时30分至10时45分",
    "询问时间：2026年11月21日9时30分至2026年11月21日10时45分",
    "调查询问时间：2026年11月21日09时30分至10时45分",
    "调查（询问）时间：2026年11月21日09时30分至10时45分",
    "询问起止时间：2026年11月21日09时30分至10时45分",
    "起止时间：2026年11月21日09时30分—10时45分",
    "时间：2026年11月21日09时30分至10时45分",
    "询问时间：自2026年11月21日9时30分起至2026年11月21日10时45分止",
    "询问时间：自2026年11月21日9时30分起，至10时45分止",
    "询问时间：从2026年11月21日9时30分到10时45分",
    "询问时间：于2026年11月21日9时30分至当日10时45分",
    "询问时间：2026年11月21日09时30分开始，10时45分结束",
    "询问时间：２０２６年１１月２１日０９时３０分至１０时４５分",
    "询问时间：2026 年 11 月 21 日 09 时 30 分 至 10 时 45 分",
    "询 问 时 间 ：2026年11月21日09时30分至10时45分",
    "询问时间：__2026__年__11__月__21__日__9__时__30__分至__10__时__45__分",
    "询问时间　２０２６年１１月２１日　０９：３０～１０：４５",
    "询问时间：2026年11月21日09:30至10:45",
    "询问时间：2026年11月21日（星期六）9:30-10:45",
    "询问时间：2026年11月21日上午9时30分至10时45分",
    "询问时间：2026年11月21日上午9点半至上午10点三刻",
    "询问时间：2026年11月21日九时三十分至十时四十五分",
    "询问时间：二〇二六年十一月二十一日九时三十分至十时四十五分",
    "询问时间：二○二六年十一月廿一日上午九点半至十点四十五分",
    "询问时间：2026年11月21日09时30分许至10时45分",
    "询问时间（24小时制）：2026年11月21日9:30 ~ 10:45",
    "询问时间\n2026年11月21日09时30分\n至10时45分",
    "| 询问时间 | 2026年11月21日09时30分至10时45分 |",
    "**询问时间**：2026年11月21日09时30分至10时45分",
    "询问地点：一号室　　询问时间：2026年11月21日09时30分至10时45分　　记录人：王五",
    "询问开始时间：2026年11月21日09时30分\n询问结束时间：2026年11月21日10时45分",
    "询问时间（开始）：2026年11月21日09时30分\n询问时间（结束）：2026年11月21日10时45分",
    "开始时间：2026-11-21 09:30\n结束时间：2026-11-21 10:45",
    "开始时间：2026-11-21 09:30  结束时间：10:45",
    "询问时间：2026年11月21日09时30分\n问：你好\n答：好\n结束时间：2026年11月21日10时45分",
    "询问日期：2026年11月21日\n询问时间：09:30至10:45",
    "询问时间：2026年11月21日 起：09:30 止：10:45",
    "第一次询问：2026年11月21日09时30分至10时45分",
    "2026年11月21日09时30分至10时45分，在调查询问室一询问张三。\n问：你好\n答：好",
    "时间：2026-11-21 09:30 - 10:45",
    "时间：2026/11/21 09:30 - 10:45",
    "时间：2026.11.21 09:30 – 10:45",
    "Interview time: 2026-11-21T09:30+08:00 to 2026-11-21T10:45+08:00",
    "Interview time: 2026-11-21T01:30Z to 2026-11-21T02:45Z",
    "Time of the interview: 2026-11-21 09:30 until 10:45",
    "Interview: from 2026-11-21 09:30 to 2026-11-21 10:45",
    "Start: 2026-11-21T09:30+08:00 End: 2026-11-21T10:45+08:00",
    "Interview started: 2026-11-21 09:30\nInterview ended: 2026-11-21 10:45",
    "Start time: 2026-11-21 9:30 AM\nEnd time: 2026-11-21 10:45 a.m.",
    "Date: 2026-11-21\nTime: 09:30 to 10:45",
    "詢問時間：2026年11月21日09時30分至10時45分",
    "\ufeff询问时间：\t2026年11月21日\t09时30分\t至\t10时45分\r\n",
    "询问时间：2026年11月21日09时30分至十点四十五",
    "询问时间：2026年11月21日九点三十到十点四十五，在询问室",
    "询问时间：2026年11月21日9时 30至10时 45",
    "询问时间：2026年11月21日9时30到10时45在询问室一",
    "询问时间：2026年11月21日9时30-10时45.",
    "开始时间：2026年11月21日9点半\n结束时间：2026年11月21日10点三刻",
    "询问时间：⼆〇⼆六年⼗⼀⽉⼆⼗⼀⽇09时30分⾄10时45分",
]


@pytest.mark.parametrize("text", MORNING)
def test_forms_of_the_same_times(text: str) -> None:
    assert found(text) == (f"{DAY} 09:30:00", f"{DAY} 10:45:00", 60)


@pytest.mark.parametrize(
    ("text", "start", "end", "precision_s"),
    [
        ("询问时间：2026年11月21日23时30分至次日0时10分", "11-21 23:30:00", "11-22 00:10:00", 60),
        ("询问时间：2026年11月21日23时30分至翌日零时十分", "11-21 23:30:00", "11-22 00:10:00", 60),
        ("询问时间：2026年11月21日23时30分至11月22日0时10分", "11-21 23:30:00", "11-22 00:10:00", 60),
        ("询问时间：2026年11月21日23时30分至22日0时10分", "11-21 23:30:00", "11-22 00:10:00", 60),
        ("询问时间：2026年11月21日23时30分至0时10分", "11-21 23:30:00", "11-22 00:10:00", 60),
        ("询问时间：2026年11月21日22时至24时", "11-21 22:00:00", "11-22 00:00:00", 60),
        ("询问时间：2026年11月30日23时30分至1日0时10分", "11-30 23:30:00", "12-01 00:10:00", 60),
        ("询问时间：2026年11月21日上午9时30分至下午2时", "11-21 09:30:00", "11-21 14:00:00", 60),
        ("询问时间：2026年11月21日下午2时至4时30分", "11-21 14:00:00", "11-21 16:30:00", 60),
        ("询问时间：2026年11月21日晚上8点至9点半", "11-21 20:00:00", "11-21 21:30:00", 60),
        ("询问时间：2026年11月21日晚上11时至凌晨1时", "11-21 23:00:00", "11-22 01:00:00", 60),
        ("询问时间：2026年11月21日中午12时至下午1时05分", "11-21 12:00:00", "11-21 13:05:00", 60),
        ("询问时间：2026年11月21日9时整至10时正", "11-21 09:00:00", "11-21 10:00:00", 60),
        ("询问时间：2026年11月21日9时零5分至十时五分", "11-21 09:05:00", "11-21 10:05:00", 60),
        ("开始时间：2026年11月21日九点零五\n结束时间：2026年11月21日十点十", "11-21 09:05:00", "11-21 10:10:00", 60),
        ("询问时间：2026年11月21日9时5至10时零5", "11-21 09:05:00", "11-21 10:05:00", 60),
        ("询问时间：2026年11月21日九点〇〇许至十点零零左右", "11-21 09:00:00", "11-21 10:00:00", 60),
        ("询问时间：2026年11月21日9时至10时 1号询问室", "11-21 09:00:00", "11-21 10:00:00", 60),
        ("询问时间：2026年11月21日9时至10时，历时60分钟", "11-21 09:00:00", "11-21 10:00:00", 60),
        ("询问时间：2026年11月21日9时-10时分别询问", "11-21 09:00:00", "11-21 10:00:00", 60),
        ("询问时间：2026年11月21日9时至10时，2人在场", "11-21 09:00:00", "11-21 10:00:00", 60),
        ("询问时间：2026年11月21日9时至10时\n1. 姓名", "11-21 09:00:00", "11-21 10:00:00", 60),
        ("询问时间：2026年11月21日09时30分15秒至10时45分20秒", "11-21 09:30:15", "11-21 10:45:20", 1),
        ("询问时间：2026年11月21日09:30:15至10:45:20", "11-21 09:30:15", "11-21 10:45:20", 1),
        ("询问时间：2026年11月21日09:30:15至10:45", "11-21 09:30:15", "11-21 10:45:00", 60),
        ("Interview time: 2026-11-21T09:30:15.250+08:00 to 2026-11-21T10:45:20+08:00", "11-21 09:30:15", "11-21 10:45:20", 1),
        ("Time: 2026-11-21 11:30 PM to 12:10 AM", "11-21 23:30:00", "11-22 00:10:00", 60),
    ],
)
def test_other_times(text: str, start: str, end: str, precision_s: int) -> None:
    assert found(text) == (f"2026-{start}", f"2026-{end}", precision_s)


@pytest.mark.parametrize(
    ("words", "start", "end"),
    [
        ("21日晚上11时至晚上12时30分", "21 23:00", "22 00:30"),
        ("21日晚11时至夜里12点半", "21 23:00", "22 00:30"),
        ("21日晚上11时至12时30分", "21 23:00", "22 00:30"),
        ("21日晚上11:00至午夜12:10", "21 23:00", "22 00:10"),
        ("21日晚上11时至11月21日午夜12时10分", "21 23:00", "22 00:10"),
        ("21日晚上11时至次日夜里12时30分", "21 23:00", "22 00:30"),
        ("21日晚上11时至11月22日夜里12时30分", "21 23:00", "22 00:30"),
        ("21日晚上11时至次日午夜12时", "21 23:00", "22 00:00"),
        ("21日22时至24时", "21 22:00", "22 00:00"),
        ("21日0时10分至午夜12时30分", "21 00:10", "21 00:30"),
        ("21日晚上12时30分至1时30分", "22 00:30", "22 01:30"),
        ("21日夜里12点半至次日凌晨2时", "22 00:30", "22 02:00"),
        ("21日夜里12点半至11月22日2时", "22 00:30", "22 02:00"),
        ("21日晚上12时30分至12时50分", "22 00:30", "22 00:50"),
        ("21日晚上12时至晚上12时30分", "22 00:00", "22 00:30"),
        ("21日晚上12时30分至晚上12时30分", "22 00:30", "22 00:30"),
        ("21日中午12时至夜里1时30分", "21 12:00", "21 01:30"),  # a mismatch: not 13:30
        ("21日中午12时30分至下午1时", "21 12:30", "21 13:00"),
        ("21日凌晨12时30分至1时", "21 00:30", "21 01:00"),
    ],
)
def test_twelve_at_night_belongs_to_the_evening_before(words: str, start: str, end: str) -> None:
    assert found(f"询问时间：2026年11月{words}")[:2] == (f"2026-11-{start}:00", f"2026-11-{end}:00")
    if "至11月" not in words and "至次日" not in words:
        assert found(f"询问日期：2026年11月21日\n询问时间：{words.removeprefix('21日')}")[0] == f"2026-11-{start}:00"


def test_twelve_at_night_at_the_end_of_a_month() -> None:
    assert found("询问时间：2026年12月31日晚上11时至晚上12时30分")[1] == "2027-01-01 00:30:00"
    assert found("询问时间：2026年12月31日晚上12时30分至1时")[0] == "2027-01-01 00:30:00"
    assert "does not exist" in why_not("询问时间：2026年11月21日晚上11时至24时30分")


@pytest.mark.parametrize("date", ["", "当日", "21日", "11月21日", "2026年11月21日", "2026-11-21 "])
def test_the_half_of_the_day_holds_for_an_end_on_the_same_date(date: str) -> None:
    assert found(f"询问时间：2026年11月21日下午2时30分至{date}4时10分")[1] == f"{DAY} 16:10:00"
    assert found(f"询问时间：2026年11月21日下午2时30分至{date}下午4时10分")[1] == f"{DAY} 16:10:00"
    if date:
        assert found(f"询问时间：2026年11月21日14时30分至{date}4时10分")[1] == f"{DAY} 04:10:00"  # a mismatch: nothing is added
        assert found(f"询问时间：2026年11月21日下午2时30分至{date}凌晨4时10分")[1] == f"{DAY} 04:10:00"
        assert found(f"询问时间：2026年11月21日下午2时30分至{date}1时10分")[1] == f"{DAY} 01:10:00"  # 13:10 is too early as well


def test_the_half_of_the_day_does_not_hold_on_another_date() -> None:
    assert found("询问时间：2026年11月21日下午2时30分至2026年11月22日4时10分")[1] == "2026-11-22 04:10:00"
    assert found("询问时间：2026年11月21日下午2时30分至2026年11月20日4时10分")[1] == "2026-11-20 04:10:00"


def test_the_year_turns() -> None:
    assert found("询问时间：2026年12月31日23时30分至1月1日0时10分")[1] == "2027-01-01 00:10:00"
    assert found("询问时间：2026年12月31日23时30分至次日0时10分")[1] == "2027-01-01 00:10:00"


FORM = """温州市××局
调查询问笔录（第 1 次）

案由：涉嫌无照经营　立案时间：2026年11月2日9时00分
询问时间：2026年11月21日09时30分至10时45分
询问地点：调查询问室一　　电话：13800138000
被询问人：张三　性别：男　出生日期：1980年1月2日　身份证号：330302198001021234
案发时间：2026年10月1日20时10分至20时40分

问：现在是2026年11月21日9时31分，你几点到店里的？
答：我9时30分到店里，10时才开门。询问时间：2026年11月20日8时00分至9时00分是上次。
问：2026年10月1日9时至11时你在哪里？
答：在家。

以上笔录我看过，和我说的一样。
被询问人（签名）：张三　2026年11月21日10时50分
签字时间：2026年11月21日10时52分至10时53分
"""


def test_other_dates_of_a_whole_form_are_not_taken() -> None:
    times = find_times(FORM, ZONE)
    assert isinstance(times, TranscriptTimes)
    assert found(FORM) == (f"{DAY} 09:30:00", f"{DAY} 10:45:00", 60)
    assert times.quote == "询问时间：2026年11月21日09时30分至10时45分"
    assert times.line == 5
    without = "\n".join(line for line in FORM.splitlines() if not line.startswith("询问时间"))
    assert why_not(without) == "The transcript does not say when the interview began and ended."


def test_the_label_is_preferred_to_other_spans() -> None:
    other = "2026年11月20日08时00分至09时00分现场检查。\n时间：2026年11月20日07时00分至08时00分\n"
    text = f"{other}询问时间：2026年11月21日09时30分至10时45分"
    assert found(text)[0] == f"{DAY} 09:30:00"


def test_a_repeated_page_head_is_one_time() -> None:
    line = "询问时间：2026年11月21日09时30分至10时45分\n"
    other = "询问开始时间：2026年11月21日9:30 询问结束时间：2026年11月21日10:45\n"
    assert found((line + "第1页\n") * 3 + other)[0] == f"{DAY} 09:30:00"


@pytest.mark.parametrize(
    "text",
    [
        "第一次询问时间：2026年11月21日09时30分至10时45分\n第二次询问时间：2026年11月22日09时30分至10时45分",
        "第1次询问：2026年11月21日09时30分至10时45分\n第2次询问：2026年11月21日13时30分至14时45分",
        "询问时间：2026年11月21日09时30分至10时45分\n询问时间：2026年11月21日09时30分至10时46分",
        "询问开始时间：2026年11月21日09时30分\n询问结束时间：2026年11月21日10时45分\n"
        "询问开始时间：2026年11月21日13时30分\n询问结束时间：2026年11月21日14时45分",
        "开始时间：2026-11-21 09:30\n结束时间：2026-11-21 10:45\n结束时间：2026-11-21 10:50",
    ],
)
def test_different_times_are_never_guessed_between(text: str) -> None:
    assert why_not(text).startswith("The transcript names different times of the interview (line 1: ")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "does not say when"),
        ("无", "does not say when"),
        ("询问时间：____年__月__日__时__分至__时__分", "does not say when"),
        ("询问时间：详见录像\n2026年11月21日09时30分至10时45分，在家。", "does not say when"),
        ("上次询问时间：2026年11月21日09时30分至10时45分", "does not say when"),
        ("问：询问时间：2026年11月21日09时30分至10时45分？", "does not say when"),
        ("Q: Interview time: 2026-11-21 09:30 to 10:45", "does not say when"),
        ("Printed time: 2026-11-21 09:30 to 10:45", "does not say when"),
        ("询问时间：2026年11月21日09时30分至    时    分", "a start but no end of the interview (line 1"),
        ("\n\n开始时间：2026年11月21日09时30分", "a start but no end of the interview (line 3"),
        ("询问时间：11月21日09时30分至10时45分", "without a full date (line 1"),
        ("询问时间：09:30至10:45", "without a full date"),
        ("询问时间：09:30至10:45\n日期：2026年11月21日\n日期：2026年11月22日", "without a full date"),
        ("询问时间：2026年2月30日09时30分至10时45分", "that does not exist (line 1"),
        ("询问时间：2026年11月21日09时30分至25时45分", "that does not exist"),
        ("询问时间：2026年11月21日09时61分至10时45分", "that does not exist"),
        ("询问时间：2026年十十月21日09时30分至10时45分", "that does not exist"),
    ],
)
def test_why_not(text: str, reason: str) -> None:
    assert reason in why_not(text)


@pytest.mark.parametrize(
    "end",
    [
        "十点三",  # 10:03 or half past ten
        "十点三人在场",
        "十点四十五五",
        "十点一起离开",
        "十点两刻",
        "十点过五分",
        "10时三十人",
        "10时450",
        "10时030分",
        "10时4 5分",
        "10时4\n5分",
        "10时\n45分",
        "10时O5分",
        "10时30人",
        "10时30.5",
        "10时__分",
        "10时 分\n",
        "10时X5分",
        "10时(45分)",
        "10时.45",
        "10时:45",
    ],
)
def test_a_time_is_never_cut_short_at_its_hour(end: str) -> None:
    for text in (
        f"询问时间：2026年11月21日09时30分至{end}",
        f"2026年11月21日09时30分至{end}",
        f"询问开始时间：2026年11月21日09时30分\n询问结束时间：2026年11月21日{end}",
    ):
        assert "a time whose minutes cannot be read (line " in why_not(text)
    with pytest.raises(BadInput, match="field end"):
        from_json({"start": "2026-11-21 09:30", "end": end})


def test_an_unreadable_time_leaves_the_decision_to_no_weaker_label() -> None:
    other = "\n时间：2026年11月21日09时30分至10时45分"
    assert "minutes cannot be read" in why_not("询问时间：2026年11月21日09时30分至十点三人" + other)
    assert "minutes cannot be read" in why_not("开始时间：2026年11月21日9时3人\n结束时间：2026年11月21日10时" + other)
    assert found("时间：2026年11月20日9时3人到店\n询问" + other.strip())[0] == f"{DAY} 09:30:00"


def test_every_way_of_writing_any_time_is_found() -> None:
    """Random times, in each combination of the ways to write date, clock and join."""
    rng = random.Random(2)
    digits = "零一二三四五六七八九"

    def chinese(value: int) -> str:
        tens, unit = divmod(value, 10)
        return digits[value] if value < 10 else ("" if tens == 1 else digits[tens]) + "十" + (digits[unit] if unit else "")

    dates = [
        lambda d: f"{d.year}年{d.month}月{d.day}日",
        lambda d: f"{d:%Y-%m-%d} ",
        lambda d: f"{d:%Y} 年 {d:%m} 月 {d:%d} 日 ",
        lambda d: "".join("〇一二三四五六七八九"[int(c)] for c in str(d.year)) + f"年{chinese(d.month)}月{chinese(d.day)}日",
    ]
    clocks = [
        lambda d: f"{d.hour}时{d:%M}分",
        lambda d: f"{d:%H:%M}",
        lambda d: f"{chinese(d.hour)}时{chinese(d.minute)}分",
        lambda d: f"{chinese(d.hour)}点{'零' if d.minute < 10 else ''}{chinese(d.minute)}",
        lambda d: f"{d.hour}时{d.minute}",
        lambda d: f"{'上午' if d.hour < 12 else '下午'}{(d.hour - 1) % 12 + 1}点{d.minute}分" if d.hour else f"0点{d.minute}分",
    ]
    for date_form, clock_form, join in itertools.product(dates, clocks, ("至", " 到 ", "起至", "—", "~")):
        start = datetime(2026, 1, 1, tzinfo=ZONE) + timedelta(minutes=rng.randrange(60 * 24 * 365))
        end = start + timedelta(minutes=rng.randrange(1, 600))
        last = clock_form(end) if end.date() == start.date() else "次日" + clock_form(end)
        text = f"案由：测试\n询问时间：{date_form(start)}{clock_form(start)}{join}{last}\n问：你好"
        assert found(text) == (f"{start:%Y-%m-%d %H:%M}:00", f"{end:%Y-%m-%d %H:%M}:00", 60), text


@pytest.mark.parametrize(
    "unit", ["询问时间：2026年11月21日", "2026年", " _", "答：9时30分到店里。\n", "(", "第一次", "起始", "九十"]
)
def test_a_long_text_of_anything_takes_time_in_proportion(unit: str) -> None:
    def seconds(length: int) -> float:
        text = unit * (length // len(unit))
        begin = time.process_time()
        find_times(text, ZONE)
        return time.process_time() - begin

    assert seconds(160_000) < 16 * seconds(20_000) + 0.2  # 8 for the length; a square would be 64


class Counted(str):
    """A text that tells how often it was read for its line ends."""

    read = 0

    def count(self, *args: Any) -> int:
        Counted.read += 1
        return super().count(*args)


@pytest.mark.parametrize("hour", ["9", "{}"])
def test_the_line_is_looked_for_as_often_as_it_is_told(hour: str) -> None:
    """Once a span would be a square of the length."""
    lines = (f"询问时间：2026年11月21日{hour.format(n % 9)}时30分至10时45分" for n in range(1000))
    Counted.read = 0
    find_times(Counted("\n".join(lines)), ZONE)
    assert Counted.read <= 2


def test_normalise_keeps_the_way_back() -> None:
    rng = random.Random(3)
    for _ in range(200):
        original = "".join(rng.choice("询问９： 　_\n\r\t年") for _ in range(rng.randrange(60)))
        normal = normalise(original)
        assert "  " not in normal.text and "\n\n" not in normal.text and "_" not in normal.text
        for place, character in enumerate(normal.text):
            if character not in " \n":
                assert normalise(original[normal.origin(place)]).text == character


@pytest.mark.parametrize(
    ("text", "value"),
    [("09", 9), ("十", 10), ("十一", 11), ("二十", 20), ("廿三", 23), ("五十九", 59), ("零五", 5), ("一五", 15)],
)
def test_numbers(text: str, value: int) -> None:
    assert number(text) == value


# --- comparing


def ns(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=ZONE).timestamp() * 1000) * 1_000_000


def times(text: str) -> TranscriptTimes:
    result = find_times(text, ZONE)
    assert isinstance(result, TranscriptTimes)
    return result


TO_THE_MINUTE = "询问时间：2026年11月21日09时30分至10时45分"
TO_THE_SECOND = "询问时间：2026年11月21日09时30分15秒至10时45分20秒"


@pytest.mark.parametrize(
    ("official", "difference"),
    [
        ("09:30:00", 0),
        ("09:30:59.999", 0),
        ("09:31:00", -1),
        ("09:31:59", -60),
        ("09:29:59.999", 1),
        ("09:29:00", 60),
        ("09:28:59", 61),
    ],
)
def test_difference_at_the_precision_of_the_minute(official: str, difference: float) -> None:
    assert difference_s(times(TO_THE_MINUTE).start, 60, ns(f"{DAY}T{official}")) == difference


def test_difference_at_the_precision_of_the_second() -> None:
    start = times(TO_THE_SECOND).start
    assert [difference_s(start, 1, ns(f"{DAY}T09:30:{s}")) for s in ("14.999", "15", "15.999", "16")] == [1, 0, 0, -1]


def test_match_within_the_tolerance_and_mismatch_beyond() -> None:
    official = ns(f"{DAY}T09:28:30.280"), ns(f"{DAY}T10:45:59.280")
    assert compare(times(TO_THE_MINUTE), *official, ZONE, 90).verdict == "match"
    verdict = compare(times(TO_THE_MINUTE), *official, ZONE, 89)
    assert (verdict.verdict, verdict.start_difference_s, verdict.end_difference_s, verdict.precision_s) == ("mismatch", 90, 0, 60)
    assert verdict.reasons[0].say("en") == (
        "The transcript's start 2026-11-21 09:30 is 1 min 30 s later than the recording's, 2026-11-21 09:28:30."
    )
    assert verdict.reasons[0].say("zh") == "笔录开始时间 2026年11月21日 09:30 比录制开始时间 2026年11月21日 09:28:30 晚1分30秒。"
    assert len(verdict.reasons) == 2


def test_exact_times_match_with_no_tolerance() -> None:
    verdict = compare(times(TO_THE_SECOND), ns(f"{DAY}T09:30:15.280"), ns(f"{DAY}T10:45:20.280"), ZONE, 0)
    assert (verdict.verdict, verdict.reasons, verdict.precision_s) == ("match", (), 1)
    assert verdict.as_json() == {
        "verdict": "match",
        "start": "2026-11-21T09:30:15+08:00",
        "end": "2026-11-21T10:45:20+08:00",
        "precision_s": 1,
        "start_difference_s": 0.0,
        "end_difference_s": 0.0,
        "quote": TO_THE_SECOND,
        "line": 1,
        "reasons": [],
    }


def test_the_wrong_day_is_a_mismatch() -> None:
    verdict = compare(times(TO_THE_MINUTE), ns("2026-11-20T09:30:10"), ns("2026-11-20T10:45:10"), ZONE, 60)
    assert (verdict.verdict, verdict.start_difference_s) == ("mismatch", 86390)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("询问时间：2026年11月21日10时45分至2026年11月21日09时30分", "ends before it begins"),
        ("询问时间：2026年11月21日23时45分至当日09时30分", "ends before it begins"),
        ("询问时间：2026年11月21日09时30分至09时30分", "begins and ends at the same time"),
        ("询问时间：2026年11月21日09时30分15秒至09时30分15秒", "begins and ends at the same time"),
    ],
)
def test_an_interview_without_length_or_backwards(text: str, reason: str) -> None:
    verdict = compare(times(text), ns(f"{DAY}T09:30:15"), ns(f"{DAY}T10:45:20"), ZONE, 1e9)
    assert verdict.verdict == "mismatch"
    assert reason in verdict.reasons[0].say("en")


def test_a_short_interview_may_begin_and_end_in_one_minute() -> None:
    assert (
        compare(
            times("询问时间：2026年11月21日09时30分至09时30分"), ns(f"{DAY}T09:30:10"), ns(f"{DAY}T09:30:30"), ZONE, 0
        ).verdict
        == "match"
    )


def test_not_found_says_why() -> None:
    verdict = compare(find_times("无", ZONE), 0, SECOND_NS, ZONE, 60)
    assert (verdict.verdict, verdict.start, verdict.start_difference_s) == ("not-found", None, None)
    assert verdict.reasons[0].say("zh") == "笔录中没有找到询问的起止时间。"


# --- files


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "gb18030"])
def test_encodings(encoding: str) -> None:
    document = read_transcript("笔录.txt", FORM.encode(encoding))
    assert document.encoding == encoding.removesuffix("-sig")
    assert isinstance(times_of(document, ZONE), TranscriptTimes)


def test_utf_16_big_endian_and_line_ends_of_windows() -> None:
    document = read_transcript("笔录.txt", b"\xfe\xff" + FORM.replace("\n", "\r\n").encode("utf-16-be"))
    result = times_of(document, ZONE)
    assert isinstance(result, TranscriptTimes)
    assert result.line == 5


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("a.txt", b"", "is empty"),
        ("a.txt", " \r\n\u3000".encode(), "is empty"),
        ("a.txt", b"\xef\xbb\xbf", "is empty"),
        ("a.pdf", b"%PDF-1.7\n...", "no plain text but PDF"),
        ("笔录.docx", b"PK\x03\x04rest", "docx"),
        ("笔录.doc", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "doc"),
        ("a.rtf", b"{\\rtf1\\ansi", "RTF"),
        ("a.txt", b"text\x00with nul", "byte 4"),
        ("a.txt", "纯文本\x01".encode(), "byte 9"),
        ("a.txt", b"\xff\xfe\x00", "not readable as UTF-8"),
        ("a.txt", bytes(range(128, 256)), "not readable as UTF-8"),
        ("a.txt", "r\xe9sum\xe9 d\xe9pos\xe9".encode("latin-1"), "not readable as UTF-8"),
        ("a.txt", "詢問時間：二〇二六年，調查詢問筆錄，被詢問人陳述如下".encode("big5", "ignore"), "not readable as UTF-8"),
        ("a.txt", random.Random(1).randbytes(4000), "not readable as UTF-8"),
        ("a.txt", b" " * (LARGEST_BYTES + 1), "too large"),
        ("a.json", b"{", "not readable JSON"),
        ("a.json", b"[1]", "none of the known fields"),
        ("a.json", b'{"begin": "x"}', "none of the known fields"),
        ("a.json", b"[" * 100_000, "not readable JSON"),
        (
            "a.json",
            rb'{"interview_start": "\ud83d", "interview_end": "x"}',
            "interview_start holds what is no character: '\\ud83d'",
        ),
        ("a.txt", rb'{"text": "\u8be2\ud83d\ud83d"}', "field text holds what is no character: '\\ud83d\\ud83d'"),
    ],
)
def test_what_is_no_transcript_gets_a_clear_message(name: str, data: bytes, says: str) -> None:
    with pytest.raises(BadInput) as caught:
        read_transcript(name, data)
    assert says in caught.value.say("en")
    assert caught.value.say("zh") != caught.value.say("en")
    assert int(caught.value.exit_code) == 9


def from_json(value: object, name: str = "笔录.json") -> TranscriptTimes | NoTimes:
    return times_of(read_transcript(name, json.dumps(value, ensure_ascii=False).encode()), ZONE)


@pytest.mark.parametrize(
    "value",
    [
        {"interview_start": "2026-11-21T09:30+08:00", "interview_end": "2026-11-21T10:45+08:00"},
        {"interview_start": "2026-11-21T01:30Z", "interview_end": "2026-11-21T02:45Z", "start": "nonsense"},
        {"start": "2026-11-21 09:30", "end": "2026-11-21 10:45"},
        {"start": "2026年11月21日9时30分", "end": "10时45分"},
        {"text": "案由：测试\n询问时间：2026年11月21日09时30分至10时45分"},
    ],
)
def test_json_fields(value: object) -> None:
    result = from_json(value)
    assert isinstance(result, TranscriptTimes)
    assert (f"{result.start:%F %T}", f"{result.end:%F %T}", result.precision_s) == (f"{DAY} 09:30:00", f"{DAY} 10:45:00", 60)


def test_json_is_known_by_its_content_too() -> None:
    assert isinstance(from_json({"start": "2026-11-21 09:30:00", "end": "2026-11-21 10:45:00"}, "笔录.txt"), TranscriptTimes)
    plain = read_transcript("笔录.txt", "{ 询问时间：2026年11月21日09时30分至10时45分 }".encode())
    assert isinstance(times_of(plain, ZONE), TranscriptTimes)


def test_json_without_an_end_is_not_found() -> None:
    result = from_json({"interview_start": "2026-11-21T09:30+08:00"})
    assert isinstance(result, NoTimes)
    assert "interview_end" in result.reason.say("en")


@pytest.mark.parametrize(
    "value",
    [
        {"start": "tomorrow", "end": "2026-11-21 10:45"},
        {"start": "2026-11-21", "end": "2026-11-21 10:45"},
        {"start": "09:30", "end": "10:45"},
        {"start": 1795224605, "end": 1795224605},
        {"start": "2026-02-30 09:30", "end": "2026-11-21 10:45"},
        {"start": "2026-11-21 09:30", "end": "2026-11-21 10:45 or so"},
        {"start": "2026-11-21 09:30", "end": "2026-11-21 25:45"},
        {"text": 5},
    ],
)
def test_json_fields_that_are_no_times(value: object) -> None:
    with pytest.raises(BadInput, match="field"):
        from_json(value)
