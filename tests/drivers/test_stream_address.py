"""Addresses of streams: what of them is stored and shown, and where the login goes that some cameras want in them."""

from typing import Any

import pytest

from drivers.camera import describe
from drivers.faults import DeviceRefused
from drivers.ports import CameraAddress, CameraDescription, Stream
from drivers.stream_address import filled, hidden, host_of, literal_secret, over_tls, rtsp_place, with_placeholders

SHOWN = [
    ("rtsp://10.0.0.9/live", "rtsp://10.0.0.9/live"),
    ("rtsp://admin:geheim@10.0.0.9/live", "rtsp://10.0.0.9/live"),
    ("rtsp://10.0.0.9/user=admin&password=geheim&channel=1", "rtsp://10.0.0.9/user=admin&password=***&channel=1"),
    ("rtsp://10.0.0.9/live?PWD=geheim", "rtsp://10.0.0.9/live?PWD=***"),
    ("rtsp://10.0.0.9/a;token=geheim/b?authkey=geheim#x", "rtsp://10.0.0.9/a;token=***/b?authkey=***#x"),
    ("rtsp://10.0.0.9/user={user}&password={password}", "rtsp://10.0.0.9/user={user}&password={password}"),
]


@pytest.mark.parametrize(("uri", "shown"), SHOWN)
def test_what_is_like_a_password_is_never_shown(uri: str, shown: str) -> None:
    assert hidden(uri) == shown
    assert "geheim" not in repr(CameraAddress("overview", rtsp=uri, password="geheim"))
    known = CameraDescription(Stream(uri), Stream(uri)).without_secrets()
    assert "geheim" not in str(known.as_dict())


def test_placeholders_are_filled_and_percent_encoded() -> None:
    uri = filled("rtsp://10.0.0.9/user={user}&password={password}", "ad min", "p&ss/")
    assert uri == "rtsp://10.0.0.9/user=ad%20min&password=p%26ss%2F"
    assert filled("rtsp://10.0.0.9/live", "admin", "geheim") == "rtsp://10.0.0.9/live", "no other address gets the login"


@pytest.mark.parametrize("key", ["rtsp", "rtsp_sub"])
def test_a_literal_password_in_an_address_is_refused(key: str) -> None:
    address: dict[str, Any] = {"rtsp": "rtsp://10.0.0.9/live", key: "rtsp://10.0.0.9/password=geheim"}
    with pytest.raises(DeviceRefused) as caught:
        describe(CameraAddress("overview", **address))
    assert "geheim" not in str(caught.value)
    assert literal_secret(address[key]) and not literal_secret("rtsp://10.0.0.9/password={password}")


def test_what_a_camera_answers_with_its_own_login_in_it_is_kept_with_placeholders() -> None:
    told = "rtsp://10.0.0.9/user=admin&password=p%26ss&channel=1"
    kept = with_placeholders(told, "admin", "p&ss")
    assert kept == "rtsp://10.0.0.9/user={user}&password={password}&channel=1"
    assert filled(kept, "admin", "p&ss").endswith("/user=admin&password=p%26ss&channel=1")
    assert with_placeholders("rtsp://10.0.0.9/token=other", "admin", "p&ss") == "rtsp://10.0.0.9/token=other"


def test_the_port_that_an_address_does_not_name() -> None:
    assert rtsp_place("rtsp://cam/main") == ("cam", 554)
    assert rtsp_place("RTSP://cam:8554/main") == ("cam", 8554)
    assert rtsp_place("rtsps://cam/main") == ("cam", 322)
    assert rtsp_place("rtsps://cam:554/main") == ("cam", 554)


def test_an_address_over_tls() -> None:
    assert over_tls("rtsp://cam/main?a=b") == over_tls("rtsp://cam:554/main?a=b") == "rtsps://cam:322/main?a=b"
    assert over_tls("RTSP://cam:8554/main") == "rtsps://cam:8554/main"
    assert over_tls("rtsps://cam:554/main") == "rtsps://cam:554/main"
    assert over_tls("rtsp://[fe80::1]/main") == "rtsps://[fe80::1]:322/main"


@pytest.mark.parametrize(
    ("location", "told"),
    [
        ("http://u:p@192.0.2.9:8080/onvif?token=x", "http://192.0.2.9:8080"),
        ("rtsp://cam/secret", "rtsp://cam"),
        ("file:///dev/zero", "file://"),
        ("/other", "-"),
        ("http://[::1", "-"),
        ("", "-"),
    ],
)
def test_of_where_a_camera_points_to_the_place_alone_is_told(location: str, told: str) -> None:
    assert host_of(location) == told
    assert len(host_of("http://" + "x" * 5000)) <= 200
