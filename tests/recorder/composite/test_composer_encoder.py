"""The composer with a hardware encoder: it is used once proven, and software goes on where it fails."""

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from recorder.clock.instants import SECOND_NS
from recorder.composite import encoder_trial, hardware_encoder
from recorder.composite.encoder import EncoderSettings
from recorder.composite.hardware_encoder import ChildEncoder
from recorder.composite.part import count_pictures
from recorder.evidence.continuity import composite_coverage
from recorder.session.lines import read_lines
from tests.equipment.gpu import stand_in
from tests.recorder.composite.test_process import FAST, Studio, lines, samples, studio
from wording.sentence import Sentence

__all__ = ["samples", "studio"]

MakeStudio = Callable[..., Studio]


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loaded machine starts a child late."""
    monkeypatch.setattr(hardware_encoder, "START_S", 20.0)
    monkeypatch.setattr(encoder_trial, "LIMIT_S", 20.0)


@pytest.fixture
def gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EncoderSettings:
    return replace(FAST, kind="vaapi", device=stand_in(tmp_path, monkeypatch))


def test_hardware_that_dies_costs_less_than_three_seconds(studio: MakeStudio, gpu: EncoderSettings) -> None:
    room = studio(began_ns=SECOND_NS)
    room.settings = replace(room.settings, encoder=gpu)
    with room.composing() as composer:
        armed = room.until(lambda s: s.encoder == "vaapi", "the trial", 30)
        assert armed.fault is None
        room.start_ns = room.epoch.room_ns(armed.at_ns) // SECOND_NS * SECOND_NS
        room.want(None)
        room.until(lambda s: s.pictures_written >= 25, "pictures by hardware")
        part = composer._composite.part if composer._composite else None
        assert part is not None and isinstance(part._video, ChildEncoder)
        os.kill(part._video.pid, signal.SIGKILL)
        status = room.until(lambda s: s.parts == 2 and s.encoder == "software", "the part by software")
        assert status.state == "recording"
        assert status.fault is not None and status.fault["code"] == "encoder-ended-unexpectedly"
        seconds = (room.epoch.room_ns(status.at_ns) - room.start_ns) // SECOND_NS + 2
        room.want(seconds)
        room.finished()
    first, second = lines(room.folder, "part")
    (told,) = lines(room.folder, "encoder")
    assert told["values"]["why"] == "SIGKILL"
    assert [count_pictures(room.folder / p["file"]) for p in (first, second)] == [first["pictures"], second["pictures"]]
    assert first["first_picture"] == 0
    assert second["first_picture"] + second["pictures"] == 25 * seconds
    (gap,) = composite_coverage(read_lines(lines(room.folder)), room.start_ns, room.start_ns + seconds * SECOND_NS).gaps
    assert (gap.from_ns, gap.to_ns) == (first["end_ns"], second["start_ns"])
    assert gap.to_ns - gap.from_ns < 3 * SECOND_NS
    assert gap.cause == Sentence("encoder-ended-unexpectedly", {"encoder": "vaapi", "why": "SIGKILL"})
    assert gap.cause.say() == "The encoder vaapi ended by itself: SIGKILL."


def test_a_trial_that_takes_long_makes_nobody_take_the_composer_for_hung(
    studio: MakeStudio, gpu: EncoderSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardware_encoder, "START_S", 2.0)
    Path(gpu.device).write_text("silent")
    room = studio(began_ns=SECOND_NS)
    room.settings = replace(room.settings, encoder=gpu)
    with room.composing(), room.signs_of_life():
        room.want(2)
        assert room.finished().encoder == "software"


def test_hardware_that_fails_its_trial_is_never_used(studio: MakeStudio, gpu: EncoderSettings) -> None:
    Path(gpu.device).write_text("dead")
    room = studio(began_ns=SECOND_NS)
    room.settings = replace(room.settings, encoder=gpu)
    room.want(3)
    with room.composing():
        status = room.finished()
    assert (status.parts, status.pictures_written, status.encoder) == (1, 75, "software")
    assert status.fault is not None and "No usable encoding entrypoint" in str(status.fault["values"])
    assert not lines(room.folder, "encoder")
