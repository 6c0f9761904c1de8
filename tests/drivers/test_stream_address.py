"""Addresses of streams: what of them is stored and shown, and where the login goes that some cameras want in them."""

from typing import Any

import pytest

from drivers.camera import describe
from drivers.faults import DeviceRefused
from drivers.ports import CameraAddress, CameraDescription, Stream
from drivers.stream_address import credentialed, hidden, literal_secret, with_placeholders

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
    uri = credentialed("rtsp://10.0.0.9/user={user}&password={password}", "ad min", "p&ss/")
    assert uri.endswith("/user=ad%20min&password=p%26ss%2F")


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
    assert credentialed(kept, "admin", "p&ss").endswith("/user=admin&password=p%26ss&channel=1")
    assert with_placeholders("rtsp://10.0.0.9/token=other", "admin", "p&ss") == "rtsp://10.0.0.9/token=other"
