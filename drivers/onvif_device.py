"""One camera's ONVIF services through onvif-zeep: the only module that imports it and zeep.

Loading it takes 0.1 s and some 40 MB, and sets up the root logger: ``drivers.camera`` loads it when it is needed and undoes that.
Sources: ONVIF Core Specification, 5.12 (authentication) and 8.3.4 (GetSystemDateAndTime), ONVIF Media Service Specification.
"""

import calendar
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import requests
from lxml import etree
from onvif.client import ONVIFService, UsernameDigestTokenDtDiff
from onvif.definition import SERVICES
from onvif.exceptions import ONVIFError
from zeep.exceptions import Error as SoapError

from drivers import onvif_media2 as media2
from drivers.faults import DeviceFault
from drivers.login import Login, NoLogin
from drivers.onvif_faults import UNUSABLE, faults, refused, where
from drivers.onvif_transport import CameraTransport
from drivers.ports import CameraAddress, CameraDescription, Stream
from drivers.stream_address import at_host, with_placeholders
from wording.border import Given, given_or_nothing

CODECS = {"H264": "h264", "H265": "h265", "HEVC": "h265"}
TEXT_CHARACTERS = 4096  # of an address or a token in a camera's answer
NAME_CHARACTERS = 200  # of what it says of itself
EXTRA_S = 2.0  # for what is good to know and nothing depends on
RTSP_TCP = {"Stream": "RTP-Unicast", "Transport": {"Protocol": "RTSP"}}  # RTP interleaved in the RTSP connection
CLOCK_AWAY_S = 5.0  # a clock that is wrong by so much may be told and not be used
DEVICE_URL = "http://h/onvif/device_service"
MEDIA_URL = "http://h/onvif/media_service"  # where the media service of nearly every camera is


@dataclass(frozen=True, slots=True)
class CameraProfile:
    """One media profile: its token and what its encoder is set to; the stream's address is still empty.

    source: the token of its video source, the lens; "" where it is not told. undescribed: the camera does not tell what it
    encodes; the stream's size is then that of the lens. media2: it stands in the Media2 service.
    """

    token: str
    stream: Stream
    source: str = ""
    undescribed: bool = False
    media2: bool = False

    @property
    def area(self) -> int:
        """Pixels of a picture."""
        return self.stream.width * self.stream.height


def choose(profiles: Sequence[CameraProfile], sub_size: tuple[int, int]) -> tuple[CameraProfile, CameraProfile | None] | None:
    """Main: the largest picture, then the highest rate. Sub: of the smaller ones of the same lens the nearest to sub_size.

    An undescribed profile is main where no described one is as large as its lens: its codec shows in the stream. None where no
    profile is H.264 or H.265, or may be.
    """
    described = [p for p in profiles if p.stream.codec]
    usable = described + [p for p in profiles if p.undescribed]
    if not usable:
        return None
    main = max(usable, key=lambda p: (p.area, not p.undescribed, p.stream.fps))
    smaller = [p for p in described if 0 < p.area < main.area and (p.source == main.source or not p.source or not main.source)]
    sub = min(smaller, key=lambda p: abs(p.stream.width - sub_size[0]) + abs(p.stream.height - sub_size[1]), default=None)
    return main, sub


def ask(
    address: CameraAddress,
    timeout_s: float,
    sub_size: tuple[int, int],
    now: Callable[[], float] = time.time,
    *,
    key_frame: str = "",
) -> CameraDescription:
    """Clock, identity and streams of the camera. now: our wall clock, Unix seconds.

    key_frame: the token of a profile whose stream is wanted with a key frame at once. Raises DeviceRefused, DeviceSilent,
    DeviceFault.
    """
    with faults(address, timeout_s):
        device = OnvifDevice(address, timeout_s, now)
        device.read_clock()
        if key_frame:
            device.want_key_frame(key_frame)
        who = _identity(device)
        picked = choose(device.profiles(), sub_size)
        if picked is None:
            raise DeviceFault(
                "camera-offers-no-h264-or-h265",
                "set-camera-stream-h264-or-h265",
                **where(address),
            )
        main, sub = picked
        return replace(who, main=device.stream(main), sub=device.stream(sub) if sub else None)


def identify(address: CameraAddress, timeout_s: float, now: Callable[[], float] = time.time) -> CameraDescription:
    """Clock and identity alone, without streams; a refused password is not tried a second time.

    Raises DeviceRefused, DeviceSilent, DeviceFault.
    """
    with faults(address, timeout_s):
        device = OnvifDevice(address, timeout_s, now, patient=False)
        device.read_clock()
        return _identity(device)


def _identity(device: "OnvifDevice") -> CameraDescription:
    about = device.information()
    serial = _text(about, "SerialNumber", most=NAME_CHARACTERS).strip()
    return CameraDescription(
        Stream(""),
        manufacturer=_text(about, "Manufacturer", most=NAME_CHARACTERS),
        model=_text(about, "Model", most=NAME_CHARACTERS),
        firmware=_text(about, "FirmwareVersion", most=NAME_CHARACTERS),
        serial=serial,
        clock_offset_s=device.clock_offset_s,
        hardware=device.hardware(needed=not serial),
        endpoint=device.endpoint(),
    )


class OnvifDevice:
    """The camera's device and media services. The wrapper's own camera class is not used: its constructor subscribes to events,
    asks before the clock is known, and removes proxies from the environment. clock_offset_s: as read last. patient: after a
    refusal the clock is read anew and the call made once more."""

    def __init__(self, address: CameraAddress, timeout_s: float, now: Callable[[], float], *, patient: bool = True) -> None:
        self._address, self._timeout_s, self._now, self._patient = address, timeout_s, now, patient
        self._scheme = "https" if address.tls_fingerprint else "http"
        self.clock_offset_s: float | None = None
        self._true_time = False  # tokens carry our own clock's time: the camera's clock tells another one than it checks by
        self._login = Login(address.user, address.password, allow_basic=address.allow_basic)
        self._device = self._service("devicemgmt", self._own(DEVICE_URL))
        self._media: Any = None
        self._media2 = ""  # the address of the Media2 service, where it was asked

    def _service(self, name: str, url: str) -> Any:
        definition = SERVICES[name]
        transport = CameraTransport(self._address, self._timeout_s, wsdl_folder())
        service = ONVIFService(
            url,
            self._address.user,
            self._address.password,
            str(wsdl_folder() / definition["wsdl"]),
            no_cache=True,
            binding_name=f"{{{definition['ns']}}}{definition['binding']}",
            transport=transport,
        )
        self._log_in(service)
        return service

    def _log_in(self, service: Any) -> None:
        """WS-UsernameToken shifted to the camera's clock, and HTTP digest for cameras that answer 401."""
        client, user, password = service.zeep_client, self._address.user, self._address.password
        client.wsse, client.transport.login = None, None
        if user:
            shift = timedelta(seconds=0 if self._true_time else round(self.clock_offset_s or 0.0))
            client.wsse = UsernameDigestTokenDtDiff(user, password, dt_diff=shift, use_digest=True, zulu_timestamp=True)
            client.transport.login = self._login

    def _call(self, service: Any, operation: str, **arguments: object) -> Any:
        """One call, or two: see patient. Raises what zeep and requests raise."""
        call = getattr(service.ws_client, operation)  # past the wrapper's layer, which calls twice and hides the kind of error
        try:
            return call(**arguments)
        except (SoapError, ONVIFError) as error:
            if not refused(error) or not self._patient:
                raise
        before_s = self.clock_offset_s
        self.read_clock()
        moved_s = abs((self.clock_offset_s or 0.0) - (before_s or 0.0))
        if moved_s < CLOCK_AWAY_S <= abs(self.clock_offset_s or 0.0):
            self._true_time = not self._true_time
        self._log_in(service)
        return call(**arguments)

    def read_clock(self) -> None:
        """Sets clock_offset_s: the camera's clock minus ours, s, asked without credentials; None where it does not tell it.

        The camera answers in whole seconds, so half a second is added; the error is at most that and half the round trip.
        """
        client = self._device.zeep_client
        client.wsse, client.transport.login = None, None
        before, began = self._now(), time.monotonic()
        try:
            stamp = camera_time(self._device.ws_client.GetSystemDateAndTime())
            middle = before + (time.monotonic() - began) / 2
            self.clock_offset_s = None if stamp is None else stamp + 0.5 - middle
        except (SoapError, ONVIFError) as error:
            if not refused(error):
                raise
            self.clock_offset_s = None  # some cameras want a password even for this
        finally:
            self._log_in(self._device)

    def information(self) -> Any:
        """Manufacturer, model, firmware, serial number: the call that proves the password."""
        return self._call(self._device, "GetDeviceInformation")

    def endpoint(self) -> str:
        """What the camera calls itself in WS-Discovery (urn:uuid:…), "" where it does not tell."""
        return _text(self._extra(self._device, "GetEndpointReference"), "GUID", most=NAME_CHARACTERS).strip().lower()

    def hardware(self, *, needed: bool = False) -> str:
        """The MAC address of its first network interface that has one, "" where it does not tell.

        needed: nothing else says who the camera is, so it is asked with patience.
        """
        limit_s = self._timeout_s if needed else EXTRA_S
        interfaces = self._extra(self._device, "GetNetworkInterfaces", limit_s=limit_s) or []
        told = (_text(one, "Info", "HwAddress", most=NAME_CHARACTERS).strip().lower() for one in interfaces)
        return next((mac for mac in told if mac), "")

    def want_key_frame(self, token: str) -> None:
        """Asks for a key frame in the profile's streams (SetSynchronizationPoint). A camera that cannot loses nothing."""
        with suppress(*UNUSABLE, NoLogin):
            self._extra(self._media_service(), "SetSynchronizationPoint", ProfileToken=token)

    def _extra(self, service: Any, operation: str, *, limit_s: float = EXTRA_S, **arguments: object) -> Any:
        """The answer to a call that many cameras do not know, None where there is none."""
        transport = service.zeep_client.transport
        usual_s, transport.operation_timeout = transport.operation_timeout, min(limit_s, self._timeout_s)
        try:
            return getattr(service.ws_client, operation)(**arguments)
        except (*UNUSABLE, NoLogin):
            return None
        finally:
            transport.operation_timeout = usual_s

    def _media_service(self) -> Any:
        if self._media is None:
            self._media = self._service("media", self._media_url())
        return self._media

    def _media_url(self) -> str:
        """Where the media service is. A camera that refuses to tell has it at the usual place."""
        try:
            named = _text(self._call(self._device, "GetCapabilities", Category="Media"), "Media", "XAddr")
        except UNUSABLE as error:
            if refused(error) or isinstance(error, requests.Timeout):
                raise
            named = _text(None)
        return self._own(named or MEDIA_URL)

    def profiles(self) -> list[CameraProfile]:
        """Every media profile with a video encoder, and those of which the camera does not tell whether they have one.

        By Media2, where the first media service does not describe them all: of H.265 it has no words.
        """
        try:
            found = [p for p in map(profile, self._first_profiles()) if p]
        except UNUSABLE as error:
            if refused(error) or isinstance(error, requests.Timeout) or not (newer := self._newer_profiles()):
                raise
            return newer
        if not found or any(p.undescribed or not p.stream.codec for p in found):
            return self._newer_profiles() or found
        return found

    def _first_profiles(self) -> Any:
        try:
            return self._call(self._media_service(), "GetProfiles") or []
        except UNUSABLE as error:
            usual = self._own(MEDIA_URL)
            if refused(error) or isinstance(error, requests.Timeout) or self._media is None or self._media.url == usual:
                raise
            self._media = self._service("media", usual)  # what it named leads nowhere
            return self._call(self._media, "GetProfiles") or []

    def _newer_profiles(self) -> list[CameraProfile]:
        """The profiles of Media2; empty where the camera has none that can be used."""
        services = self._extra(self._device, "GetServices", IncludeCapability=False) or []
        named = next((_text(s, "XAddr") for s in services if _text(s, "Namespace") == media2.NAMESPACE), "")
        if not named:
            return []
        self._media2 = self._own(named)
        with suppress(*UNUSABLE):
            return [newer_profile(told) for told in media2.profiles(self._post_newer)]
        return []

    def _post_newer(self, envelope: Any, action: str) -> bytes:
        """One call of Media2, logged in as the other services are."""
        client = self._device.zeep_client
        if client.wsse is not None:
            envelope, _ = client.wsse.apply(envelope, {})
        headers = {"Content-Type": f'application/soap+xml; charset=utf-8; action="{action}"'}
        return bytes(client.transport.post(self._media2, etree.tostring(envelope), headers).content)

    def _own(self, url: str) -> str:
        """A service's address as we reach it: by the scheme that the device answered, a bare path too.

        A camera that names another host than ours, or another scheme, names a port that is not for us as well.
        """
        parts = urlsplit(url)
        same = parts.hostname == self._address.host and parts.scheme == self._scheme
        path = urlunsplit((self._scheme, parts.netloc or "h", parts.path or "/", parts.query, ""))
        return at_host(path, self._address.host, None if same else self._address.port)

    def stream(self, chosen: CameraProfile) -> Stream:
        """The profile's stream with its RTSP address: our host, the camera's port."""
        if chosen.media2:
            uri = media2.stream_uri(self._post_newer, chosen.token)
        else:
            told = self._call(self._media, "GetStreamUri", StreamSetup=RTSP_TCP, ProfileToken=chosen.token)
            uri = f"{_text(told, 'Uri')}".strip()
        if not uri.lower().startswith(("rtsp://", "rtsps://")):
            raise DeviceFault(
                "camera-gives-no-rtsp-address",
                "enable-camera-rtsp",
                uri=uri or "-",
                **where(self._address),
            )
        here = at_host(uri, self._address.host)
        return replace(chosen.stream, uri=with_placeholders(here, self._address.user, self._address.password))


def newer_profile(told: Mapping[str, str]) -> CameraProfile:
    """A profile as onvif_media2.profiles gives it. Its codec is "" where it is neither H.264 nor H.265."""
    stream = Stream(
        uri="",
        codec=CODECS.get(told["encoding"].upper().replace(".", ""), ""),
        width=int(_finite(told["width"])),
        height=int(_finite(told["height"])),
        fps=_finite(told["fps"]),
        bitrate_bps=_finite(told["kbps"]) * 1000,
        profile=told["token"],
    )
    return CameraProfile(told["token"], stream, told["source"], media2=True)


def profile(raw: Any) -> CameraProfile | None:
    """A profile out of GetProfiles; None without video. Its codec is "" where it is neither H.264 nor H.265, or not told."""
    encoder, source = getattr(raw, "VideoEncoderConfiguration", None), getattr(raw, "VideoSourceConfiguration", None)
    if encoder is None:
        if source is None:
            return None
        width, height = int(_number(source, "Bounds", "width")), int(_number(source, "Bounds", "height"))
        stream = Stream(uri="", width=width, height=height, profile=_text(raw, "token"))
        return CameraProfile(_text(raw, "token"), stream, _text(source, "SourceToken"), undescribed=True)
    stream = Stream(
        uri="",
        codec=CODECS.get(_text(encoder, "Encoding").upper().replace(".", ""), ""),
        width=int(_number(encoder, "Resolution", "Width")),
        height=int(_number(encoder, "Resolution", "Height")),
        fps=_number(encoder, "RateControl", "FrameRateLimit"),
        bitrate_bps=_number(encoder, "RateControl", "BitrateLimit") * 1000,
        profile=_text(raw, "token"),
    )
    return CameraProfile(_text(raw, "token"), stream, _text(raw, "VideoSourceConfiguration", "SourceToken"))


def camera_time(answer: Any) -> float | None:
    """The UTC of a GetSystemDateAndTime answer as Unix seconds; None where it holds none."""
    utc = getattr(answer, "UTCDateTime", None)
    if not _text(utc, "Date") or not _text(utc, "Time"):
        return None
    date = [int(_number(utc, "Date", key)) for key in ("Year", "Month", "Day")]
    clock = [int(_number(utc, "Time", key)) for key in ("Hour", "Minute", "Second")]
    try:
        return float(calendar.timegm((*date, *clock)))
    except (ValueError, OverflowError):
        return None


def _text(value: Any, *path: str, most: int = TEXT_CHARACTERS) -> Given:
    for name in path:
        value = getattr(value, name, None)
    return given_or_nothing("" if value is None else str(value), most=most)


def _number(value: Any, *path: str) -> float:
    return _finite(_text(value, *path))


def _finite(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        return 0.0
    return number if math.isfinite(number) else 0.0


@cache
def wsdl_folder() -> Path:
    """Where the installed onvif-zeep has its WSDL files: its own default guesses, the distribution's file list knows."""
    for file in metadata.files("onvif-zeep") or ():
        if file.name == "devicemgmt.wsdl":
            return Path(str(file.locate())).resolve().parent
    raise DeviceFault("camera-library-incomplete", "reinstall-onvif-library")
