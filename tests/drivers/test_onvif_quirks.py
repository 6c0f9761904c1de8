"""ONVIF as cameras speak it: each quirk by a service that has it, over real HTTP and SOAP."""

import gzip
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from drivers import onvif_media2
from drivers.camera import describe
from drivers.discovery import read_answers
from drivers.faults import DeviceFault, DeviceRefused
from drivers.ports import CameraAddress
from tests.drivers.test_camera import PASSWORD, SUB, Camera
from tests.equipment import onvif_messages
from tests.equipment.onvif import Refusal
from tests.equipment.onvif_messages import SOAP, probe_match
from tests.equipment.onvif_messages import Profile as Offered
from tests.equipment.process import HOST

H265 = Offered("main", "h265", 1920, 1080, 25, 25, 4_000_000)
Rewrite = Callable[[str, bytes], bytes]
Answer = Callable[[bytes], tuple[int, str, bytes, str]]  # a request to status, content type, body and content encoding


def as_it_is(_operation: str, answer: bytes) -> bytes:
    return answer


class _Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "_Server"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        request = self.rfile.read(int(self.headers["Content-Length"]))
        status, kind, body, encoding = self.server.answer(request)
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if encoding:
            self.send_header("Content-Encoding", encoding)
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()
        if self.server.ends_after_s is not None:
            time.sleep(self.server.ends_after_s)
            self.close_connection = True  # and no header said so


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    ends_after_s: float | None = None
    answer: Answer


@contextmanager
def serving(answer: Answer, ends_after_s: float | None = None) -> Iterator[CameraAddress]:
    server = _Server((HOST, 0), _Answers)
    server.answer, server.ends_after_s = answer, ends_after_s
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield CameraAddress("overview", HOST, server.server_address[1], "admin", PASSWORD)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def camera(rewrite: Rewrite = as_it_is) -> Answer:
    """Answers of the stand-in's service, rewritten."""
    service = Camera()

    def answer(request: bytes) -> tuple[int, str, bytes, str]:
        body = ET.fromstring(request).find(f"{{{SOAP}}}Body")
        assert body is not None
        operation = body[0].tag.partition("}")[2]
        try:
            found = rewrite(operation, service.answer(request))
        except Refusal as refusal:
            return 400, "application/soap+xml", onvif_messages.fault(*refusal.args), ""
        return 200, "application/soap+xml", found, ""

    return answer


@pytest.mark.parametrize("after_s", [0.0, 0.002, 0.02, 0.1])
def test_a_camera_that_ends_each_connection_without_a_word(after_s: float) -> None:
    with serving(camera(), ends_after_s=after_s) as address:
        for _ in range(3):
            assert describe(address).main.width == 1920


def test_a_body_that_is_said_to_be_packed_and_is_not() -> None:
    plain = camera()

    def answer(request: bytes) -> tuple[int, str, bytes, str]:
        status, kind, body, _ = plain(request)
        return status, kind, body, "gzip"

    with serving(answer) as address:
        assert describe(address).main.width == 1920


@pytest.mark.parametrize("said", ["gzip", ""])
def test_a_packed_body_is_refused_whatever_it_is_said_to_be(said: str) -> None:
    plain = camera()

    def answer(request: bytes) -> tuple[int, str, bytes, str]:
        status, kind, body, _ = plain(request)
        return status, kind, gzip.compress(body), said

    with serving(answer) as address, pytest.raises(DeviceFault, match="packed"):
        describe(address)


@pytest.mark.parametrize(
    "named",
    ["https://{host}/onvif/media_service", "/onvif/media_service", "http://10.9.9.9:8899/onvif/media_service", "ftp://x/y", ""],
)
def test_an_address_of_another_scheme_or_host_or_a_bare_path(named: str) -> None:
    def rewrite(operation: str, body: bytes) -> bytes:
        if operation != "GetCapabilities":
            return body
        text = body.decode()
        start = text.index("<tt:Media><tt:XAddr>") + len("<tt:Media><tt:XAddr>")
        return (text[:start] + named.format(host=HOST) + text[text.index("</tt:XAddr>", start) :]).encode()

    with serving(camera(rewrite)) as address:
        assert describe(address).main.width == 1920


def test_capabilities_that_are_refused() -> None:
    def rewrite(operation: str, body: bytes) -> bytes:
        if operation == "GetCapabilities":
            raise Refusal("ActionNotSupported", "Optional Action Not Implemented")
        return body

    with serving(camera(rewrite)) as address:
        assert describe(address).main.width == 1920


def without_encoder(operation: str, body: bytes) -> bytes:
    """The main profile says nothing of what it encodes, as cameras do with H.265."""
    if operation != "GetProfiles":
        return body
    text = body.decode()
    start, end = text.index("<tt:VideoEncoderConfiguration"), text.index("</tt:VideoEncoderConfiguration>")
    return (text[:start] + text[end + len("</tt:VideoEncoderConfiguration>") :]).encode()


def test_a_main_profile_that_is_not_described_is_never_replaced_by_the_small_one() -> None:
    with serving(camera(without_encoder)) as address:
        found = describe(address)
    assert found.main.uri.endswith("/main") and found.main.codec == ""
    assert found.sub is not None and found.sub.uri.endswith("/sub")


def newer(operation: str, request: bytes) -> str:
    """Media2's answers."""
    if operation == "GetProfiles":
        inner = ""
        for each in (H265, SUB):
            size = f"<tt:Resolution><tt:Width>{each.width}</tt:Width><tt:Height>{each.height}</tt:Height></tt:Resolution>"
            rate = f"<tt:FrameRateLimit>{each.fps}</tt:FrameRateLimit><tt:BitrateLimit>4000</tt:BitrateLimit>"
            encoder = f"<tr2:VideoEncoder><tt:Encoding>{each.codec.upper()}</tt:Encoding>{size}"
            encoder += f"<tt:RateControl>{rate}</tt:RateControl></tr2:VideoEncoder>"
            source = "<tr2:VideoSource><tt:SourceToken>sensor</tt:SourceToken></tr2:VideoSource>"
            inner += (
                f'<tr2:Profiles token="{each.token} 2"><tr2:Configurations>{source}{encoder}</tr2:Configurations></tr2:Profiles>'
            )
        return f"<tr2:GetProfilesResponse>{inner}</tr2:GetProfilesResponse>"
    assert b"main 2" in request or b"sub 2" in request, "a token with a blank is sent as it is"
    assert b">RTSP<" in request
    path = "main2" if b"main 2" in request else "sub2"
    return f"<tr2:GetStreamUriResponse><tr2:Uri>rtsp://10.9.9.9:554/{path}</tr2:Uri></tr2:GetStreamUriResponse>"


def test_a_camera_that_describes_h265_by_media2_alone() -> None:
    def rewrite(operation: str, body: bytes) -> bytes:
        if operation == "GetServices":
            service = f"<tds:Service><tds:Namespace>{onvif_media2.NAMESPACE}</tds:Namespace><tds:XAddr>http://10.9.9.9/onvif/media2</tds:XAddr>"
            service += "<tds:Version><tt:Major>2</tt:Major><tt:Minor>60</tt:Minor></tds:Version></tds:Service>"
            return body.replace(b"</tds:GetServicesResponse>", f"{service}</tds:GetServicesResponse>".encode())
        return without_encoder(operation, body)

    first = camera(rewrite)

    def answer(request: bytes) -> tuple[int, str, bytes, str]:
        if onvif_media2.NAMESPACE.encode() not in request:
            return first(request)
        assert b"UsernameToken" in request
        operation = "GetProfiles" if b"GetProfiles" in request else "GetStreamUri"
        names = f'xmlns:env="{SOAP}" xmlns:tr2="{onvif_media2.NAMESPACE}" xmlns:tt="http://www.onvif.org/ver10/schema"'
        body = f"<env:Envelope {names}><env:Body>{newer(operation, request)}</env:Body></env:Envelope>"
        return 200, "application/soap+xml", body.encode(), ""

    with serving(answer) as address:
        found = describe(address)
    assert (found.main.codec, found.main.width, found.main.uri) == ("h265", 1920, f"rtsp://{HOST}:554/main2")
    assert found.sub is not None and found.sub.uri == f"rtsp://{HOST}:554/sub2"


@pytest.mark.parametrize("off_s", [8 * 3600, -8 * 3600, 300])
def test_a_camera_that_tells_another_time_than_it_checks_logins_by(off_s: float) -> None:
    service = Camera()
    tokens = 0

    def answer(request: bytes) -> tuple[int, str, bytes, str]:
        nonlocal tokens
        told = b"GetSystemDateAndTime" in request
        tokens += b"UsernameToken" in request
        service.set(clock_offset_s=off_s if told else 0.0)
        try:
            return 200, "application/soap+xml", service.answer(request), ""
        except Refusal as refusal:
            return 400, "application/soap+xml", onvif_messages.fault(*refusal.args), ""

    with serving(answer) as address:
        found = describe(address)
        assert found.main.width == 1920
        assert found.clock_offset_s == pytest.approx(off_s, abs=1.5)
        with pytest.raises(DeviceRefused):
            tokens = 0
            describe(CameraAddress("overview", address.host, address.port, "admin", "wrong"))
        assert tokens <= 2, "no account is locked"


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ((500, "text/plain", b"boom", ""), "HTTP 500"),
        ((404, "text/html", b"<html>not here</html>", ""), "HTTP 404"),
        ((503, "text/html", b"", ""), "HTTP 503"),
        ((200, "application/json", b'{"error": 1}', ""), "JSON"),
        ((200, "text/html", b"<!DOCTYPE html><html>login</html>", ""), "a web page"),
        ((200, "text/plain", b"hello", ""), "other text"),
        ((200, "application/soap+xml", b"", ""), "nothing"),
        ((200, "application/soap+xml", f'<e:Envelope xmlns:e="{SOAP}"/>'.encode(), ""), "cannot be understood"),
        ((200, "application/soap+xml", b"<Envelope>", ""), "cannot be understood"),
        ((302, "text/html", b"", ""), "nothing"),
    ],
)
def test_what_is_no_onvif_is_told_as_that(answer: tuple[int, str, bytes, str], told: str) -> None:
    with serving(lambda _: answer) as address, pytest.raises(DeviceFault, match=told) as caught:
        describe(address)
    for text in (caught.value.say("en"), caught.value.say("zh")):
        assert "NoneType" not in text and "Error" not in text and "object" not in text


def test_an_answer_without_end_is_given_up() -> None:
    long = b"<Envelope>" + b" " * 5_000_000
    with serving(lambda _: (200, "application/soap+xml", long, "")) as address, pytest.raises(DeviceFault, match="understood"):
        describe(address)


@pytest.mark.parametrize(
    "change", [("<d:ProbeMatches>", ""), ("a:EndpointReference", "d:EndpointReference"), ("d:XAddrs", "a:XAddrs")]
)
def test_answers_to_discovery_in_other_shapes(change: tuple[str, str]) -> None:
    message = "0" * 32
    good = probe_match("uuid:00000000-0000-0000-0000-000000000000", "urn:uuid:1", "a", "http://192.0.2.5/onvif").decode()
    other = good.replace(*change)
    if change[1] == "":
        other = other.replace("</d:ProbeMatches>", "")
    [answer] = read_answers(other.encode(), "192.0.2.5", message)
    assert (answer.endpoint, answer.port) == ("urn:uuid:1", 80)
