"""Parsers of what cameras send, and of what the helper that asks them says."""

import gzip
import json
import math
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from lxml import etree

from drivers import onvif_media2
from drivers.camera import read_answer
from drivers.login import NoLogin
from drivers.onvif_device import ask
from drivers.onvif_transport import kind_of
from drivers.ports import CameraAddress, CameraDescription, Stream
from drivers.stream_address import at_host, hidden, literal_secret, with_placeholders
from recorder.capture.camera_identity import remembered
from recorder.capture.rtsp_login import login_of
from recorder.capture.rtsp_messages import Message, Splitter, TooLong, message_of
from recorder.capture.stream_fault import stream_fault
from tests.equipment import onvif_messages as soap
from tests.equipment.process import HOST
from tests.fuzz.network import CAMERA, XML_WORDS
from tests.fuzz.target import Target, folder_alone
from tests.fuzz.target import plain as plain_text

# RTSP


def rtsp_messages(data: bytes) -> None:
    """What a camera says is taken apart, in pieces of any size, and answered with a login that tells no password."""
    login = login_of(CameraAddress("closeup", HOST, 554, "admin", "geheim-7"))
    splitter = Splitter()
    for at in range(0, len(data), 777):
        for part in splitter.feed(data[at : at + 777]):
            if not isinstance(part, Message):
                continue
            assert 0 <= part.status <= 999
            part.encoded()
            if login.challenged(part.all("WWW-Authenticate"), answered=False):
                told = login.header("DESCRIBE", "rtsp://h/1")
                assert "geheim-7" not in told and "\n" not in told


RTSP = (
    b'RTSP/1.0 401 Unauthorized\r\nCSeq: 1\r\nWWW-Authenticate: Digest realm="a", nonce="b", algorithm="SHA-256"\r\n'
    b'WWW-Authenticate: Basic realm="a"\r\n\r\n'
)


def stream_refusal(data: bytes) -> None:
    """Whatever status a camera refuses with, a person gets a fault of ours."""
    message = message_of(data)
    for error in (OSError(111, "Connection refused"), ValueError("x"), OSError(93, "x"), TimeoutError()):
        plain_text(str(stream_fault(error, "closeup", "rtsp://h/1", status=message.status if message else None)))


def stream_address(data: bytes) -> None:
    """No address that a camera gives leads to another host, and none that is shown tells the login. May raise ValueError."""
    uri = data.decode(errors="replace").strip()
    assert not re.match(r"(?i)[a-z]+://[^/?#]*@", hidden(uri))
    literal_secret(uri)
    with_placeholders(uri, "admin", "geheim")
    here = at_host(uri, CAMERA)
    if uri.lower().startswith(("rtsp://", "rtsps://")):
        assert urlsplit(here).hostname == CAMERA
        assert "@" not in urlsplit(here).netloc


# ONVIF


BASE = f"http://{HOST}/onvif"
PROFILES = (
    soap.Profile("main", "h264", 1920, 1080, 25, 50, 4_000_000),
    soap.Profile("sub", "h264", 640, 360, 25, 50, 500_000),
)
GOOD = {
    "GetSystemDateAndTime": soap.system_date_and_time(datetime(2026, 11, 21, 1, 30, 5, tzinfo=UTC)),
    "GetDeviceInformation": soap.device_information("closeup", "LO2-closeup"),
    "GetEndpointReference": soap.endpoint_reference("urn:uuid:8a1f"),
    "GetNetworkInterfaces": soap.network_interfaces("00:11:22:33:44:55"),
    "GetCapabilities": soap.capabilities(BASE),
    "GetServices": soap.services(BASE),
    "GetProfiles": soap.profiles(PROFILES),
    "GetStreamUri": soap.media_uri("GetStreamUri", f"rtsp://{HOST}:554/main"),
}


class Camera(ThreadingHTTPServer):
    """Answers every operation well, but for one."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__((HOST, 0), _Asked)
        self.operation, self.says = "", b""


class _Asked(BaseHTTPRequestHandler):
    server: Camera

    def do_POST(self) -> None:
        asked = self.rfile.read(int(self.headers["Content-Length"]))
        found = re.search(rb"Body[^>]*>\s*<(?:\w+:)?(\w+)", asked)
        operation = found[1].decode() if found else ""
        answer = self.server.says if operation == self.server.operation else soap.envelope(GOOD.get(operation, ""))
        self.send_response(200)
        self.send_header("Content-Type", "application/soap+xml")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def camera(_: Path) -> Iterator[Camera]:
    server = Camera()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(5)


def onvif(data: bytes, server: Camera) -> None:
    """``data``: the name of an operation on a line, then its answer. A description, or a fault."""
    name, _, server.says = data.partition(b"\n")
    server.operation = name.decode(errors="replace")
    address = CameraAddress("closeup", HOST, server.server_address[1], "", "")
    found = ask(address, 2.0, (640, 360))
    assert urlsplit(found.main.uri).hostname == HOST
    assert all(len(text) <= 5000 for text in (found.manufacturer, found.model, found.serial, found.hardware, found.endpoint))
    assert math.isfinite(found.main.fps) and found.main.width >= 0
    json.dumps(found.as_dict(), allow_nan=False).encode()


def onvif_seeds() -> list[bytes]:
    return [name.encode() + b"\n" + soap.envelope(body) for name, body in GOOD.items()]


def onvif_body(data: bytes) -> None:
    """What answers is named."""
    assert kind_of(data) in ("nothing", "json", "html", "text", "packed")


GZIPPED = gzip.compress(soap.envelope("x"), mtime=0)
MEDIA2 = (
    b'<env:Envelope xmlns:env="http://www.w3.org/2003/05/soap-envelope" xmlns:tr2="http://www.onvif.org/ver20/media/wsdl" '
    b'xmlns:tt="http://www.onvif.org/ver10/schema"><env:Body><tr2:GetProfilesResponse><tr2:Profiles token="a" fixed="true">'
    b"<tr2:Name>a</tr2:Name><tr2:Configurations><tr2:VideoSource><tt:SourceToken>s</tt:SourceToken></tr2:VideoSource>"
    b"<tr2:VideoEncoder><tt:Encoding>H265</tt:Encoding><tt:Resolution><tt:Width>1920</tt:Width><tt:Height>1080</tt:Height>"
    b"</tt:Resolution><tt:RateControl><tt:FrameRateLimit>25</tt:FrameRateLimit><tt:BitrateLimit>4096</tt:BitrateLimit>"
    b"</tt:RateControl></tr2:VideoEncoder></tr2:Configurations></tr2:Profiles></tr2:GetProfilesResponse></env:Body></env:Envelope>"
)


def media2(data: bytes) -> None:
    """May raise ValueError, and lxml's error where it is no XML."""
    for told in onvif_media2.profiles(lambda _envelope, _action: data):
        assert told.keys() >= {"token", "encoding", "width", "height", "fps", "kbps", "source"}


# the helper that asks cameras


def camera_answer(data: bytes) -> None:
    """A helper that reads what cameras send may itself say anything."""
    found = read_answer(data)
    json.dumps(found.as_dict())


def camera_answer_seeds() -> list[bytes]:
    stream = Stream("rtsp://192.168.1.64/1", "h264", 1920, 1080, 25.0, 4e6, "main")
    told = CameraDescription(stream, stream, "Loopback", "LO-2", "1.0", "LO2-1", 0.5, "00:11:22:33:44:55", "urn:uuid:1")
    fault = {"code": "camera-query-failed", "mend": "repeat-self-check-send-log", "values": {"why": "x"}, "exit_code": 7}
    return [
        json.dumps({"ok": True, "description": told.as_dict()}).encode(),
        json.dumps({"ok": False, "kind": "DeviceFault", "fault": fault}).encode(),
    ]


def camera_memory(data: bytes, folder: Path) -> None:
    path = folder / "closeup.json"
    path.write_bytes(data)
    found = remembered(path)
    assert found is None or found.main is not None


TARGETS = (
    Target(
        "rtsp-messages",
        rtsp_messages,
        lambda: [RTSP, b"$\0\0\4abcd" + RTSP, RTSP[:-2] + b"Content-Length: 3\r\n\r\nv=0"],
        allowed=(TooLong, NoLogin),
        words=(b"WWW-Authenticate: Digest ", b"algorithm=", b"\r\n\r\n", b"Content-Length: ", b"$\0", b"nonce=", b"qop=auth"),
        cases=300,
    ),
    Target("stream-refusal", stream_refusal, lambda: [b"RTSP/1.0 404 Not Found", b"RTSP/1.0 453 x"], words=(b"9" * 5000,)),
    Target(
        "stream-address",
        stream_address,
        lambda: [b"rtsp://admin:secret@10.0.0.9:554/ch1?user=admin&password=x", b"rtsps://[fe80::1]:322/{user}/{password}"],
        allowed=(ValueError,),
        words=(b"@", b"://", b"[", b"]", b"password=", b"{user}", b"rtsp://", b"\\", b"?", b"#", b":"),
        cases=400,
    ),
    Target("onvif", onvif, onvif_seeds, words=XML_WORDS, cases=3, around=camera, slow_s=5.0),
    Target("onvif-body", onvif_body, lambda: [GZIPPED, b"<html>", b"{}"], allowed=(ValueError,)),
    Target("onvif-media2", media2, lambda: [MEDIA2], allowed=(ValueError, etree.LxmlError), words=XML_WORDS, cases=200),
    Target("camera-answer", camera_answer, camera_answer_seeds, cases=200),
    Target("camera-memory", camera_memory, lambda: [b'{"main": {"uri": "rtsp://h/1"}, "address": null}'], around=folder_alone),
)
