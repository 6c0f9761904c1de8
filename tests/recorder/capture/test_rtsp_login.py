"""A camera whose RTSP login cannot be given: said as what it is, and not as a wrong password."""

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from drivers.faults import DeviceRefused
from drivers.ports import CameraAddress, Stream
from recorder.capture.camera import StreamReader
from tests.equipment.process import HOST
from tests.equipment.quirk_camera import request_lines
from tests.recorder.stand_ins import PASSWORD

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


@pytest.mark.parametrize("offered", [(SHA,), (BASIC, SHA), (SHA, BASIC)])
def test_a_digest_that_is_not_known_is_named_with_its_setting(offered: tuple[str, ...]) -> None:
    with refusing(*offered) as server:
        fault = refused(server.uri)
        assert "SHA-256" in fault.say("en")
        assert "RTSP authentication" in fault.say_mend("en")
        assert "RTSP 认证" in fault.say_mend("zh")
        assert not [line for head in server.heads for line in head if line.startswith("Authorization")]


@pytest.mark.parametrize("offered", [(MD5,), (SHA, MD5), (MD5, SHA), (BASIC, MD5), ('Digest realm="c", nonce="n"',)])
def test_a_login_that_was_given_is_a_refused_password(offered: tuple[str, ...]) -> None:
    with refusing(*offered) as server:
        assert "refuses the stream's user or password" in refused(server.uri).say("en")
        assert [line for head in server.heads for line in head if line.startswith("Authorization:")], "it was given"
