"""Drawing with smooth edges: shapes, soft shadows, text, seven-segment figures."""

# ruff: noqa: PLR0917  # coordinates come one after the other, as everywhere in drawing
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np

SUPER = 2  # everything is drawn this much larger and scaled down at the end
Colour = tuple[int, int, int]  # blue, green, red
Point = tuple[float, float]
Picture = np.ndarray[Any, Any]


class Canvas:
    """A picture that is drawn with coordinates of the final picture. alpha: what was drawn on, for a sprite."""

    def __init__(self, width: int, height: int, background: Colour = (0, 0, 0)) -> None:
        self.image = np.full((height * SUPER, width * SUPER, 3), background, np.uint8)
        self.alpha = np.zeros((height * SUPER, width * SUPER), np.uint8)

    @staticmethod
    def _points(points: Sequence[Point]) -> Picture:
        return np.round(np.array(points) * SUPER).astype(np.int32)

    def polygon(self, points: Sequence[Point], colour: Colour) -> None:
        for target, value in ((self.image, colour), (self.alpha, (255,))):
            cv2.fillPoly(target, [self._points(points)], value, cv2.LINE_AA)

    def curve(self, points: Sequence[Point], colour: Colour) -> None:
        """A closed shape through the points, rounded."""
        corners = np.array(points, float)
        for _ in range(4):  # Chaikin's corner cutting
            after = np.roll(corners, -1, axis=0)
            corners = np.stack([0.75 * corners + 0.25 * after, 0.25 * corners + 0.75 * after], axis=1).reshape(-1, 2)
        self.polygon([(x, y) for x, y in corners], colour)

    def box(self, x: float, y: float, width: float, height: float, colour: Colour) -> None:
        self.polygon([(x, y), (x + width, y), (x + width, y + height), (x, y + height)], colour)

    def ellipse(self, x: float, y: float, rx: float, ry: float, colour: Colour, start: float = 0, end: float = 360) -> None:
        centre, axes = (round(x * SUPER), round(y * SUPER)), (round(rx * SUPER), round(ry * SUPER))
        for target, value in ((self.image, colour), (self.alpha, (255,))):
            cv2.ellipse(target, centre, axes, 0, start, end, value, -1, cv2.LINE_AA)

    def arc(self, x: float, y: float, rx: float, ry: float, start: float, end: float, colour: Colour, width: float) -> None:
        centre, axes = (round(x * SUPER), round(y * SUPER)), (round(rx * SUPER), round(ry * SUPER))
        cv2.ellipse(self.image, centre, axes, 0, start, end, colour, max(1, round(width * SUPER)), cv2.LINE_AA)

    def line(self, a: Point, b: Point, colour: Colour, width: float = 1) -> None:
        (ax, ay), (bx, by) = self._points([a, b]).tolist()
        cv2.line(self.image, (ax, ay), (bx, by), colour, max(1, round(width * SUPER)), cv2.LINE_AA)

    def text(self, text: str, x: float, y: float, size: float, colour: Colour, weight: int = 400) -> None:
        """The text with the left end of its base line at (x, y)."""
        face = cv2.FontFace("uni")
        cv2.putText(self.image, text, (round(x * SUPER), round(y * SUPER)), colour, face, round(size * SUPER), weight)

    def shade(self, draw: Callable[["Canvas"], None], strength: float, blur: float) -> None:
        """Darkens (strength < 0: brightens) softly where draw draws, up to three times blur (pixels) around it."""
        height, width = self.alpha.shape
        mask = Canvas(width // SUPER, height // SUPER)
        draw(mask)
        x, y, w, h = cv2.boundingRect(mask.alpha)
        reach = round(3 * blur * SUPER)
        x0, y0, x1, y1 = max(0, x - reach), max(0, y - reach), min(width, x + w + reach), min(height, y + h + reach)
        hard = mask.alpha[y0:y1, x0:x1]
        small = min(1.0, 3 / (blur * SUPER))  # a wide blur is done on a small picture
        soft = cv2.resize(hard, None, fx=small, fy=small, interpolation=cv2.INTER_AREA)
        soft = cv2.resize(
            cv2.GaussianBlur(soft, (0, 0), blur * SUPER * small), (x1 - x0, y1 - y0), interpolation=cv2.INTER_LINEAR
        )
        part = self.image[y0:y1, x0:x1]
        amount = soft.astype(np.float32)[..., None] * (abs(strength) / 255)
        part[:] = (part + ((0 if strength > 0 else 255) - part.astype(np.float32)) * amount).astype(np.uint8)

    def done(self) -> Picture:
        """The finished picture, blue, green, red."""
        return cv2.resize(self.image, None, fx=1 / SUPER, fy=1 / SUPER, interpolation=cv2.INTER_AREA)

    def sprite(self) -> Picture:
        """The finished picture with its alpha, float32, colours times alpha."""
        alpha = self.alpha.astype(np.float32)[..., None] / 255
        layered = np.concatenate([self.image.astype(np.float32) * alpha, alpha], axis=2)
        return cv2.resize(layered, None, fx=1 / SUPER, fy=1 / SUPER, interpolation=cv2.INTER_AREA)


def seven_segments(canvas: Canvas, text: str, x: float, y: float, size: float, colour: Colour) -> float:
    """Digits, spaces, ``:``, ``-`` and ``.`` as light-emitting segments; (x, y) is the top left. Returns the x after the text."""
    lit = {"0": "abcdef", "1": "bc", "2": "abged", "3": "abgcd", "4": "fgbc", "5": "afgcd", "6": "afgedc", "7": "abc"}
    lit |= {"8": "abcdefg", "9": "abcdfg", "-": "g"}
    w, h, t = size * 0.52, size, size * 0.11
    bars = {
        "a": (t, 0, w - 2 * t, t),
        "g": (t, h / 2 - t / 2, w - 2 * t, t),
        "d": (t, h - t, w - 2 * t, t),
        "f": (0, t, t, h / 2 - 1.3 * t),
        "b": (w - t, t, t, h / 2 - 1.3 * t),
        "e": (0, h / 2 + 0.3 * t, t, h / 2 - 1.3 * t),
        "c": (w - t, h / 2 + 0.3 * t, t, h / 2 - 1.3 * t),
    }
    for character in text:
        if character in ":.":
            for dot in (h * 0.3, h * 0.7) if character == ":" else (h - t,):
                canvas.box(x + t * 0.4, y + dot, t, t, colour)
            x += t * 2.6
        elif character == " ":
            x += w * 0.6
        else:
            for bar in lit[character]:
                bx, by, bw, bh = bars[bar]
                canvas.box(x + bx, y + by, bw, bh, colour)
            x += w + t * 1.3
    return x
