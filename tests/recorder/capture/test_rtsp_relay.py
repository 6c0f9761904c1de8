"""The relay between FFmpeg and a camera: what passes, what is refused by name, and what never leaves this PC."""

import json
import socket
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from drivers.faults import DeviceAbsent, DeviceFault, DeviceRefused
from drivers.ports import CameraAddress, Stream
from recorder.capture.camera import StreamReader
from recorder.capture.peer import own
from recorder.capture.rtsp_relay import RtspRelay
from recorder.media.packets import Packet
from tests.equipment.process import HOST, wait_for
from tests.equipment.quirk_camera import QuirkCamera
from tests.equipment.talk import Certificate, Service, Talk

PASSWORD = "geheim-7/ä"
SECRETS = (PASSWORD.encode(), b64encode(f"admin:{PASSWORD}".encode()), b64encode(PASSWORD.encode()), b"geheim-7%2F%C3%A4")
BASIC = 'Basic realm="c"'
MD5 = 'Digest realm="c", nonce="NONCE", qop="auth", algorithm=MD5'
OLD = 'Digest realm="c", nonce="NONCE"'
SESS = 'Digest realm="c", nonce="NONCE", qop="auth", algorithm=SHA-256'
MIB = 1 << 20


def address_of(uri: str, **changes: Any) -> CameraAddress:
    return replace(CameraAddress("overview", user="admin", password=PASSWORD, rtsp=uri), **changes)


def opened(uri: str, open_s: float = 4.0, **changes: Any) -> StreamReader:
    return StreamReader(Stream(uri), address_of(uri, **changes), open_s)


def packets(reader: StreamReader, count: int) -> list[Packet]:
    """So many; the connection is closed."""
    try:
        return list(islice((item for item in reader.packets() if isinstance(item, Packet)), count))
    finally:
        reader.close()


def fault_of(uri: str, **changes: Any) -> DeviceFault:
    """Why it cannot be opened; neither text nor field tells the password."""
    with pytest.raises(DeviceFault) as caught:
        opened(uri, **changes).close()
    told = json.dumps([caught.value.as_dict(), caught.value.say("zh"), caught.value.say_mend("en")], ensure_ascii=False)
    assert PASSWORD not in told and "127.0.0.1:0" not in told and "/camera" not in told
    return caught.value


@pytest.mark.parametrize("demands", [(MD5,), (OLD,), (BASIC, MD5), (SESS, MD5), (MD5, SESS)])
def test_a_digest_is_answered_and_the_password_stays_here(demands: tuple[str, ...]) -> None:
    with QuirkCamera(demands=demands, password=PASSWORD) as camera:
        found = packets(opened(camera.uri), 10)
        assert found[0].key and camera.connections == 1
        assert b"Authorization: Digest" in camera.heard
        assert not [secret for secret in SECRETS if secret in camera.heard]


def test_a_nonce_that_expires_costs_nothing() -> None:
    with QuirkCamera(demands=(MD5,), password=PASSWORD, expires=1) as camera:
        assert len(packets(opened(camera.uri), 3)) == 3


@pytest.mark.parametrize("wrong", [{"password": "falsch-1"}, {"user": ""}])
def test_a_wrong_login_is_refused_after_one_try(wrong: dict[str, str]) -> None:
    with QuirkCamera(demands=(MD5,), password=PASSWORD) as camera:
        fault = fault_of(camera.uri, **wrong)
        assert isinstance(fault, DeviceRefused) and fault.code == "camera-refuses-stream-login"
        assert camera.heard.count(b"Authorization:") == bool(wrong.get("password"))


def test_the_password_is_never_sent_in_the_clear() -> None:
    with QuirkCamera(demands=(BASIC,), password=PASSWORD) as camera:
        fault = fault_of(camera.uri)
        assert isinstance(fault, DeviceRefused) and fault.code == "camera-wants-stream-password-in-clear"
        assert "allow_basic" in fault.say_mend("en") and "allow_basic" in fault.say_mend("zh")
        assert b"Authorization" not in camera.heard and not [secret for secret in SECRETS if secret in camera.heard]
        assert len(packets(opened(camera.uri, allow_basic=True), 3)) == 3
        assert SECRETS[1] in camera.heard


def describing(answer: Callable[[Talk, list[str]], object]) -> Callable[[Talk], None]:
    """A service that knows OPTIONS, and answers all else so."""

    def talk(to: Talk) -> None:
        while asked := to.request():
            if asked[0].startswith("OPTIONS"):
                to.rtsp(asked, "200 OK", b"", "Public: OPTIONS, DESCRIBE, SETUP, PLAY")
            else:
                answer(to, asked)

    return talk


def uri_of(service: Service) -> str:
    return f"rtsp://{HOST}:{service.port}/main"


def test_a_camera_that_demands_another_login_the_second_time_gets_no_password_either() -> None:
    def answer(to: Talk, asked: list[str]) -> None:
        offered = MD5.replace("NONCE", "n") if len(turns) == 0 else BASIC
        turns.append(asked)
        to.rtsp(asked, "401 Unauthorized", b"", f"WWW-Authenticate: {offered}")

    turns: list[list[str]] = []
    with Service(describing(answer)) as service:
        assert isinstance(fault_of(uri_of(service)), DeviceRefused)
        assert len(turns) == 2 and not [secret for secret in SECRETS if secret in service.heard]


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "305 Use Proxy", "307 Temporary Redirect"])
def test_nobody_is_sent_to_a_third_host(status: str) -> None:
    with Service(describing(lambda to, asked: to.rtsp(asked, "404 No"))) as third:
        place = f"rtsp://{HOST}:{third.port}"
        away = f"Location: rtsp://u:p@{HOST}:{third.port}/other?a=b"
        with Service(describing(lambda to, asked: to.rtsp(asked, status, b"", away))) as service:
            fault = fault_of(uri_of(service))
        assert (fault.code, fault.values["target"]) == ("camera-redirects-stream", place)
        assert str(fault.values["status"]) in status and place in fault.say("zh")
        assert third.connections == 0


@contextmanager
def taking_at_most(most: int) -> Iterator[None]:
    """This process's memory grows by no more bytes meanwhile, not even for a moment (proc(5): VmHWM, and clear_refs, 5)."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = memory("VmHWM")
    yield
    assert memory("VmHWM") - before <= most


def memory(name: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) * 1024


def endless_head(to: Talk, asked: list[str]) -> None:
    to.send(b"RTSP/1.0 200 OK\r\n")
    while True:
        to.send(b"X-Filler: " + b"x" * 1000 + b"\r\n")


def huge_description(to: Talk, asked: list[str]) -> None:
    to.rtsp(asked, "200 OK", b"v=0\r\n", "Content-Type: application/sdp", length=2_000_000_000)
    while True:
        to.send(b"a=x\r\n" * 100_000)


def long_parameter_sets(to: Talk, asked: list[str]) -> None:
    body = b"v=0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 sprop-parameter-sets=" + b"A" * 5_000_000
    to.rtsp(asked, "200 OK", body, "Content-Type: application/sdp")


@pytest.mark.parametrize("answer", [endless_head, huge_description, long_parameter_sets])
def test_an_answer_without_end_is_cut_off(answer: Callable[[Talk, list[str]], None]) -> None:
    with Service(describing(answer)) as service, taking_at_most(64 * MIB):
        began = time.monotonic()
        fault = fault_of(uri_of(service))
        assert time.monotonic() - began < 2
    assert fault.code == "camera-rtsp-answer-too-long"


@pytest.mark.parametrize(
    "head",
    [b"RTSP/1.0 200 OK\r\nContent-Length: 2000000000\r\n\r\n", b"RTSP/1.0 200 OK\r\nX: " + b"x" * 70_000],
    ids=["body", "head"],
)
def test_so_is_one_between_the_pictures(head: bytes) -> None:
    with QuirkCamera(f"says {head.decode()} after 5 pictures") as camera, pytest.raises(DeviceFault) as caught:
        packets(opened(camera.uri), 100)
    assert caught.value.code == "camera-rtsp-answer-too-long"


def test_a_picture_without_end_is_dropped_and_told() -> None:
    with QuirkCamera("sends a picture without end") as camera:
        reader = opened(camera.uri)
        with taking_at_most(200 * MIB), pytest.raises(DeviceFault) as caught:
            packets(reader, 100)
    assert caught.value.code == "camera-picture-too-large" and "16 MiB" in caught.value.say("en")


def test_more_than_any_camera_sends_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recorder.capture.rtsp_relay.WINDOW_BYTES", 20_000)
    with QuirkCamera() as camera, pytest.raises(DeviceFault) as caught:
        packets(opened(camera.uri), 100)
    assert caught.value.code == "camera-sends-too-much"


def test_what_a_camera_asks_between_the_pictures_is_answered_here() -> None:
    moves = f"REDIRECT * RTSP/1.0\r\nCSeq: 7\r\nLocation: rtsp://{HOST}:1/x\r\n\r\n"
    lives = "OPTIONS * RTSP/1.0\r\nCSeq: 8\r\n\r\n"
    with QuirkCamera(f"says {moves}{lives} after 5 pictures") as camera:
        assert len(packets(opened(camera.uri), 20)) == 20
        wait_for(lambda: b"CSeq: 8" in camera.heard, "both answers")
        assert b"RTSP/1.0 501 Not Implemented\r\nCSeq: 7" in camera.heard
        assert b"RTSP/1.0 200 OK\r\nCSeq: 8" in camera.heard


def test_an_address_that_holds_the_login_goes_to_the_camera_alone() -> None:
    with QuirkCamera() as camera:
        uri = camera.uri.replace("/main", "/user={user}&password={password}&channel=1")
        reader = opened(uri)
        assert reader.uri == uri and reader.peer == f"{HOST}:{camera.port}"
        packets(reader, 1)
        assert (
            b"DESCRIBE rtsp://%s:%d/user=admin&password=geheim-7%%2F%%C3%%A4&channel=1 " % (HOST.encode(), camera.port)
            in camera.heard
        )
        assert b"SETUP rtsp://%s:%d/user=admin&password=geheim-7%%2F%%C3%%A4&channel=1/track " % (HOST.encode(), camera.port) in (
            camera.heard
        )
        assert b"/camera" not in camera.heard


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    return Certificate(tmp_path)


def test_a_camera_with_its_own_certificate_is_reached_by_that_one_alone(certificate: Certificate, tmp_path: Path) -> None:
    other = Certificate(tmp_path, "other")
    with QuirkCamera(demands=(MD5,), password=PASSWORD, certificate=certificate) as camera:
        plain = camera.uri.replace("rtsps:", "rtsp:")
        reader = opened(plain, tls_fingerprint=certificate.fingerprint)
        assert reader.uri == camera.uri
        assert len(packets(reader, 30)) == 30
        heard = len(camera.heard)
        fault = fault_of(plain, tls_fingerprint=other.fingerprint)
        assert isinstance(fault, DeviceRefused) and fault.code == "camera-certificate-is-another"
        assert certificate.fingerprint in fault.say("en")
        assert len(camera.heard) == heard
    with Service(lambda to: to.rtsp([], "400 Bad Request")) as service:
        assert fault_of(uri_of(service), tls_fingerprint=other.fingerprint).code == "camera-speaks-no-tls"


@pytest.fixture
def relay() -> Iterator[tuple[RtspRelay, QuirkCamera]]:
    with QuirkCamera() as camera:
        one = RtspRelay(camera.uri, camera.uri, address_of(camera.uri), 0.4)
        yield one, camera
        one.close()
        one.join(3)
        assert not one.is_alive()


def test_nobody_but_this_process_is_served(relay: tuple[RtspRelay, QuirkCamera], monkeypatch: pytest.MonkeyPatch) -> None:
    one, camera = relay
    asked: list[bool] = []

    def foreign(connection: socket.socket) -> bool:
        asked.append(own(connection))
        return False

    monkeypatch.setattr("recorder.capture.rtsp_relay.own", foreign)
    port = int(one.url.split(":")[2].split("/")[0])
    with socket.create_connection((HOST, port), 2) as line:
        line.settimeout(2)
        line.sendall(b"OPTIONS rtsp://x RTSP/1.0\r\nCSeq: 1\r\n\r\n")
        with suppress(ConnectionResetError):
            assert line.recv(100) == b""
    assert asked == [True], "it was this process, which the test denies"
    assert not camera.heard


def test_a_relay_that_is_not_used_ends_by_itself(relay: tuple[RtspRelay, QuirkCamera]) -> None:
    one, _ = relay
    one.join(4)
    assert not one.is_alive()


def test_what_ffmpeg_closes_is_closed_at_the_camera() -> None:
    gone = threading.Event()

    def answer(to: Talk, asked: list[str]) -> None:
        to.rtsp(asked, "404 Not Found")
        if not to.request():
            gone.set()

    with Service(describing(answer)) as service:
        assert fault_of(uri_of(service)).code == "camera-has-no-such-stream"
        assert gone.wait(2)


def test_a_camera_that_goes_away_is_absent() -> None:
    with QuirkCamera("ends each connection after 0.2 s") as camera, pytest.raises(DeviceAbsent):
        packets(opened(camera.uri), 1000)
