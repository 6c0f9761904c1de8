"""The composite picture: where things stand, what the overlay says, and how it is put together in planar YUV 4:2:0. Pure.

A canvas is a uint8 array of shape (1620, 1920): 1080 rows of luma, then both chroma planes as libav lays them out in one buffer.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import av
import cv2
import numpy as np
import numpy.typing as npt

from wording import Language, Shown, say, shown
from wording.border import joined

WIDTH, HEIGHT = 1920, 1080
STRIP_HEIGHT = 56
MARGIN = 24
TEXT_SIZE, TEXT_SMALLEST = 34, 18
NEUTRAL = 128
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

Plane = npt.NDArray[np.uint8]
Corner = Literal["top-left", "top-right", "bottom-left", "bottom-right"]


@dataclass(frozen=True, slots=True)
class Rect:
    """A rectangle of even coordinates, pixels from the top left."""

    x: int
    y: int
    width: int
    height: int


FULL = Rect(0, 0, WIDTH, HEIGHT)


def inset_rect(width: int, height: int, corner: Corner) -> Rect:
    """Where the inset stands: in its corner, clear of the overlay line."""
    x = MARGIN if corner.endswith("left") else WIDTH - MARGIN - width
    y = STRIP_HEIGHT + MARGIN if corner.startswith("top") else HEIGHT - MARGIN - height
    return Rect(x & ~1, y & ~1, width, height)


@dataclass(frozen=True, slots=True)
class OverlayFields:
    """What the overlay line says besides the time. None: no fresh reading (shown as --.-). made_later: not composed live."""

    room: str
    case_number: str
    temperature_c: float | None
    humidity_pct: float | None
    made_later: bool = False


def overlay_text(moment: datetime, fields: OverlayFields, language: Language) -> Shown:
    """Date, weekday, time to the second, temperature, humidity, room, case number, REC or MADE LATER (W-6.2.2.4.6)."""
    weekday = say(WEEKDAYS[moment.weekday()], language)
    date = f"{moment:%Y}年{moment:%m}月{moment:%d}日 {weekday}" if language == "zh" else f"{moment:%Y-%m-%d} {weekday}"
    temperature = "--.-" if fields.temperature_c is None else f"{fields.temperature_c:.1f}"
    humidity = "--.-" if fields.humidity_pct is None else f"{fields.humidity_pct:.1f}"
    parts = [f"{date} {moment:%H:%M:%S}{_offset(moment)}", f"{temperature}°C", f"{humidity}%RH", fields.room]
    if fields.case_number:
        parts.append(say("overlay-case", language, number=fields.case_number))
    return joined("  ", [*map(shown, parts), say("made-later-mark" if fields.made_later else "recording-mark", language)])


def _offset(moment: datetime) -> str:
    """The offset from UTC in the hour that a day has twice, at the end of summer time; else nothing."""
    twice = moment.replace(fold=0).utcoffset() != moment.replace(fold=1).utcoffset()
    return moment.isoformat(timespec="seconds")[19:] if twice else ""


def render_line(text: Shown, width: int = WIDTH, height: int = STRIP_HEIGHT) -> Plane:
    """White text on black, shape (height, width); smaller where it would not fit, then cut with …"""
    face = cv2.FontFace("uni")
    size = TEXT_SIZE

    def length(line: str, at: int) -> int:
        return int(cv2.getTextSize((0, 0), line, (0, 0), face, at, 400)[2])

    room = width - 2 * MARGIN
    while size > TEXT_SMALLEST and length(text, size) > room:
        size -= 2
    while len(text) > 1 and length(text, size) > room:
        text = Shown(text.removesuffix("…")[:-1] + "…")
    mask = np.zeros((height, width), np.uint8)
    cv2.putText(mask, text, (MARGIN, height - (height - size) // 2 - size // 6), (255,), face, size, 400)
    return mask


def render_tile(title: Shown, detail: Shown, rect: Rect) -> Plane:
    """Luma of a tile that stands for a lost camera, shape (rect.height, rect.width)."""
    tile = np.full((rect.height, rect.width), 40, np.uint8)
    cv2.rectangle(tile, (2, 2), (rect.width - 3, rect.height - 3), (160,), 4)
    face = cv2.FontFace("uni")
    scale = max(20, rect.width // 24)
    for line, y in ((title, rect.height // 2 - scale // 2), (detail, rect.height // 2 + scale)):
        width = int(cv2.getTextSize((0, 0), line, (0, 0), face, scale, 600)[2])
        cv2.putText(tile, line, (max(8, (rect.width - width) // 2), y), (235,), face, scale, 600)
    return tile


def fit_size(width: int, height: int, rect: Rect) -> tuple[int, int]:
    """The largest even size of a picture's shape within the rectangle."""
    scale = min(rect.width / width, rect.height / height)
    return max(2, round(width * scale) & ~1), max(2, round(height * scale) & ~1)


def planes(canvas: Plane) -> tuple[Plane, Plane, Plane]:
    """Views of a canvas: luma (1080, 1920), two chroma planes (540, 960)."""
    chroma = canvas[HEIGHT:].reshape(2, HEIGHT // 2, WIDTH // 2)
    return canvas[:HEIGHT], chroma[0], chroma[1]


def new_canvas() -> Plane:
    """A black picture in the composite's size, YUV 4:2:0."""
    canvas = np.full((HEIGHT * 3 // 2, WIDTH), NEUTRAL, np.uint8)
    canvas[:HEIGHT] = 16
    return canvas


class Scaled:
    """A decoded picture brought to a rectangle's size once, and copied into as many canvases as show it."""

    def __init__(self, frame: av.VideoFrame, rect: Rect) -> None:
        size = fit_size(frame.width, frame.height, rect)
        if frame.format.name != "yuv420p" or (frame.width, frame.height) != size:
            frame = frame.reformat(width=size[0], height=size[1], format="yuv420p", interpolation="FAST_BILINEAR")
        self._frame = frame  # its planes are views of its memory
        self._rect = rect
        self._planes = [plane_view(p, size[0] >> (i > 0), size[1] >> (i > 0)) for i, p in enumerate(frame.planes)]

    def paint(self, canvas: Plane) -> None:
        """Into its rectangle, centred; bars stay black."""
        rect = self._rect
        height, width = self._planes[0].shape
        x, y = rect.x + ((rect.width - width) // 2 & ~1), rect.y + ((rect.height - height) // 2 & ~1)
        if (width, height) != (rect.width, rect.height):
            paint_tile(canvas, np.full((rect.height, rect.width), 16, np.uint8), rect)
        for index, (target, source) in enumerate(zip(planes(canvas), self._planes, strict=True)):
            shift = int(index > 0)
            rows, columns = source.shape
            target[y >> shift : (y >> shift) + rows, x >> shift : (x >> shift) + columns] = source


def plane_view(plane: Any, width: int, height: int) -> Plane:
    """A numpy view of a libav plane without its padding, shape (height, width)."""
    return np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[:height, :width]


def paint_tile(canvas: Plane, luma: Plane, rect: Rect) -> None:
    """A grey picture into a rectangle."""
    y, u, v = planes(canvas)
    y[rect.y : rect.y + rect.height, rect.x : rect.x + rect.width] = luma
    half = np.s_[rect.y // 2 : (rect.y + rect.height) // 2, rect.x // 2 : (rect.x + rect.width) // 2]
    u[half] = v[half] = NEUTRAL


def paint_border(canvas: Plane, rect: Rect, width: int = 2) -> None:
    """A light frame round a rectangle."""
    y, u, v = planes(canvas)
    top, bottom, left, right = rect.y - width, rect.y + rect.height + width, rect.x - width, rect.x + rect.width + width
    for rows, columns in ((slice(top, rect.y), slice(left, right)), (slice(bottom - width, bottom), slice(left, right))):
        y[rows, columns] = 200
    for columns in (slice(left, rect.x), slice(right - width, right)):
        y[top:bottom, columns] = 200
    for plane in (u, v):
        plane[top // 2 : rect.y // 2, left // 2 : right // 2] = NEUTRAL
        plane[(bottom - width) // 2 : bottom // 2, left // 2 : right // 2] = NEUTRAL


def paint_line(canvas: Plane, mask: Plane) -> None:
    """The overlay line over a darkened strip at the top."""
    y, u, v = planes(canvas)
    strip = y[:STRIP_HEIGHT]
    np.right_shift(strip, 1, out=strip)
    np.maximum(strip, mask, out=strip)
    u[: STRIP_HEIGHT // 2] = NEUTRAL
    v[: STRIP_HEIGHT // 2] = NEUTRAL
