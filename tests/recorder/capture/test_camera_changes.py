"""What of a camera is another than before, and the file that says as what it was accepted."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from drivers.ports import CameraDescription, Place, Stream
from recorder.capture.camera_changes import (
    Accepted,
    AcceptedFile,
    Change,
    Identity,
    changed,
    changes,
    read,
    since_accepted,
    store,
)
from recorder.capture.camera_identity import same_device
from recorder.process.status import TrackStatus

KNOWN = Identity("Maker", "M-1", "1.0", "S1", "aa:bb", "192.0.2.1:80")
NOTHING = Identity()


@pytest.mark.parametrize("what", ["manufacturer", "model", "firmware", "serial", "hardware", "address"])
def test_whatever_changes_is_told(what: str) -> None:
    now = replace(KNOWN, **{what: "other"})
    assert changes(KNOWN, now) == (Change(what, getattr(KNOWN, what), "other"),)
    fault = changed("overview", changes(KNOWN, now))
    assert "other" in fault.say("en") and getattr(KNOWN, what) in fault.say("zh")
    assert "room-agent camera accept overview" in fault.say_mend("en")


def test_what_is_the_same_is_not_told() -> None:
    assert changes(KNOWN, KNOWN) == changes(NOTHING, NOTHING) == ()
    assert changes(KNOWN, replace(KNOWN, hardware="AA:BB")) == (), "as another call writes it"
    assert changes(KNOWN, replace(KNOWN, hardware="")) == (), "a call that failed, of a camera that says who it is"
    assert changes(replace(NOTHING, address="h:1"), replace(KNOWN, address="h:1")) == (), "it had said nothing before"
    assert changes(KNOWN, replace(KNOWN, address="")) == ()


def test_a_camera_that_no_longer_says_who_it_is_has_changed() -> None:
    silent = replace(KNOWN, serial="", hardware="")
    assert {each.what for each in changes(KNOWN, silent)} == {"serial", "hardware"}
    assert {each.what for each in changes(KNOWN, NOTHING)} >= {"serial", "manufacturer"}
    by_hardware = replace(KNOWN, serial="")
    assert [each.what for each in changes(by_hardware, replace(by_hardware, hardware=""))] == ["hardware"]


def test_one_device() -> None:
    known = CameraDescription(Stream("rtsp://h/m"), None, "Maker", "M-1", "1.0", "S1", hardware="aa:bb")
    assert same_device(known, replace(known, firmware="2.0"))
    assert not same_device(known, replace(known, serial="S2"))
    assert not same_device(known, replace(known, serial="", hardware="")), "it tells neither"
    assert same_device(replace(known, serial="", hardware=""), replace(known, serial="", hardware="")), "it never did"


def test_an_identity_is_what_the_description_and_the_status_say() -> None:
    known = CameraDescription(Stream("rtsp://h/m"), None, "Maker", "M-1", "1.0", "S1", hardware="aa:bb")
    placed = replace(known, address=Place("192.0.2.1", 80, "cam:80"))
    status = TrackStatus(name="overview", pid=1, boot_id="", version="", manufacturer="Maker", model="M-1", firmware="1.0")
    status.serial, status.hardware, status.address = "S1", "aa:bb", "192.0.2.1:80"
    assert Identity.of(placed) == Identity.of(known, "192.0.2.1:80") == Identity.out_of(status) == KNOWN


def test_as_what_a_camera_was_accepted(tmp_path: Path) -> None:
    path = tmp_path / "accepted-cameras.json"
    file = AcceptedFile(path)
    assert file.read() == read(path) == {}
    assert since_accepted({}, "overview", KNOWN) == (), "it was never seen"
    first = Accepted(KNOWN, "first-seen", "2026-11-21T01:30:05Z")
    person = Accepted(KNOWN, "accepted", "2026-11-21T01:30:05Z", "李明", "更换", {"uid": 1000, "login": "liming"})
    store(path, {"overview": first})
    store(path, {"closeup": person})
    assert file.read() == read(path) == {"overview": first, "closeup": person}
    assert since_accepted(read(path), "overview", replace(KNOWN, firmware="2.0")) == (Change("firmware", "1.0", "2.0"),)


@pytest.mark.parametrize("content", ["{", "[]", '{"schema": "other/1", "cameras": {}}', '{"schema": "interview-room-cameras/1"}'])
def test_a_record_that_cannot_be_read_vouches_for_nobody(tmp_path: Path, content: str) -> None:
    path = tmp_path / "accepted-cameras.json"
    path.write_text(content, encoding="utf-8")
    assert read(path) is None
    [change] = since_accepted(AcceptedFile(path).read(), "overview", KNOWN)
    assert "cannot be read" in changed("overview", [change]).say("en")
    store(path, {"overview": Accepted(KNOWN, "accepted", "2026-11-21T01:30:05Z")})
    assert json.loads(path.read_text(encoding="utf-8"))["cameras"]["overview"]["identity"]["serial"] == "S1"
