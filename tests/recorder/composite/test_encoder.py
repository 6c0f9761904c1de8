"""The composite's encoders: every picture comes back once, in order and looking the same; hardware that fails costs no recording.

Hardware is tests.equipment.gpu, x264 behind the product's own ffmpeg commands; what happens without is tried on the real ones.
"""

import io
import os
import signal
import threading
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from recorder.clock.instants import SECOND_NS, boottime_ns
from recorder.composite import encoder_trial, hardware_encoder
from recorder.composite.encoder import EncoderFault, EncoderKind, EncoderSettings
from recorder.composite.encoder_trial import AGAIN_NS, EncoderChoice, trial_picture, try_encoder
from recorder.composite.hardware_encoder import AHEAD, ChildEncoder, command
from recorder.composite.open_encoder import open_encoder
from recorder.composite.part import FRAGMENTED, SAMPLES_PER_PICTURE, Part, count_pictures
from recorder.composite.picture import HEIGHT, WIDTH, Plane, new_canvas, plane_view, planes
from recorder.composite.software_encoder import SoftwareEncoder, x264_options
from recorder.faults import StorageFault
from tests.equipment.gpu import stand_in
from tests.equipment.process import wait_for

SOFTWARE = EncoderSettings(26, "ultrafast", 64)
SILENCE = np.zeros(SAMPLES_PER_PICTURE, np.float32)
PATIENT_S = 20.0
HARDWARE: tuple[EncoderKind, ...] = ("vaapi", "qsv")


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loaded machine starts a child late; what waits for nothing at all has limits of its own below."""
    monkeypatch.setattr(hardware_encoder, "START_S", PATIENT_S)
    monkeypatch.setattr(encoder_trial, "LIMIT_S", PATIENT_S)


@pytest.fixture
def gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EncoderSettings:
    """Of a stand-in that works; its file says what it does wrong."""
    return replace(SOFTWARE, kind="vaapi", device=stand_in(tmp_path, monkeypatch))


def broken(settings: EncoderSettings, does: str) -> EncoderSettings:
    Path(settings.device).write_text(does)
    return settings


def shade(number: int) -> int:
    return 30 + 4 * (number % 50)


def picture(number: int) -> Plane:
    """A canvas whose luma tells its number."""
    canvas = new_canvas()
    canvas[:HEIGHT] = shade(number)
    return canvas


def decoded(path: Path) -> list[tuple[Fraction, int]]:
    """Time and number modulo 50 of every picture of a file."""
    with av.open(str(path)) as container:
        return [
            (Fraction(f.pts) * f.time_base, round((float(plane_view(f.planes[0], WIDTH, HEIGHT)[::9, ::9].mean()) - 30) / 4))
            for f in container.decode(video=0)
            if f.pts is not None and f.time_base is not None
        ]


def feed(part: Part, first: int, count: int) -> None:
    for number in range(first, first + count):
        canvas = picture(number)
        while not part.put(canvas, SILENCE, boottime_ns()):
            continue  # it says so five times a second


def until_fault(part: Part, first: int) -> EncoderFault:
    """Puts pictures until the part refuses."""
    with pytest.raises(EncoderFault) as caught:
        for number in range(first, first + 500):
            feed(part, number, 1)
    return caught.value


def child_of(part: Part) -> int:
    assert isinstance(part._video, ChildEncoder)
    return part._video.pid


# arguments


def option(arguments: list[str], name: str) -> str:
    return arguments[arguments.index(name) + 1]


def test_the_commands_name_device_codec_and_quality() -> None:
    vaapi = command(replace(SOFTWARE, kind="vaapi", crf=23, device="/dev/dri/renderD129"))
    assert vaapi.index("-vaapi_device") < vaapi.index("-i")
    assert (option(vaapi, "-vaapi_device"), option(vaapi, "-c:v")) == ("/dev/dri/renderD129", "h264_vaapi")
    assert (option(vaapi, "-rc_mode"), option(vaapi, "-qp"), option(vaapi, "-vf")) == ("CQP", "23", "format=nv12,hwupload")
    qsv = command(replace(SOFTWARE, kind="qsv", low_power=True))
    assert (option(qsv, "-qsv_device"), option(qsv, "-c:v"), option(qsv, "-q:v")) == ("/dev/dri/renderD128", "h264_qsv", "26")
    assert option(qsv, "-low_power") == "1" and "-low_power" not in vaapi
    for each in (vaapi, qsv):
        assert (option(each, "-s"), option(each, "-pixel_format"), option(each, "-framerate")) == ("1920x1080", "yuv420p", "25")
        assert (option(each, "-g"), option(each, "-bf"), each[-1]) == ("50", "0", "pipe:1")
    assert x264_options(SOFTWARE)["x264-params"] == "aq-mode=0:weightp=0"


# pictures in, packets out


@pytest.mark.parametrize("kind", ["software", *HARDWARE])
def test_a_part_holds_every_picture_once_in_order(tmp_path: Path, gpu: EncoderSettings, kind: EncoderKind) -> None:
    part = Part(tmp_path / "part-001.mp4", replace(gpu, kind=kind), 0, boottime_ns)
    feed(part, 0, 110)
    part.finish()
    assert (part.fault, part.encoder_name, part.pictures) == (None, kind, 110)
    assert count_pictures(part.path) == 110
    assert decoded(part.path) == [(Fraction(n, 25), n % 50) for n in range(110)]
    with av.open(str(part.path)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert (video.index, audio.index) == (0, 1)
        assert (video.codec_context.name, video.width, video.height) == ("h264", WIDTH, HEIGHT)
        assert video.average_rate == 25
        keys = [p.pts * p.time_base for p in container.demux(video) if p.is_keyframe and p.pts is not None]
        assert keys == [0, 2, 4]
    with av.open(str(part.path)) as container:
        samples = sum(f.samples for f in container.decode(audio=0))
        assert 0 <= samples - 110 * SAMPLES_PER_PICTURE < 2 * 1024, "as much sound as picture, rounded up to AAC's frames"


def test_few_pictures_are_inside_at_a_time(gpu: EncoderSettings) -> None:
    with av.open(io.BytesIO(), "w", format="mp4", options=FRAGMENTED) as container:
        encoder = ChildEncoder(gpu, container)
        out = 0
        for number in range(30):
            out += sum(1 for _ in encoder.encode(picture(number)))
            assert number + 1 - out <= AHEAD
        assert out + sum(1 for _ in encoder.flush()) == 30
        with pytest.raises(ProcessLookupError):
            os.kill(encoder.pid, 0)


def test_nothing_in_is_nothing_out(gpu: EncoderSettings) -> None:
    with av.open(io.BytesIO(), "w", format="mp4") as container:
        for settings in (gpu, SOFTWARE):
            encoder = open_encoder(settings, container)
            encoder.close()
            encoder.close()
    with av.open(io.BytesIO(), "w", format="mp4") as container:
        assert isinstance(open_encoder(SOFTWARE, container), SoftwareEncoder)


def test_a_canvas_of_another_size_is_no_picture(tmp_path: Path, gpu: EncoderSettings) -> None:
    part = Part(tmp_path / "part-001.mp4", gpu, 0, boottime_ns)
    with pytest.raises(StorageFault, match="a canvas has 3110400 bytes, not 100"):
        for _ in range(50):
            part.put(np.zeros((10, 10), np.uint8), SILENCE, boottime_ns())
    with pytest.raises(StorageFault):
        part.finish()


# failures in the middle of a part


def whole_up_to(part: Part) -> int:
    """Finishes a part after an encoder fault: what is in it is what it says."""
    part.finish()
    assert decoded(part.path) == [(Fraction(n, 25), n % 50) for n in range(part.pictures)]
    return part.pictures


def test_a_killed_encoder_costs_what_was_inside_it(tmp_path: Path, gpu: EncoderSettings) -> None:
    part = Part(tmp_path / "part-001.mp4", gpu, 0, boottime_ns)
    feed(part, 0, 60)
    wait_for(lambda: part.pictures == 60, "60 pictures", PATIENT_S)
    os.kill(child_of(part), signal.SIGKILL)
    fault = until_fault(part, 60)
    assert "vaapi ended by itself: SIGKILL" in str(fault)
    assert 60 - AHEAD <= whole_up_to(part) <= 60
    later = Part(tmp_path / "part-002.mp4", replace(gpu, kind="software"), 70, boottime_ns)
    feed(later, 0, 30)
    later.finish()
    assert (later.pictures, later.fault) == (30, None)


def test_an_encoder_that_freezes_is_given_up_within_two_seconds(
    tmp_path: Path, gpu: EncoderSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = Part(tmp_path / "part-001.mp4", gpu, 0, boottime_ns)
    feed(part, 0, 30)
    wait_for(lambda: part.pictures == 30, "30 pictures", PATIENT_S)
    pid = child_of(part)
    os.kill(pid, signal.SIGSTOP)
    began = boottime_ns()
    fault = until_fault(part, 30)
    assert 1.9 < (boottime_ns() - began) / SECOND_NS < 5
    assert "has given no picture for 2.0 s" in str(fault)
    assert 30 - AHEAD <= whole_up_to(part) <= 40
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_an_encoder_that_ends_early_and_well_is_a_fault_too(tmp_path: Path, gpu: EncoderSettings) -> None:
    part = Part(tmp_path / "part-001.mp4", broken(gpu, "short"), 0, boottime_ns)
    assert "ended by itself: exit code 0" in str(until_fault(part, 0))
    assert whole_up_to(part) == 20


def test_pictures_lost_at_the_very_end_are_not_claimed(tmp_path: Path, gpu: EncoderSettings) -> None:
    part = Part(tmp_path / "part-001.mp4", broken(gpu, "few"), 0, boottime_ns)
    feed(part, 0, 22)
    assert whole_up_to(part) == 20
    assert isinstance(part.fault, EncoderFault)


def test_a_picture_left_out_is_a_fault(tmp_path: Path, gpu: EncoderSettings) -> None:
    part = Part(tmp_path / "part-001.mp4", broken(gpu, "skips"), 0, boottime_ns)
    assert "gave picture 11 where picture 10 was due" in str(until_fault(part, 0))
    assert whole_up_to(part) == 10


def test_an_encoder_that_gives_no_more_is_a_fault(tmp_path: Path, gpu: EncoderSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware_encoder, "STALL_S", 0.5)
    part = Part(tmp_path / "part-001.mp4", broken(gpu, "few"), 0, boottime_ns)
    assert "has given no picture for 0.5 s" in str(until_fault(part, 0))
    assert 18 <= whole_up_to(part) <= 20


def test_an_encoder_that_cannot_start_is_the_fault_of_the_first_picture(tmp_path: Path) -> None:
    part = Part(tmp_path / "part-001.mp4", replace(SOFTWARE, kind="qsv", device=str(tmp_path / "none")), 0, boottime_ns)
    assert "There is no graphics processor at" in str(until_fault(part, 0))
    part.finish()
    assert (part.pictures, part.path.stat().st_size) == (0, 0)


def test_a_disk_that_fails_ends_the_child(tmp_path: Path, gpu: EncoderSettings) -> None:
    part = Part(tmp_path / "part-001.mp4", gpu, 0, boottime_ns)
    feed(part, 0, 5)
    wait_for(lambda: part.pictures == 5, "5 pictures", PATIENT_S)
    pid = child_of(part)
    part.sink.error = OSError(28, "No space left on device")
    with pytest.raises(StorageFault):
        for number in range(5, 100):
            feed(part, number, 1)
    with pytest.raises(StorageFault):
        part.finish()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


# the trial


def fault_of(settings: EncoderSettings) -> EncoderFault:
    with pytest.raises(EncoderFault) as caught:
        try_encoder(settings, limit_s=PATIENT_S)
    return caught.value


@pytest.mark.parametrize("kind", ["software", *HARDWARE])
def test_an_encoder_that_works_passes_its_trial(gpu: EncoderSettings, kind: EncoderKind) -> None:
    trial = try_encoder(replace(gpu, kind=kind), 10, limit_s=PATIENT_S)
    assert (trial.pictures, trial.settings) == (10, replace(gpu, kind=kind))
    assert 38 < trial.psnr_db < 99
    assert trial.speed > 0


def test_low_power_is_tried_where_nothing_else_works(gpu: EncoderSettings) -> None:
    assert try_encoder(broken(gpu, "no-full-power"), limit_s=PATIENT_S).settings == replace(gpu, low_power=True)


def test_what_is_wrong_is_named(gpu: EncoderSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "ended by itself: exit code 1: No usable encoding entrypoint" in str(fault_of(broken(gpu, "dead")))
    assert "10 of 10 came back, the worst with" in str(fault_of(broken(gpu, "grey")))
    assert "There is no graphics processor at /dev/none" in str(fault_of(replace(gpu, device="/dev/none")))
    monkeypatch.setattr(hardware_encoder, "START_S", 0.5)
    assert "has given no picture for 0.5 s" in str(fault_of(broken(gpu, "silent")))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "ffmpeg cannot be started: No such file or directory. Install the package ffmpeg." in str(fault_of(gpu))


def test_a_node_that_is_closed_to_this_user_is_named(gpu: EncoderSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: str(path) != gpu.device)  # root may open everything
    assert "may not be used by this user. Add the user room-agent to the group render" in str(fault_of(gpu))


@pytest.mark.parametrize("kind", HARDWARE)
def test_the_real_encoder_without_hardware_says_so(kind: EncoderKind) -> None:
    """The real ffmpeg, on a device that is no graphics processor."""
    fault = fault_of(replace(SOFTWARE, kind=kind, device="/dev/null"))
    assert fault.code == "encoder-ended-unexpectedly"
    assert str(fault.values["why"]).startswith("exit code 1: ")
    assert int(fault.exit_code) == 7


def test_a_trial_has_a_limit(gpu: EncoderSettings) -> None:
    times = iter(range(0, 100 * SECOND_NS, SECOND_NS))
    with pytest.raises(EncoderFault, match="has not encoded 10 pictures within 3 s"):
        try_encoder(gpu, limit_s=3.0, now=lambda: next(times))


def test_the_test_pictures_differ_in_every_plane() -> None:
    first, second = planes(trial_picture(0)), planes(trial_picture(1))
    assert [float(plane.std()) > 20 for plane in first] == [True] * 3
    assert not np.array_equal(first[0], second[0])
    assert not np.array_equal(first[1], first[2])


# the choice


def test_software_needs_no_trial() -> None:
    before = threading.active_count()
    choice = EncoderChoice(SOFTWARE)
    assert (choice.settings(), choice.fault, threading.active_count()) == (SOFTWARE, None, before)


def test_proven_hardware_is_chosen_until_it_fails_and_again_when_it_works(gpu: EncoderSettings) -> None:
    at = [0]
    choice = EncoderChoice(broken(gpu, "no-full-power"), now=lambda: at[0])
    assert choice.settings() == replace(gpu, low_power=True)
    assert choice.fault is None
    broken(gpu, "dead")
    fault = EncoderFault("encoder-ended-unexpectedly", "check-process-log", encoder="vaapi", why="SIGKILL")
    choice.refuse(fault)
    assert choice.settings() == replace(gpu, kind="software")
    assert choice.fault is fault
    at[0] = AGAIN_NS - 1
    choice.idle()
    assert choice.settings().kind == "software"
    assert choice.fault is fault, "not yet"
    at[0] = AGAIN_NS
    choice.idle()
    assert choice.settings().kind == "software"
    assert choice.fault is not fault and "No usable encoding entrypoint" in str(choice.fault)
    broken(gpu, "")
    at[0] = 2 * AGAIN_NS
    choice.idle()
    assert choice.settings() == gpu
    assert choice.fault is None


def test_missing_hardware_is_software_with_the_reason(tmp_path: Path) -> None:
    choice = EncoderChoice(replace(SOFTWARE, kind="vaapi", device=str(tmp_path / "renderD128")))
    assert choice.settings().kind == "software"
    assert choice.fault is not None and "There is no graphics processor at" in str(choice.fault)
