"""The composite picture: where things stand, and how it is put together in planar YUV 4:2:0. Pure.

A canvas is a uint8 array of shape (1620, 1920): 1080 rows of luma, then both chroma planes as libav lays them out in one buffer.
"""

from dataclasses import dataclass
from typing import Any, Literal

import av
import cv2
import numpy as np
import numpy.typing as npt

from recorder.composite.letters import letters
from wording import Shown

WIDTH, HEIGHT = 1920, 1080
STRIP_HEIGHT = 56
MARGIN = 24
NEUTRAL = 128
BOLD = 600

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


def render_tile(title: Shown, detail: Shown, rect: Rect) -> Plane:
    """Luma of a tile that stands for a lost camera, shape (rect.height, rect.width)."""
    tile = np.full((rect.height, rect.width), 40, np.uint8)
    cv2.rectangle(tile, (2, 2), (rect.width - 3, rect.height - 3), (160,), 4)
    scale = max(20, rect.width // 24)
    for line, y in ((title, rect.height // 2 - scale // 2), (detail, rect.height // 2 + scale)):
        width = letters().width(line, scale, BOLD)
        letters().draw(tile, line, (max(8, (rect.width - width) // 2), y), scale, weight=BOLD, luma=235)
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
