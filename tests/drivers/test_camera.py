"""The camera driver against an ONVIF service over real SOAP."""

import json
import logging
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from drivers.camera import describe, describe_apart, read_answer
from drivers.faults import DeviceAbsent, DeviceFault, DeviceRefused, DeviceSilent
from drivers.onvif_device import CameraProfile, choose, wsdl_folder
from drivers.ports import CameraAddress, CameraDescription, Stream
from drivers.stream_address import at_host
from tests.equipment.onvif import OnvifService, Refusal
from tests.equipment.onvif_messages import SOAP
from tests.equipment.onvif_messages import Profile as Offered
from tests.equipment.process import HOST, free_port
from wording import Exit

PASSWORD = "räum 密码:1"
MAIN = Offered("main", "h264", 1920, 1080, 25, 25, 4_000_000)
SUB = Offered("sub", "h264", 640, 360, 25, 25, 500_000)


class Camera(OnvifService):
    """The service, with a record of what it was asked, and a clock that may be stepped after it was read."""

    def __init__(self, profiles: tuple[Offered, ...] = (MAIN, SUB)) -> None:
        super().__init__("overview", profiles, 8554, "admin", PASSWORD, b"")
        self.asked: list[tuple[str, bool]] = []
        self.step_s = 0.0
        self.unknown: set[str] = set()

    def answer(self, request: bytes) -> bytes:
        root = ET.fromstring(request)
        body = root.find(f"{{{SOAP}}}Body")
        assert body is not None
        operation = body[0].tag.partition("}")[2]
        self.asked.append((operation, b"UsernameToken" in request))
        if operation in self.unknown:
            raise Refusal("ActionNotSupported", operation)
        answer = super().answer(request)
        if operation == "GetSystemDateAndTime" and self.step_s:
            self.set(clock_offset_s=self.step_s)
            self.step_s = 0.0
        return answer


@pytest.fixture
def camera() -> Iterator[Camera]:
    service = Camera()
    service.start()
    yield service
    service.stop()


def address_of(camera: OnvifService, **changes: Any) -> CameraAddress:
    return replace(CameraAddress("overview", HOST, camera.port, "admin", PASSWORD), **changes)


def test_describes_the_camera(camera: Camera) -> None:
    found = describe(address_of(camera))
    assert found.clock_offset_s == pytest.approx(0, abs=1.0)
    assert replace(found, clock_offset_s=None) == CameraDescription(
        Stream(f"rtsp://{HOST}:8554/main", "h264", 1920, 1080, 25.0, 4e6, "main"),
        Stream(f"rtsp://{HOST}:8554/sub", "h264", 640, 360, 25.0, 500e3, "sub"),
        "Loopback Optics",
        "LO-2 overview",
        "1.0.4",
        "LO2-overview",
        hardware=camera.mac,
        endpoint=camera.endpoint,
    )
    assert camera.asked[:2] == [("GetSystemDateAndTime", False), ("GetDeviceInformation", True)]
    assert {operation for operation, _ in camera.asked} <= {
        "GetSystemDateAndTime", "GetDeviceInformation", "GetCapabilities", "GetProfiles", "GetStreamUri",
        "GetNetworkInterfaces", "GetEndpointReference",
    }  # fmt: skip


@pytest.mark.parametrize("off_s", [-7200.0, 95.0])
def test_a_wrong_camera_clock_is_recorded_and_harmless(camera: Camera, off_s: float) -> None:
    camera.set(clock_offset_s=off_s)
    assert describe(address_of(camera)).clock_offset_s == pytest.approx(off_s, abs=1.0)


def test_our_own_clock_counts_in_the_offset(camera: Camera) -> None:
    found = describe(address_of(camera), now=lambda: time.time() - 5.0)
    assert found.clock_offset_s == pytest.approx(5.0, abs=1.0)


def test_a_clock_that_steps_after_it_was_read_is_read_anew(camera: Camera) -> None:
    camera.step_s = 300.0
    assert describe(address_of(camera)).clock_offset_s == pytest.approx(300.0, abs=1.0)
    assert [operation for operation, _ in camera.asked].count("GetSystemDateAndTime") == 2


def test_inner_addresses_are_rewritten(camera: Camera) -> None:
    camera.set(address="10.99.0.7")
    found = describe(address_of(camera))
    assert found.main.uri == f"rtsp://{HOST}:8554/main"
    assert found.sub is not None
    assert found.sub.uri == f"rtsp://{HOST}:8554/sub"


def test_what_a_camera_does_not_tell_besides_is_left_out(camera: Camera) -> None:
    camera.unknown = {"GetNetworkInterfaces", "GetEndpointReference", "SetSynchronizationPoint"}
    found = describe(address_of(camera), key_frame="main")
    assert (found.serial, found.hardware, found.endpoint) == ("LO2-overview", "", "")


def test_a_key_frame_is_asked_for_before_all_else(camera: Camera) -> None:
    token = describe(address_of(camera)).main.profile
    camera.asked.clear()
    describe_apart(address_of(camera), key_frame=token)
    assert camera.key_frames_wanted == 1
    operations = [operation for operation, _ in camera.asked]
    assert operations.index("SetSynchronizationPoint") < operations.index("GetDeviceInformation")
    assert describe(address_of(camera), key_frame="no such profile").main.profile == "main"


def test_wrong_password(camera: Camera) -> None:
    with pytest.raises(DeviceRefused) as caught:
        describe(address_of(camera, password="wrong"))
    assert "admin" in caught.value.say()
    assert "camera.overview.password_file" in caught.value.say_mend()
    assert caught.value.exit_code is Exit.DEVICE
    assert [operation for operation, _ in camera.asked].count("GetDeviceInformation") == 2


def test_nobody_there() -> None:
    port = free_port()
    with pytest.raises(DeviceAbsent, match=rf"{HOST}:{port} nothing accepts .* overview\..*camera\.overview\.port"):
        describe(CameraAddress("overview", HOST, port, "admin", PASSWORD))
    with pytest.raises(DeviceAbsent, match=r"no\.such\.host\.invalid"):
        describe(CameraAddress("overview", "no.such.host.invalid", 80))
    with socket.socket() as full:
        full.bind((HOST, 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        with pytest.raises(DeviceAbsent, match=r"within 0\.3 s"):
            describe(CameraAddress("overview", *full.getsockname()), timeout_s=0.3)
        for one in waiting:
            one.close()


def test_a_silent_camera_is_given_up(camera: Camera) -> None:
    camera.set(silent=True)
    began = time.monotonic()
    with pytest.raises(DeviceSilent, match=r"0\.4 s"):
        describe(address_of(camera), timeout_s=0.4)
    assert time.monotonic() - began < 3
    camera.set(silent=False)
    assert describe(address_of(camera)).main.width == 1920


class Talk(BaseHTTPRequestHandler):
    """Something that is no camera, or a camera that wants HTTP digest (RFC 7616) instead of a WS-Security token."""

    protocol_version = "HTTP/1.1"
    server: "Talker"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        request = self.rfile.read(int(self.headers["Content-Length"]))
        status, body = 200, b"<html>printer</html>"
        if self.server.camera:
            given = dict(re.findall(r'(\w+)="?([^",]+)', self.headers.get("Authorization", "")))
            secret = md5(f"admin:cam:{PASSWORD}".encode()).hexdigest()
            action = md5(f"POST:{self.path}".encode()).hexdigest()
            parts = (secret, "n1", given.get("nc", ""), given.get("cnonce", ""), "auth", action)
            if b"GetSystemDateAndTime" in request or given.get("response") == md5(":".join(parts).encode()).hexdigest():
                body = self.server.camera.answer(request)
            else:
                status, body = 401, b""
        self.send_response(status)
        if status == 401:
            self.send_header("WWW-Authenticate", 'Digest realm="cam", nonce="n1", qop="auth"')
        self.send_header("Content-Type", "application/soap+xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Talker(ThreadingHTTPServer):
    camera: OnvifService | None = None


@contextmanager
def talker(camera: OnvifService | None) -> Iterator[int]:
    server = Talker((HOST, 0), Talk)
    server.camera = camera
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()
    thread.join()


def test_what_is_no_camera() -> None:
    with talker(None) as port, pytest.raises(DeviceFault, match="answers with a web page, not ONVIF") as caught:
        describe(CameraAddress("overview", HOST, port, "admin", PASSWORD))
    assert not isinstance(caught.value, DeviceRefused | DeviceAbsent | DeviceSilent)


def test_a_camera_that_wants_http_digest() -> None:
    with talker(camera := Camera()) as port:
        camera.port = port
        address = CameraAddress("overview", HOST, port, "admin", PASSWORD)
        assert describe(address).main.uri == f"rtsp://{HOST}:8554/main"
        with pytest.raises(DeviceRefused):
            describe(replace(address, password="wrong"))


def test_loading_the_library_leaves_the_process_as_it_was(camera: Camera, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    handlers, level = list(logging.getLogger().handlers), logging.getLogger().level
    describe(address_of(camera))
    assert os.environ["http_proxy"] == "http://127.0.0.1:1"
    assert (logging.getLogger().handlers, logging.getLogger().level) == (handlers, level)
    assert wsdl_folder().joinpath("media.wsdl").is_file()


def offered(token: str, codec: str, width: int, height: int, fps: float = 25.0, *, source: str = "") -> CameraProfile:
    return CameraProfile(token, Stream("", codec, width, height, fps), source)


def test_choice_of_profiles() -> None:
    sub, small, big = offered("a", "h264", 640, 360), offered("b", "h264", 352, 288), offered("c", "h265", 2560, 1440)
    jpeg, twin = offered("d", "", 3840, 2160), offered("e", "h265", 2560, 1440, 12.5)
    assert choose([small, sub, jpeg, twin, big], (640, 360)) == (big, sub)
    assert choose([small, sub, jpeg, big], (320, 180)) == (big, small)
    assert choose([big, twin], (640, 360)) == (big, None)
    assert choose([jpeg], (640, 360)) is None
    assert choose([], (640, 360)) is None


def test_the_sub_stream_shows_the_lens_that_is_recorded() -> None:
    wide, wide_sub = offered("a", "h264", 2560, 1440, source="1"), offered("b", "h264", 352, 288, source="1")
    tele, tele_sub = offered("c", "h264", 1920, 1080, source="2"), offered("d", "h264", 640, 360, source="2")
    assert choose([tele_sub, tele, wide_sub, wide], (640, 360)) == (wide, wide_sub)
    assert choose([tele_sub, tele, wide], (640, 360)) == (wide, None)
    silent = offered("e", "h264", 704, 576)
    assert choose([tele_sub, wide, silent], (640, 360)) == (wide, silent), "it does not tell its lens"
    assert choose([silent, replace(wide, source=""), tele_sub], (640, 360)) == (replace(wide, source=""), tele_sub)


def test_a_camera_of_two_lenses() -> None:
    tele = (replace(SUB, token="tele", lens="-2"), replace(MAIN, token="tele-main", width=1280, height=720, lens="-2"))
    service = Camera((*tele, MAIN, replace(SUB, width=352, height=288)))
    service.start()
    try:
        found = describe(address_of(service))
        assert found.sub is not None
        assert (found.main.profile, found.sub.profile) == ("main", "sub")
    finally:
        service.stop()


def test_no_usable_stream() -> None:
    service = Camera((replace(MAIN, codec="jpeg"),))
    service.start()
    try:
        with pytest.raises(DeviceFault, match=r"no H\.264 or H\.265"):
            describe(address_of(service))
    finally:
        service.stop()


def test_plain_rtsp_addresses_are_the_description() -> None:
    plain = CameraAddress("closeup", rtsp="rtsp://10.0.0.9/live", rtsp_sub="rtsp://10.0.0.9/small")
    assert describe(plain) == CameraDescription(Stream("rtsp://10.0.0.9/live"), Stream("rtsp://10.0.0.9/small"))
    assert describe(replace(plain, rtsp_sub="")).sub is None
    with pytest.raises(DeviceRefused, match=r"camera\.closeup\.rtsp_sub") as caught:
        describe(replace(plain, rtsp_sub="rtsp://u:secret@10.0.0.9/small"))
    assert "secret" not in str(caught.value)


def test_hosts_are_rewritten() -> None:
    assert at_host("rtsp://u:p@10.0.0.1:554/s?x=1#f", "cam") == "rtsp://cam:554/s?x=1#f"
    assert at_host("rtsp://10.0.0.1/s", "fe80::1") == "rtsp://[fe80::1]/s"
    assert at_host("http://10.0.0.1:8080/onvif", "cam", 80) == "http://cam:80/onvif"


def test_asked_through_a_child(camera: Camera) -> None:
    found = describe_apart(address_of(camera), sub_size=(640, 360))
    assert found.main == describe(address_of(camera)).main
    with pytest.raises(DeviceRefused, match="admin"):
        describe_apart(address_of(camera, password="wrong"))
    camera.set(silent=True)
    began = time.monotonic()
    with pytest.raises(DeviceSilent, match=r"2\.0 s"):
        describe_apart(address_of(camera), timeout_s=60.0, limit_s=2.0)
    assert time.monotonic() - began < 5


def test_the_childs_lines() -> None:
    def ask(question: dict[str, object]) -> subprocess.CompletedProcess[bytes]:
        text = json.dumps(question).encode()
        return subprocess.run([sys.executable, "-m", "drivers.camera"], input=text, capture_output=True, check=False, timeout=30)

    plain = ask({**asdict(CameraAddress("closeup", rtsp="rtsp://10.0.0.9/live")), "timeout_s": 1, "sub_size": [640, 360]})
    assert (plain.returncode, plain.stdout.count(b"\n")) == (0, 1)
    assert read_answer(plain.stdout) == CameraDescription(Stream("rtsp://10.0.0.9/live"))
    absent = ask(asdict(CameraAddress("closeup", HOST, free_port())))
    assert absent.returncode == 1
    assert json.loads(absent.stdout)["fault"]["exit_code"] == Exit.DEVICE
    with pytest.raises(DeviceAbsent):
        read_answer(absent.stdout)
    with pytest.raises(DeviceFault, match="unexpected"):
        read_answer(ask({"unexpected": 1}).stdout)
    for nonsense in (b"", b"Killed", b'{"ok": false}', b'{"ok": true, "description": {}}'):
        with pytest.raises(DeviceFault, match="without an answer"):
            read_answer(nonsense)
