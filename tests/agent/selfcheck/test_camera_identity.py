"""The self-check of who a camera is: a swapped one fails, by what it answers now, and the mend names the command."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from agent.selfcheck.check import Outcome, Scene
from agent.selfcheck.checks import camera_encryption, camera_identity
from drivers.ports import CameraDescription, Place, Stream
from recorder.capture.camera_changes import Accepted, Identity, store
from recorder.disk.durable import make_folder, write_json
from tests.agent.selfcheck_samples import config
from tests.equipment.onvif import OnvifService
from tests.equipment.onvif_messages import Profile
from tests.equipment.process import HOST
from tests.equipment.talk import Certificate, Service

MAIN = Profile("main", "h264", 1920, 1080, 25, 25, 4_000_000)
AT = "2026-11-21T01:30:05.000Z"


@pytest.fixture
def camera() -> Iterator[OnvifService]:
    service = OnvifService("overview", (MAIN,), 8554, "admin", "", b"")
    service.start()
    yield service
    service.stop()


def known(camera: OnvifService) -> Identity:
    return Identity("Loopback Optics", "LO-2 overview", "1.0.4", "LO2-overview", camera.mac, f"{HOST}:{camera.port}")


def look(camera: OnvifService, folder: Path) -> Outcome:
    room = config(folder, f'[camera.overview]\nhost = "{HOST}"\nport = {camera.port}\n')
    return camera_identity.look(Scene(room), "overview")


def accept(folder: Path, identity: Identity, how: str = "first-seen", by: str = "") -> None:
    places = config(folder).storage.places
    make_folder(places.root)
    entry = Accepted(identity, "accepted" if how == "accepted" else "first-seen", AT, by)
    store(places.accepted_cameras, {"overview": entry})


def test_the_accepted_camera_passes_and_a_camera_that_was_taken_by_itself_is_told_as_that(
    camera: OnvifService, tmp_path: Path
) -> None:
    assert "first time" in look(camera, tmp_path).value.say("en")
    accept(tmp_path, known(camera))
    outcome = look(camera, tmp_path)
    assert outcome.status == "passed" and "seen first on 2026-11-21" in outcome.value.say("en")
    accept(tmp_path, known(camera), "accepted", "李明")
    outcome = look(camera, tmp_path)
    assert outcome.status == "passed" and "李明" in outcome.threshold.say("zh")


@pytest.mark.parametrize("serial", ["", "LO2-swapped"])
def test_a_swapped_camera_fails_whatever_it_tells(camera: OnvifService, tmp_path: Path, serial: str) -> None:
    accept(tmp_path, known(camera))
    camera.serial = serial
    outcome = look(camera, tmp_path)
    assert outcome.status == "failed"
    assert "LO2-overview" in outcome.what.say("en") and (serial or "-") in outcome.what.say("zh")
    assert "room-agent camera accept overview" in outcome.mend.say("en")


def test_so_does_one_that_answers_elsewhere_or_has_other_firmware(camera: OnvifService, tmp_path: Path) -> None:
    for before in (replace(known(camera), address="192.0.2.1:80"), replace(known(camera), firmware="1.0.3")):
        accept(tmp_path, before)
        assert look(camera, tmp_path).status == "failed"


def test_before_the_agent_has_seen_it_what_its_track_remembers_counts(camera: OnvifService, tmp_path: Path) -> None:
    folder = make_folder(config(tmp_path).storage.places.cameras)
    place = Place(HOST, camera.port, f"{HOST}:{camera.port}")
    before = CameraDescription(
        Stream("rtsp://h/m"), None, "Loopback Optics", "LO-2 overview", "1.0.4", "LO2-other", address=place
    )
    write_json(folder / "overview.json", before.as_dict())
    assert look(camera, tmp_path).status == "failed"


def test_a_camera_that_says_nothing_is_another_checks(tmp_path: Path) -> None:
    room = config(tmp_path, f'[camera.overview]\nrtsp = "rtsp://{HOST}/main"\n')
    assert camera_identity.look(Scene(room), "overview").status == "skipped"


def test_the_certificate_that_was_met_is_shown(tmp_path: Path) -> None:
    certificate = Certificate(tmp_path)
    with Service(lambda _: None, certificate) as service:
        uri = f"rtsps://{HOST}:{service.port}/main"
        plain = camera_encryption.look(Scene(config(tmp_path, f'[camera.overview]\nrtsp = "{uri}"\n')), "overview")
        assert plain.status == "passed" and certificate.fingerprint in plain.value.say("zh")
    pinned = f'[camera.overview]\nrtsp = "{uri}"\ntls_fingerprint = "{certificate.fingerprint.upper()}"\n'
    outcome = camera_encryption.look(Scene(config(tmp_path, pinned)), "overview")
    assert outcome.status == "passed" and certificate.fingerprint in outcome.value.say("en")
    basic = f'[camera.overview]\nrtsp = "rtsp://{HOST}/main"\nallow_basic = true\n'
    outcome = camera_encryption.look(Scene(config(tmp_path, basic)), "overview")
    assert outcome.status == "warning" and "allow_basic" in outcome.what.say("en")
