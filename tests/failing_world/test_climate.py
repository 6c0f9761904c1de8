"""The climate sensor fails: dashes instead of an old number, an event, and a recording that does not notice."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from time import time
from typing import Any
from zoneinfo import ZoneInfo

import av
import numpy as np
import pytest

from recorder.clock.instants import boottime_ns
from recorder.composite.overlay import OverlayFields, overlay_text
from recorder.composite.picture import Plane, plane_view
from recorder.composite.plates import render_strip
from tests.demo.subscriber import Subscriber
from tests.failing_world.truth import LOSS_EVENTS, check_composite_whole, check_whole, event_after
from tests.live_room import CASE, SECOND, LiveRoom, wait_for

DASHES_S = 10.0  # after so long without a reading the overlay shows none
PERIOD_S = 1.0  # the sensor is read, and the overlay's fields are refreshed, so often
SAMPLE_NS = 12 * SECOND // 25  # of each second of the composite, the picture that is looked at
COMPOSED_AFTER_NS = 300_000_000  # a picture waits so long for late packets, and is drawn with the fields of then

pytestmark = pytest.mark.timeout(180)


@dataclass(frozen=True, slots=True)
class Overlay:
    """The composite's overlay line of each second after the official start: with numbers (True), with dashes, neither."""

    start_ns: int
    numbers: list[bool | None]

    def at(self, room_ns: int) -> bool | None:
        """What the second shows in which an instant lies."""
        return self.numbers[(room_ns - self.start_ns) // SECOND]

    def drawn_before(self, room_ns: int) -> bool | None:
        """What a picture shows that was drawn before an instant, even by a composer that was a second behind."""
        return self.numbers[(room_ns - SECOND - COMPOSED_AFTER_NS - SAMPLE_NS - self.start_ns) // SECOND]


def overlay(room: LiveRoom, started: dict[str, Any], temperature_c: float, humidity_pct: float) -> Overlay:
    """Reads the composite: of one picture of each second, which of the two lines it is nearer to."""
    manifest = room.manifest(started)
    zone = ZoneInfo(manifest["timezone"])
    name, case = room.command.ask("session", "status")["room"]["name"], CASE[1]
    found: list[bool | None] = []
    with av.open(f"file:{room.session_folder(started) / manifest['composite']['parts'][0]}") as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number % 25 * SECOND // 25 != SAMPLE_NS:
                continue
            moment = datetime.fromtimestamp((manifest["start_ns"] + number * SECOND // 25) // SECOND, UTC).astimezone(zone)
            lines = [
                render_strip(overlay_text(moment, OverlayFields(name, case, *values), "zh")).luma
                for values in ((temperature_c, humidity_pct), (None, None))
            ]
            luma = plane_view(frame.planes[0], frame.width, frame.height)
            likeness = [_likeness(luma[: len(line)], line) for line in lines]
            found.append(None if max(likeness) < 0.8 else likeness[0] > likeness[1])
    return Overlay(manifest["start_ns"], found)


def _likeness(shown: Plane, line: Plane) -> float:
    """Correlation of a strip of the picture with a drawn line."""
    return float(np.corrcoef(shown.ravel().astype(np.float32), line.ravel().astype(np.float32))[0, 1])


def shows(room: LiveRoom) -> float | None:
    """The temperature that the room shows now."""
    value: float | None = room.command.ask("session", "status")["climate"]["temperature_c"]
    return value


def broken(room: LiveRoom, feed: Subscriber, act: Callable[[], object], mend: Callable[[], object]) -> tuple[int, int]:
    """Breaks the sensor until no number is shown, and mends it; CLOCK_BOOTTIME of the break and of the mending, ns."""
    wait_for(lambda: shows(room) == 23.4, "a reading")
    wall_s, gone_ns = time(), boottime_ns()
    act()
    assert event_after(feed, "climate", LOSS_EVENTS, wall_s, 11.0) <= DASHES_S
    wait_for(lambda: shows(room) is None, "no reading is shown any more", DASHES_S + PERIOD_S - (time() - wall_s) + 1.0)
    room.record_on(4.0)  # the composite's line is drawn once a second, from fields that are written once a second
    back_ns = boottime_ns()
    mend()
    wait_for(lambda: shows(room) == 23.4, "the sensor is back", 10.0)
    return gone_ns, back_ns


def check_untouched(room: LiveRoom, started: dict[str, Any]) -> None:
    """The recording is whole."""
    check_whole(room, started, "overview", "closeup", "microphone")
    check_composite_whole(room.manifest(started))
    room.verified(started)


@pytest.mark.whole
def test_a_silent_sensor_is_dashes_in_the_composite(standing: LiveRoom, standing_feed: Subscriber) -> None:
    """Ten seconds after a sensor's last reading the composite shows --.-, never the old number; the command room is told."""
    sensor = standing.stand_ins.climate
    started = standing.start()
    gone_ns, back_ns = (standing.room_ns(started, at) for at in broken(standing, standing_feed, sensor.silent, sensor.back))
    standing.record_on(2.5)
    standing.stop()
    shown = overlay(standing, started, 23.4, 45.0)
    assert None not in shown.numbers
    assert shown.at(gone_ns), "the number before"
    last_ns = shown.start_ns + (shown.numbers.index(False) - 1) * SECOND + SAMPLE_NS + COMPOSED_AFTER_NS
    assert last_ns - gone_ns <= (DASHES_S + PERIOD_S) * SECOND, "the last number was drawn later"
    assert not shown.drawn_before(back_ns), "dashes until the sensor was back"
    assert shown.numbers[-1], "the number again"
    check_untouched(standing, started)


@pytest.mark.whole
def test_a_sensor_that_lies_or_is_unplugged_is_dashes(standing: LiveRoom, standing_feed: Subscriber) -> None:
    """Garbled answers, a sensor unplugged, values that no room has: dashes within 10 s, an event, the recording untouched."""
    sensor = standing.stand_ins.climate
    started = standing.start()
    for act, mend in (
        (sensor.garbage, sensor.back),
        (sensor.gone, sensor.back),
        (lambda: sensor.temperature(99.9), lambda: sensor.temperature(23.4)),
    ):
        broken(standing, standing_feed, act, mend)
    standing.stop()
    check_untouched(standing, started)
