"""Cameras that close a session which asks nothing for so long as they said: FFmpeg asks in time, by the time-out that it reads.

It reads the time-out only where it stands at once behind the session's name ("1;timeout=60"), takes 60 s for granted where it
finds none, and asks each half of it: GET_PARAMETER where the camera's Public has that, else OPTIONS.
"""

import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pytest

from drivers.faults import DeviceFault
from drivers.ports import CameraAddress, Stream
from recorder.capture.camera import StreamReader
from tests.equipment.quirk_camera import METHODS, QuirkCamera

FORGETS_S = 2.0
WATCHED_S = 3.1 * FORGETS_S
FORGETFUL = f"forgets a session that asks nothing for {FORGETS_S:g} s"
WITH_GET_PARAMETER = f"Public says {METHODS}, GET_PARAMETER"

CAMERAS: Mapping[str, tuple[str, ...]] = {
    "OPTIONS": ("Session says ;timeout=2", FORGETFUL),
    "GET_PARAMETER": ("Session says ;timeout=2", FORGETFUL, WITH_GET_PARAMETER),
    "a whole second": ("Session says ;timeout=1", FORGETFUL),
    "behind a space": ("Session says ; timeout=2", FORGETFUL),
    "not told": ("Session says ", FORGETFUL),
    "more than it means": ("Session says ;timeout=86400", FORGETFUL),
    "zero": ("Session says ;timeout=0",),
    "no number": ("Session says ;timeout=soon",),
    "beyond a number": ("Session says ;timeout=99999999999999999999",),
    "below zero": ("Session says ;timeout=-2",),
}
LOST = {"behind a space", "not told", "more than it means"}


@dataclass(slots=True)
class Watched:
    """What became of a connection. lasted_s: with its opening; None where it stood to the end."""

    asked: list[str]
    lasted_s: float | None = None


def watch(lines: tuple[str, ...]) -> Watched:
    with QuirkCamera("12.5/s for 100 s", *lines) as camera:
        watched, began = Watched(camera.asked), time.monotonic()
        reader = StreamReader(Stream(camera.uri), CameraAddress("overview", rtsp=camera.uri))
        try:
            for _ in reader.packets():
                if time.monotonic() - began > WATCHED_S:
                    break
        except DeviceFault:
            watched.lasted_s = time.monotonic() - began
        reader.container.close()
        return watched


@pytest.fixture(scope="module")
def watched() -> Iterator[Mapping[str, Watched]]:
    """All of them at once: each takes three time-outs."""
    found: dict[str, Watched] = {}
    threads = [threading.Thread(target=lambda name=name: found.update({name: watch(CAMERAS[name])})) for name in CAMERAS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    yield found


@pytest.mark.parametrize("name", sorted(CAMERAS.keys() - LOST))
def test_a_session_is_kept_alive(watched: Mapping[str, Watched], name: str) -> None:
    assert watched[name].lasted_s is None


@pytest.mark.parametrize("method", ["OPTIONS", "GET_PARAMETER"])
def test_what_the_camera_is_asked(watched: Mapping[str, Watched], method: str) -> None:
    asked = [each for each in watched[method].asked if each != "TEARDOWN"]
    assert set(asked) == {method}
    assert 4 <= len(asked) <= 8, "once a second"


@pytest.mark.parametrize("name", sorted(LOST))
def test_a_time_out_that_cannot_be_known_is_a_loss(watched: Mapping[str, Watched], name: str) -> None:
    """Equal losses are told as that: see test_field_cameras."""
    lasted_s = watched[name].lasted_s
    assert lasted_s is not None and FORGETS_S <= lasted_s < FORGETS_S + 1.5
