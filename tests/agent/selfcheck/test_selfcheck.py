"""How single checks judge what they see, hear and measure."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from agent.config.model import Config
from agent.selfcheck.check import Scene
from agent.selfcheck.checks import camera_keyframes, camera_stream, drives, microphone_delivers
from agent.selfcheck.judge import light, loudness, moving_share, stretched
from agent.selfcheck.samples import PictureSample, Seen, SoundSample
from drivers.faults import DeviceFault
from drivers.optical import DriveState
from recorder.clock.instants import SECOND_NS, boot_id, boottime_ns
from recorder.disk.durable import make_folder
from recorder.media.packets import Format
from recorder.process.status import BurnerStatus, ComposerStatus, TrackStatus
from tests.agent.selfcheck_samples import config, noise


def test_light_is_judged_on_percentiles_of_the_typical_picture() -> None:
    half = noise(1, 60)
    half[:, 160:] = 200
    found = light([half, half, noise(2, 255, 0)], full_range=True)
    assert found.low == pytest.approx(58, abs=2)
    assert found.high == pytest.approx(200, abs=1)
    assert light([noise(1, 20, 1)]).high < 10
    assert light([np.full((90, 160), 235, np.uint8)]).low == 255
    assert (stretched(16), stretched(235), stretched(5)) == (0, 255, 0)


def test_a_frozen_picture_is_told_from_a_still_room() -> None:
    still = noise(1)
    assert moving_share([still, still.copy(), still.copy()]) == 0
    assert moving_share([noise(1), noise(2)]) == 1.0
    clock_only = still.copy()
    clock_only[0:20, 0:30] += 50
    share = moving_share([still, clock_only])
    assert share == pytest.approx(1 / 60)
    assert moving_share([still]) is None
    assert moving_share([still, noise(1, shape=(90, 160))]) == 1.0


def test_loudness() -> None:
    rate = 8000
    tone = np.sin(2 * np.pi * 440 * np.arange(3 * rate) / rate)
    late = np.where(np.arange(3 * rate) > 2 * rate, tone * 3277, 0).astype(np.int16).reshape(-1, 1)
    heard = loudness(late, rate)
    assert heard.loudest_dbfs == pytest.approx(-23.0, abs=0.1)
    assert heard.peak_dbfs == pytest.approx(-20.0, abs=0.1)
    assert (heard.clipped_pct, heard.dead_channels) == (0.0, ())
    silent = loudness(np.zeros((rate, 2), np.int16), rate)
    assert (silent.loudest_dbfs, silent.peak_dbfs, silent.dead_channels) == (-120.0, -120.0, ())
    one_dead = np.zeros((rate, 2), np.int16)
    one_dead[:, 0] = np.clip(tone[:rate] * 65536, -32768, 32767)
    heard = loudness(one_dead, rate)
    assert heard.dead_channels == (2,)
    assert heard.clipped_pct == pytest.approx(33.3, abs=0.5)
    square = np.resize(np.array([32767, -32767], np.int16), (rate, 1))
    assert loudness(square, rate).loudest_dbfs == pytest.approx(0.0, abs=0.01)
    assert loudness(np.full((rate, 1), 1500, np.int16), rate).loudest_dbfs == -120.0, "a direct voltage is not heard"


def seen(keys_s: list[float], last_s: float) -> Seen:
    times = tuple(round(n * SECOND_NS / 25) for n in range(round(last_s * 25) + 1))
    form = Format("video", "h264", Fraction(1, 90_000), width=320, height=180, fps=25.0)
    return Seen(form, times, tuple(round(k * SECOND_NS) for k in keys_s), 4e6, False)


class Looked(Scene):
    """A scene whose camera was already watched."""

    def __init__(self, config: Config, sample: PictureSample) -> None:
        super().__init__(config)
        self._sample = sample

    def pictures(self, name: str) -> PictureSample:
        return self._sample


class Listened(Scene):
    """A scene whose microphone was already listened to."""

    def __init__(self, config: Config, sample: SoundSample, status: TrackStatus) -> None:
        super().__init__(config)
        self._sample, self._status = sample, status

    def sound(self) -> SoundSample:
        return self._sample

    def track(self, name: str) -> TrackStatus:
        return self._status


@pytest.mark.parametrize(
    ("direct", "what", "mend"),
    [
        (True, "microphone-sound-has-gaps", "check-microphone-plug-and-pc-load"),
        (False, "sound-has-gaps-behind-sound-server", "find-rate-behind-sound-server"),
    ],
)
def test_holes_behind_a_sound_server_may_come_of_another_rate(tmp_path: Path, direct: bool, what: str, mend: str) -> None:
    """What PortAudio calls the rate of such a device is not the device's: 44.1 kHz of any."""
    form = Format("audio", "flac", Fraction(1, 48_000), rate_hz=48_000, channels=1)
    status = TrackStatus(name="microphone", pid=1, boot_id="", version="", direct=direct, model="default")
    sample = SoundSample(form, np.zeros((120_000, 1), np.int16), 3.0, stalled=False)
    outcome = microphone_delivers.look(Listened(config(tmp_path), sample, status), "microphone")
    assert (outcome.status, outcome.what.code, outcome.mend.code) == ("failed", what, mend)
    assert "default" in outcome.what.say("zh") or direct


@pytest.mark.parametrize(
    ("keys_s", "last_s", "status", "value"),
    [
        ([0, 1, 2, 3], 3.4, "passed", "1.0 s"),
        ([0, 2, 4], 4.4, "passed", "2.0 s"),
        ([0, 2.5], 3.0, "failed", "2.5 s"),
        ([0], 4.0, "failed", "more than 4.0 s"),
        ([0, 1], 4.0, "failed", "more than 3.0 s"),
        ([0], 0.4, "failed", "not seen"),
    ],
)
def test_key_frame_distance(tmp_path: Path, keys_s: list[float], last_s: float, status: str, value: str) -> None:
    scene = Looked(config(tmp_path), PictureSample(seen(keys_s, last_s), ()))
    outcome = camera_keyframes.look(scene, "overview")
    assert (outcome.status, outcome.value.say("en")) == (status, value)


@pytest.mark.parametrize(
    ("promise", "status", "what"),
    [
        ("width = 320\nheight = 180", "passed", ""),
        ("width = 320\nheight = 180\nfps = 27.7", "passed", ""),
        ("width = 320\nheight = 180\nfps = 28", "failed", "Only 25.0 pictures a second arrive."),
        ("width = 1280\nheight = 720", "failed", "The pictures are 320×180."),
    ],
)
def test_a_stream_is_held_against_its_promise(tmp_path: Path, promise: str, status: str, what: str) -> None:
    scene = Looked(config(tmp_path, f"[camera.overview]\n{promise}\n"), PictureSample(seen([0, 1], 2.0), (noise(1),)))
    outcome = camera_stream.look(scene, "overview")
    assert (outcome.status, outcome.what.say("en")) == (status, what)


def test_without_a_composer_it_is_said_that_nothing_is_seen_for_that_reason(tmp_path: Path) -> None:
    room = config(tmp_path)
    scene = Scene(room)
    folder = make_folder(room.storage.places.status)
    outcome = camera_stream.look(scene, "overview")
    assert (outcome.status, outcome.what.say("en")) == ("failed", "The process of this track does not run.")
    TrackStatus(name="overview", pid=1, boot_id=boot_id(), version="0", at_ns=boottime_ns()).write(folder)
    what = "The composer does not run, and the self-check sees what it gets."
    assert camera_stream.look(scene, "overview").what.say("en") == what
    ComposerStatus(name="composer", pid=1, boot_id=boot_id(), version="0", at_ns=boottime_ns()).write(folder)
    assert camera_stream.look(scene, "overview").what.say("en") == "Nothing arrives from the device."


def test_pictures_that_cannot_be_decoded_and_streams_that_stop(tmp_path: Path) -> None:
    good = PictureSample(seen([0, 1], 2.0), (noise(1),))
    promised = config(tmp_path, "[camera.overview]\nwidth = 320\nheight = 180\n")
    motion = replace(good.seen, format=replace(good.seen.format, codec="mjpeg"))
    assert camera_stream.look(Looked(promised, replace(good, seen=motion)), "overview").what.say("en") == "The stream is mjpeg."
    assert "decoded" in camera_stream.look(Looked(promised, replace(good, lumas=())), "overview").what.say("en")
    assert "stopped" in camera_stream.look(
        Looked(promised, replace(good, seen=replace(good.seen, stalled=True))), "overview"
    ).what.say("en")


BLANK = DriveState("/dev/sr0", True, "DVD-R", True, 4_700_000_000, 4_700_000_000)
EMPTY = DriveState("/dev/sr1", True, problem=DeviceFault("no-disc-in-drive", "insert-blank-disc", device="/dev/sr1"))
GONE = DriveState(
    "/dev/sr1", False, problem=DeviceFault("drive-unusable", "check-drive-cable-and-setting", device="/dev/sr1", why="-")
)


@pytest.mark.parametrize(
    ("states", "copies", "centre_class", "status"),
    [
        ([BLANK, BLANK], 2, 1, "passed"),
        ([BLANK], 2, 1, "passed"),
        ([BLANK, EMPTY], 1, 1, "passed"),
        ([BLANK, EMPTY], 2, 1, "failed"),
        ([BLANK, GONE], 2, 1, "warning"),
        ([GONE], 1, 1, "failed"),
        ([], 1, 1, "failed"),
        ([GONE], 1, 2, "skipped"),
        ([], 2, 2, "skipped"),
        ([EMPTY], 1, 2, "failed"),
    ],
)
def test_drives(states: list[DriveState], copies: int, centre_class: int, status: str) -> None:
    outcome = drives.judge(states, copies, centre_class)
    assert outcome.status == status
    if status == "failed":
        assert outcome.mend
        assert outcome.mend.say("zh") != "" and outcome.what.say("zh") != ""


@pytest.mark.parametrize(("state", "status"), [("idle", "failed"), ("burning", "warning")])
def test_a_burner_that_runs_is_asked_instead_of_its_drives(tmp_path: Path, state: str, status: str) -> None:
    scene = Scene(config(tmp_path))
    make_folder(scene.places.status)
    worker = BurnerStatus(name="burner", pid=1, boot_id=boot_id(), version="", at_ns=boottime_ns(), state=state)
    worker.drives = [BLANK.as_dict(), EMPTY.as_dict()]
    worker.write(scene.places.status)
    outcome = drives.look(scene, "burner")
    assert outcome.status == status
    if status == "failed":
        assert (outcome.value.say("en"), outcome.what.say("en")) == (
            "2/2 drives, 1 blank disc(s)",
            "There is no disc in /dev/sr1.",
        )


def test_a_missing_burner_keeps_only_a_class_1_room_from_recording(tmp_path: Path) -> None:
    assert drives.CHECK.required(config(tmp_path))
    assert not drives.CHECK.required(config(tmp_path, "[room]\nclass = 2\n"))
