"""WS-Discovery on loopback: what the network answers, what is made of hostile answers, and the search for one camera."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from drivers.camera import REJECTED_S, UNCLEAR_S, Search, describe, find, find_apart
from drivers.discovery import Answer, Target, interface_towards, probe, probe_message, read_answers
from drivers.faults import DeviceFault
from drivers.ports import CameraAddress, CameraDescription, Place, Stream
from tests.equipment.onvif import GROUP, Discovery, OnvifService
from tests.equipment.onvif_messages import Profile, probe_match
from tests.equipment.process import HOST, free_port

PASSWORD = "secret 密码"
MAIN = Profile("main", "h264", 1920, 1080, 25, 25, 4_000_000)
MESSAGE = "0123456789abcdef0123456789abcdef"
RELATES = f"urn:uuid:{MESSAGE}"
ENDPOINT = "urn:uuid:12345678-0000-0000-0000-0123456789ab"


class Strange(OnvifService):
    """Something that answers whatever it is asked with a SOAP envelope of no use."""

    body = ""

    def __init__(self, name: str, host: str) -> None:
        super().__init__(name, (MAIN,), 8554, "admin", PASSWORD, b"")
        self.host = self.reached = host

    def answer(self, request: bytes) -> bytes:
        return f'<e:Envelope xmlns:e="http://www.w3.org/2003/05/soap-envelope">{self.body}</e:Envelope>'.encode()


class Camera(OnvifService):
    """A camera's ONVIF service at an address of its own, that counts passwords."""

    def __init__(self, name: str = "overview", host: str = HOST, *, serial: str = "", password: str = PASSWORD) -> None:
        super().__init__(name, (MAIN,), 8554, "admin", password, b"")
        self.host = self.reached = host
        self.serial = serial or self.serial
        self.passwords = 0

    def answer(self, request: bytes) -> bytes:
        self.passwords += b"GetDeviceInformation" in request and b"UsernameToken" in request
        return super().answer(request)


@pytest.fixture
def target() -> Target:
    """A multicast port of this test alone."""
    return Target(GROUP, free_port(socket.SOCK_DGRAM), HOST)


@contextmanager
def network(target: Target, *cameras: Camera) -> Iterator[None]:
    """The cameras, serving and to be discovered."""
    responders = []
    for camera in cameras:
        camera.start()
        responders.append(Discovery(camera, group_port=target.port))
    try:
        yield
    finally:
        for responder in responders:
            responder.stop()
        for camera in cameras:
            camera.stop()


def address_of(camera: Camera) -> CameraAddress:
    return CameraAddress("overview", camera.reached, camera.port, "admin", PASSWORD)


def elsewhere() -> CameraAddress:
    """Where nobody is."""
    return CameraAddress("overview", HOST, free_port(), "admin", PASSWORD)


def test_every_camera_of_the_network_answers(target: Target) -> None:
    first, second = Camera("overview"), Camera("closeup", "127.0.0.7")
    with network(target, first, second):
        found = {answer.host: answer for answer in probe(target, listen_s=1.0)}
        assert set(found) == {HOST, "127.0.0.7"}
        assert (found["127.0.0.7"].port, found["127.0.0.7"].endpoint) == (second.port, second.endpoint)
        assert (found[HOST].scope("name"), found[HOST].scope("hardware"), found[HOST].scope("location")) == (
            "overview",
            "LO-2",
            "",
        )


def test_one_host_can_be_asked_and_an_answer_that_is_enough_ends_it(target: Target) -> None:
    camera = Camera()
    with network(target, camera):
        responder = Discovery(camera)
        began = time.monotonic()
        found = probe(Target(HOST, responder.port), listen_s=20.0, enough=lambda answer: answer.endpoint == camera.endpoint)
        responder.stop()
        assert [answer.place for answer in found] == [f"{HOST}:{camera.port}"]
        assert time.monotonic() - began < 10


def test_nobody_answers(target: Target) -> None:
    assert probe(target, listen_s=0.4) == ()
    assert probe(Target(HOST, free_port(socket.SOCK_DGRAM)), listen_s=0.4) == (), "a port that refuses"


def test_an_inner_address_does_not_matter(target: Target) -> None:
    camera = Camera(host="127.0.0.4")
    camera.set(address="10.0.0.5")
    with network(target, camera):
        assert [answer.place for answer in probe(target, listen_s=0.6)] == [f"127.0.0.4:{camera.port}"]


def test_a_network_that_cannot_be_asked_is_a_fault() -> None:
    with pytest.raises(DeviceFault, match=r"203\.0\.113\.9|onvif\.interface"):
        probe(Target(interface="203.0.113.9"))


def test_a_question_is_a_probe_for_video_transmitters() -> None:
    text = probe_message(MESSAGE).decode()
    assert "<d:Types>dn:NetworkVideoTransmitter</d:Types>" in text
    assert "urn:uuid:01234567-89ab-cdef-0123-456789abcdef" in text


def test_answers() -> None:
    good = probe_match("uuid:01234567-89AB-cdef-0123-456789abcdef", ENDPOINT, "Halle 3", "http://10.1.1.1/onvif/device_service")
    [answer] = read_answers(good, "192.0.2.5", MESSAGE)
    assert (answer.host, answer.port, answer.endpoint) == ("192.0.2.5", 80, ENDPOINT)
    assert answer.scope("name") == "Halle 3"
    two = good.replace(b"device_service<", b"device_service https://10.1.1.1/ http://[fe80::1]:8080/onvif<")
    assert [a.port for a in read_answers(two, "192.0.2.5", MESSAGE)] == [80, 8080]


LAUGHS = "".join(f'<!ENTITY e{n + 1} "{f"&e{n};" * 10}">' for n in range(9))
GOOD = probe_match(RELATES, ENDPOINT, "a", "http://192.0.2.5/onvif").decode()
BODY = GOOD[GOOD.index("<e:Envelope") :]


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        b"\x00" * 60_000,
        b"\xff\xfe<",
        GOOD.encode("utf-16"),
        b"<Envelope/>",
        b"<" * 60_000,
        b"<a>" * 20_000,
        b"<a>" * 9_000 + b"</a>" * 9_000,
        f'<!DOCTYPE a [<!ENTITY x "urn:uuid:y">]>{BODY.replace(ENDPOINT, "&x;")}'.encode(),
        f'<!DOCTYPE a [<!ENTITY e0 "ha">{LAUGHS}]>{BODY.replace(ENDPOINT, "&e9;")}'.encode(),
        f'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>{BODY.replace(ENDPOINT, "&x;")}'.encode(),
        GOOD.replace(MESSAGE, "f" * 32).encode(),
        GOOD.replace(RELATES, "").encode(),
        GOOD.replace("http://192.0.2.5/onvif", "").encode(),
        GOOD.replace(
            "http://192.0.2.5/onvif", "http://192.0.2.5:99999/ http://[ http:// rtsp://192.0.2.5/ file:///etc/passwd"
        ).encode(),
        GOOD.replace("ProbeMatches", "ResolveMatches").encode(),
    ],
    ids=range(16),
)
def test_garbage_and_hostile_answers_are_none(datagram: bytes) -> None:
    began = time.monotonic()
    assert read_answers(datagram, "192.0.2.5", MESSAGE) == ()
    assert time.monotonic() - began < 2


def test_what_is_read_is_bounded() -> None:
    match = BODY[BODY.index("<d:ProbeMatch>") : BODY.index("</d:ProbeMatches>")]
    many = GOOD.replace(match, match * 50).replace("http://192.0.2.5/onvif", " ".join(f"http://h:{n}/" for n in range(1, 90)))
    assert len(read_answers(many.encode(), "192.0.2.5", MESSAGE)) <= 8
    assert read_answers(GOOD.encode(), "not an address", MESSAGE) == ()


class Noise(threading.Thread):
    """Answers each probe with garbage, then with a stranger's answer that names another place than its own."""

    def __init__(self, target: Target) -> None:
        super().__init__(daemon=True)
        self._line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._line.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._line.bind((target.host, target.port))
        self._line.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(GROUP) + socket.inet_aton(HOST))
        self.heard = 0

    def run(self) -> None:
        while True:
            _, sender = self._line.recvfrom(65536)
            self.heard += 1
            for garbage in (b"", b"\x00\x01", GOOD.encode(), b"<e" * 500):
                self._line.sendto(garbage, sender)


def test_noise_on_the_line_hides_no_camera(target: Target) -> None:
    noise = Noise(target)
    noise.start()
    camera = Camera(host="127.0.0.6")
    with network(target, camera):
        assert [answer.host for answer in probe(target, listen_s=0.8)] == ["127.0.0.6"]
    assert noise.heard >= 1


def test_the_way_to_a_camera_tells_the_interface() -> None:
    assert interface_towards("127.0.0.9", 80) == HOST
    assert interface_towards("no.such.host.invalid", 80) == ""


def test_a_moved_camera_is_found_by_who_it_is(target: Target) -> None:
    camera = Camera(host="127.0.0.5")
    with network(target, camera, Camera("closeup", "127.0.0.6")):
        known = describe(address_of(camera))
        for target_now in (target, replace(target, interface="")):
            found = find_apart(elsewhere(), known, target_now)
            assert (found.host, found.port) == ("127.0.0.5", camera.port)
            assert found.found is not None
            assert found.found.main.uri == "rtsp://127.0.0.5:8554/main"
            assert found.found.is_device(known)
            assert found.found.endpoint == camera.endpoint


def test_a_stranger_is_not_taken_and_sees_one_password_a_minute(target: Target) -> None:
    stranger = Camera(host="127.0.0.5", serial="another")
    locked = Camera(host="127.0.0.6", password="its own")
    known = CameraDescription(Stream("rtsp://h/x"), None, "Loopback Optics", "LO-2 overview", "1.0.4", "LO2-overview")
    with network(target, stranger, locked):
        result = find(elsewhere(), known, target, listen_s=0.6)
        asked = (f"127.0.0.5:{stranger.port}", f"127.0.0.6:{locked.port}")
        assert result == Search(rejected_s=dict.fromkeys(asked, REJECTED_S))
        assert (stranger.passwords, locked.passwords) == (1, 1)
        again = find(elsewhere(), known, target, listen_s=0.6, rejected=result.rejected_s or {})
        assert again == Search(rejected_s={})
        assert (stranger.passwords, locked.passwords) == (1, 1)


def test_a_candidate_that_hangs_holds_nothing_up_for_long(target: Target) -> None:
    hanging, camera = Camera("closeup", "127.0.0.5"), Camera(host="127.0.0.6")
    with network(target, hanging, camera):
        known = replace(describe(address_of(camera)), endpoint="")
        hanging.faults = replace(hanging.faults, delay_s=30.0)
        result = find(elsewhere(), known, target, timeout_s=0.5, listen_s=0.6)
        assert result.host == "127.0.0.6"
        assert set((result.rejected_s or {}).values()) <= {UNCLEAR_S}


@pytest.mark.parametrize("body", ["", "<!-- nothing -->", None])
def test_a_candidate_whose_answers_cannot_be_read_ends_no_search(target: Target, body: str | None) -> None:
    strange, camera = Strange("closeup", "127.0.0.5"), Camera(host="127.0.0.6")
    strange.body = "" if body is None else f"<e:Body>{body}</e:Body>"
    strange.start()
    camera.start()
    try:
        known = describe(address_of(camera))
        places = ((strange.reached, strange.port), (camera.reached, camera.port))
        result = find(elsewhere(), known, target, places=places, listen_s=0.3)
        assert (result.host, result.port) == (camera.reached, camera.port)
        assert result.rejected_s == {f"127.0.0.5:{strange.port}": UNCLEAR_S}
    finally:
        strange.stop()
        camera.stop()


def test_a_camera_back_where_it_is_configured_needs_no_discovery(target: Target) -> None:
    camera = Camera(host="127.0.0.5")
    camera.start()
    try:
        known = describe(address_of(camera))
        result = find(address_of(camera), known, target, places=((camera.reached, camera.port),), listen_s=0.3)
        assert (result.host, result.port) == ("127.0.0.5", camera.port)
        assert find(address_of(camera), known, target, listen_s=0.3) == Search(rejected_s={})
    finally:
        camera.stop()


def test_who_is_who() -> None:
    one = CameraDescription(Stream("a"), None, "Maker", "M1", "1", "S1", hardware="02:00:00:00:00:01")
    assert one.is_device(replace(one, firmware="2", main=Stream("b"), hardware="")) is True
    assert one.is_device(replace(one, hardware=one.hardware.upper())) is True
    assert one.is_device(replace(one, serial="S2")) is False
    assert one.is_device(replace(one, model="M2")) is False
    assert one.is_device(replace(one, hardware="02:00:00:00:00:02")) is False, "makers that give every camera one serial number"
    assert one.is_device(replace(one, serial="")) is True, "by its MAC address"
    assert one.is_device(replace(one, serial="", hardware="")) is None
    assert not replace(one, serial="", hardware="").tells_who


def test_a_description_survives_versions() -> None:
    main, place = Stream("rtsp://h/m", profile="p"), Place("h", 80, "c:80", "discovery", "2026-11-21T09:30:05Z", "g:80")
    full = CameraDescription(main, Stream("rtsp://h/s"), "Maker", "M", "1", "S", 0.5, "02:00", ENDPOINT, place)
    assert CameraDescription.from_dict(json.loads(json.dumps(full.as_dict()))) == full
    old = {"main": {"uri": "rtsp://h/m", "codec": "h264", "width": 1, "height": 1, "fps": 1.0, "bitrate_bps": 1.0}, "sub": None}
    assert CameraDescription.from_dict(old | {"serial": "S", "clock_offset_s": None}).serial == "S"
    newer = full.as_dict() | {"later": 1, "main": {"uri": "rtsp://h/m", "later": 1}}
    assert CameraDescription.from_dict(newer).main == Stream("rtsp://h/m")
    assert Answer("", "192.0.2.1", 80).scope("name") == ""
