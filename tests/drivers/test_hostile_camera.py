"""What answers at a camera's address and means harm: it gets no memory, no time, no password, and nobody is sent elsewhere."""

import gzip
import json
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from drivers.camera import ANSWER_BYTES, describe, describe_apart, read_answer
from drivers.faults import DeviceAbsent, DeviceFault, DeviceRefused, DeviceSilent
from drivers.ports import CameraAddress, CameraDescription
from drivers.stream_address import with_placeholders
from drivers.tls import met_at
from tests.drivers.test_camera import PASSWORD, Camera
from tests.equipment.process import HOST, free_port
from tests.equipment.talk import Certificate, Service, Talk

MIB = 1 << 20
BOMB = gzip.compress(bytes(16 * MIB)) * 64  # a megabyte that unpacks to one gigabyte
DIGEST = 'WWW-Authenticate: Digest realm="c", nonce="n", qop="auth"'
Answer = Callable[[Talk], None]


def address_of(service: Service, **changes: Any) -> CameraAddress:
    return replace(CameraAddress("overview", HOST, service.port, "admin", PASSWORD), **changes)


def answering(answer: Answer) -> Answer:
    """Every request of a connection gets the answer."""

    def talk(to: Talk) -> None:
        while to.request():
            answer(to)

    return talk


def endless(to: Talk) -> None:
    to.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/soap+xml\r\n\r\n<Envelope>")
    while True:
        to.send(b" " * MIB)


def dripping(to: Talk) -> None:
    to.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while True:
        to.send(b" ")
        time.sleep(0.05)


def packed(to: Talk) -> None:
    to.http("200 OK", BOMB, "Content-Encoding: gzip")


def packed_refusal(to: Talk) -> None:
    to.http("401 Unauthorized", BOMB, "Content-Encoding: gzip", DIGEST)


def away_to(location: str, body: bytes = b"", status: str = "307 Temporary Redirect") -> Answer:
    return lambda to: to.http(status, body, f"Location: {location}", "Content-Encoding: gzip")


MEASURED = """
import sys
from drivers.camera import main
main()
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")), file=sys.stderr)
"""


def asked_in_child(address: CameraAddress, limit_s: float) -> tuple[dict[str, Any], int]:
    """The child's answer, and its largest memory in bytes (proc(5), VmHWM; what wait4 tells may be the parent's)."""
    question = json.dumps({**asdict(address), "timeout_s": 3.0, "sub_size": [640, 360], "limit_s": limit_s}).encode()
    run = subprocess.run([sys.executable, "-c", MEASURED], input=question, capture_output=True, timeout=30, check=True)
    return json.loads(run.stdout), int(run.stderr.split()[-1]) * 1024


def test_a_hostile_answer_takes_neither_memory_nor_time() -> None:
    began = time.monotonic()
    with ExitStack() as stack, ThreadPoolExecutor(3) as asking:
        services = [stack.enter_context(Service(answering(each))) for each in (endless, packed, away_to("file:///dev/zero"))]
        found = list(asking.map(lambda service: asked_in_child(address_of(service), 8.0), services))
    assert [told["fault"]["code"] for told, _ in found] == [
        "camera-onvif-answer-too-long", "camera-answers-something-else", "camera-redirects-onvif"
    ]  # fmt: skip
    assert all(0 < memory < 300 * MIB for _, memory in found), found
    assert time.monotonic() - began < 8


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (endless, "camera-onvif-answer-too-long"),
        (packed, "camera-answers-something-else"),
        (packed_refusal, "camera-refuses-login"),
        (away_to("file:///etc/passwd"), "camera-redirects-onvif"),
        (away_to("http://192.0.2.9/onvif", BOMB, "302 Found"), "camera-redirects-onvif"),
    ],
)
def test_a_hostile_answer_is_told_by_name(answer: Answer, code: str) -> None:
    with Service(answering(answer)) as service, pytest.raises(DeviceFault) as caught:
        describe(address_of(service), timeout_s=2.0)
    assert caught.value.code == code


def test_an_answer_that_drips_is_given_up() -> None:
    with Service(answering(dripping)) as service, pytest.raises(DeviceSilent):
        began = time.monotonic()
        describe(address_of(service), timeout_s=0.3)
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"])
def test_nobody_is_sent_to_a_third_host(status: str) -> None:
    with Service(answering(dripping)) as third:
        place = f"http://{HOST}:{third.port}"
        with Service(answering(away_to(f"http://u:p@{HOST}:{third.port}/onvif?x=1", status=status))) as service:
            with pytest.raises(DeviceFault) as caught:
                describe(address_of(service))
            assert caught.value.values["target"] == place and str(caught.value.values["status"]) in status
            assert place in caught.value.say("en") and place in caught.value.say("zh")
        assert third.connections == 0


def login_over_http(challenge: str, *, accept: str) -> Answer:
    """Answers of the stand-in's service; all but the clock only with an Authorization of this scheme."""
    camera = Camera()

    def talk(to: Talk) -> None:
        while lines := to.request():
            given = next((line for line in lines if line.startswith("Authorization")), "")
            body = to.body
            if b"GetSystemDateAndTime" not in body and not given.startswith(f"Authorization: {accept}"):
                to.http("401 Unauthorized", b"", challenge)
            else:
                to.http("200 OK", camera.answer(body), "Content-Type: application/soap+xml")

    return talk


def test_the_password_is_never_sent_in_the_clear() -> None:
    with Service(login_over_http('WWW-Authenticate: Basic realm="c"', accept="Basic")) as service:
        with pytest.raises(DeviceRefused) as caught:
            describe(address_of(service))
        assert caught.value.code == "camera-wants-password-in-clear"
        assert "allow_basic" in caught.value.say_mend("en")
        secret = f"admin:{PASSWORD}".encode()
        assert PASSWORD.encode() not in service.heard and b64encode(secret) not in service.heard
        assert describe(address_of(service, allow_basic=True)).serial == "LO2-overview"
        assert b64encode(secret) in service.heard


def test_a_digest_is_answered_with_each_call() -> None:
    with Service(login_over_http(DIGEST, accept="Digest")) as service:
        assert describe(address_of(service)).serial == "LO2-overview"
        assert PASSWORD.encode() not in service.heard
        assert b"nc=00000003" in service.heard, "of the nonce that is known already"


def test_a_placeholder_that_a_camera_tells_is_not_filled() -> None:
    told = with_placeholders("rtsp://h/user={user}&password={password}", "admin", "geheim")
    assert "{" not in told and "geheim" not in told


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    return Certificate(tmp_path)


def talk_onvif(to: Talk) -> None:
    camera = Camera()
    while to.request():
        to.http("200 OK", camera.answer(to.body), "Content-Type: application/soap+xml")


def test_a_camera_with_its_own_certificate_is_reached_by_that_one_alone(certificate: Certificate, tmp_path: Path) -> None:
    with Service(talk_onvif, certificate) as service:
        assert met_at(HOST, service.port, 2.0) == certificate.fingerprint
        address = address_of(service, tls_fingerprint=certificate.fingerprint)
        assert describe(address).serial == "LO2-overview"
        heard = len(service.heard)
        other = Certificate(tmp_path, "other").fingerprint
        with pytest.raises(DeviceRefused) as caught:
            describe(replace(address, tls_fingerprint=other))
        assert len(service.heard) == heard, "nothing was told to it"
        told = caught.value.say("en")
        assert certificate.fingerprint in told and other in told
    assert met_at(HOST, free_port(), 0.5) == ""


def test_a_camera_without_tls_is_told_as_that(certificate: Certificate) -> None:
    with Service(lambda to: to.http("400 Bad Request")) as service, pytest.raises(DeviceFault) as caught:
        describe(address_of(service, tls_fingerprint=certificate.fingerprint))
    assert caught.value.code == "camera-speaks-no-tls"


LIMITS = """
import json, resource
from drivers.confined import confine
confine()
limits = [resource.getrlimit(each) for each in (resource.RLIMIT_AS, resource.RLIMIT_NOFILE, resource.RLIMIT_CORE)]
print(json.dumps([limits, int(open("/proc/self/oom_score_adj").read())]))
"""


def test_the_child_is_confined_for_good_and_killed_before_all_others() -> None:
    run = subprocess.run([sys.executable, "-c", LIMITS], capture_output=True, check=True, timeout=10)
    limits, killed_first = json.loads(run.stdout)
    assert all(soft == hard for soft, hard in limits)
    assert limits[0][0] <= 512 * MIB and limits[1][0] <= 64 and limits[2][0] == 0
    assert killed_first >= 500


@pytest.mark.parametrize(
    "answer",
    [
        b"x" * (ANSWER_BYTES + 1),
        b"[" * 100_000,
        json.dumps({"ok": True, "description": {"main": {"uri": "rtsp://h/m", "width": {"a": 1}}}}).encode(),
        json.dumps({"ok": True, "description": {"main": {"uri": "rtsp://h/m"}, "serial": "S" * 5000}}).encode(),
        json.dumps({"ok": True, "description": {"main": {"uri": "rtsp://h/m", "fps": 1e300}}}).encode(),
    ],
    ids=["long", "deep", "no-number", "long-serial", "large-number"],
)
def test_what_the_child_answers_is_checked(answer: bytes) -> None:
    with pytest.raises(DeviceFault, match="without an answer"):
        read_answer(answer)


def test_a_fault_of_the_child_is_bounded() -> None:
    values = {"exit_code": 0, "name": "x" * 100_000}
    told = {"ok": False, "kind": "DeviceAbsent", "fault": {"code": "camera-unreachable", "mend": "", "values": values}}
    with pytest.raises(DeviceAbsent) as caught:
        read_answer(json.dumps(told).encode())
    assert len(str(caught.value.values["name"])) <= 1000 and caught.value.exit_code == 7


def test_a_child_that_names_another_host_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    told = CameraDescription.from_dict({"main": {"uri": "rtsp://192.0.2.66/main"}})
    line = json.dumps({"ok": True, "description": told.as_dict()}).encode()
    monkeypatch.setattr("drivers.camera._ask_apart", lambda *_: line)
    with pytest.raises(DeviceFault, match="without an answer"):
        describe_apart(CameraAddress("overview", HOST, 80))
