"""Labels of times in a transcript, and what stands behind them. Pure; works on normalised text (recorder.transcript.moments)."""

import re
from dataclasses import dataclass
from datetime import date

from recorder.transcript.moments import DASHES, FULL_DATE, G, Moment, Unreadable, date_at, moment_at


def _any(*words: str) -> str:
    """One of the words, with a space or none between their characters: forms are often typed 询 问 时 间."""
    return "(?:" + "|".join(G.join(word) for word in words) + ")"


_HAN = "\u4e00-\u9fff"
_NO = rf"第{G}[\d一二三四五六七八九十]{{1,3}}{G}次"
_NTH = rf"(?:{_NO}{G}|{_any('本次', '此次')}{G})?"
_REMARK = rf"(?:{G}\([^()\n]{{0,20}}\))?"
_ABOUT = (
    rf"{_NTH}{_any('调查询问', '询问调查', '询问', '调查', '问话', '谈话', '讯问', '约谈', '笔录制作', '笔录')}"
    rf"(?:{G}[(/]{G}{_any('询问', '调查', '谈话', '问话')}{G}\)?)?{G}的?{G}"
)
_WORD = _any("调查询问", "询问", "调查", "谈话")
_BOTH = _any("起止", "起讫")
_TIME = rf"(?:{_any('日期')}{G}[及和与、/]?{G})?{_any('时间段', '时间', '时刻')}"
_FIRST, _LAST = _any("开始", "起始", "起"), _any("结束", "终止", "截止", "完毕", "止")
_COLON = rf"(?={_REMARK}[ *|]{{0,3}}:)"
_EN = r"(?:interview|questioning)"
_EN_FIRST, _EN_LAST = r"(?:start(?:ed|s)?|beg[aiu]n(?:s|ning)?|from)", r"(?:end(?:ed|s)?|finish(?:ed)?|stop(?:ped)?|until|to)"
_EN_TIME = r"(?:date\ and\ time|period|times?)"
_AT = r"(?:\ (?:time|at))?"

LABEL = re.compile(
    rf"""
  (?<![{_HAN}])(?:
     (?P<first3>{_ABOUT}{_FIRST}{G}{_TIME} | {_ABOUT}{_TIME}{G}\({G}{_FIRST}{G}\) | {_ABOUT}{_FIRST}{_COLON})
    |(?P<last3>{_ABOUT}{_LAST}{G}{_TIME} | {_ABOUT}{_TIME}{G}\({G}{_LAST}{G}\) | {_ABOUT}{_LAST}{_COLON})
    |(?P<span3>{_ABOUT}{_BOTH}?{G}{_TIME} | {_BOTH}{G}{_TIME} | {_NO}{_COLON} | {_NO}{G}{_WORD}{_COLON})
    |(?P<first2>{_FIRST}{G}{_TIME} | {_FIRST}{_COLON})
    |(?P<last2>{_LAST}{G}{_TIME} | {_LAST}{_COLON})
    |(?P<day3>{_ABOUT}{_any("日期")})
    |(?P<span2>{_TIME})
    |(?P<day2>{_any("日期")}{_COLON})
  )
 |(?<![A-Za-z])(?:
     (?P<efirst3>{_EN}\ {_EN_FIRST}{_AT}{_COLON} | {_EN_FIRST}\ (?:time\ )?of\ (?:the\ )?{_EN}{_COLON})
    |(?P<elast3>{_EN}\ {_EN_LAST}{_AT}{_COLON} | {_EN_LAST}\ (?:time\ )?of\ (?:the\ )?{_EN}{_COLON})
    |(?P<eday3>{_EN}\ date{_COLON} | date\ of\ (?:the\ )?{_EN}{_COLON})
    |(?P<espan3>{_EN}(?:\ {_EN_TIME})?{_COLON} | {_EN_TIME}\ of\ (?:the\ )?{_EN}{_COLON})
    |(?P<efirst2>{_EN_FIRST}{_AT}{_COLON})
    |(?P<elast2>{_EN_LAST}{_AT}{_COLON})
    |(?P<espan2>(?<![A-Za-z]\ )(?:date\ and\ time|time|period){_COLON})
    |(?P<eday2>(?<![A-Za-z]\ )date{_COLON})
  )
""",
    re.VERBOSE | re.IGNORECASE,
)
# What may stand between a label and its time.
TAIL = re.compile(rf"{_REMARK}[ \n*|:]{{0,6}}(?:自|从|于|由|from\b)?[ :]{{0,2}}(?:起[ :]{{0,2}}(?=\d))?", re.IGNORECASE)
_THEN = r"(?:许|左右)?[ \n]?(?:起|开始|始)?[ \n]?[,;、]?[ \n]?"
TO = re.compile(rf"[ \n]?{_THEN}(?:至|到|止于|止|[{re.escape(DASHES)}]{{1,4}}|to\b|until\b|till\b)[ \n]?:?[ \n]?", re.IGNORECASE)
AND_ENDED = re.compile(r"[ \n]?(?:起|开始|始)[ ,;、\n]{1,3}")
ENDED = re.compile(rf"{G}(?:结束|终止|止|完)")
SPOKEN = re.compile(rf"(?:问|答|[QA])\d{{0,3}}{G}[:.、]")
OTHER_LABEL = re.compile(r"(?:时间|日期|期间|time|date) ?(?:\([^()\n]{0,20}\))?[ :]{0,3}$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class StatedSpan:
    """A start and an end as they stand in the text; places: of the words to quote, as (begin, end)."""

    first: Moment
    last: Moment
    places: tuple[tuple[int, int], ...]


@dataclass(slots=True)
class Found:
    """What stands behind the labels, by kind and strength; places in the normalised text."""

    spans: dict[int, list[StatedSpan]]
    firsts: dict[int, list[tuple[int, Moment]]]
    lasts: dict[int, list[tuple[int, Moment]]]
    alone: list[tuple[int, Moment]]  # a start alone behind a label of the interview
    days: dict[int, list[date]]
    unreadable: dict[int, tuple[int, int]]  # by the first group of find_times that it would have been part of
    impossible: tuple[int, int] | None = None
    labelled: bool = False


def _spoken(text: str, place: int) -> bool:
    nearby = max(0, place - 2000)
    return SPOKEN.match(text, max(text.rfind("\n", nearby, place) + 1, nearby)) is not None


def _second(text: str, place: int) -> Moment | None:
    """The end of a span whose start ends at the place."""
    if to := TO.match(text, place):
        return moment_at(text, to.end())
    if to := AND_ENDED.match(text, place):
        last = moment_at(text, to.end())
        return last if last and ENDED.match(text, last.end) else None
    return None


def collect(text: str) -> Found:
    """Everything that stands behind a label, in order."""
    found = Found({3: [], 2: []}, {3: [], 2: []}, {3: [], 2: []}, [], {3: [], 2: []}, {})
    for label in LABEL.finditer(text):
        kind = (label.lastgroup or "").removeprefix("e")
        if _spoken(text, label.start()):
            continue
        word, strength = kind[:-1], int(kind[-1])
        found.labelled |= strength == 3
        tail = TAIL.match(text, label.end())
        place = tail.end() if tail else label.end()
        try:
            first = moment_at(text, place)
            last = _second(text, first.end) if first and word == "span" else None
        except Unreadable as error:
            if word != "day":
                group = 0 if strength == 3 else 1 if word in ("first", "last") else 2
                found.unreadable.setdefault(group, (label.start(), error.end))
            continue
        except ValueError:
            found.impossible = found.impossible or (label.start(), min(place + 40, len(text)))
            continue
        if first is None:
            if word in ("span", "day") and (day := date_at(text, place)):
                found.days[strength].append(day)
        elif last is not None:
            found.spans[strength].append(StatedSpan(first, last, ((label.start(), last.end),)))
        elif word == "first":
            found.firsts[strength].append((label.start(), first))
        elif word == "last":
            found.lasts[strength].append((label.start(), first))
        elif word == "span" and strength == 3:
            found.alone.append((label.start(), first))
    return found


def pairs(firsts: list[tuple[int, Moment]], lasts: list[tuple[int, Moment]]) -> list[StatedSpan]:
    """Each start with the end of its rank; where there are more of one kind, its last ones go with the other's last."""
    if not firsts or not lasts:
        return []
    spans = []
    for n in range(max(len(firsts), len(lasts))):
        begin, first = firsts[min(n, len(firsts) - 1)]
        other, last = lasts[min(n, len(lasts) - 1)]
        spans.append(StatedSpan(first, last, ((begin, first.end), (other, last.end))))
    return spans


def unlabelled(text: str) -> list[StatedSpan]:
    """Spans with their full date before the first spoken line, unless a label of another kind stands before them.

    Raises Unreadable where such a span's end is.
    """
    spoken = re.search(rf"(?:^|\n){SPOKEN.pattern}", text)
    spans = []
    for start in FULL_DATE.finditer(text, 0, spoken.start() if spoken else len(text)):
        if OTHER_LABEL.search(text[max(0, start.start() - 40) : start.start()]):
            continue
        try:
            first = moment_at(text, start.start())
        except ValueError:
            continue
        try:
            last = _second(text, first.end) if first else None
        except Unreadable as error:
            raise Unreadable(start.start(), error.end) from error
        except ValueError:
            continue
        if first and last:
            spans.append(StatedSpan(first, last, ((first.begin, last.end),)))
    return spans


def only_day(days: dict[int, list[date]]) -> date | None:
    """The one date behind the strongest labels; None where there are several."""
    for strength in (3, 2):
        if different := set(days[strength]):
            return different.pop() if len(different) == 1 else None
    return None
