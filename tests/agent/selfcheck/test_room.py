"""The self-check of a whole room: real processes of tracks, composer and climate on stand-in equipment."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent import selfcheck
from agent.config.model import Config, load
from agent.selfcheck.checks import encoder
from agent.selfcheck.result import CheckResult, SelfcheckReport, load_latest, store_report
from recorder.clock.instants import boot_id, boottime_ns
from recorder.disk.durable import make_folder
from recorder.process.status import Status, TrackStatus, read_statuses
from recorder.session.tracks import TRACKS
from tests.equipment.clips import SMALL
from tests.equipment.process import Child, wait_for
from tests.equipment.room import StandInRoom
from tests.equipment.scene import FPS

DEVICES = (*TRACKS, "climate")


class Room:
    """The equipment and the processes that look after it."""

    def __init__(self, equipment: StandInRoom, folder: Path) -> None:
        self.equipment = equipment
        self.file = folder / "config.toml"
        base = folder / "调查询问室 1"
        text = equipment.config_text(base / "data", base / "run", "en", {"recording": {"planned_minutes": 1}})
        self.file.write_text(text, encoding="utf-8")
        self.config: Config = load(self.file)
        self.places = self.config.storage.places
        make_folder(self.places.root)
        make_folder(self.places.status)
        processes = (*(("track", name) for name in TRACKS), ("composer",), ("climate",))
        self._children = [self._child(*words) for words in processes]

    def _child(self, *words: str) -> Child:
        command = [sys.executable, "-m", "agent", *words, "--config", str(self.file)]
        return Child(words[-1], command, self.file.with_name(f"{words[-1]}.log"), self.equipment.env)

    def statuses(self) -> dict[str, Status]:
        return read_statuses(self.places.status, boottime_ns(), boot_id())

    def wait_for_state(self, name: str, *states: str, limit_s: float = 15.0) -> None:
        def there() -> bool:
            status = self.statuses().get(name)
            return status is not None and status.state in states

        wait_for(there, f"{name} is {states}: {self.statuses().get(name)}", limit_s)

    def ready(self) -> None:
        for track in TRACKS:
            self.wait_for_state(track, "armed")
        self.wait_for_state("composer", "armed")
        self.wait_for_state("climate", "ok")

        def two_groups() -> bool:
            statuses = [self.statuses().get(camera) for camera in ("overview", "closeup")]
            return all(isinstance(s, TrackStatus) and s.keyframe_interval_s for s in statuses)

        wait_for(two_groups, "two key frames of each camera", 10)

    def close(self) -> None:
        for child in self._children:
            child.end()


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    folder = tmp_path_factory.mktemp("selfcheck")
    with StandInRoom(folder / "equipment", recipe=SMALL, language="en") as equipment:
        room = Room(equipment, folder)
        try:
            room.ready()
            yield room
        finally:
            room.close()


def found(report: SelfcheckReport) -> dict[str, CheckResult]:
    return {finding.key: finding for finding in report.findings}


@pytest.fixture(autouse=True)
def any_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    """How fast this machine is while another room's tests run beside is not asked."""
    monkeypatch.setattr(encoder, "SOFTWARE_SPEED", 0.1)


def test_a_room_in_order_passes(room: Room) -> None:
    report = selfcheck.run(room.config)
    by_key = found(report)
    assert {key: (f.status, f.what.say("en")) for key, f in by_key.items() if f.status != "passed"} == {}
    assert report.passed
    assert report.seconds < 10
    assert by_key["camera-login:overview"].value.say("en") == "Loopback Optics LO-2 overview 1.0.4"
    assert by_key["camera-stream:closeup"].value.say("en").startswith("640×360, 25.")
    assert by_key["camera-keyframes:overview"].value.say("en") == f"{SMALL.gop / FPS:.1f} s"
    assert by_key["climate:climate"].value.say("en").startswith("23.4 °C, 45.0 %")
    assert by_key["drives:burner"].value.say("en") == "2/2 drives, 2 blank disc(s)"
    assert by_key["microphone-delivers:microphone"].value.say("en").startswith("48000 Hz, 1 channel(s)")
    store_report(report.as_dict(), room.config)
    summary = load_latest(room.config)
    assert summary is not None
    assert summary.valid(summary.at_ns)


def test_what_is_wrong_is_found_and_named(room: Room) -> None:
    equipment = room.equipment
    for device, fault in (("overview", "black"), ("overview", "clock"), ("closeup", "still"), ("microphone", "silence")):
        equipment.fault(device, fault)
    for device, fault in (("climate", "silent"), ("broker", "gone"), ("clock", "gone")):
        equipment.fault(device, fault)
    equipment.discs[0].path.write_bytes(b"evidence" * 1000)
    try:
        room.wait_for_state("climate", "silent")

        def silent() -> bool:
            status = room.statuses().get("microphone")
            return isinstance(status, TrackStatus) and status.level_dbfs is not None and status.level_dbfs < -100

        wait_for(silent, "a silent microphone")
        report = selfcheck.run(room.config)
    finally:
        for device in equipment.devices:
            equipment.fault(device, "back")
        equipment.discs[0].path.write_bytes(b"")
    by_key = found(report)
    assert set(report.failed_checks) == {
        "camera-light:overview",
        "camera-frozen:closeup",
        "microphone-level:microphone",
        "drives:burner",
    }
    warnings = {key for key, finding in by_key.items() if finding.status == "warning"}
    assert warnings == {"camera-clock:overview", "climate:climate", "broker", "room-clock"}
    assert by_key["camera-clock:overview"].value.say("en") in ("1 h 00 min 00 s fast", "59 min 59 s fast", "1 h 00 min 01 s fast")
    assert by_key["microphone-level:microphone"].value.say("en") == "-120 dBFS"
    assert by_key["camera-frozen:closeup"].value.say("en") == "0.0 % of the picture changes"
    for key in (*report.failed_checks, *warnings):
        assert by_key[key].what.say("zh") != by_key[key].what.say("en")
        assert by_key[key].mend.say("zh") != by_key[key].mend.say("en")


def test_cameras_that_are_gone_or_refuse(room: Room) -> None:
    equipment = room.equipment
    room.ready()
    equipment.fault("overview", "wrong_password")
    equipment.fault("closeup", "gone")
    try:
        room.wait_for_state("closeup", "connecting")
        report = selfcheck.run(room.config)
    finally:
        equipment.fault("overview", "back")
        equipment.fault("closeup", "back")
    by_key = found(report)
    assert {"camera-login:overview", "camera-login:closeup", "camera-stream:closeup"} <= set(report.failed_checks)
    assert "refuses the user admin" in by_key["camera-login:overview"].what.say("en")
    assert "camera.overview.password_file" in by_key["camera-login:overview"].mend.say("en")
    assert f":{equipment.closeup.onvif_port}" in by_key["camera-login:closeup"].what.say("en")
    assert by_key["camera-stream:closeup"].what.say("en")
    assert by_key["camera-light:closeup"].status == "skipped"
    assert by_key["camera-light:overview"].status == "passed", "its stream goes on"
    room.ready()
