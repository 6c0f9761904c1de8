"""Instants, lengths and differences as a person reads them, one form each.

A template of the catalogue asks for a form by name: ``{start:instant}``, ``{seconds:length}``, ``{offset:difference}``.
"""

import math
import re
from collections.abc import Callable, Mapping
from datetime import datetime, tzinfo

from wording.border import Shown, shown
from wording.language import Language

TO_THE_MINUTE = re.compile(r"[0-9-]{10}.[0-9]{2}:[0-9]{2}([+-][0-9:]{5}|Z)?")


def instant(moment: datetime, language: Language) -> Shown:
    """``2026年11月30日 07:12:55``, in English ``2026-11-30 07:12:55``: in the zone that the moment carries."""
    if language == "zh":
        return Shown(f"{moment.year}年{moment.month:02d}月{moment.day:02d}日 {moment:%H:%M:%S}")
    return Shown(f"{moment:%Y-%m-%d %H:%M:%S}")


def instant_of(value: object, language: Language) -> Shown:
    """The same of RFC 3339 text, by its own offset and without seconds where the text has none; any other text as it is."""
    told = _of_text(instant, value, language)
    return Shown(told[:-3]) if TO_THE_MINUTE.fullmatch(str(value)) else told


def day(moment: datetime, language: Language) -> Shown:
    """``2026年11月30日``, in English ``2026-11-30``."""
    return Shown(instant(moment, language).split(" ")[0])


def length(seconds: float, language: Language) -> Shown:
    """``1小时02分05秒``, in English ``1 h 02 min 05 s``.

    Below ten seconds a fraction keeps one digit: ``0.4秒``. Whole seconds have none: ``8秒``.
    """
    sign, seconds = "-" if round(seconds, 1) < 0 else "", abs(seconds)
    if isinstance(seconds, float) and round(seconds, 1) < 10:
        return Shown(f"{sign}{seconds:.1f}秒" if language == "zh" else f"{sign}{seconds:.1f} s")
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [(hours, "小时", " h "), (minutes, "分", " min "), (rest, "秒", " s")]
    while len(parts) > 1 and parts[0][0] == 0:
        del parts[0]
    first, *others = parts
    unit = 1 if language == "zh" else 2
    return Shown(f"{sign}{first[0]}{first[unit]}" + "".join(f"{part[0]:02d}{part[unit]}" for part in others))


def difference(seconds: float, language: Language) -> Shown:
    """A clock against its reference: ``快1小时00分00秒``, in English ``1 h 00 min 00 s fast``; below a second in milliseconds."""
    milliseconds = round(abs(seconds) * 1000)
    if milliseconds == 0:
        return Shown("无偏差" if language == "zh" else "no difference")
    if milliseconds < 1000:
        said = Shown(f"{milliseconds}毫秒" if language == "zh" else f"{milliseconds} ms")
    else:
        said = length(abs(seconds), language)
    if language == "zh":
        return Shown(f"{'快' if seconds >= 0 else '慢'}{said}")
    return Shown(f"{said} {'fast' if seconds >= 0 else 'slow'}")


def in_zone(value: object, zone: tzinfo) -> str:
    """RFC 3339 text of another offset, such as UTC, with the offset of the zone; any other text as it is."""
    try:
        moment = datetime.fromisoformat(str(value))
        return str(value) if moment.tzinfo is None else moment.astimezone(zone).isoformat()
    except (ValueError, OverflowError):
        return str(value)


def _of_number(form: Callable[[float, Language], Shown], value: object, language: Language) -> Shown:
    """The form of a number, also of one that is written as text. Raises ValueError where it is none, or not finite."""
    try:
        number = value if isinstance(value, (int, float)) else float(str(value))
        finite = math.isfinite(number)
    except OverflowError as error:  # a whole number beyond all floats
        raise ValueError from error
    if not finite:
        raise ValueError
    return form(number, language)


def _of_text(form: Callable[[datetime, Language], Shown], value: object, language: Language) -> Shown:
    """The form of RFC 3339 text; any other text as it is."""
    try:
        return form(datetime.fromisoformat(str(value)), language)
    except ValueError:
        return shown(value)


FORMS: Mapping[str, Callable[[object, Language], Shown]] = {
    "instant": instant_of,
    "day": lambda value, language: _of_text(day, value, language),
    "length": lambda value, language: _of_number(length, value, language),
    "difference": lambda value, language: _of_number(difference, value, language),
}
