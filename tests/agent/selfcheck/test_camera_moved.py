"""A camera that the track found at another address passes the self-check with a warning that names both."""

import socket
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.commands.context import Context
from agent.commands.room import cameras, met_certificates
from agent.config.model import parse
from agent.config.problems import ConfigFault
from agent.config.settings import camera_address, camera_address_now, discovery_target
from agent.selfcheck.check import Scene
from agent.selfcheck.checks import camera_login
from drivers.discovery import Target
from drivers.ports import CameraDescription, Place, Stream
from recorder.disk.durable import make_folder, write_json
from tests.agent.selfcheck_samples import config
from tests.equipment.onvif import GROUP, Discovery, OnvifService
from tests.equipment.onvif_messages import Profile
from tests.equipment.process import HOST, free_port
from tests.equipment.talk import Certificate, Service

CONFIGURED = "192.0.2.1"
FOUND = "127.0.0.5"


@pytest.fixture
def camera() -> Iterator[OnvifService]:
    service = OnvifService("overview", (Profile("main", "h264", 1920, 1080, 25, 25, 4_000_000),), 8554, "admin", "", b"")
    service.host = service.reached = FOUND
    service.start()
    yield service
    service.stop()


def test_the_self_check_asks_where_the_camera_is_and_says_so(camera: OnvifService, tmp_path: Path) -> None:
    room = config(tmp_path, f'[camera.overview]\nhost = "{CONFIGURED}"\nport = 8080\n')
    place = Place(FOUND, camera.port, f"{CONFIGURED}:8080", "discovery")
    folder = make_folder(room.storage.places.cameras)
    write_json(folder / "overview.json", CameraDescription(Stream("rtsp://h/m"), address=place).as_dict())
    assert camera_address(room, "overview").host == CONFIGURED
    assert camera_address_now(room, "overview").host == FOUND
    outcome = camera_login.look(Scene(room), "overview")
    assert outcome.status == "warning"
    assert outcome.what.say("en") == f"The camera overview was found at {FOUND}:{camera.port} instead of {CONFIGURED}:8080."
    assert "camera.overview.host" in outcome.mend.say("zh")


def test_the_certificate_of_a_listed_camera_is_shown(
    camera: OnvifService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = Certificate(tmp_path)
    context = Context(Namespace(), tmp_path / "config.toml", False, "en")
    with Service(lambda _: None, certificate) as service:
        monkeypatch.setattr("agent.commands.room.HTTPS_PORT", service.port)
        found = met_certificates(context, {HOST, FOUND})
    assert list(found) == [HOST] and certificate.fingerprint in found[HOST]


def test_where_cameras_are_searched(tmp_path: Path) -> None:
    assert discovery_target(config(tmp_path)) == Target("239.255.255.250", 3702, "")
    assert discovery_target(config(tmp_path, '[onvif]\ninterface = "192.0.2.7"\n')) == Target(interface="192.0.2.7")
    assert discovery_target(config(tmp_path, '[onvif]\ndiscovery = ""\n')) is None
    for wrong in ('discovery = "239.255.255.250"', 'discovery = ":3702"', 'discovery = "h:99999"', 'interface = "eth0"'):
        with pytest.raises(ConfigFault, match=rf"onvif\.{wrong.split()[0]}"):
            parse(f"[onvif]\n{wrong}\n")


def test_cameras_of_the_network_are_listed(camera: OnvifService, tmp_path: Path) -> None:
    group_port = free_port(socket.SOCK_DGRAM)
    path = tmp_path / "config.toml"
    path.write_text(f'[onvif]\ndiscovery = "{GROUP}:{group_port}"\n[camera.overview]\nhost = "127.0.0.1"\n', encoding="utf-8")
    responder = Discovery(camera, group_port=group_port)
    try:
        assert cameras(Context(Namespace(), path, False, "en")) == [f"{FOUND}:{camera.port} overview LO-2"]
    finally:
        responder.stop()
