"""Texts in a picture: OpenCV's own font, and for what it lacks the first installed font that has it."""

import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import groupby
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from recorder.composite.fonts import FontFile, installed

OWN = "uni"  # the name that OpenCV gives its font of Chinese and Latin letters
NORMAL = 400
REMEMBERED = 5000  # characters, of which it is known where they are

Mask = npt.NDArray[np.uint8]
Point = tuple[int, int]


class Letters:
    """Measures and draws texts. One thread at a time: a face remembers the size that it drew last.

    OpenCV looks in its own three fonts and draws ``?`` where they lack a character. Such a character is looked for in the
    installed font files; where no file has it either, ``?`` stays.
    """

    def __init__(self, fonts: Sequence[Path] | None = None) -> None:
        """fonts: the files to look in, in their order; None: all that are installed. They are read when one is needed first."""
        self._fonts = fonts
        self._files: list[FontFile] | None = None
        self._faces: dict[str, cv2.FontFace] = {}
        self._homes: dict[str, str | None] = {}

    def lacking(self, text: str) -> str:
        """The characters of the text that cannot be drawn, each once, in their order."""
        return "".join(c for c in dict.fromkeys(text) if self._home(c) is None)

    def width(self, text: str, size: int, weight: int = NORMAL) -> int:
        """How many pixels wide the text is drawn. size: pixels from the base line to the top of a letter, about."""
        return sum(cv2.getTextSize((0, 0), run, (0, 0), face, size, weight)[2] for face, run in self._runs(text))

    def draw(self, mask: Mask, text: str, at: Point, size: int, *, weight: int = NORMAL, luma: int = 255) -> int:
        """Draws the text with the left end of its base line there, cut off at the mask's edges. Gives the x behind it."""
        x, y = at
        for face, run in self._runs(text):
            (x, _), _ = cv2.putText(mask, run, (x, y), (luma,), face, size, weight)
        return x

    def fitted(self, text: str, room: int, size: int) -> str:
        """The text, or as much of its beginning as is at most room pixels wide with … behind it."""
        if self.width(text, size) <= room:
            return text
        shortest, longest = 0, len(text) - 1
        while shortest < longest:
            middle = (shortest + longest + 1) // 2
            if self.width(text[:middle] + "…", size) <= room:
                shortest = middle
            else:
                longest = middle - 1
        return text[:shortest] + "…"

    def _runs(self, text: str) -> Iterator[tuple[cv2.FontFace, str]]:
        for home, characters in groupby(text, key=lambda c: self._home(c) or OWN):
            yield self._face(home), "".join(characters)

    def _face(self, home: str) -> cv2.FontFace:
        if home == OWN:
            return cv2.FontFace(OWN)  # OpenCV keeps one for each thread
        if home not in self._faces:
            self._faces[home] = cv2.FontFace(home)
        return self._faces[home]

    def _home(self, character: str) -> str | None:
        """The face that draws the character: OWN, or a file's path; None where none does."""
        if character not in self._homes:
            if len(self._homes) >= REMEMBERED:
                self._homes.clear()
            self._homes[character] = next(self._drawing(character), None)
        return self._homes[character]

    def _drawing(self, character: str) -> Iterator[str]:
        if _draws(cv2.FontFace(OWN), character):
            yield OWN
            return
        if self._files is None:
            self._files = [FontFile(path) for path in (installed() if self._fonts is None else self._fonts)]
        for file in self._files:
            if file.has(character) and _draws(self._face(str(file.path)), character):
                yield str(file.path)


def _draws(face: cv2.FontFace, character: str) -> bool:
    """Whether the face, or OpenCV's own fonts, draw the character: not as ``?``, and not as nothing unless it is a space."""
    if character == "?":
        return True
    drawn = _drawn(face, character)
    return bool(drawn.any() or unicodedata.category(character) == "Zs") and not np.array_equal(drawn, _drawn(face, "?"))


def _drawn(face: cv2.FontFace, character: str) -> Mask:
    mask = np.zeros((64, 96), np.uint8)
    cv2.putText(mask, character, (32, 44), (255,), face, 24, NORMAL)
    return mask


@cache
def letters() -> Letters:
    """Those of this process."""
    return Letters()
