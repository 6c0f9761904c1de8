"""Dates and times of day as people write them in Chinese and English. Pure.

``normalise`` makes one text of the many ways of typing the same thing; ``moment_at`` and ``date_at`` read at a place in it.
"""

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo

DASHES = "-‐‑‒–—―−─~〜∼"
_DIGITS = {
    c: n
    for n, row in enumerate(("零〇○◯Oo0", "一壹", "二两贰", "三叁", "四肆", "五伍", "六陆", "七柒", "八捌", "九玖"))
    for c in row
}
_TENS = {"十": 1, "拾": 1, "廿": 2, "卅": 3}


def _table() -> dict[int, str]:
    """Full-width and compatibility characters to plain ones, one to one, so that places in the text stay what they were."""
    ranges = ((0xFF01, 0xFF5E), (0x2E80, 0x2FD5), (0xF900, 0xFAD9), (0x2000, 0x200A))
    table = {c: unicodedata.normalize("NFKC", chr(c)) for low, high in ranges for c in range(low, high + 1)}
    table |= dict.fromkeys((0x00A0, 0x00AD, 0x200B, 0x200C, 0x200D, 0x200E, 0x200F, 0x202F, 0x2060, 0x3000, 0xFEFF), " ")
    table |= dict.fromkeys(map(ord, "\r\v\f\x85\u2028\u2029"), "\n")
    table |= {
        ord("時"): "时",
        ord("點"): "点",
        ord("號"): "号",
        ord("詢"): "询",
        ord("問"): "问",
        ord("間"): "间",
        ord("開"): "开",
    }
    table |= {
        ord("結"): "结",
        ord("調"): "调",
        ord("談"): "谈",
        ord("話"): "话",
        ord("筆"): "笔",
        ord("錄"): "录",
        ord("訊"): "讯",
    }
    return {c: plain for c, plain in table.items() if len(plain) == 1}


_PLAIN = _table()
_RUN = re.compile(r"[ \t_]*\n[ \t\n_]*|[ \t_]+")


@dataclass(frozen=True, slots=True)
class Normal:
    """A text in which every run of blanks and underscores is one space, or one newline where it held one."""

    text: str
    _starts: Sequence[int]
    _shifts: Sequence[int]

    def origin(self, index: int) -> int:
        """The place in the original of a place in the text."""
        return index + self._shifts[bisect_right(self._starts, index) - 1]


def normalise(original: str) -> Normal:
    """Plain digits, letters and punctuation; runs of blanks joined."""
    plain = original.replace("\r\n", " \n").translate(_PLAIN)
    out: list[str] = []
    starts, shifts = [0], [0]
    length = last = 0
    for run in _RUN.finditer(plain):
        out.append(plain[last : run.start()])
        length += run.start() - last + 1
        out.append("\n" if "\n" in run.group() else " ")
        last = run.end()
        if last - length != shifts[-1]:
            starts.append(length)
            shifts.append(last - length)
    out.append(plain[last:])
    return Normal("".join(out), starts, shifts)


def number(text: str) -> int:
    """A whole number in Arabic or Chinese figures: ``09``, ``二十三``, ``零五``, ``二〇二六``. Raises ValueError."""
    tens, unit, seen_ten = 0, 0, False
    for c in text.replace(" ", ""):
        if c in _TENS:
            if seen_ten or unit > 9:
                raise ValueError(text)
            tens, unit, seen_ten = 10 * _TENS[c] * (unit or 1), 0, True
        else:
            unit = unit * 10 + (int(c) if c.isdecimal() else _DIGITS[c])
    if seen_ten and unit > 9:
        raise ValueError(text)
    return tens + unit


G = "[ ]?"  # one space or none: normalise() leaves no more
_CN = "零〇○◯一二两三四五六七八九十廿卅壹贰叁肆伍陆柒捌玖拾"
_N = rf"(?:\d{{1,2}}|[{_CN}]{{1,4}})"
_MINUTE = rf"(?:零?{G}\d{{1,2}}|[{_CN}]{{1,4}})"
# A minute without 分. One Chinese figure by itself is none (九点五 may mean half past nine), and it must end where it seems to.
_BARE_MINUTE = rf"""
(?:零?{G}\d{{1,2}}|[{_CN}]{{2,3}}|[十拾廿卅])
(?!{G}[\d{_CN}年月日号时点:])(?!\n[\d{_CN}]{{1,4}}{G}[分至到止])
(?=$|[^\w.]|\.(?!\d)|[至到止许左起开始结终完在于由对询调谈地被记]|to\b|until\b|till\b|Z\b|UTC|GMT|CST)
"""
# What would be cut off if the moment ended with its hour: figures, or 分 with nothing or anything else before it. Behind a blank
# another date, time or number may begin.
_UNREAD = rf"""
(?: [过差又]?(?:[\d{_CN}]|[Oo][\d{_CN}])
  | [ ][过差又]?(?!\d{{4}}|[\d{_CN}]{{1,4}}{G}[年月日号时点:楼室页次])(?:[\d{_CN}]|[Oo][\d{_CN}])
  | \n[\d{_CN}]{{1,4}}{G}[分至到止]
  | \n?[^年月日号时点至到止:\n]{{0,4}}分(?=$|\W|[至到止许左起])
  | [:.]\d )
"""
_DATE = rf"""
(?:
  (?: (?: (?P<year>(?<!\d)\d{{4}}|[0Oo{_CN}]{{4}}){G}年{G} | 同年{G} )?
      (?P<month>(?<!\d){_N}){G}月{G}(?P<day>{_N}){G}[日号] )
 |(?: (?<![\d.])(?P<iso_year>\d{{4}}){G}(?P<sep>[-/.‐‑–]){G}(?P<iso_month>\d{{1,2}}){G}(?P=sep){G}(?P<iso_day>\d{{1,2}})(?!\d) )
 |(?P<day_word>次日|翌日|隔日|次晨|第二天|第二日|当日|当天|同日|同天|本日)
 |(?: (?<!\d)(?P<only_day>{_N}){G}[日号] )
)
(?: {G}\(?{G}(?:星期|周|礼拜){G}[一二三四五六日天]{G}\)? )?
"""
_PERIODS = "上午|下午|中午|凌晨|清晨|早晨|早上|傍晚|晚上|晚间|夜间|夜里|深夜|午夜|晚|早"
_TIME = rf"""
(?:北京时间{G})?
(?P<period>{_PERIODS}|[AaPp]\.?[Mm]\.?(?={G}\d))?{G}
(?:
  (?P<hour>(?<!\d){_N}){G}[时点]钟?
  (?: {G}[整正] | {G}(?P<half>半) | {G}(?P<quarter>[一三]){G}刻
    | {G}(?P<minute>{_MINUTE}){G}分(?:{G}(?P<second>{_MINUTE}){G}秒)?(?:{G}整)?
    | {G}(?P<bare_minute>{_BARE_MINUTE}) | (?P<unread>{_UNREAD}) )?
 |(?<!\d)(?<!\d[:.])(?P<clock_hour>\d{{1,2}}){G}:{G}(?P<clock_minute>\d{{2}})
  (?:{G}:{G}(?P<clock_second>\d{{2}})(?:[.,]\d{{1,9}})?)?(?![\d:])(?:{G}(?P<ampm>[AaPp]\.?[Mm]\b\.?))?
)
(?P<offset>Z\b|\+\d{{2}}(?::?\d{{2}})?(?!\d)|{G}\(?(?:UTC|GMT|CST)(?:{G}[+-]\d{{1,2}}(?::?\d{{2}})?)?(?!\d)\)?)?
"""
MOMENT = re.compile(rf"(?:{_DATE}(?:{G},?{G}|T))?{_TIME}", re.VERBOSE)
DATE = re.compile(_DATE, re.VERBOSE)
# Finds where a moment with a full date may stand, quickly.
FULL_DATE = re.compile(rf"(?<!\d)\d{{4}}(?={G}(?:年|[-/.‐‑–]{G}\d))|[0Oo{_CN}]{{4}}(?={G}年)")


@dataclass(frozen=True, slots=True)
class Day:
    """The date part: None where the text leaves it open. next_day: 次日 and its like; same_day: 当日 and its like."""

    year: int | None = None
    month: int | None = None
    day: int | None = None
    next_day: bool = False
    same_day: bool = False

    @property
    def empty(self) -> bool:
        """Whether the text gives no part of a date."""
        return self == Day()


@dataclass(frozen=True, slots=True)
class Moment:
    """A time of day with what the text says of its date.

    begin, end: places in the normalised text. second: None where not written. half: "am", "pm", or "" where not said.
    midnight: it is twelve at night (晚上12时30分): hour is 0, of the day after the evening.
    """

    begin: int
    end: int
    day: Day
    hour: int
    minute: int
    second: int | None
    half: str
    offset: timedelta | None
    midnight: bool = False

    @property
    def precision_s(self) -> int:
        return 60 if self.second is None else 1


def _day(match: re.Match[str]) -> Day:
    get = match.group
    if get("iso_year"):
        return Day(int(get("iso_year")), int(get("iso_month")), int(get("iso_day")))
    if get("month"):
        return Day(number(get("year")) if get("year") else None, number(get("month")), number(get("day")))
    if get("only_day"):
        return Day(day=number(get("only_day")))
    word = get("day_word")
    return Day(
        next_day=word in ("次日", "翌日", "隔日", "次晨", "第二天", "第二日"),
        same_day=word in ("当日", "当天", "同日", "同天", "本日"),
    )


def _half(period: str, hour: int) -> tuple[str, int]:
    """Half of the day and hour of 24 for a word before the hour and the hour as written; 24 for twelve at night."""
    first = period[:1].lower()
    if first == "p" or period in ("下午", "傍晚"):
        return "pm", hour + 12 if 1 <= hour < 12 else hour
    if period in ("晚上", "晚间", "晚", "夜间", "夜里", "深夜", "午夜"):
        return ("pm", hour + 12) if 5 <= hour <= 12 else ("am" if hour < 5 else "", hour)
    if period == "中午":
        return "pm", hour + 12 if 1 <= hour < 5 else hour
    if first == "a" or period == "凌晨":
        return "am", 0 if hour == 12 else hour
    return "am" if period else "", hour


def _offset(text: str | None) -> timedelta | None:
    if not text:
        return None
    found = re.search(r"([+-])(\d{1,2}):?(\d{2})?", text)
    if found is None:
        return timedelta(hours=8) if "CST" in text else timedelta(0)
    size = timedelta(hours=int(found.group(2)), minutes=int(found.group(3) or 0))
    return -size if found.group(1) == "-" else size


class Unreadable(ValueError):
    """What follows a time's hour is no minute. begin, end: places in the normalised text."""

    def __init__(self, begin: int, end: int) -> None:
        super().__init__(begin, end)
        self.begin, self.end = begin, end


def moment_at(text: str, place: int) -> Moment | None:
    """The moment that begins exactly at the place of the normalised text.

    Raises ValueError where its figures are no numbers, Unreadable where what follows the hour is no minute: a moment is never
    cut short.
    """
    match = MOMENT.match(text, place)
    if match is None:
        return None
    get = match.group
    if get("unread"):
        raise Unreadable(match.start(), min(match.end("unread") + 6, len(text)))
    second: int | None = None
    if get("clock_hour"):
        hour, minute = int(get("clock_hour")), int(get("clock_minute"))
        second = int(get("clock_second")) if get("clock_second") else None
    else:
        hour = number(get("hour"))
        written = get("minute") or get("bare_minute")
        minute = (
            number(written.replace(" ", ""))
            if written
            else 30
            if get("half")
            else {"一": 15, "三": 45}.get(get("quarter") or "", 0)
        )
        second = number(get("second").replace(" ", "")) if get("second") else None
    half, of_24 = _half(get("period") or get("ampm") or "", hour)
    midnight = of_24 == 24 and hour == 12
    offset = _offset(get("offset"))
    return Moment(match.start(), match.end(), _day(match), 0 if midnight else of_24, minute, second, half, offset, midnight)


def date_at(text: str, place: int) -> date | None:
    """The full date that begins exactly at the place of the normalised text; None where there is none or it does not exist."""
    match = DATE.match(text, place)
    try:
        day = _day(match) if match else Day()
        return date(day.year, day.month, day.day) if day.year and day.month and day.day else None
    except ValueError:
        return None


def _on(day: date, moment: Moment, zone: tzinfo) -> datetime:
    """The instant. Raises ValueError where there is no such time."""
    if (moment.hour, moment.minute, moment.second or 0) == (24, 0, 0):
        day, hour = day + timedelta(days=1), 0
    else:
        hour = moment.hour
    where = zone if moment.offset is None else timezone(moment.offset) if moment.offset else UTC
    return datetime(day.year, day.month, day.day, hour, moment.minute, moment.second or 0, tzinfo=where).astimezone(zone)


def begin_of(moment: Moment, fallback: date | None, zone: tzinfo) -> datetime | None:
    """The instant of a moment that stands for itself; None where its date is open. Raises ValueError where it does not exist.

    Twelve at night belongs to the evening of its date: 21日晚上12时30分 is 00:30 on the 22nd, as 21日24时 is 00:00 on the 22nd.
    """
    day, later = moment.day, timedelta(days=moment.midnight)
    if day.year is not None and day.month is not None and day.day is not None:
        return _on(date(day.year, day.month, day.day) + later, moment, zone)
    if fallback is None or day.next_day or not (day.empty or day.same_day):
        return None
    return _on(fallback + later, moment, zone)


LONGEST = timedelta(hours=12)  # an end that is written without a date belongs to the next day only within this


def end_of(moment: Moment, start: datetime, first: Moment, zone: tzinfo) -> datetime:
    """The instant of an end that leaves out what its start says: the date, or the half of the day.

    The half that the start names holds for an end on the start's date, written out or not, that would else lie before the start:
    下午2时30分至4时10分 ends at 16:10. Without such a word nothing is added to the hour.
    An end at twelve at night is the first one that its date allows, not before the start: after 21日23时, both 21日晚上12时30分
    and 次日晚上12时30分 are 00:30 on the 22nd, since a day more would make an interview of more than 24 hours.

    Raises ValueError where it does not exist.
    """
    base = start.astimezone(zone).date()
    if first.hour == 24 or first.midnight:
        base -= timedelta(days=1)
    day = _end_day(moment.day, base)
    end = _on(day, moment, zone)
    if moment.midnight:
        return end if end >= start else _on(day + timedelta(days=1), moment, zone)
    if end < start and day == base and not moment.half and first.half == "pm":
        end = _on_same_half(end, moment, start, first)
    if end < start and moment.day.empty and end + timedelta(days=1) - start <= LONGEST:
        end += timedelta(days=1)
    return end


def _end_day(day: Day, base: date) -> date:
    """The date of an end; base: of its start, as written. Raises ValueError where it does not exist."""
    if day.day is None:
        return base + timedelta(days=day.next_day)
    month, year = day.month or base.month, day.year or base.year
    if day.month is None and day.day < base.day:
        month, year = (1, year + 1) if month == 12 else (month + 1, year)
    elif day.year is None and month < base.month:
        year += 1
    return date(year, month, day.day)


def _on_same_half(end: datetime, moment: Moment, start: datetime, first: Moment) -> datetime:
    """The end in the half of the day that its start names, where that is after the start; twelve is midnight after an evening."""
    later = end + timedelta(hours=12)
    evening = (first.hour > 12 or first.midnight) and moment.day.empty
    return later if later > start and (moment.hour < 12 or (evening and moment.hour == 12)) else end
