"""What the overlay line says. Pure, and light: the command line asks it before it loads a library that draws."""

from dataclasses import dataclass
from datetime import datetime

from wording import Language, Shown, say, shown
from wording.border import joined

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
PUNCTUATION = frozenset("〔〕（）【】《》“”‘’、，。：；！？·—…－／№　")


@dataclass(frozen=True, slots=True)
class OverlayFields:
    """What the overlay line says besides the time. None: no fresh reading (shown as --.-). made_later: not composed live."""

    room: str
    case_number: str
    temperature_c: float | None
    humidity_pct: float | None
    made_later: bool = False


@dataclass(frozen=True, slots=True)
class OverlayText:
    """The overlay line's fields, as they stand from left to right.

    mark: REC or MADE LATER. clock: date, weekday and time. climate: temperature and humidity. free: texts that people chose, the
    room's name and the case number; each is a row of the last field.
    """

    mark: Shown
    made_later: bool
    clock: Shown
    climate: Shown
    free: tuple[Shown, ...]


def overlay_text(moment: datetime, fields: OverlayFields, language: Language) -> OverlayText:
    """REC or MADE LATER, date, weekday, time to the second, temperature, humidity, room, case number (W-6.2.2.4.6)."""
    weekday = say(WEEKDAYS[moment.weekday()], language)
    date = f"{moment:%Y}年{moment:%m}月{moment:%d}日 {weekday}" if language == "zh" else f"{moment:%Y-%m-%d} {weekday}"
    temperature = "--.-" if fields.temperature_c is None else f"{fields.temperature_c:.1f}"
    humidity = "--.-" if fields.humidity_pct is None else f"{fields.humidity_pct:.1f}"
    free = [shown(fields.room)]
    if fields.case_number:
        free.append(say("overlay-case", language, number=fields.case_number))
    return OverlayText(
        say("made-later-mark" if fields.made_later else "recording-mark", language),
        fields.made_later,
        shown(f"{date} {moment:%H:%M:%S}{_offset(moment)}"),
        joined("  ", (shown(f"{temperature}°C"), shown(f"{humidity}%RH"))),
        tuple(free),
    )


def _offset(moment: datetime) -> str:
    """The offset from UTC in the hour that a day has twice, at the end of summer time; else nothing."""
    twice = moment.replace(fold=0).utcoffset() != moment.replace(fold=1).utcoffset()
    return moment.isoformat(timespec="seconds")[19:] if twice else ""


def surely_drawn(text: str) -> bool:
    """Whether OpenCV's own font has each character, as far as that is known without asking it.

    Known are ASCII, the ideographs U+4E00 to U+9FA5 (all of GB 2312 and GBK), and the usual Chinese punctuation.
    """
    return all(" " <= c <= "~" or "\u4e00" <= c <= "\u9fa5" or c in PUNCTUATION for c in text)


def code_point(character: str) -> str:
    """The character as Unicode names it, ``U+20BB7``."""
    return f"U+{ord(character):04X}"
