"""Whether something that looks like writing stands still under the overlay line. Pure: pictures in, a finding out.

A camera draws its own date and name into the picture before it sends it. Such a line of letters differs from what a lens sees in
this, and all of it is asked for:

- it does not move: all of it holds in every one of the pictures, which somebody who walks by does not do;
- its strokes are thin, and their edges are sharp and of high contrast: each of their points is much lighter, or much darker, than
  some point REACH pixels away. A lamp has no such points within, and plaster and cloth are softer;
- it falls into signs of about the size of letters, of one colour, several in a straight row, close together;
- the signs differ in shape, also from the second next and the third: what repeats its shapes is a blind, a grille, tiles or a
  pattern;
- few other pieces of that size stand above and below the row: where they are all over the place, it is a texture.

So a sign on the wall looks like writing as well, since it is. Writing that is faint, or a few letters alone, is not found.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.selfcheck.judge import Luma
from recorder.composite.picture import FULL, HEIGHT, STRIP_HEIGHT, fit_size

# Sizes are pixels of the composite, 1920×1080, to which the pictures are brought first.
REACH = 4
CONTRAST = 70  # of 255
LEVELS = (100, 130, 160, 185, 205, 220)  # letters are lighter than one of these; dark letters are looked for in the negative
SHARP = 0.8  # the share of a sign's points that have the contrast
LOWEST, HIGHEST, WIDEST = 9, 64, 80  # of one sign
SIGNS = 8  # so many make a line of writing
TALLER = 2.2  # the taller of two neighbours is at most so many times as tall as the other
APART = 1.3  # of the taller one's height: the distance of neighbours
STRAIGHT = 1.8  # of its tallest sign's height: how high a line is in all
ONE_COLOUR = 22  # standard deviation of the signs' luma
ALIKE, FARTHEST = (
    0.7,
    4,
)  # the share of ink that two signs have in common, where they are one shape; so far apart they are compared
STRANGERS = 0.5  # signs that are in no such row, for each that is
MOST = 600  # pieces of such size of one level: no writing has so many
SHAPE = (12, 16)  # width and height to which signs are brought to be compared


@dataclass(frozen=True, slots=True)
class Writing:
    """A line of signs. left, right: where it begins and ends, as shares of the picture's width."""

    signs: int
    left: float
    right: float


@dataclass(frozen=True, slots=True, eq=False)
class _Sign:
    """One connected piece of ink: its box, its colour, its shape of the size SHAPE."""

    x: int
    y: int
    width: int
    height: int
    luma: float
    shape: NDArray[np.bool_]


def found_under_strip(lumas: Sequence[Luma]) -> Writing | None:
    """The longest line of writing that reaches into the overlay line's strip; None where there is none. lumas: one size."""
    height, width = lumas[0].shape
    shown_width, shown_height = fit_size(width, height, FULL)
    covered = STRIP_HEIGHT - ((HEIGHT - shown_height) // 2 & ~1)  # rows of the shown picture; above a wide one is a bar
    if covered <= 0 or any(luma.shape != (height, width) for luma in lumas):
        return None
    looked_at = min(covered + HIGHEST, shown_height)  # a letter that begins under the strip is seen whole
    rows = round(looked_at * height / shown_height)
    way = cv2.INTER_AREA if width > shown_width else cv2.INTER_LINEAR
    size = (shown_width, looked_at)
    tops = [cv2.resize(luma[:rows], size, interpolation=way).astype(np.uint8, copy=False) for luma in lumas]
    longest = max((line for line in _lines(tops) if any(sign.y < covered for sign in line)), key=len, default=None)
    if longest is None:
        return None
    return Writing(len(longest), longest[0].x / shown_width, (longest[-1].x + longest[-1].width) / shown_width)


def _lines(tops: Sequence[Luma]) -> Iterator[list[_Sign]]:
    """What looks like writing, light and dark."""
    around = cv2.getStructuringElement(cv2.MORPH_RECT, (2 * REACH + 1, 2 * REACH + 1))
    for pictures in (tops, [255 - top for top in tops]):
        still = np.min(pictures, axis=0)
        sharp = np.min([cv2.subtract(one, cv2.erode(one, around)) for one in pictures], axis=0) > CONTRAST
        for level in LEVELS:
            yield from _written(_rows(_signs(still, still > level, sharp)))


def _written(rows: Sequence[list[_Sign]]) -> Iterator[list[_Sign]]:
    """The rows that may be writing, where little else is above and below them."""
    written = [row for row in rows if _is_writing(row)]
    strangers = [sign for row in rows if row not in written for sign in row] if written else []
    for row in written:
        left, right = row[0].x, row[-1].x + row[-1].width
        if sum(left <= sign.x < right for sign in strangers) <= STRANGERS * len(row):
            yield row


def _signs(still: Luma, ink: NDArray[np.bool_], sharp: NDArray[np.bool_]) -> list[_Sign]:
    """Pieces of ink of about the size of letters, and as sharp, by their left edge."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(ink.astype(np.uint8), connectivity=8)
    _, tops, widths, heights, _ = stats.T
    fits = (heights >= LOWEST) & (heights <= HIGHEST) & (widths <= WIDEST) & (tops + heights < len(ink))
    numbers = [int(number) for number in np.flatnonzero(fits) if number > 0]  # 0 is what is no ink
    found = []
    for number in numbers if len(numbers) <= MOST else ():
        x, y, width, height, area = (int(value) for value in stats[number])
        box = np.s_[y : y + height, x : x + width]
        piece = labels[box] == number
        if np.count_nonzero(sharp[box] & piece) < SHARP * area:
            continue
        shape = cv2.resize(piece.astype(np.uint8) * 255, SHAPE, interpolation=cv2.INTER_AREA) > 127
        found.append(_Sign(x, y, width, height, float(np.percentile(still[box][piece], 80)), shape))
    return sorted(found, key=lambda sign: sign.x)


def _rows(signs: Sequence[_Sign]) -> list[list[_Sign]]:
    """Signs that stand beside one another, from left to right."""
    rows: list[list[_Sign]] = []
    for sign in signs:
        home = next((row for row in rows if _follows(row[-1], sign)), None)
        if home is None:
            rows.append([sign])
        else:
            home.append(sign)
    return rows


def _follows(sign: _Sign, other: _Sign) -> bool:
    """Whether the other one may stand right of the first in the same line."""
    taller, lower = max(sign.height, other.height), min(sign.height, other.height)
    shared = min(sign.y + sign.height, other.y + other.height) - max(sign.y, other.y)
    distance = other.x - (sign.x + sign.width)
    return taller <= TALLER * lower and 2 * shared >= lower and -taller / 2 <= distance <= APART * taller


def _is_writing(line: Sequence[_Sign]) -> bool:
    """Enough signs, in a straight row, of one colour, and of different shapes."""
    if len(line) < SIGNS:
        return False
    extent = max(sign.y + sign.height for sign in line) - min(sign.y for sign in line)
    if extent > STRAIGHT * max(sign.height for sign in line) or np.std([sign.luma for sign in line]) > ONE_COLOUR:
        return False
    return max(_repeats(line, apart) for apart in range(1, FARTHEST + 1)) <= ALIKE


def _repeats(line: Sequence[_Sign], apart: int) -> float:
    """How alike the signs are to those so many places farther on, 0 to 1."""
    return float(np.median([_alike(a, b) for a, b in zip(line, line[apart:], strict=False)]))


def _alike(sign: _Sign, other: _Sign) -> float:
    """The ink that both have, as a share of what either has, when both are brought to one size."""
    either = np.count_nonzero(sign.shape | other.shape)
    return np.count_nonzero(sign.shape & other.shape) / either if either else 1.0
