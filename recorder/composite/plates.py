"""The texts that stand in the picture, each on a darkened plate: the overlay line in its strip, and the inset's name.

The strip has four fields, from left to right: the mark, date and time, temperature and humidity, and what people chose, which is
the room's name and the case number. What people chose is drawn into a picture of its own that is as large as its field, so
nothing of it can stand elsewhere, whatever characters it holds. It is smaller than the rest and of another colour; the mark alone
has a frame and a figure.

Colours are YUV as libav takes them, 16 black to 235 white, of ITU-R BT.709.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from recorder.composite.letters import letters
from recorder.composite.overlay import OverlayText
from recorder.composite.picture import MARGIN, NEUTRAL, STRIP_HEIGHT, WIDTH, Plane, Rect, planes
from wording import Shown

DARKER = 2  # bits: under a plate a quarter of the luma is left, and white letters on a white ceiling still have more than 7:1
TEXT_SIZE = 34
FREE_SIZE, FREE_SMALLEST = 22, 18
GAP, PADDING, FRAME = 28, 10, 4
FIGURE = 22  # width and height of the mark's figure
STRIP = Rect(0, 0, WIDTH, STRIP_HEIGHT)


class Colour(NamedTuple):
    """Luma and both chroma values, 0 to 255."""

    luma: int
    u: int
    v: int


BLACK, WHITE = Colour(0, NEUTRAL, NEUTRAL), Colour(235, NEUTRAL, NEUTRAL)
RED, AMBER = Colour(106, 109, 212), Colour(171, 42, 170)
PALE = Colour(235, 146, 96)  # a light blue
LINE = Colour(110, NEUTRAL, NEUTRAL)


@dataclass(frozen=True, slots=True, eq=False)
class Plate:
    """A rectangle of even coordinates with its letters: luma of shape (height, width), 0 where there are none; u and v of half
    that height and width.
    """

    rect: Rect
    luma: Plane
    u: Plane
    v: Plane

    @classmethod
    def empty(cls, rect: Rect) -> "Plate":
        """One without letters."""
        half = (rect.height // 2, rect.width // 2)
        u, v = (np.full(half, NEUTRAL, np.uint8) for _ in range(2))
        return cls(rect, np.zeros((rect.height, rect.width), np.uint8), u, v)

    def fill(self, rect: Rect, colour: Colour) -> None:
        """A box of one colour; even coordinates from the plate's own top left."""
        self.luma[rect.y : rect.y + rect.height, rect.x : rect.x + rect.width] = colour.luma
        self.tint(rect, colour)

    def tint(self, rect: Rect, colour: Colour) -> None:
        """The colour of a box, its luma as it is."""
        half = np.s_[rect.y // 2 : (rect.y + rect.height) // 2, rect.x // 2 : (rect.x + rect.width) // 2]
        self.u[half], self.v[half] = colour.u, colour.v

    def stamp(self, x: int, y: int, shape: Plane, colour: Colour) -> None:
        """A shape of even size, 0 to 255, in one colour, with its top left at even coordinates."""
        height, width = shape.shape
        self.luma[y : y + height, x : x + width] = np.round(shape * (colour.luma / 255)).astype(np.uint8)
        coloured = shape.reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3)) > 127
        half = np.s_[y // 2 : (y + height) // 2, x // 2 : (x + width) // 2]
        self.u[half][coloured], self.v[half][coloured] = colour.u, colour.v


def paint_plate(canvas: Plane, plate: Plate) -> None:
    """Darkens what lies under the plate and writes its letters on it."""
    y, u, v = planes(canvas)
    rect = plate.rect
    under = y[rect.y : rect.y + rect.height, rect.x : rect.x + rect.width]
    np.right_shift(under, DARKER, out=under)
    np.maximum(under, plate.luma, out=under)
    half = np.s_[rect.y // 2 : (rect.y + rect.height) // 2, rect.x // 2 : (rect.x + rect.width) // 2]
    u[half], v[half] = plate.u, plate.v


def render_strip(text: OverlayText) -> Plate:
    """The overlay line."""
    strip = Plate.empty(STRIP)
    baseline = _baseline(STRIP_HEIGHT, TEXT_SIZE)
    x = _mark(strip, text, baseline) + GAP
    for field in (text.clock, text.climate):
        x = letters().draw(strip.luma, field, (x, baseline), TEXT_SIZE, luma=WHITE.luma) + GAP
    _free(strip, text.free, (x + 1) & ~1)
    return strip


def _baseline(height: int, size: int) -> int:
    return height - (height - size) // 2 - size // 6


def _mark(strip: Plate, text: OverlayText, baseline: int) -> int:
    """The mark in its frame: a disc with REC, a triangle with MADE LATER. Gives the x behind it."""
    words, colour = text.mark.removeprefix("● "), AMBER if text.made_later else RED  # the disc is drawn, not written
    left, top = MARGIN, FRAME
    begin = left + FRAME + PADDING + FIGURE + PADDING
    width = (begin + letters().width(words, TEXT_SIZE) + PADDING + FRAME - left + 1) & ~1
    strip.fill(Rect(left, top, width, STRIP_HEIGHT - 2 * top), colour)
    strip.fill(Rect(left + FRAME, top + FRAME, width - 2 * FRAME, STRIP_HEIGHT - 2 * (top + FRAME)), BLACK)
    strip.stamp(left + FRAME + PADDING, (STRIP_HEIGHT - FIGURE) // 2 & ~1, _figure(disc=not text.made_later), colour)
    letters().draw(strip.luma, words, (begin, baseline), TEXT_SIZE, luma=WHITE.luma)
    return left + width


def _figure(*, disc: bool) -> Plane:
    """A disc, or a triangle on its base, FIGURE wide and high."""
    shape = np.zeros((FIGURE, FIGURE), np.uint8)
    if disc:
        cv2.circle(shape, (FIGURE // 2, FIGURE // 2), FIGURE // 2 - 1, (255,), -1, cv2.LINE_AA)
    else:
        corners = [(0, FIGURE - 2), (FIGURE - 1, FIGURE - 2), (FIGURE // 2, 1)]
        cv2.fillPoly(shape, [np.array(corners, np.int32)], (255,), cv2.LINE_AA)
    return shape


def _free(strip: Plate, rows: Sequence[Shown], x: int) -> None:
    """The last field, from x to the margin: each text a row of its own, cut with … where it is too long even when it is small."""
    strip.fill(Rect(x, 2 * FRAME, 2, STRIP_HEIGHT - 4 * FRAME), LINE)
    x += GAP // 2 & ~1
    width, height = (WIDTH - MARGIN - x) & ~1, STRIP_HEIGHT // max(1, len(rows))
    strip.tint(Rect(x, 0, WIDTH - x, STRIP_HEIGHT), PALE)
    for number, text in enumerate(rows):
        size = FREE_SIZE
        while size > FREE_SMALLEST and letters().width(text, size) > width:
            size -= 2
        row = np.zeros((height, width), np.uint8)
        letters().draw(row, letters().fitted(text, width, size), (0, _baseline(height, size)), size, luma=PALE.luma)
        strip.luma[number * height : (number + 1) * height, x : x + width] = row


def render_name(name: Shown, inset: Rect) -> Plate:
    """What the inset shows, in its top left corner."""
    size = max(18, inset.width // 24)
    width = min(letters().width(name, size) + 2 * PADDING, inset.width) & ~1
    height = min(size + 2 * PADDING, inset.height) + 1 & ~1
    plate = Plate.empty(Rect(inset.x, inset.y, width, height))
    letters().draw(plate.luma, name, (PADDING, _baseline(height, size)), size, luma=WHITE.luma)
    return plate
