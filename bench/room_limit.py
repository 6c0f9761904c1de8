"""What a composite costs at the least: the decodes and the encode alone, of the same cameras' pictures, in one process.

The room's own functions put each picture together between the two, so that the encoder gets what it gets in a room; what they
take is counted apart (``compose``). No capture, no sound, no container, no disk, no pace: nothing else can be saved.
"""

import io
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from typing import Any

import av

from recorder.composite.encoder import EncoderSettings
from recorder.composite.open_encoder import open_encoder
from recorder.composite.overlay import OverlayFields, overlay_text
from recorder.composite.picture import FULL, Rect, Scaled, inset_rect, new_canvas, paint_border
from recorder.composite.plates import paint_plate, render_name, render_strip
from tests.equipment.clips import Clip
from wording import shown

FPS = 25
SETTINGS = EncoderSettings(27, "superfast", 96)  # the configuration's defaults
FIELDS = OverlayFields("调查询问室一", "1", 23.4, 45.0)


class Decoder:
    """One camera's pictures as the composer decodes them, the clip again and again."""

    def __init__(self, units: list[bytes], rect: Rect) -> None:
        codec = av.CodecContext.create("h264", "r")
        assert isinstance(codec, av.VideoCodecContext)
        codec.thread_count = 1
        codec.flags |= 0x80000  # AV_CODEC_FLAG_LOW_DELAY
        self._codec, self._units, self._rect = codec, units, rect

    def picture(self, n: int) -> Scaled:
        """Picture n; where its size is not the rectangle's, scaling it is a part of this."""
        (frame,) = self._codec.decode(av.Packet(self._units[n % len(self._units)]))
        return Scaled(frame, self._rect)


def drain(packets: Iterable[object]) -> int:
    """Takes them all; how many they were."""
    return sum(1 for _ in packets)


def least_cpu_s(clip: Clip, seconds: int, *, sub: bool, clock: Callable[[], float] = time.process_time) -> dict[str, float]:
    """CPU seconds of so many seconds of room, by what they were spent on. sub: the inset from the sub-stream."""
    inset_at = inset_rect(640, 360, "bottom-right")
    main = Decoder(clip.units("overview", "main"), FULL)
    inset = Decoder(clip.units("closeup", "sub" if sub else "main"), inset_at)
    spent = dict.fromkeys(("decode_main", "decode_inset", "compose", "encode"), 0.0)
    canvas, name = new_canvas(), render_name(shown("特写"), inset_at)

    def timed(what: str, act: Callable[[], Any]) -> Any:
        began = clock()
        result = act()
        spent[what] += clock() - began
        return result

    with av.open(io.BytesIO(), "w", format="matroska") as container:  # names the encoder's stream; nothing is written
        encoder = open_encoder(SETTINGS, container)
        for n in range(seconds * FPS):
            if n % FPS == 0:
                line = render_strip(overlay_text(datetime(2026, 11, 21, 9, 30, n // FPS % 60), FIELDS, "zh"))
            pictures = [timed("decode_main", partial(main.picture, n)), timed("decode_inset", partial(inset.picture, n))]

            def compose(pictures: list[Scaled] = pictures, line: Any = line) -> None:
                for each in pictures:
                    each.paint(canvas)
                paint_border(canvas, inset_at)
                paint_plate(canvas, name)
                paint_plate(canvas, line)

            timed("compose", compose)
            timed("encode", partial(drain, encoder.encode(canvas)))
        timed("encode", partial(drain, encoder.flush()))
        encoder.close()
    return {what: round(value, 2) for what, value in spent.items()}
