"""A camera that becomes another in mid-session: its track goes on recording, and its journal says what changed."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from recorder.capture.camera_changes import Accepted, Identity, store
from recorder.capture.camera_identity import CameraSettings
from recorder.disk.durable import make_folder
from recorder.process.status import TrackStatus
from tests.equipment.camera import StandInCamera
from tests.equipment.process import wait_for
from tests.recorder.stand_ins import by_onvif, camera
from tests.recorder.track.test_process import Room


@pytest.fixture
def overview(tmp_path: Path) -> Iterator[StandInCamera]:
    with camera(tmp_path) as one:
        yield one


@pytest.fixture
def room(overview: StandInCamera, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Room:
    monkeypatch.setattr("recorder.capture.camera_identity.ASK_AGAIN_NS", 0)
    room = Room(tmp_path, by_onvif(overview))
    memory = make_folder(room.root / "cameras") / "overview.json"
    source = CameraSettings(by_onvif(overview), (320, 180), memory, accepted=room.root / "accepted-cameras.json")
    room.settings = replace(room.settings, source=source)
    return room


def reconnected(room: Room, overview: StandInCamera) -> None:
    overview.gone()
    room.until(lambda s: s.state == "connecting", "the loss", 5)
    overview.back()
    room.until(lambda s: s.state == "recording", "it is back", 12)


def test_what_changed_is_told_and_journalled_and_another_camera_is_taken_when_a_person_accepts_it(
    room: Room, overview: StandInCamera
) -> None:
    path = room.root / "accepted-cameras.json"

    def accept(status: TrackStatus) -> None:
        store(path, {"overview": Accepted(Identity.out_of(status), "accepted", "2026-11-21T01:30:05Z", "李明")})

    with room.recording():
        accept(room.until(lambda s: s.serial == "LO2-overview", "who it is"))
        start = room.now_ns
        room.want(start)
        status = room.until(lambda s: s.state == "recording", "bytes on the disk")
        assert (status.firmware, status.hardware) == ("1.0.4", overview.onvif.mac)
        assert status.address == f"{overview.host}:{overview.onvif_port}"
        overview.onvif.firmware = "1.0.5"
        overview.onvif.serial = ""  # it tells neither this…
        overview.onvif.mac_told = ""  # …nor that
        reconnected(room, overview)
        status = room.until(lambda s: s.serial == "" and s.fault is not None, "it is told", 10)
        assert status.firmware == "1.0.5" and status.hardware == ""
        assert status.fault is not None and status.fault["code"] == "camera-serial-number-changed"
        assert status.fault["mend"] == "accept-changed-camera"
        wait_for(lambda: room.lines("device"), "it is journalled")
        accept(status)
        room.until(lambda s: s.fault is None, "it is the camera now", 5)
        room.want(start, room.now_ns)
        room.until(lambda s: s.state == "finished", "its end", 15)
    [line] = room.lines("device")
    assert {"what": "firmware", "before": "1.0.4", "now": "1.0.5"} in line["changes"]
    assert {change["what"] for change in line["changes"]} == {"firmware", "serial", "hardware"}
    assert line["device"]["firmware"] == "1.0.5" and line["device"]["delivered_by"]
    assert start < line["at_ns"] < start + 60_000_000_000
    [begin] = room.lines("begin")
    assert begin["device"]["firmware"] == "1.0.4"
