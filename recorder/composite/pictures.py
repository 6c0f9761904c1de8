"""The composite's picture for one instant: both cameras, tiles for lost ones, the inset's name, the overlay line."""

import logging
from datetime import datetime

from recorder.clock.instants import SECOND_NS
from recorder.composite.inputs import VideoInput
from recorder.composite.overlay import OverlayFields, overlay_text
from recorder.composite.picture import FULL, Plane, Rect, paint_border, paint_tile, render_tile
from recorder.composite.plates import Plate, paint_plate, render_name, render_strip
from recorder.composite.settings import ComposerSettings
from wording import Shown, say

LOST_NS = SECOND_NS  # a camera that has delivered nothing for so long, and for longer than it usually does, is shown as lost
IN_PICTURE = {"overview": "overview-in-picture", "closeup": "closeup-in-picture"}

log = logging.getLogger(__name__)


class Pictures:
    """Puts pictures together: two cameras, their tiles when lost, the inset's name, the overlay line, drawn once a second."""

    def __init__(self, settings: ComposerSettings, main: VideoInput, inset: VideoInput, inset_at: Rect) -> None:
        self._settings = settings
        self._places = ((main, FULL), (inset, inset_at))
        self._name = render_name(self._called(inset.settings.name), inset_at)
        self._line: tuple[tuple[datetime, int, OverlayFields], Plate] | None = None  # of which second, with which fields
        self._tiles: dict[str, tuple[str, Plane]] = {}
        self.lost: dict[str, int] = {}  # camera: CLOCK_BOOTTIME of its last picture, ns

    def compose(self, canvas: Plane, due_ns: int, started_ns: int, moment: datetime, fields: OverlayFields) -> None:
        """Fills the canvas for an instant. due_ns, started_ns (T0): CLOCK_BOOTTIME. moment: the same, in whole seconds."""
        lost: dict[str, int] = {}
        for camera, rect in self._places:
            picture, picture_ns = camera.picture(due_ns)
            if picture is not None and due_ns - picture_ns <= max(LOST_NS, camera.limit_ns):
                picture.paint(canvas)
            else:
                since_ns = picture_ns if picture is not None else started_ns
                lost[camera.settings.name] = since_ns
                paint_tile(canvas, self._tile(camera.settings.name, max(0, due_ns - since_ns) // SECOND_NS, rect), rect)
            if rect is not FULL:
                paint_border(canvas, rect)
                paint_plate(canvas, self._name)
        self.lost = lost
        of = (moment, moment.fold, fields)
        if self._line is None or self._line[0] != of:
            self._line = (of, render_strip(overlay_text(moment, fields, self._settings.language)))
        paint_plate(canvas, self._line[1])

    def _called(self, camera: str) -> Shown:
        return say(IN_PICTURE.get(camera, camera), self._settings.language)

    def _tile(self, name: str, seconds: int, rect: Rect) -> Plane:
        language = self._settings.language
        title = say("camera-without-picture", language, camera=self._called(name))
        detail = say("elapsed-time", language, time=f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}")
        known = self._tiles.get(name)
        if known is None or known[0] != detail:
            known = self._tiles[name] = (detail, render_tile(title, detail, rect))
        return known[1]
