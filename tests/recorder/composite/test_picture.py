"""The composite picture, looked at in its pixels."""

import av
import pytest

from recorder.composite.picture import (
    FULL,
    HEIGHT,
    STRIP_HEIGHT,
    WIDTH,
    Rect,
    Scaled,
    fit_size,
    inset_rect,
    new_canvas,
    paint_border,
    paint_tile,
    planes,
    render_tile,
)
from wording import shown


def grey(width: int, height: int, luma: int, pixel_format: str = "yuv420p") -> av.VideoFrame:
    frame = av.VideoFrame(width, height, pixel_format)
    for index, plane in enumerate(frame.planes):
        plane.update(bytes([luma if index == 0 else 90]) * plane.buffer_size)
    return frame


@pytest.mark.parametrize("corner", ["top-left", "top-right", "bottom-left", "bottom-right"])
def test_the_inset_is_inside_the_picture_and_clear_of_the_line(corner: str) -> None:
    rect = inset_rect(640, 360, corner)  # type: ignore[arg-type]
    assert rect.y >= STRIP_HEIGHT + 2
    assert 0 < rect.x < rect.x + rect.width < WIDTH
    assert rect.y + rect.height < HEIGHT
    assert rect.x % 2 == rect.y % 2 == 0


def test_both_pictures_stand_where_they_belong() -> None:
    canvas = new_canvas()
    rect = inset_rect(640, 360, "bottom-right")
    Scaled(grey(1920, 1080, 100), FULL).paint(canvas)
    Scaled(grey(640, 360, 200), rect).paint(canvas)
    paint_border(canvas, rect)
    luma, u, v = planes(canvas)
    assert luma[500, 500] == 100
    assert (luma[rect.y : rect.y + rect.height, rect.x : rect.x + rect.width] == 200).all()
    assert (u == 90).sum() > u.size * 0.95
    assert (v == 90).sum() > v.size * 0.95


def test_another_shape_is_fitted_with_bars() -> None:
    canvas = new_canvas()
    Scaled(grey(1280, 960, 150), FULL).paint(canvas)
    luma, _, _ = planes(canvas)
    assert luma[500, 10] == 16
    assert luma[500, 960] == pytest.approx(150, abs=2)
    assert fit_size(1280, 960, FULL) == (1440, 1080)
    assert fit_size(2560, 1440, Rect(0, 0, 640, 360)) == (640, 360)


def test_a_full_range_picture_is_brought_to_the_composite_s_range() -> None:
    canvas = new_canvas()
    Scaled(grey(1920, 1080, 255, "yuvj420p"), FULL).paint(canvas)
    assert planes(canvas)[0][500, 500] == pytest.approx(235, abs=2)


def test_a_lost_camera_is_a_marked_tile() -> None:
    canvas = new_canvas()
    rect = inset_rect(640, 360, "bottom-right")
    paint_tile(canvas, render_tile(shown("特写：无画面"), shown("已持续 00:00:07"), rect), rect)
    luma, u, _ = planes(canvas)
    tile = luma[rect.y : rect.y + rect.height, rect.x : rect.x + rect.width]
    assert (tile == 40).mean() > 0.8
    assert (tile > 200).any(), "it says so"
    assert u[(rect.y + 20) // 2, (rect.x + 20) // 2] == 128
