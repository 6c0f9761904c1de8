"""The self-check of the composite's encoder: what it lets pass, and what it says where hardware does not do its part."""

from pathlib import Path

import pytest

from agent.config.model import parse
from agent.config.problems import ConfigFault
from agent.config.settings import composer_settings
from agent.selfcheck.check import Scene
from agent.selfcheck.checks import encoder
from agent.selfcheck.runner import run
from recorder.clock.instants import boot_id, boottime_ns
from recorder.composite import hardware_encoder
from recorder.composite.encoder import EncoderFault
from recorder.disk.durable import make_folder
from recorder.process.status import ComposerStatus
from tests.agent.selfcheck_samples import config
from tests.equipment.gpu import stand_in


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loaded machine starts a child late, and encodes slowly."""
    monkeypatch.setattr(hardware_encoder, "START_S", 20.0)
    monkeypatch.setattr(encoder, "LIMIT_S", 40.0)


def scene(tmp_path: Path, kind: str, device: str = "/dev/dri/renderD128") -> Scene:
    return Scene(config(tmp_path, f'[composite]\nencoder = "{kind}"\nencoder_device = "{device}"\n'))


def composer(looked: Scene, state: str, *, fault: EncoderFault | None = None, kind: str = "vaapi") -> None:
    """What the composer says now."""
    status = ComposerStatus(
        name="composer", pid=1, boot_id=boot_id(), version="0", at_ns=boottime_ns(), state=state, encoder=kind
    )
    status.fault = None if fault is None else fault.as_dict()
    status.write(make_folder(looked.places.status))


@pytest.mark.parametrize(("least", "status"), [(0.01, "passed"), (1e9, "warning")])
def test_software_is_told_with_its_speed_and_never_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, least: float, status: str
) -> None:
    monkeypatch.setattr(encoder, "SOFTWARE_SPEED", least)
    found = encoder.look(scene(tmp_path, "software"), "")
    assert (found.status, found.threshold.say("en")) == (status, f"at least {least:g} times real time, 30 dB")
    assert found.value.say("en").startswith("software: ")
    assert found.value.say("zh").startswith("software：速度为实时的 ")
    assert ("encoder_threads" in found.mend.say("en")) is (status == "warning")


@pytest.mark.parametrize("kind", ["vaapi", "qsv"])
def test_hardware_that_keeps_up_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(encoder, "SPEED", 0.01)  # x264 stands in for it, on a machine that has other things to do
    found = encoder.look(scene(tmp_path, kind, stand_in(tmp_path, monkeypatch)), "")
    assert (found.status, found.value.say("en").split(":")[0]) == ("passed", kind)


def test_hardware_that_is_no_faster_than_real_time_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = encoder.look(scene(tmp_path, "vaapi", stand_in(tmp_path, monkeypatch, "slow")), "")
    assert (found.status, found.what.say("en")) == ("failed", "The encoder vaapi is too slow.")
    assert found.threshold.say("en") == "at least 2 times real time, 30 dB"


def test_missing_hardware_warns_and_lets_a_session_start(tmp_path: Path) -> None:
    report = run(scene(tmp_path, "qsv", "/dev/none").config, chosen=[encoder.CHECK], limit_s=30)
    (found,) = report.findings
    assert (report.passed, found.key, found.status, found.required) == (True, "encoder", "warning", False)
    assert found.what.say("en") == "There is no graphics processor at /dev/none."
    assert found.mend.say("zh") == '请将 composite.encoder_device 设为 /dev/dri 下的设备，或设 composite.encoder = "software"。'


def test_hardware_that_spoils_pictures_warns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = encoder.look(scene(tmp_path, "vaapi", stand_in(tmp_path, monkeypatch, "grey")), "")
    assert found.status == "failed"
    assert found.what.say("en").startswith("The encoder vaapi spoils pictures: 25 of 25 came back, the worst with ")


def test_a_composer_that_cannot_use_what_this_user_can_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder, "SPEED", 0.01)
    looked = scene(tmp_path, "vaapi", stand_in(tmp_path, monkeypatch))
    fault = EncoderFault("graphics-processor-missing", "correct-encoder-device", device="/dev/dri/renderD128")
    status = ComposerStatus(name="composer", pid=1, boot_id="", version="0", state="armed", encoder="software")
    monkeypatch.setattr(Scene, "statuses", lambda self: {"composer": status})
    assert encoder.look(looked, "").status == "passed"
    status.fault = fault.as_dict()
    found = encoder.look(looked, "")
    assert (found.status, found.what.say("en")) == ("warning", "There is no graphics processor at /dev/dri/renderD128.")


def test_a_recording_is_not_disturbed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder, "SOFTWARE_SPEED", 0.01)
    looked = scene(tmp_path, "software")
    composer(looked, "recording")
    assert encoder.look(looked, "").status == "skipped"
    composer(looked, "armed")
    assert encoder.look(looked, "").status == "passed"


def test_the_configuration_reaches_the_composer(tmp_path: Path) -> None:
    more = '[composite]\nencoder = "qsv"\nencoder_device = "/dev/dri/renderD129"\ncrf = 30\n'
    found = composer_settings(config(tmp_path, more)).encoder
    assert (found.kind, found.device, found.crf, found.low_power) == ("qsv", "/dev/dri/renderD129", 30, False)
    assert composer_settings(config(tmp_path)).encoder.kind == "software"


@pytest.mark.parametrize(
    ("line", "key"), [('encoder = "nvenc"', "composite.encoder"), ('encoder_device = "renderD128"', "composite.encoder_device")]
)
def test_what_is_no_encoder_is_refused(line: str, key: str) -> None:
    with pytest.raises(ConfigFault) as caught:
        parse(f"[composite]\n{line}\n")
    assert [problem.key for problem in caught.value.problems] == [key]
