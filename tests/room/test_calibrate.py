"""``room-agent calibrate`` in the running room: hands that clap, and a lamp with a beep, at instants that the stand-ins know."""

from collections.abc import Iterator

import numpy as np
import pytest

from agent.config.model import load
from agent.selfcheck.clap_measurement import Listening, clap_for
from recorder.capture.clap import difference
from recorder.capture.latency import read
from tests.equipment.scene import FLASH_PERIOD_S
from tests.live_room import SECOND, LiveRoom

pytestmark = pytest.mark.timeout(120)
SECONDS = 17.0  # three beeps at least
CAMERAS = ("overview", "closeup")


@pytest.fixture
def armed(room: LiveRoom) -> Iterator[LiveRoom]:
    """The room without a session, its cameras as usual afterwards, and nothing calibrated."""
    room.armed()
    yield room
    for camera in (room.stand_ins.overview, room.stand_ins.closeup):
        camera.back()
    (room.root / "calibration.json").unlink(missing_ok=True)


def test_claps_are_measured_and_stored(armed: LiveRoom) -> None:
    """The stand-ins send each picture at its instant, and their hands meet on a picture: the delay is that of this PC alone."""
    armed.stand_ins.overview.clap()
    armed.stand_ins.closeup.clap()
    trial = armed.command.ask("calibrate", "--by", "李工", "--seconds", str(SECONDS), "--camera", "closeup", "--dry-run")
    assert trial["stored"] is False and list(trial["cameras"]) == ["closeup"]
    assert not (armed.root / "calibration.json").exists()
    answer = armed.command.ask("calibrate", "--by", "李工", "--seconds", str(SECONDS))
    assert answer["stored"] and answer["heard"] >= 3
    stored = read(armed.root / "calibration.json")
    assert set(stored) == set(answer["in_force"]) == set(CAMERAS)
    for name in CAMERAS:
        found, kept = answer["cameras"][name], stored[name]
        assert found["kind"] == "clap" and found["claps"] >= 3 and found["spread_ms"] < 20
        assert abs(found["difference_ms"]) <= 40
        assert kept.latency_ms == found["latency_ms"] >= 0
        assert (kept.by, kept.at, kept.device.model != "") == ("李工", answer["at"], True)


def test_a_lamp_with_a_beep_is_measured(armed: LiveRoom) -> None:
    """The lamp goes on with a picture, which is taken for half a picture earlier on the average."""
    with Listening(load(armed.command.config), CAMERAS) as session:
        take = clap_for(session, SECONDS, lambda _: None)
    clocks_ns = armed.stand_ins.epoch_ns  # CLOCK_MONOTONIC, which is CLOCK_BOOTTIME where nothing suspends
    late_ns = (take.onsets_ns - clocks_ns + SECOND) % (FLASH_PERIOD_S * SECOND) - SECOND
    microphone_ms = float(np.median(late_ns)) / 1e6
    assert abs(microphone_ms) < 60, "the beeps are the ones that are heard"
    for name in CAMERAS:
        found = difference(take.films[name], take.onsets_ns)
        assert found.kind == "flash" and found.claps >= 3
        assert found.difference_ms + microphone_ms == pytest.approx(-20, abs=25)
