"""Writing of the camera's own under the overlay line, in drawn pictures that went through an encoder as a camera's do."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import av
import cv2
import numpy as np
import pytest

from agent.config.model import Config
from agent.selfcheck.check import Scene
from agent.selfcheck.checks import overlay_letters, overlay_place
from agent.selfcheck.judge import Luma
from agent.selfcheck.runner import CHECKS
from agent.selfcheck.samples import NothingArrivesError
from agent.selfcheck.writing import found_under_strip
from tests.agent.selfcheck_samples import config
from wording.sentence import Sentence

WIDTH, HEIGHT = 1920, 1080
TOP = 160  # rows that are drawn and encoded; the rest of each picture is grey
PICTURES = 3

Picture = np.ndarray
Draw = Callable[[Picture, int], None]  # into the top of picture n, in place


def ceiling() -> Picture:
    """A white ceiling, darker towards the corners, and a part of the wall below it."""
    x, y = np.meshgrid(np.linspace(-1, 1, WIDTH), np.arange(TOP))
    picture = 205 - 45 * x**2 - 0.05 * y
    picture[100:] -= 25
    return picture


NOISE = np.random.default_rng(7).normal(0, 3, (TOP, WIDTH + 64))


def filmed(
    draw: Draw, *, size: tuple[int, int] = (WIDTH, HEIGHT), base: Callable[[], Picture] = ceiling, crf: int = 27
) -> list[Luma]:
    """The pictures as a camera delivers them: noisy, then drawn on by ``draw``, then encoded. size: brought to it at the end."""
    encoder, decoder = av.CodecContext.create("libx264", "w"), av.CodecContext.create("h264", "r")
    assert isinstance(encoder, av.VideoCodecContext) and isinstance(decoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = WIDTH, TOP, "yuv420p", Fraction(1, 25)
    encoder.options = {"crf": str(crf), "preset": "ultrafast", "tune": "zerolatency"}
    background = base()
    packets: list[av.Packet[Any]] = []
    for n in range(PICTURES):
        seen = np.clip(background + NOISE[:, 16 * n : 16 * n + WIDTH], 16, 235).astype(np.uint8)
        draw(seen, n)
        frame = av.VideoFrame.from_ndarray(np.vstack([seen, np.full((TOP // 2, WIDTH), 128, np.uint8)]), format="yuv420p")
        frame.pts = n
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    frames = [frame for packet in packets for frame in decoder.decode(packet)] + decoder.decode(None)
    assert len(frames) == PICTURES
    rest = np.full((HEIGHT - TOP, WIDTH), 120, np.uint8)
    whole = [np.vstack([frame.to_ndarray(format="yuv420p")[:TOP], rest]).astype(np.uint8) for frame in frames]
    return [cv2.resize(one, size, interpolation=cv2.INTER_AREA).astype(np.uint8) for one in whole]


def osd(text: str, x: int, y: int, height: int, *, luma: int = 235, outline: int | None = 16, font: str = "uni") -> Draw:
    """The camera's own text, its base line's left end at (x, y); ``{n}`` is the second."""

    def draw(picture: Picture, n: int) -> None:
        written = text.format(n=n)
        if outline is not None:
            for dx, dy in ((-1, -1), (-1, 1), (1, -1), (1, 1), (0, 2), (0, -2), (2, 0), (-2, 0)):
                cv2.putText(picture, written, (x + dx, y + dy), (outline,), cv2.FontFace(font), height, 400)
        cv2.putText(picture, written, (x, y), (luma,), cv2.FontFace(font), height, 400)

    return draw


def hershey(picture: Picture, n: int) -> None:
    for colour, weight in ((16, 8), (235, 3)):
        cv2.putText(picture, f"2026-11-21 09:30:0{n}", (24, 44), cv2.FONT_HERSHEY_SIMPLEX, 1.1, (colour,), weight, cv2.LINE_AA)


def both(one: Draw, other: Draw) -> Draw:
    def draw(picture: Picture, n: int) -> None:
        one(picture, n)
        other(picture, n)

    return draw


def passer_by(picture: Picture, n: int) -> None:
    """Somebody tall in a chequered shirt walks through."""
    x = 300 + 130 * n
    cv2.ellipse(picture, (x + 60, 20), (50, 60), 0, 0, 360, (60,), -1)
    for row in range(8):
        for column in range(10):
            cv2.rectangle(picture, (x + 14 * column, 60 + 14 * row), (x + 14 * column + 7, 67 + 14 * row), (220,), -1)


CLOCK = "2026-11-21 09:30:0{n}"
WRITTEN: dict[str, tuple[Draw, float]] = {  # and where it begins, as a share of the width
    "date, top left": (osd(CLOCK, 24, 44, 32), 24 / WIDTH),
    "date, top right": (osd(CLOCK, 1480, 44, 36), 1480 / WIDTH),
    "date, small": (osd(CLOCK, 40, 30, 20), 40 / WIDTH),
    "date, large, half of it below the strip": (osd(CLOCK, 40, 88, 60), 40 / WIDTH),
    "date, without an outline": (osd(CLOCK, 24, 44, 32, outline=None, luma=16), 24 / WIDTH),
    "date, black with white": (osd(CLOCK, 24, 44, 32, luma=16, outline=235), 24 / WIDTH),
    "date with Chinese weekday": (osd("2026年11月21日 星期六 09:30:0{n}", 24, 46, 34), 24 / WIDTH),
    "the camera's Chinese name": (osd("温州市办案中心调查询问室一全域摄像机", 1100, 44, 34), 1100 / WIDTH),
    "a font of lines": (hershey, 24 / WIDTH),
    "date and name in two lines": (both(osd(CLOCK, 24, 34, 26), osd("温州办案中心全域", 24, 66, 26)), 24 / WIDTH),
    "date, with somebody who walks by": (both(passer_by, osd(CLOCK, 600, 44, 32)), 600 / WIDTH),
    "the camera's English name": (osd("Camera 01 overview", 1500, 40, 30, font="sans"), 1500 / WIDTH),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_the_cameras_own_text_is_found(name: str) -> None:
    draw, left = WRITTEN[name]
    found = found_under_strip(filmed(draw))
    assert found is not None
    assert found.signs >= 8
    assert found.left == pytest.approx(left, abs=0.12)
    assert found.left < found.right <= 1


@pytest.mark.parametrize("size", [(1280, 720), (2560, 1440), (3840, 2160), (704, 576)])
def test_it_is_found_in_pictures_of_any_size(size: tuple[int, int]) -> None:
    found = found_under_strip(filmed(osd(CLOCK, 24, 46, 40), size=size))
    assert found is not None and found.left == pytest.approx(0.0125, abs=0.02)


def test_it_is_found_in_a_coarse_encoding() -> None:
    assert found_under_strip(filmed(osd(CLOCK, 24, 46, 40), crf=36)) is not None


@pytest.mark.parametrize("name", ["rough plaster", "bricks", "a vertical blind", "folders on a shelf"])
def test_it_is_found_on_what_is_no_plain_ceiling(name: str) -> None:
    found = found_under_strip(filmed(osd(CLOCK, 600, 44, 32), base=UNWRITTEN[name][0]))
    assert found is not None and found.left == pytest.approx(600 / WIDTH, abs=0.02)


def nothing(_: Picture, __: int) -> None:
    """Just the ceiling."""


def textured() -> Picture:
    """Rough plaster in raking light."""
    grain = cv2.GaussianBlur(np.random.default_rng(3).normal(0, 1, (TOP, WIDTH)), (0, 0), 3)
    return np.asarray(140 + 45 * grain / grain.std())


def wallpaper() -> Picture:
    """The same leaf again and again, dark on light."""
    leaf = np.zeros((40, 40), np.uint8)
    cv2.ellipse(leaf, (20, 20), (16, 6), 35, 0, 360, (255,), 3, cv2.LINE_AA)
    cv2.line(leaf, (8, 12), (32, 28), (255,), 2, cv2.LINE_AA)
    return 200 - 0.5 * np.tile(leaf, (TOP // 40 + 1, WIDTH // 40))[:TOP].astype(float)


def bricks() -> Picture:
    picture = np.full((TOP, WIDTH), 110.0)
    for row, y in enumerate(range(0, TOP, 28)):
        picture[y : y + 4] = 190
        for x in range(row % 2 * 40, WIDTH, 80):
            picture[y : y + 28, x : x + 4] = 190
    return cv2.GaussianBlur(picture, (0, 0), 1)


def terrazzo() -> Picture:
    """Dark chips of stone, each of another shape, all over."""
    picture, random = np.full((TOP, WIDTH), 200.0), np.random.default_rng(1)
    for _ in range(600):
        angles = np.sort(random.uniform(0, 2 * np.pi, int(random.integers(4, 8))))
        corners = np.stack([np.cos(angles), np.sin(angles)], axis=1) * random.uniform(5, 12, (len(angles), 1))
        cv2.fillPoly(picture, [np.round(corners + random.uniform((0, 0), (WIDTH, TOP))).astype(np.int32)], (60.0,), cv2.LINE_AA)
    return cv2.GaussianBlur(picture, (0, 0), 0.7)


def foliage() -> Picture:
    """Light and shadow without any grey between them."""
    grain = cv2.GaussianBlur(np.random.default_rng(1).normal(0, 1, (TOP, WIDTH)), (0, 0), 1.5)
    return cv2.GaussianBlur(np.where(grain > 0, 200.0, 50.0), (0, 0), 0.8)


def horizontal_blind() -> Picture:
    """Slats with the light between them, and their cords."""
    picture = ceiling()
    for y in range(0, TOP, 18):
        picture[y : y + 5, 500:1400] = 235
    for x in range(500, 1400, 150):
        picture[:, x : x + 3] = 90
    return cv2.GaussianBlur(picture, (0, 0), 0.8)


def vertical_blind() -> Picture:
    picture = ceiling()
    for x in range(500, 1400, 24):
        picture[:, x : x + 8] = 235
        picture[:, x + 8 : x + 11] = 60
    return cv2.GaussianBlur(picture, (0, 0), 0.8)


def louvre_lamp() -> Picture:
    """A lamp behind a grille of small cells."""
    picture = ceiling()
    picture[10:70, 600:1200] = 90
    for y in range(12, 66, 18):
        for x in range(604, 1194, 22):
            picture[y : y + 14, x : x + 18] = 235
    return cv2.GaussianBlur(picture, (0, 0), 1)


def tiles() -> Picture:
    """Ceiling panels with holes in rows, and their joints."""
    picture = ceiling()
    for y in range(4, TOP, 16):
        for x in range(4, WIDTH, 16):
            cv2.circle(picture, (x, y), 5, (90.0,), -1)
    picture[:, ::300] = 80
    return cv2.GaussianBlur(picture, (0, 0), 1)


def shelf() -> Picture:
    """The upper ends of folders on a shelf, of any width and colour."""
    picture, random = ceiling(), np.random.default_rng(5)
    x = 300
    while x < 1500:
        width = int(random.integers(14, 46))
        picture[int(random.integers(0, 30)) :, x : x + width] = random.integers(40, 230)
        x += width + 2
    return cv2.GaussianBlur(picture, (0, 0), 1)


def windows() -> Picture:
    """Window bars, and a bright sky behind them."""
    picture = ceiling()
    picture[:, 300:900] = 235
    for x in (300, 440, 590, 745, 900):
        picture[:, x : x + 12] = 60
    picture[48:60, 300:900] = 60
    return cv2.GaussianBlur(picture, (0, 0), 1)


def running_text(picture: Picture, n: int) -> None:
    """Writing that moves: a printed shirt, a screen."""
    osd(CLOCK, 200 + 37 * n, 40 + 5 * n, 32)(picture, n)


UNWRITTEN: dict[str, tuple[Callable[[], Picture], Draw]] = {
    "a plain ceiling": (ceiling, nothing),
    "a dark room": (lambda: np.full((TOP, WIDTH), 24.0), nothing),
    "rough plaster": (textured, nothing),
    "wallpaper": (wallpaper, nothing),
    "bricks": (bricks, nothing),
    "terrazzo": (terrazzo, nothing),
    "foliage": (foliage, nothing),
    "a horizontal blind": (horizontal_blind, nothing),
    "a vertical blind": (vertical_blind, nothing),
    "a lamp with a grille": (louvre_lamp, nothing),
    "panels with holes": (tiles, nothing),
    "folders on a shelf": (shelf, nothing),
    "window bars": (windows, nothing),
    "somebody who walks by": (ceiling, passer_by),
    "somebody before a blind": (horizontal_blind, passer_by),
    "writing that moves": (ceiling, running_text),
    "writing below the strip": (ceiling, osd(CLOCK, 24, 140, 40)),
    "writing at once below the strip": (ceiling, osd(CLOCK, 24, 100, 36)),
    "a number of three digits": (ceiling, osd("103", 24, 44, 34)),
}


@pytest.mark.parametrize("name", UNWRITTEN)
def test_what_is_no_writing_is_left_alone(name: str) -> None:
    base, draw = UNWRITTEN[name]
    assert found_under_strip(filmed(draw, base=base)) is None


def test_a_bar_above_a_wide_picture_takes_the_strip() -> None:
    wide = [cv2.resize(luma[:540], (1920, 540)) for luma in filmed(osd(CLOCK, 24, 46, 40))]
    assert found_under_strip(cast(list[Luma], wide)) is None


def test_pictures_of_changing_size_are_not_judged() -> None:
    found = filmed(osd(CLOCK, 24, 46, 40))
    assert found_under_strip([found[0], found[1][:720, :1280]]) is None


# -- the checks --


class Shown:
    """A scene that shows these pictures."""

    def __init__(self, room: Config, lumas: Sequence[Luma] | None) -> None:
        self.config, self._lumas = room, lumas

    def pictures(self, _: str) -> SimpleNamespace:
        if self._lumas is None:
            raise NothingArrivesError
        return SimpleNamespace(lumas=self._lumas)


def look(check: object, room: Config, lumas: Sequence[Luma] | None = None) -> tuple[str, Sentence, Sentence]:
    outcome = check.look(cast(Scene, Shown(room, lumas)), "overview")  # type: ignore[attr-defined]
    return outcome.status, outcome.value, outcome.mend


def test_the_check_warns_and_says_where_and_what_to_do(tmp_path: Path) -> None:
    room = config(tmp_path)
    status, value, mend = look(overlay_place, room, filmed(osd(CLOCK, 1480, 44, 36)))
    assert status == "warning"
    assert value.say("en").endswith("% from the left") and " 77 to 9" in value.say("en")
    assert "OSD" in mend.say("en") and "OSD" in mend.say("zh")
    assert look(overlay_place, room, filmed(nothing))[0] == "passed"
    assert look(overlay_place, room, [])[0] == look(overlay_place, room, None)[0] == "skipped"


def test_the_check_is_done_on_the_main_camera_and_never_keeps_a_session_from_starting(tmp_path: Path) -> None:
    (check,) = [check for check in CHECKS if check.id == "overlay-place"]
    assert tuple(check.devices(config(tmp_path))) == ("overview",)
    swapped = config(tmp_path, '[composite]\nmain = "closeup"\ninset = "overview"\n')
    assert tuple(check.devices(swapped)) == ("closeup",)
    assert not check.required(swapped)


@pytest.mark.parametrize(
    ("name", "status"), [("调查询问室一", "passed"), ("Room 1 · é", "passed"), ("𠮷\ue000询问室", "warning")]
)
def test_a_room_whose_name_cannot_be_drawn_is_told(tmp_path: Path, name: str, status: str) -> None:
    found, value, _ = look(overlay_letters, config(tmp_path, f'[room]\nname = "{name}"\n'))
    assert found == status
    assert ("(U+E000)" in value.say("zh")) is (status == "warning")
