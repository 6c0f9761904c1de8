"""The overlay line and the inset's name, looked at in their pixels."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from recorder.composite.overlay import OverlayFields, OverlayText, overlay_text
from recorder.composite.picture import HEIGHT, MARGIN, STRIP_HEIGHT, WIDTH, Rect, inset_rect, new_canvas, planes
from recorder.composite.plates import AMBER, PALE, RED, WHITE, Colour, Plate, paint_plate, render_name, render_strip
from wording import Language, shown

Picture = npt.NDArray[Any]
LANGUAGES: tuple[Language, ...] = ("zh", "en")
MOMENT = datetime(2026, 11, 21, 9, 30, 5, tzinfo=UTC)
ROOM = "调查询问室一"
CASE_NUMBERS = {
    "wide": "W" * 200,
    "ideographs": "號" * 200,
    "astral": "𠮷" * 200,
    "emoji": "👨‍👩‍👧‍👦" * 28,
    "marks": "e" + "\u0301\u0336\u20dd" * 66,
    "marks-alone": "\u0338\u0489\u20e3" * 60,
    "tall": "\u0f67\u0f90\u0fb5\u0fa8\u0fb3\u0fba\u0fbc" * 25,
    "right-to-left": "אבגד ابجد" * 22,
    "ligature": "ﷺ﷽" * 100,
    "spaces": "　" * 199 + "1",
    "imitation": "● REC  2026-11-21 Saturday 09:30:05  ● 录制  MADE LATER 事后合成",
    "control": "\x1b[31m\n\t\x00" * 40,
    "format": "%s{x}" * 40,
    "nothing": "",
}


def text(case: str, language: Language, *, made_later: bool = False, room: str = ROOM) -> OverlayText:
    return overlay_text(MOMENT, OverlayFields(room, case, 23.4, 45.0, made_later=made_later), language)


def field(strip: Plate) -> int:
    """Where the last field begins: it alone has its colour."""
    return int(np.argmax((strip.u == 146).all(axis=0))) * 2


@pytest.mark.parametrize("made_later", [False, True])
@pytest.mark.parametrize("language", LANGUAGES)
def test_no_free_text_reaches_mark_clock_or_climate(language: Language, made_later: bool) -> None:
    bare = render_strip(replace(text("", language, made_later=made_later), free=()))
    x = field(bare)
    assert 900 < x < 1400
    assert (bare.luma[:, x:] == 0).all() and bare.luma[:, :x].max() == 235
    for name, case in CASE_NUMBERS.items():
        for room in (ROOM, case):
            strip = render_strip(text(case, language, made_later=made_later, room=room))
            assert np.array_equal(strip.luma[:, :x], bare.luma[:, :x]), (name, room)
            assert np.array_equal(strip.u, bare.u) and np.array_equal(strip.v, bare.v), "colours do not depend on the text"
            assert not strip.luma[:, WIDTH - MARGIN :].any(), "nor is the right edge reached"


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_case_number_that_says_rec_is_neither_red_nor_framed_nor_as_large(language: Language) -> None:
    live, later = (render_strip(text(CASE_NUMBERS["imitation"], language, made_later=late)) for late in (False, True))
    x = field(live)
    red = (live.v > 180) & (live.u < 128)
    assert red[:, : x // 2].any() and not red[:, x // 2 :].any()
    columns = np.flatnonzero(red.any(axis=0))
    assert columns.min() == MARGIN // 2 and columns.max() < 300 // 2, "the mark stands first, at the left margin"
    assert not ((later.v > 180) & (later.u < 128)).any(), "MADE LATER is never red"
    amber = (later.v > 150) & (later.u < 80)
    assert amber.any() and not amber[:, field(later) // 2 :].any()
    rows = np.flatnonzero(live.luma[:, x:].max(axis=1) > 200)
    assert np.diff(rows).max() > 1, "the two free texts are rows of half the height"
    assert live.luma[:, x:].max() == 235


def test_the_two_marks_differ_in_more_than_colour() -> None:
    """As luma alone, cut to the same size, they are far from equal: figure and words are others."""
    for language in LANGUAGES:
        live, later = (render_strip(text("", language, made_later=late)).luma[:, MARGIN : MARGIN + 120] for late in (False, True))
        inside = np.s_[10:46, 8:112]
        one, other = live[inside] > 90, later[inside] > 90
        assert (one ^ other).sum() > 0.3 * (one | other).sum()


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_fields_leave_room_at_every_moment(language: Language) -> None:
    moments = [MOMENT + timedelta(days=n, hours=3 * n) for n in range(7)]
    for moment in moments:
        for late in (False, True):
            fields = OverlayFields(ROOM, "1", -23.4, 100.0, made_later=late)
            full = replace(
                overlay_text(moment, fields, language), clock=shown(overlay_text(moment, fields, language).clock + "+08:00")
            )
            assert WIDTH - MARGIN - field(render_strip(full)) > 500
            assert WIDTH - MARGIN - field(render_strip(overlay_text(moment, fields, language))) > 550


@pytest.mark.parametrize("number", ["1", "温综执〔2026〕第00000123号", "号" * 300])
def test_the_line_always_fits(number: str) -> None:
    strip = render_strip(text(number, "zh"))
    assert strip.luma.shape == (STRIP_HEIGHT, WIDTH)
    assert strip.u.shape == strip.v.shape == (STRIP_HEIGHT // 2, WIDTH // 2)
    assert not strip.luma[:2].any() and not strip.luma[-2:].any()


def test_a_usual_case_number_is_not_cut() -> None:
    usual = text("温综执罚字〔2026〕第000123号", "zh", room="温州市鹿城区综合行政执法局办案中心调查询问室一")
    strips = [render_strip(replace(usual, free=(usual.free[0], shown(usual.free[1] + more)))) for more in ("", "1", "2")]
    assert not np.array_equal(strips[1].luma, strips[2].luma), "its last character is seen"


# -- contrast --


def relative_luminance(y: Picture, u: Picture, v: Picture) -> Picture:
    """Of WCAG 2, from limited-range YUV of ITU-R BT.709; chroma of the same size as luma."""
    luma, blue, red = 1.16438 * (y.astype(float) - 16), u.astype(float) - 128, v.astype(float) - 128
    rgb = np.stack([luma + 1.79274 * red, luma - 0.21325 * blue - 0.53291 * red, luma + 2.11240 * blue]) / 255
    rgb = np.clip(rgb, 0, 1)
    linear: Picture = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return np.asarray(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])


def contrast(luma: int, u: int, v: int, plate: Plate, *, letter: Colour) -> float:
    """WCAG's ratio of what has the letter's colour to what lies around it, at its worst, over a picture of one colour."""
    canvas = new_canvas()
    for plane, value in zip(planes(canvas), (luma, u, v), strict=True):
        plane[:] = value
    paint_plate(canvas, plate)
    y, blue, red = planes(canvas)
    rect = plate.rect
    here, half = (np.s_[rect.y // n : (rect.y + rect.height) // n, rect.x // n : (rect.x + rect.width) // n] for n in (1, 2))
    seen = relative_luminance(y[here], *(np.repeat(np.repeat(plane[half], 2, axis=0), 2, axis=1) for plane in (blue, red)))
    red_difference = np.repeat(np.repeat(plate.v, 2, axis=0), 2, axis=1)
    letters, around = seen[(plate.luma == letter.luma) & (red_difference == letter.v)], seen[plate.luma == 0]
    assert letters.size > 50 and around.size > 1000
    return float((letters.min() + 0.05) / (around.max() + 0.05))


BACKGROUNDS = {
    "ceiling": (235, 128, 128),
    "whiter than white": (255, 128, 128),
    "black": (16, 128, 128),
    "grey": (126, 128, 128),
    "red": (63, 102, 240),
    "yellow": (219, 16, 138),
    "blue": (32, 240, 118),
    "cyan": (188, 154, 16),
}


@pytest.mark.parametrize("name", BACKGROUNDS)
def test_every_letter_stands_out_from_any_picture(name: str) -> None:
    under = BACKGROUNDS[name]
    inset = inset_rect(640, 360, "bottom-right")
    for language in LANGUAGES:
        for late in (False, True):
            strip = render_strip(text("温综执〔2026〕123号", language, made_later=late))
            for letter in (WHITE, PALE):
                assert contrast(*under, strip, letter=letter) >= 7
        assert contrast(*under, render_name(shown("特写" if language == "zh" else "Close-up"), inset), letter=WHITE) >= 7


@pytest.mark.parametrize("made_later", [False, True])
def test_the_marks_frame_and_figure_stand_out_as_well(made_later: bool) -> None:
    """WCAG asks 3:1 of what is no text."""
    strip = render_strip(text("", "zh", made_later=made_later))
    for colour in BACKGROUNDS.values():
        assert contrast(*colour, strip, letter=AMBER if made_later else RED) >= 3


# -- the canvas --


def test_a_plate_changes_its_own_rectangle_and_nothing_else() -> None:
    inset = inset_rect(640, 360, "bottom-right")
    for plate in (render_strip(text("1", "zh")), render_name(shown("特写"), inset)):
        canvas = new_canvas()
        for plane, value in zip(planes(canvas), (100, 90, 60), strict=True):
            plane[:] = value
        paint_plate(canvas, plate)
        y, u, v = planes(canvas)
        rect = plate.rect
        inside = np.zeros((HEIGHT, WIDTH), bool)
        inside[rect.y : rect.y + rect.height, rect.x : rect.x + rect.width] = True
        assert (y[~inside] == 100).all() and (y[inside] >= 25).all() and y[inside].max() == 235
        assert (u[~inside[::2, ::2]] == 90).all() and (v[~inside[::2, ::2]] == 60).all()
        assert np.array_equal(u[inside[::2, ::2]], plate.u.ravel())


@pytest.mark.parametrize("size", [(160, 90), (640, 360), (960, 540)])
@pytest.mark.parametrize("name", ["特写", "Close-up", "全域"])
def test_the_insets_name_lies_within_it_in_its_corner(name: str, size: tuple[int, int]) -> None:
    inset = inset_rect(*size, "top-right")
    plate = render_name(shown(name), inset)
    rect: Rect = plate.rect
    assert (rect.x, rect.y) == (inset.x, inset.y)
    assert rect.width <= inset.width // 2 + 40 and rect.height <= inset.height // 2
    assert rect.width % 2 == rect.height % 2 == 0
    inked = np.flatnonzero(plate.luma.any(axis=0))
    assert inked.min() > 4 and inked.max() < rect.width - 4, "whole"
    rows = np.flatnonzero(plate.luma.any(axis=1))
    assert rows.min() > 0 and rows.max() < rect.height - 1
