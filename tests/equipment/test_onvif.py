"""The cameras' ONVIF service, asked by onvif-zeep as the product asks it."""

import base64
import hashlib
import socket
import time
from datetime import UTC, datetime
from typing import Any

import pytest
import requests
from onvif import ONVIFCamera, ONVIFError
from requests.auth import HTTPDigestAuth
from zeep.transports import Transport

from tests.equipment.camera import StandInCamera
from tests.equipment.clips import SMALL
from tests.equipment.onvif import Discovery
from tests.equipment.onvif_messages import DEVICE, SOAP, WSSE, WSU
from tests.equipment.room import StandInRoom


def client(camera: StandInCamera, *, password: str | None = None, adjust_time: bool = False, limit_s: float = 2) -> Any:
    transport = Transport(timeout=limit_s, operation_timeout=limit_s)  # type: ignore[no-untyped-call]
    secret = camera.password if password is None else password
    return ONVIFCamera(camera.host, camera.onvif_port, camera.user, secret, adjust_time=adjust_time, transport=transport)


def stream_uri(media: Any, token: str) -> str:
    setup = {"Stream": "RTP-Unicast", "Transport": {"Protocol": "RTSP"}}
    return str(media.GetStreamUri({"StreamSetup": setup, "ProfileToken": token}).Uri)


def test_it_describes_itself_its_profiles_and_their_streams(room: StandInRoom) -> None:
    camera = client(room.overview)
    assert camera.devicemgmt.GetDeviceInformation().SerialNumber == "LO2-overview"
    assert {service.Namespace for service in camera.devicemgmt.GetServices(False)} == {
        DEVICE,
        "http://www.onvif.org/ver10/media/wsdl",
    }
    assert any(scope.ScopeItem.endswith("name/overview") for scope in camera.devicemgmt.GetScopes())
    media = camera.create_media_service()
    profiles = media.GetProfiles()
    encoders = [profile.VideoEncoderConfiguration for profile in profiles]
    assert [profile.token for profile in profiles] == ["main", "sub"]
    assert [(e.Resolution.Width, e.Resolution.Height) for e in encoders] == [
        (SMALL.width, SMALL.height),
        (SMALL.sub_width, SMALL.sub_height),
    ]
    assert [(e.Encoding, e.RateControl.FrameRateLimit, e.H264.GovLength) for e in encoders] == [("H264", 25, SMALL.gop)] * 2
    assert media.GetProfile("sub").token == "sub"
    assert stream_uri(media, "sub") == f"rtsp://127.0.0.1:{room.overview.rtsp_port}/sub"
    with pytest.raises(ONVIFError, match="No profile"):
        stream_uri(media, "third")
    with pytest.raises(ONVIFError, match="not implemented"):
        camera.devicemgmt.GetDNS()


def test_the_snapshot_needs_the_password(room: StandInRoom) -> None:
    camera = room.closeup
    uri = client(camera).create_media_service().GetSnapshotUri("main").Uri
    good = requests.get(uri, auth=HTTPDigestAuth(camera.user, camera.password), timeout=5)
    assert (good.status_code, good.content[:2]) == (200, b"\xff\xd8")
    assert requests.get(uri, auth=HTTPDigestAuth(camera.user, "wrong"), timeout=5).status_code == 401
    assert requests.get(uri, timeout=5).status_code == 401


def test_a_wrong_password_shows_only_where_one_is_needed(room: StandInRoom) -> None:
    camera = client(room.overview, password="wrong")  # constructing it proves nothing
    camera.devicemgmt.GetSystemDateAndTime()
    with pytest.raises(ONVIFError, match="not authorized"):
        camera.devicemgmt.GetDeviceInformation()
    room.fault("overview", "wrong_password")
    with pytest.raises(ONVIFError, match="not authorized"):
        client(room.overview).devicemgmt.GetDeviceInformation()


def test_a_wrong_clock_looks_like_a_wrong_password_unless_the_time_is_adjusted(room: StandInRoom) -> None:
    room.fault("overview", "clock", 3600)
    camera = client(room.overview)
    told = camera.devicemgmt.GetSystemDateAndTime().UTCDateTime
    moment = datetime(
        told.Date.Year, told.Date.Month, told.Date.Day, told.Time.Hour, told.Time.Minute, told.Time.Second, tzinfo=UTC
    )
    assert (moment - datetime.now(UTC)).total_seconds() == pytest.approx(3600, abs=2)
    with pytest.raises(ONVIFError, match="not authorized"):
        camera.devicemgmt.GetDeviceInformation()
    assert client(room.overview, adjust_time=True).devicemgmt.GetDeviceInformation().Model


def test_a_token_is_good_once_and_for_some_seconds_only(room: StandInRoom) -> None:
    camera = room.overview

    def ask(nonce: bytes, age_s: float) -> int:
        created = datetime.fromtimestamp(time.time() - age_s, UTC).isoformat().replace("+00:00", "Z")
        digest = base64.b64encode(hashlib.sha1(nonce + created.encode() + camera.password.encode()).digest()).decode()
        kind = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-username-token-profile-1.0#PasswordDigest"
        token = f'<s:UsernameToken><s:Username>{camera.user}</s:Username><s:Password Type="{kind}">{digest}</s:Password>'
        token += f"<s:Nonce>{base64.b64encode(nonce).decode()}</s:Nonce><u:Created>{created}</u:Created></s:UsernameToken>"
        body = (
            f'<e:Envelope xmlns:e="{SOAP}" xmlns:s="{WSSE}" xmlns:u="{WSU}"><e:Header><s:Security>{token}</s:Security></e:Header>'
        )
        body += f'<e:Body><GetDeviceInformation xmlns="{DEVICE}"/></e:Body></e:Envelope>'
        return requests.post(f"{camera.onvif.base}/onvif/device_service", body.encode(), timeout=5).status_code

    assert ask(b"one", 0) == 200
    assert ask(b"one", 0) == 400
    assert ask(b"two", 30) == 400
    assert ask(b"three", 4) == 200


def test_what_is_no_soap_gets_a_fault(room: StandInRoom) -> None:
    for body in (b"", b"<not closed", b"<a/>"):
        assert requests.post(f"{room.overview.onvif.base}/onvif/device_service", body, timeout=5).status_code == 400


def test_it_can_give_out_an_internal_address(room: StandInRoom) -> None:
    room.fault("overview", "internal_address")
    camera = client(room.overview)
    assert {address.split("/")[2].split(":")[0] for address in camera.xaddrs.values()} == {"10.0.0.5"}
    port = room.overview.rtsp_port
    media = ONVIFCamera.create_media_service
    camera.xaddrs = {space: address.replace("10.0.0.5", "127.0.0.1") for space, address in camera.xaddrs.items()}
    assert stream_uri(media(camera), "main") == f"rtsp://10.0.0.5:{port}/main"


@pytest.mark.parametrize(("fault", "value"), [("silent", None), ("slow", 5.0), ("unplugged", None)])
def test_a_service_that_does_not_answer_in_time(room: StandInRoom, fault: str, value: float | None) -> None:
    room.fault("overview", fault, value)
    started = time.monotonic()
    with pytest.raises((ONVIFError, requests.RequestException)):
        client(room.overview, limit_s=0.5)
    assert 0.4 < time.monotonic() - started < 3
    room.fault("overview", "back")
    assert client(room.overview).devicemgmt.GetDeviceInformation().Model


def test_a_camera_that_is_gone_refuses_connections(room: StandInRoom) -> None:
    camera = client(room.overview)
    room.fault("overview", "gone")
    with pytest.raises((ONVIFError, requests.ConnectionError)):
        camera.devicemgmt.GetDeviceInformation()
    room.fault("overview", "back")
    assert camera.devicemgmt.GetDeviceInformation().Model


def test_osd_texts_are_kept_or_politely_ignored(room: StandInRoom) -> None:
    media = client(room.closeup).create_media_service()
    osd = {"token": "new", "VideoSourceConfigurationToken": "source", "Type": "Text", "Position": {"Type": "LowerLeft"}}
    token = media.CreateOSD({"OSD": osd | {"TextString": {"Type": "Plain", "PlainText": "23.4°C"}}}).OSDToken
    found = media.GetOSDs()[0]
    assert (found.token, found.TextString.PlainText, found.Position.Type) == (token, "23.4°C", "LowerLeft")
    room.fault("closeup", "deaf_osd")
    for expected in ("23.4°C", "23.5°C"):
        media.SetOSD({"OSD": osd | {"token": token, "TextString": {"Type": "Plain", "PlainText": "23.5°C"}}})
        assert media.GetOSDs()[0].TextString.PlainText == expected
        room.fault("closeup", "back")


def test_discovery_answers_on_loopback(room: StandInRoom) -> None:
    responder = Discovery(room.overview.onvif)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as prober:
            prober.settimeout(2)
            prober.sendto(b"<e><a:MessageID>uuid:42</a:MessageID><d:Probe/></e>", ("127.0.0.1", responder.port))
            answer = prober.recv(65536).decode()
        assert "uuid:42" in answer
        assert f"{room.overview.onvif.base}/onvif/device_service" in answer
    finally:
        responder.stop()
