"""A camera whose RTSP login FFmpeg cannot give: said as what it is, and not as a wrong password."""

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from drivers.faults import DeviceRefused
from drivers.ports import CameraAddress, Stream
from recorder.capture.camera import StreamReader
from recorder.capture.rtsp_login import place, unknown_digest
from tests.equipment.camera import StandInCamera
from tests.equipment.process import HOST, free_port
from tests.equipment.quirk_camera import request_lines
from tests.recorder.stand_ins import PASSWORD, camera, plain

BASIC = 'Basic realm="c"'
MD5 = 'Digest realm="c", nonce="n1", qop="auth", algorithm=MD5'
SHA = 'Digest realm="c", nonce="n2", qop="auth", algorithm="SHA-256"'


class _Refusing(socketserver.StreamRequestHandler):
    """RTSP (RFC 2326, 7826): tells its methods, and refuses everything else with the server's challenges."""

    server: "Refusing"

    def handle(self) -> None:
        while head := request_lines(self.rfile):
            sequence = next(line for line in head if line.lower().startswith("cseq"))
            self.server.heads.append(head)
            if head[0].startswith("OPTIONS"):
                answer = ["RTSP/1.0 200 OK", sequence, "Public: OPTIONS, DESCRIBE"]
            else:
                answer = ["RTSP/1.0 401 Unauthorized", sequence, *(f"WWW-Authenticate: {each}" for each in self.server.offered)]
            self.wfile.write("\r\n".join([*answer, "", ""]).encode())


class Refusing(socketserver.ThreadingTCPServer):
    """A camera's RTSP service that takes no login. offered: its challenges, in their order."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, offered: tuple[str, ...]) -> None:
        super().__init__((HOST, 0), _Refusing)
        self.offered = offered
        self.heads: list[list[str]] = []
        self.uri = f"rtsp://{HOST}:{self.server_address[1]}/main"


@contextmanager
def refusing(*offered: str) -> Iterator[Refusing]:
    with Refusing(offered) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def refused(uri: str) -> DeviceRefused:
    with pytest.raises(DeviceRefused) as caught:
        StreamReader(Stream(uri), CameraAddress("overview", user="admin", password=PASSWORD, rtsp=uri))
    assert PASSWORD not in json.dumps([caught.value.as_dict(), caught.value.say("zh")], ensure_ascii=False)
    return caught.value


@pytest.mark.parametrize("offered", [(SHA,), (BASIC, SHA), (SHA, BASIC), (MD5, SHA)])
def test_a_digest_that_ffmpeg_does_not_know_is_named_with_its_setting(offered: tuple[str, ...]) -> None:
    with refusing(*offered) as server:
        fault = refused(server.uri)
        assert "SHA-256" in fault.say("en")
        assert "RTSP authentication" in fault.say_mend("en")
        assert "RTSP 认证" in fault.say_mend("zh")
        assert not [line for head in server.heads for line in head if line.startswith("Authorization: Digest")]


@pytest.mark.parametrize("offered", [(MD5,), (SHA, MD5), (BASIC,), ('Digest realm="c", nonce="n"',)])
def test_a_login_that_ffmpeg_gave_is_a_refused_password(offered: tuple[str, ...]) -> None:
    with refusing(*offered) as server:
        assert "refuses the stream's user or password" in refused(server.uri).say("en")
        assert [line for head in server.heads for line in head if line.startswith("Authorization:")], "it was given"


@pytest.fixture(scope="module")
def overview(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandInCamera]:
    with camera(tmp_path_factory.mktemp("camera")) as one:
        yield one


def test_a_camera_with_md5_demands_nothing_unknown(overview: StandInCamera) -> None:
    assert unknown_digest(plain(overview).rtsp) == ""
    assert unknown_digest(f"rtsp://{HOST}:{free_port()}/main") == ""


def test_the_port_that_an_address_does_not_name() -> None:
    assert place("rtsp://cam/main") == ("cam", 554)
    assert place("RTSP://cam:8554/main") == ("cam", 8554)
    assert place("rtsps://cam/main") == ("cam", 322)
    assert place("rtsps://cam:554/main") == ("cam", 554)
