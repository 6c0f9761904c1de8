"""One camera's ONVIF services through onvif-zeep: the only module that imports it and zeep.

Loading it takes 0.1 s and some 40 MB, and sets up the root logger: ``drivers.camera`` loads it when it is needed and undoes that.
Sources: ONVIF Core Specification, 5.12 (authentication) and 8.3.4 (GetSystemDateAndTime), ONVIF Media Service Specification.
"""

import calendar
import math
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import requests
from onvif.client import ONVIFService, UsernameDigestTokenDtDiff
from onvif.definition import SERVICES
from onvif.exceptions import ONVIFError
from requests.auth import HTTPDigestAuth
from requests_toolbelt.multipart import decoder  # type: ignore[import-untyped]
from zeep.exceptions import Error as SoapError
from zeep.transports import Transport

from drivers.faults import DeviceFault, DeviceRefused, DeviceSilent
from drivers.ports import CameraAddress, CameraDescription, Stream
from wording.border import Given, given_or_nothing

CODECS = {"H264": "h264", "H265": "h265", "HEVC": "h265"}
TEXT_CHARACTERS = 4096  # of any text in a camera's answer
EXTRA_S = 2.0  # for what is good to know and nothing depends on
RTSP_TCP = {"Stream": "RTP-Unicast", "Transport": {"Protocol": "RTSP"}}  # RTP interleaved in the RTSP connection
# What the libraries' parsers run into where an answer is none: an envelope without a body, parts without a border, no number.
UNREADABLE = (
    AttributeError, LookupError, TypeError, ValueError,
    decoder.ImproperBodyPartContentException, decoder.NonMultipartContentTypeException,
)  # fmt: skip
UNUSABLE = (SoapError, ONVIFError, requests.RequestException, *UNREADABLE)
REFUSAL = re.compile(r"not\s*authori[sz]|unauthori[sz]ed|authenticat", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class CameraProfile:
    """One media profile: its token and what its encoder is set to; the stream's address is still empty.

    source: the token of its video source, the lens; "" where it is not told.
    """

    token: str
    stream: Stream
    source: str = ""

    @property
    def area(self) -> int:
        """Pixels of a picture."""
        return self.stream.width * self.stream.height


def choose(profiles: Sequence[CameraProfile], sub_size: tuple[int, int]) -> tuple[CameraProfile, CameraProfile | None] | None:
    """Main: the largest picture, then the highest rate. Sub: of the smaller ones of the same lens the nearest to sub_size.

    None where no profile is H.264 or H.265.
    """
    usable = [p for p in profiles if p.stream.codec]
    if not usable:
        return None
    main = max(usable, key=lambda p: (p.area, p.stream.fps))
    smaller = [p for p in usable if 0 < p.area < main.area and (p.source == main.source or not p.source or not main.source)]
    sub = min(smaller, key=lambda p: abs(p.stream.width - sub_size[0]) + abs(p.stream.height - sub_size[1]), default=None)
    return main, sub


def at_host(uri: str, host: str, port: int | None = None) -> str:
    """The address with its host replaced and its user and password taken out; port None keeps the port it names."""
    parts = urlsplit(uri)
    port = parts.port if port is None else port
    name = f"[{host}]" if ":" in host else host
    return urlunsplit(parts._replace(netloc=name if port is None else f"{name}:{port}"))


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
    with _faults(address, timeout_s):
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
                **_where(address),
            )
        main, sub = picked
        return replace(who, main=device.stream(main), sub=device.stream(sub) if sub else None)


def identify(address: CameraAddress, timeout_s: float, now: Callable[[], float] = time.time) -> CameraDescription:
    """Clock and identity alone, without streams; a refused password is not tried a second time.

    Raises DeviceRefused, DeviceSilent, DeviceFault.
    """
    with _faults(address, timeout_s):
        device = OnvifDevice(address, timeout_s, now, patient=False)
        device.read_clock()
        return _identity(device)


def _identity(device: "OnvifDevice") -> CameraDescription:
    about = device.information()
    return CameraDescription(
        Stream(""),
        manufacturer=_text(about, "Manufacturer"),
        model=_text(about, "Model"),
        firmware=_text(about, "FirmwareVersion"),
        serial=_text(about, "SerialNumber").strip(),
        clock_offset_s=device.clock_offset_s,
        hardware=device.hardware(),
        endpoint=device.endpoint(),
    )


class OnvifDevice:
    """The camera's device and media services. The wrapper's own camera class is not used: its constructor subscribes to events,
    asks before the clock is known, and removes proxies from the environment. clock_offset_s: as read last. patient: after a
    refusal the clock is read anew and the call made once more."""

    def __init__(self, address: CameraAddress, timeout_s: float, now: Callable[[], float], *, patient: bool = True) -> None:
        self._address, self._timeout_s, self._now, self._patient = address, timeout_s, now, patient
        self.clock_offset_s: float | None = None
        self._device = self._service("devicemgmt", at_host("http://h/onvif/device_service", address.host, address.port))
        self._media: Any = None

    def _service(self, name: str, url: str) -> Any:
        definition = SERVICES[name]
        transport = Transport(timeout=self._timeout_s, operation_timeout=self._timeout_s)  # type: ignore[no-untyped-call]
        transport.session.trust_env = False  # cameras stand in the room's own network: no proxy, no .netrc
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
        client.wsse, client.transport.session.auth = None, None
        if user:
            shift = timedelta(seconds=round(self.clock_offset_s or 0.0))
            client.wsse = UsernameDigestTokenDtDiff(user, password, dt_diff=shift, use_digest=True, zulu_timestamp=True)
            client.transport.session.auth = HTTPDigestAuth(user, password)

    def _call(self, service: Any, operation: str, **arguments: object) -> Any:
        """One call, or two: see patient. Raises what zeep and requests raise."""
        call = getattr(service.ws_client, operation)  # past the wrapper's layer, which calls twice and hides the kind of error
        try:
            return call(**arguments)
        except (SoapError, ONVIFError) as error:
            if not refused(error) or not self._patient:
                raise
        self.read_clock()
        self._log_in(service)
        return call(**arguments)

    def read_clock(self) -> None:
        """Sets clock_offset_s: the camera's clock minus ours, s, asked without credentials; None where it does not tell it.

        The camera answers in whole seconds, so half a second is added; the error is at most that and half the round trip.
        """
        client = self._device.zeep_client
        client.wsse, client.transport.session.auth = None, None
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
        return _text(self._extra(self._device, "GetEndpointReference"), "GUID").strip().lower()

    def hardware(self) -> str:
        """The MAC address of its first network interface that has one, "" where it does not tell."""
        interfaces = self._extra(self._device, "GetNetworkInterfaces") or []
        return next((mac for one in interfaces if (mac := _text(one, "Info", "HwAddress").strip().lower())), "")

    def want_key_frame(self, token: str) -> None:
        """Asks for a key frame in the profile's streams (SetSynchronizationPoint). A camera that cannot loses nothing."""
        with suppress(*UNUSABLE):
            self._extra(self._media_service(), "SetSynchronizationPoint", ProfileToken=token)

    def _extra(self, service: Any, operation: str, **arguments: object) -> Any:
        """The answer to a call that many cameras do not know, None where there is none."""
        transport = service.zeep_client.transport
        limit_s, transport.operation_timeout = transport.operation_timeout, min(EXTRA_S, self._timeout_s)
        try:
            return getattr(service.ws_client, operation)(**arguments)
        except UNUSABLE:
            return None
        finally:
            transport.operation_timeout = limit_s

    def _media_service(self) -> Any:
        if self._media is None:
            named = _text(self._call(self._device, "GetCapabilities", Category="Media"), "Media", "XAddr")
            self._media = self._service("media", self._own(named or "http://h/onvif/media_service"))
        return self._media

    def profiles(self) -> list[CameraProfile]:
        """Every media profile with a video encoder."""
        return [p for p in map(profile, self._call(self._media_service(), "GetProfiles") or []) if p]

    def _own(self, url: str) -> str:
        """A service's address as we reach it. A camera that names another host than ours names its inner port as well."""
        same = urlsplit(url).hostname == self._address.host
        return at_host(url, self._address.host, None if same else self._address.port)

    def stream(self, chosen: CameraProfile) -> Stream:
        """The profile's stream with its RTSP address: our host, the camera's port."""
        uri = _text(self._call(self._media, "GetStreamUri", StreamSetup=RTSP_TCP, ProfileToken=chosen.token), "Uri").strip()
        if not uri.lower().startswith(("rtsp://", "rtsps://")):
            raise DeviceFault(
                "camera-gives-no-rtsp-address",
                "enable-camera-rtsp",
                uri=uri or "-",
                **_where(self._address),
            )
        return replace(chosen.stream, uri=at_host(uri, self._address.host))


def profile(raw: Any) -> CameraProfile | None:
    """A profile out of GetProfiles; None without a video encoder. Its codec is "" where it is neither H.264 nor H.265."""
    encoder = getattr(raw, "VideoEncoderConfiguration", None)
    if encoder is None:
        return None
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


def refused(error: BaseException) -> bool:
    """Whether a SOAP or HTTP error says: wrong user, password or clock."""
    if getattr(error, "status_code", None) in (401, 403):
        return True
    subcodes = " ".join(str(code) for code in getattr(error, "subcodes", None) or ())
    return hasattr(error, "subcodes") and bool(REFUSAL.search(f"{subcodes} {error}"))


def _text(value: Any, *path: str) -> Given:
    for name in path:
        value = getattr(value, name, None)
    return given_or_nothing("" if value is None else str(value), most=TEXT_CHARACTERS)


def _number(value: Any, *path: str) -> float:
    try:
        number = float(_text(value, *path))
    except ValueError:
        return 0.0
    return number if math.isfinite(number) else 0.0


def _where(address: CameraAddress) -> dict[str, Any]:
    return {"name": address.name, "host": address.host, "port": address.port}


@contextmanager
def _faults(address: CameraAddress, timeout_s: float) -> Iterator[None]:
    """Turns the libraries' errors into faults that name the camera and the mend."""
    try:
        yield
    except requests.Timeout as error:
        raise _silent(address, timeout_s) from error
    except UNUSABLE as error:
        if "timed out" in str(error):  # a time-out in the middle of a body comes as a connection error
            raise _silent(address, timeout_s) from error
        if not refused(error):
            raise DeviceFault(
                "camera-does-not-speak-onvif",
                "check-camera-address-and-onvif",
                why=" ".join(str(error).split())[:160],
                **_where(address),
            ) from error
        raise DeviceRefused(
            "camera-refuses-login",
            "check-camera-user-and-password",
            user=address.user or "-",
            **_where(address),
        ) from error


def _silent(address: CameraAddress, limit_s: float) -> DeviceSilent:
    return DeviceSilent(
        "camera-connects-but-gives-no-answer",
        "restart-camera-check-load-and-firmware",
        limit_s=limit_s,
        **_where(address),
    )


@cache
def wsdl_folder() -> Path:
    """Where the installed onvif-zeep has its WSDL files: its own default guesses, the distribution's file list knows."""
    for file in metadata.files("onvif-zeep") or ():
        if file.name == "devicemgmt.wsdl":
            return Path(str(file.locate())).resolve().parent
    raise DeviceFault("camera-library-incomplete", "reinstall-onvif-library")
