"""The drawn interview room, as the two cameras see it: pictures as planes of YUV 4:2:0, limited range, 1920×1080.

``Scene.picture(n)`` is picture *n* of an endless film at 25 pictures a second that repeats after ``loop_s``. In it:

- a slight movement (breathing, a nod, blinking, speaking), periodic in the loop, and sensor noise, so no two pictures are equal;
- a lamp, the square ``FLASH_RECT``, that flashes white for ``FLASH_PICTURES`` pictures from each fifth second on, while the whole
  picture turns brighter;
- or, in place of the flash, two hands that clap at the same instants (``with_hands``);
- ``TC hh:mm:ss:ff``, the time since the loop's start;
- in the overview, the wall clock behind the interviewee (W-6.2.2.4.6), which shows the fixed text it was given: the film is
  encoded once and repeated, so its clock stands still.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np

from tests.equipment.canvas import Canvas, Picture, Point, seven_segments

WIDTH, HEIGHT, FPS = 1920, 1080, 25
FLASH_PERIOD_S = 5
FLASH_PICTURES = 3
FLASH_RECT = (1640, 330, 200, 200)  # x, y, width, height: clear of a line of text on top and of an inset in the corner
CLOCK_RECT = (730, 112, 460, 168)  # the wall clock in the overview

View = Literal["overview", "closeup"]
Planes = tuple[Picture, Picture, Picture]

WALL, WALL_DARK, CEILING, FLOOR = (206, 214, 217), (184, 194, 199), (232, 236, 237), (142, 156, 166)
WOOD, WOOD_DARK = (96, 138, 178), (62, 96, 132)
SKIN, SKIN_DARK, HAIR = (158, 188, 226), (118, 150, 196), (38, 36, 40)
SHIRT, SHIRT_DARK = (148, 122, 92), (112, 92, 70)
UNIFORM, UNIFORM_DARK = (92, 62, 40), (66, 44, 30)
CHAIR = (74, 70, 68)


@dataclass(frozen=True, slots=True)
class WallClock:
    """What the electronic display on the wall shows: year, month, day, hour (and minute), temperature, humidity."""

    date: str = "2026-11-21"
    time: str = "09:30"
    temperature: str = "23.4"
    humidity: str = "45"


def draw_wall_clock(canvas: Canvas, clock: WallClock) -> None:
    x, y, width, height = CLOCK_RECT
    red, amber, label = (70, 70, 255), (60, 190, 255), (190, 196, 200)
    canvas.shade(lambda c: c.box(x + 6, y + 10, width, height, CHAIR), 0.35, 8)
    canvas.box(x, y, width, height, (48, 48, 50))
    canvas.box(x + 8, y + 8, width - 16, height - 16, (18, 16, 18))
    year, month, day = clock.date.split("-")
    at = x + 26.0
    for number, unit in ((year, "年"), (month, "月"), (day, "日")):
        at = seven_segments(canvas, number, at, y + 24, 46, red)
        canvas.text(unit, at + 2, y + 66, 26, label)
        at += 38
    at = seven_segments(canvas, clock.time, x + 26, y + 94, 54, red)
    at = seven_segments(canvas, clock.temperature, at + 26, y + 104, 40, amber)
    canvas.text("°C", at + 4, y + 142, 26, label)
    at = seven_segments(canvas, clock.humidity, at + 46, y + 104, 40, amber)
    canvas.text("%", at + 4, y + 142, 26, label)


def draw_lamp(canvas: Canvas) -> None:
    x, y, width, height = FLASH_RECT
    canvas.shade(lambda c: c.box(x + 2, y + 8, width, height, CHAIR), 0.3, 9)
    canvas.box(x - 8, y - 8, width + 16, height + 16, (98, 102, 106))
    canvas.box(x, y, width, height, (128, 134, 138))
    for step in range(1, 4):
        canvas.line((x + width * step / 4, y), (x + width * step / 4, y + height), (112, 117, 121), 2)
        canvas.line((x, y + height * step / 4), (x + width, y + height * step / 4), (112, 117, 121), 2)


def padded_wall(canvas: Canvas, top_left: Point, bottom_right: Point, columns: int, rows: int) -> None:
    """Soft panels with shaded seams."""
    (x0, y0), (x1, y1) = top_left, bottom_right
    width, height = (x1 - x0) / columns, (y1 - y0) / rows

    def seams(c: Canvas, offset: float) -> None:
        for column in range(columns + 1):
            c.box(x0 + column * width - 2 + offset, y0, 4, y1 - y0, CHAIR)
        for row in range(rows + 1):
            c.box(x0, y0 + row * height - 2 + offset, x1 - x0, 4, CHAIR)

    canvas.shade(lambda c: seams(c, 0), 0.55, 3)
    canvas.shade(lambda c: seams(c, 5), -0.5, 3)


def overview_background(clock: WallClock) -> Picture:
    """The room without its people."""
    canvas = Canvas(WIDTH, HEIGHT, WALL)
    left, right, top, bottom = 330, 1590, 84, 640
    canvas.polygon([(0, 0), (WIDTH, 0), (right, top), (left, top)], CEILING)
    canvas.polygon([(0, 0), (left, top), (left, bottom), (0, 1010)], WALL_DARK)
    canvas.polygon([(WIDTH, 0), (right, top), (right, bottom), (WIDTH, 1010)], (192, 201, 206))
    canvas.polygon([(0, 1010), (left, bottom), (right, bottom), (WIDTH, 1010), (WIDTH, HEIGHT), (0, HEIGHT)], FLOOR)
    for n in range(-7, 8):  # floor tiles run to the vanishing point
        canvas.line((960 + n * 90, bottom), (960 + n * 146, HEIGHT), (128, 142, 152), 2)
    for y in (668, 706, 758, 830, 930, 1060):
        reach = (y - bottom) / (1010 - bottom)
        canvas.line((left - left * reach, y), (right + (WIDTH - right) * reach, y), (128, 142, 152), 2)
    for a, b in (((700, 14), (790, 58)), ((1130, 58), (1220, 14))):
        canvas.polygon([(a[0], a[1]), (b[0], a[1]), (b[0] - 12, b[1]), (a[0] + 12, b[1])], (255, 255, 255))
    padded_wall(canvas, (left, 300), (right, bottom), 7, 2)
    for a, b in (((left, top), (left, bottom)), ((right, top), (right, bottom)), ((left, bottom), (right, bottom))):
        canvas.shade(lambda c, a=a, b=b: c.box(a[0] - 5, a[1], b[0] - a[0] + 10, b[1] - a[1] + 10, CHAIR), 0.25, 10)  # type: ignore[misc]
    # door on the left wall, notice beside it, sign on the back wall
    canvas.polygon([(70, 236), (210, 246), (210, 778), (70, 934)], (118, 150, 176))
    canvas.polygon([(84, 252), (198, 260), (198, 776), (84, 904)], (136, 168, 194))
    canvas.ellipse(190, 560, 9, 12, (70, 74, 80))
    canvas.box(392, 130, 250, 84, (128, 70, 28))
    canvas.text("调查询问室", 412, 186, 42, (255, 255, 255), 600)
    canvas.box(1290, 124, 200, 158, (250, 252, 252))
    canvas.box(1290, 124, 200, 40, (60, 52, 188))
    canvas.text("权利义务告知", 1303, 153, 28, (255, 255, 255), 600)
    for row in range(6):
        canvas.box(1306, 180 + row * 16, 168 - (row % 3) * 26, 5, (168, 172, 176))
    draw_wall_clock(canvas, clock)
    draw_lamp(canvas)
    # chair behind the table, table with shadow
    canvas.curve([(846, 396), (1074, 396), (1092, 690), (828, 690)], CHAIR)
    canvas.curve([(866, 416), (1054, 416), (1070, 690), (850, 690)], (92, 88, 86))
    canvas.shade(lambda c: c.ellipse(960, 880, 620, 100, CHAIR), 0.5, 40)
    for x in (498, 1394):
        canvas.box(x, 800, 28, 196, WOOD_DARK)
    canvas.polygon([(610, 656), (1310, 656), (1468, 806), (452, 806)], WOOD)
    canvas.polygon([(452, 806), (1468, 806), (1466, 838), (454, 838)], WOOD_DARK)
    canvas.shade(lambda c: c.polygon([(800, 650), (1120, 650), (1160, 700), (760, 700)], CHAIR), 0.35, 22)
    canvas.shade(lambda c: c.polygon([(560, 700), (700, 690), (640, 800), (470, 800)], CHAIR), -0.25, 30)
    canvas.polygon([(1080, 690), (1200, 690), (1232, 754), (1096, 754)], (246, 248, 248))
    canvas.polygon([(1096, 698), (1212, 694), (1248, 758), (1118, 764)], (255, 255, 255))
    for row in range(5):
        canvas.line((1122 + row * 3, 708 + row * 10), (1208 + row * 6, 705 + row * 10), (170, 174, 178), 2)
    canvas.ellipse(968, 756, 30, 12, (58, 58, 60))  # the microphone between both
    canvas.line((968, 754), (962, 706), (66, 66, 70), 5)
    canvas.ellipse(962, 700, 9, 14, (44, 44, 48))
    canvas.ellipse(1300, 700, 20, 8, (232, 236, 238))
    canvas.box(1281, 700, 38, 40, (232, 236, 238))
    canvas.ellipse(1300, 740, 19, 8, (216, 220, 224))
    # corners of the picture are darker, as a wide lens makes them
    for y in (0, 1020):
        canvas.shade(lambda c, y=y: c.box(0, y, WIDTH, 60, CHAIR), 0.28, 90)  # type: ignore[misc]
    return canvas.done()


def closeup_background() -> Picture:
    """The wall and the chair behind the interviewee's head."""
    canvas = Canvas(WIDTH, HEIGHT, WALL)
    canvas.shade(lambda c: c.box(0, 0, WIDTH, 220, CHAIR), -0.5, 140)
    padded_wall(canvas, (-60, 60), (WIDTH + 60, 1140), 6, 3)
    canvas.shade(lambda c: c.box(0, 760, WIDTH, 400, CHAIR), 0.3, 160)
    draw_lamp(canvas)
    canvas.shade(lambda c: c.ellipse(1000, 620, 420, 480, CHAIR), 0.35, 60)
    canvas.curve([(560, 470), (1360, 470), (1450, 1200), (470, 1200)], CHAIR)
    canvas.curve([(600, 510), (1320, 510), (1400, 1200), (520, 1200)], (92, 88, 86))
    return canvas.done()


def draw_face(canvas: Canvas, x: float, y: float, size: float, *, eyes_open: bool, mouth: float) -> None:
    """A head seen from the front; (x, y) its middle, size its half width, mouth 0 (closed) to 1."""
    s = size
    canvas.ellipse(x - s * 0.98, y + s * 0.08, s * 0.16, s * 0.26, SKIN_DARK)
    canvas.ellipse(x + s * 0.98, y + s * 0.08, s * 0.16, s * 0.26, SKIN_DARK)
    shape = [(-0.95, -0.9), (0.95, -0.9), (1.04, 0.1), (0.78, 1.05), (0.28, 1.42), (-0.28, 1.42), (-0.78, 1.05), (-1.04, 0.1)]
    canvas.curve([(x + s * a, y + s * b) for a, b in shape], SKIN)
    canvas.shade(lambda c: c.ellipse(x + s * 0.95, y + s * 0.4, s * 0.32, s * 0.9, SKIN), 0.22, s * 0.16)
    canvas.shade(lambda c: c.ellipse(x - s * 0.35, y - s * 0.3, s * 0.4, s * 0.5, SKIN), -0.18, s * 0.2)
    hair = [(-1.08, 0.0), (-1.12, -0.7), (-0.7, -1.32), (0.0, -1.5), (0.7, -1.32), (1.12, -0.7), (1.08, 0.0), (0.92, -0.42)]
    hair += [(0.62, -0.72), (0.1, -0.62), (-0.5, -0.78), (-0.92, -0.42)]
    canvas.curve([(x + s * a, y + s * b) for a, b in hair], HAIR)
    canvas.shade(lambda c: c.ellipse(x - s * 0.3, y - s * 1.15, s * 0.4, s * 0.14, HAIR), -0.16, s * 0.1)
    for side in (-1, 1):
        ex, ey = x + side * s * 0.42, y + s * 0.02
        canvas.shade(lambda c, ex=ex, ey=ey: c.ellipse(ex, ey, s * 0.26, s * 0.15, SKIN), 0.2, s * 0.06)  # type: ignore[misc]
        if eyes_open:
            canvas.ellipse(ex, ey, s * 0.19, s * 0.095, (236, 240, 242))
            canvas.ellipse(ex, ey, s * 0.085, s * 0.09, (34, 40, 52))
            canvas.ellipse(ex - s * 0.03, ey - s * 0.03, s * 0.02, s * 0.02, (250, 250, 250))
        canvas.arc(
            ex, ey + (0 if eyes_open else s * 0.02), s * 0.2, s * 0.1, *((180, 360) if eyes_open else (0, 180)), HAIR, s * 0.035
        )
        canvas.arc(ex, ey - s * 0.13, s * 0.27, s * 0.12, 200, 340, HAIR, s * 0.07)
    canvas.arc(x, y + s * 0.46, s * 0.13, s * 0.08, 20, 160, SKIN_DARK, s * 0.05)
    canvas.shade(
        lambda c: c.polygon([(x + s * 0.06, y), (x + s * 0.16, y + s * 0.44), (x + s * 0.02, y + s * 0.46)], SKIN), 0.16, s * 0.05
    )
    if mouth > 0:
        canvas.ellipse(x, y + s * 0.84, s * 0.24, s * (0.05 + 0.1 * mouth), (58, 56, 110))
        canvas.ellipse(x, y + s * (0.80 - 0.04 * mouth), s * 0.17, s * 0.03, (232, 236, 240))
    else:
        canvas.arc(x, y + s * 0.78, s * 0.25, s * 0.08, 15, 165, (84, 88, 150), s * 0.055)
    canvas.arc(x, y + s * 1.02, s * 0.12, s * 0.05, 200, 340, SKIN_DARK, s * 0.03)


def draw_torso(canvas: Canvas, x: float, y: float, size: float) -> None:
    """Neck and shoulders under a head of that size at (x, y)."""
    s = size
    canvas.polygon(
        [(x - s * 0.46, y + s * 0.9), (x + s * 0.46, y + s * 0.9), (x + s * 0.52, y + s * 1.9), (x - s * 0.52, y + s * 1.9)],
        SKIN_DARK,
    )
    body = [
        (-0.5, 1.62),
        (-1.5, 1.92),
        (-2.15, 2.3),
        (-2.5, 3.4),
        (-2.6, 5.2),
        (2.6, 5.2),
        (2.5, 3.4),
        (2.15, 2.3),
        (1.5, 1.92),
        (0.5, 1.62),
    ]
    canvas.curve([(x + s * a, y + s * b) for a, b in body], SHIRT)
    canvas.shade(lambda c: c.ellipse(x + s * 1.9, y + s * 3.6, s * 0.5, s * 1.4, SHIRT), 0.25, s * 0.25)
    canvas.shade(lambda c: c.ellipse(x - s * 1.2, y + s * 2.4, s * 0.5, s * 0.4, SHIRT), -0.14, s * 0.25)
    canvas.polygon([(x - s * 0.48, y + s * 1.56), (x + s * 0.48, y + s * 1.56), (x, y + s * 2.35)], SKIN)
    for side in (-1, 1):
        collar = [(0.5, 1.5), (0.02, 2.36), (0.36, 2.62), (0.86, 1.84)]
        canvas.polygon([(x + side * s * a, y + s * b) for a, b in collar], (172, 148, 120))
    canvas.line((x, y + s * 2.4), (x, y + s * 5.2), SHIRT_DARK, s * 0.03)
    for button in (2.75, 3.45, 4.15):
        canvas.ellipse(x, y + s * button, s * 0.05, s * 0.05, SHIRT_DARK)
    canvas.shade(lambda c: c.ellipse(x, y + s * 1.5, s * 0.6, s * 0.24, SHIRT), 0.3, s * 0.1)


def draw_officer(canvas: Canvas, x: float, y: float, size: float) -> None:
    """A person from behind; (x, y) the middle of the head."""
    s = size
    body = [(-0.4, 1.1), (-1.5, 1.45), (-2.05, 2.0), (-2.3, 5.4), (2.3, 5.4), (2.05, 2.0), (1.5, 1.45), (0.4, 1.1)]
    canvas.polygon(
        [(x - s * 0.42, y + s * 0.6), (x + s * 0.42, y + s * 0.6), (x + s * 0.5, y + s * 1.5), (x - s * 0.5, y + s * 1.5)],
        SKIN_DARK,
    )
    canvas.curve([(x + s * a, y + s * b) for a, b in body], UNIFORM)
    canvas.shade(lambda c: c.ellipse(x - s * 1.5, y + s * 2.6, s * 0.4, s * 1.1, UNIFORM), -0.12, s * 0.25)
    canvas.shade(lambda c: c.box(x - s * 0.05, y + s * 1.6, s * 0.1, s * 3.6, UNIFORM), 0.3, s * 0.1)
    for side in (-1, 1):
        canvas.polygon(
            [(x + side * s * a, y + s * b) for a, b in ((0.85, 1.36), (1.62, 1.6), (1.56, 1.82), (0.8, 1.56))], UNIFORM_DARK
        )
    canvas.curve([(x + s * a, y + s * b) for a, b in ((-0.62, 1.06), (0.62, 1.06), (0.7, 1.5), (-0.7, 1.5))], UNIFORM_DARK)
    canvas.ellipse(x - s * 0.98, y + s * 0.15, s * 0.14, s * 0.24, SKIN_DARK)
    canvas.ellipse(x + s * 0.98, y + s * 0.15, s * 0.14, s * 0.24, SKIN_DARK)
    canvas.curve(
        [(x + s * a, y + s * b) for a, b in ((-0.9, -0.9), (0.9, -0.9), (1.02, 0.2), (0.66, 0.95), (-0.66, 0.95), (-1.02, 0.2))],
        HAIR,
    )
    canvas.ellipse(x, y - s * 0.35, s * 0.96, s * 0.95, HAIR)
    canvas.shade(lambda c: c.ellipse(x - s * 0.3, y - s * 0.8, s * 0.45, s * 0.22, HAIR), -0.14, s * 0.16)
    canvas.curve([(x + s * a, y + s * b) for a, b in ((-1.9, 3.4), (1.9, 3.4), (2.1, 5.6), (-2.1, 5.6))], CHAIR)
    canvas.curve([(x + s * a, y + s * b) for a, b in ((-1.7, 3.6), (1.7, 3.6), (1.9, 5.6), (-1.9, 5.6))], (92, 88, 86))


@dataclass(frozen=True, slots=True)
class Actor:
    """A moving part: sprites of equal size at (x, y), one of which is shown, moved by a few pixels.

    sway_px: amplitude right and down. turns: whole movements a loop, right and down.
    """

    x: int
    y: int
    sprites: tuple[Picture, ...]
    sway_px: Point
    turns: tuple[int, int]

    def blend(self, area: Picture, phase: float, sprite: int) -> Picture:
        dx = self.sway_px[0] * np.sin(2 * np.pi * self.turns[0] * phase)
        dy = self.sway_px[1] * np.sin(2 * np.pi * self.turns[1] * phase + 1)
        shape = self.sprites[sprite]
        shift = np.array([[1, 0, dx], [0, 1, dy]], np.float32)
        moved = cv2.warpAffine(shape, shift, (shape.shape[1], shape.shape[0]), borderMode=cv2.BORDER_REPLICATE)
        blended: Picture = area * (1 - moved[..., 3:]) + moved[..., :3]
        return blended


def faces(x: float, y: float, size: float, width: int, height: int) -> tuple[Picture, ...]:
    """Sprites: mouth closed, half, open with open eyes; then the same with closed eyes."""
    out = []
    for eyes_open in (True, False):
        for mouth in (0.0, 0.5, 1.0):
            canvas = Canvas(width, height)
            draw_face(canvas, x, y, size, eyes_open=eyes_open, mouth=mouth)
            out.append(canvas.sprite())
    return tuple(out)


def single(width: int, height: int, draw: Callable[[Canvas], None]) -> tuple[Picture, ...]:
    canvas = Canvas(width, height)
    draw(canvas)
    return (canvas.sprite(),)


def planes_of(image: Picture) -> Planes:
    """Blue, green, red to planes of limited-range YUV 4:2:0."""
    height, width = image.shape[:2]
    flat = cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420)
    luma = flat[:height]
    chroma = flat[height:].reshape(2, height // 2, width // 2)
    return luma, chroma[0], chroma[1]


class Scene:
    """One camera's film. See the module's description."""

    def __init__(self, view: View, *, loop_s: int = 20, clock: WallClock | None = None, seed: int = 1) -> None:
        self._view = view
        self._loop = loop_s * FPS
        self._actors: tuple[Actor, ...]
        if view == "overview":
            background = overview_background(clock or WallClock())
            self._actors = (
                Actor(796, 540, single(328, 118, lambda c: draw_torso(c, 164, -46, 58)), (0.4, 1.2), (2, 5)),
                Actor(880, 380, faces(80, 92, 54, 160, 180), (3.0, 1.6), (2, 5)),
                Actor(400, 560, single(520, 520, lambda c: draw_officer(c, 260, 130, 88)), (3.5, 1.5), (1, 4)),
            )
            self._area = (400, 380, 724, 700)  # x, y, width, height: whatever moves, even numbers
        else:
            background = closeup_background()
            self._actors = (
                Actor(500, 540, single(920, 540, lambda c: draw_torso(c, 460, -150, 168)), (1.0, 2.5), (2, 5)),
                Actor(690, 110, faces(270, 310, 166, 540, 620), (7.0, 3.5), (2, 5)),
            )
            self._area = (500, 110, 920, 970)
        self._background = planes_of(background)
        x, y, width, height = self._area
        self._still = background[y : y + height, x : x + width].astype(np.float32)
        random = np.random.default_rng(seed)
        self._noise = [
            np.clip(random.normal(0, 2.2, (HEIGHT, WIDTH + 64)), -9, 9).astype(np.int8).view(np.uint8) for _ in range(4)
        ]
        self._offsets = random.integers(0, 64, self._loop)

    def picture(self, n: int, *, noise: bool = True) -> Planes:
        """Planes of picture n, arrays of their own."""
        n %= self._loop
        x, y, width, height = self._area
        luma, blue, red = (plane.copy() for plane in self._background)
        moving = planes_of(self._moving(n))
        luma[y : y + height, x : x + width] = moving[0]
        half = np.s_[y // 2 : (y + height) // 2, x // 2 : (x + width) // 2]
        blue[half], red[half] = moving[1], moving[2]
        self._timecode(luma, n)
        np.clip(luma, 26, 225, out=luma)
        if n % (FLASH_PERIOD_S * FPS) < FLASH_PICTURES:
            np.minimum(luma, 225 - 24, out=luma)
            luma += np.uint8(24)
            fx, fy, fw, fh = FLASH_RECT
            luma[fy : fy + fh, fx : fx + fw] = 225
            patch = np.s_[fy // 2 : (fy + fh) // 2, fx // 2 : (fx + fw) // 2]
            blue[patch] = red[patch] = 128
        if noise:
            at = int(self._offsets[n])
            luma += self._noise[n % len(self._noise)][:, at : at + WIDTH]
        return luma, blue, red

    def _moving(self, n: int) -> Picture:
        phase = n / self._loop
        area = self._still.copy()
        ax, ay = self._area[:2]
        for actor in self._actors:
            height, width = actor.sprites[0].shape[:2]
            part = area[actor.y - ay : actor.y - ay + height, actor.x - ax : actor.x - ax + width]
            speaking = n % 250 < 150
            mouth = (0, 1, 2, 1, 0, 2, 1)[n // 3 % 7] if speaking else 0
            shown = (mouth + (3 if n % 90 < 4 else 0)) if len(actor.sprites) > 1 else 0
            part[:] = actor.blend(part, phase, shown)
        image: Picture = np.clip(area, 0, 255).astype(np.uint8)
        return image

    @staticmethod
    def _timecode(luma: Picture, n: int) -> None:
        seconds, picture = divmod(n, FPS)
        text = f"TC {seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}:{picture:02}"
        strip: Any = np.ascontiguousarray(luma[1000:1064, 32:432])
        for colour, weight in ((30, 8), (225, 2)):
            cv2.putText(strip, text, (8, 46), cv2.FONT_HERSHEY_SIMPLEX, 1.4, (colour,), weight, cv2.LINE_AA)
        luma[1000:1064, 32:432] = strip


HANDS: dict[View, tuple[int, int, int, int, int]] = {  # x, y where they meet; half width and height of one; half their distance
    "overview": (960, 620, 40, 66, 180),
    "closeup": (960, 800, 70, 120, 280),
}
HANDS_TOGETHER_S, HANDS_PART_S, HANDS_CLOSE_S = 0.3, 1.0, 0.28


def hands_apart(n: int) -> float:
    """How far apart the clapping hands are in picture n, 0 to 1: they meet at 0 s and each fifth second, as the beeps sound."""
    since = n % (FLASH_PERIOD_S * FPS) / FPS
    until = FLASH_PERIOD_S - since
    if until < HANDS_CLOSE_S:  # ever faster
        return 1 - (1 - until / HANDS_CLOSE_S) ** 2
    parting = float(np.clip((since - HANDS_TOGETHER_S) / HANDS_PART_S, 0, 1))
    return 0.5 - 0.5 * float(np.cos(np.pi * parting))


def with_hands(planes: Planes, view: View, n: int) -> Planes:
    """A copy of the picture with two hands that clap; see hands_apart."""
    luma, blue, red = (plane.copy() for plane in planes)
    x, y, width, height, reach = HANDS[view]
    for side in (-1, 1):
        at = x + side * (width + reach * hands_apart(n))
        for plane, scale, value in ((luma, 1, 210), (blue, 2, 112), (red, 2, 146)):
            centre, axes = (round(16 * at / scale), 16 * y // scale), (16 * width // scale, 16 * height // scale)
            cv2.ellipse(plane, centre, axes, 0, 0, 360, (value,), -1, cv2.LINE_AA, 4)
    return luma, blue, red


def scaled(planes: Planes, width: int, height: int, noise: Picture | None = None) -> Planes:
    """The picture in another size, even numbers; noise (height × width at least, as bytes) is added to the luma."""
    luma = cv2.resize(planes[0], (width, height), interpolation=cv2.INTER_AREA)
    if noise is not None:
        luma += noise[:height, :width]
    blue, red = (cv2.resize(plane, (width // 2, height // 2), interpolation=cv2.INTER_AREA) for plane in planes[1:])
    return luma, blue, red
