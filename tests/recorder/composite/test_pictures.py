"""The picture of one instant: which plates stand where, in whose language."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from recorder.clock.instants import SECOND_NS
from recorder.composite.inputs import VideoInput
from recorder.composite.overlay import OverlayFields, overlay_text
from recorder.composite.picture import FULL, STRIP_HEIGHT, Plane, inset_rect, new_canvas, planes
from recorder.composite.pictures import Pictures
from recorder.composite.plates import render_name, render_strip
from recorder.composite.settings import ComposerSettings
from tests.recorder.later_session import settings
from wording import Language, shown

MOMENT = datetime(2026, 11, 21, 9, 30, 5, tzinfo=UTC)
FIELDS = OverlayFields("调查询问室一", "温综执〔2026〕1号", 23.4, 45.0)


def composed(room: ComposerSettings) -> Plane:
    """A picture of two cameras that never delivered."""
    rect = inset_rect(room.inset_width, room.inset_height, room.inset_corner)
    pictures = Pictures(room, VideoInput(room.main, FULL), VideoInput(room.inset, rect), rect)
    canvas = new_canvas()
    pictures.compose(canvas, 5 * SECOND_NS, 0, MOMENT, FIELDS)
    return canvas


@pytest.mark.parametrize(("language", "name"), [("zh", "特写"), ("en", "Close-up")])
def test_the_inset_bears_its_name_in_the_rooms_language(tmp_path: Path, language: Language, name: str) -> None:
    room = replace(settings(tmp_path), language=language)
    luma, u, _ = planes(composed(room))
    plate = render_name(shown(name), inset_rect(room.inset_width, room.inset_height, room.inset_corner))
    rect = plate.rect
    there = luma[rect.y : rect.y + rect.height, rect.x : rect.x + rect.width]
    assert np.array_equal(there == 235, plate.luma == 235)
    assert there[plate.luma == 0].max() <= 40, "on dark ground"
    strip = render_strip(overlay_text(MOMENT, FIELDS, language))
    assert np.array_equal(luma[:STRIP_HEIGHT] == 235, strip.luma == 235)
    assert np.array_equal(u[: STRIP_HEIGHT // 2], strip.u)


def test_the_name_is_the_inset_cameras(tmp_path: Path) -> None:
    room = settings(tmp_path)
    swapped = replace(room, main=room.inset, inset=room.main)
    one, other = (composed(each) for each in (room, swapped))
    rect = render_name(shown("全域"), inset_rect(room.inset_width, room.inset_height, room.inset_corner)).rect
    area = np.s_[rect.y : rect.y + rect.height, rect.x : rect.x + rect.width]
    assert not np.array_equal(planes(one)[0][area], planes(other)[0][area])
