"""What the room's devices are to the rest of the product: Protocols and values, no library's terms."""

from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Protocol, Self

from drivers.stream_address import hidden
from wording.border import NotGiven, given

MOST_CHARACTERS = 4096  # of a text in a description
LARGEST = 1e15  # of a number in it


@dataclass(frozen=True, slots=True)
class CameraAddress:
    """Where a camera is and how to log in. With rtsp (and rtsp_sub), for a camera without ONVIF, host and port are unused.

    rtsp and rtsp_sub may hold ``{user}`` and ``{password}`` where the camera wants them in the address. allow_basic: the password
    may be sent as it is (HTTP and RTSP Basic). tls_fingerprint: ``sha256:`` and 64 small hexadecimal digits of the certificate
    that the camera must show, over https and rtsps; "": without TLS.
    """

    name: str
    host: str = ""
    port: int = 80
    user: str = ""
    password: str = ""
    rtsp: str = ""
    rtsp_sub: str = ""
    allow_basic: bool = False
    tls_fingerprint: str = ""

    def __repr__(self) -> str:
        return (
            f"CameraAddress({self.name!r}, {hidden(self.rtsp) or f'{self.host}:{self.port}'!r}, user={self.user!r}, password=***)"
        )


@dataclass(frozen=True, slots=True)
class Stream:
    """One stream of a camera as its description promises it; 0 or "" where it is not told. uri carries no password.

    profile: the token of its media profile.
    """

    uri: str
    codec: str = ""  # "h264", "h265"
    width: int = 0
    height: int = 0
    fps: float = 0.0
    bitrate_bps: float = 0.0
    profile: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a camera's ONVIF service answered, and since when.

    configured: host:port that the configuration named then. before: host:port where it had been, "" where it never moved.
    how: "configured" or "discovery". at: RFC 3339 time, UTC, at which it was found here.
    """

    host: str
    port: int
    configured: str
    how: str = "configured"
    at: str = ""
    before: str = ""

    @property
    def text(self) -> str:
        """The address as ``host:port``."""
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class CameraDescription:
    """What a camera says of itself. clock_offset_s: its clock minus ours, read before any password is used; None: not told.

    hardware: MAC address, endpoint: its WS-Discovery identity (urn:uuid:…); "" where they are not told. address: where it was
    when this was written down; None while that is not known.
    """

    main: Stream
    sub: Stream | None = None
    manufacturer: str = ""
    model: str = ""
    firmware: str = ""
    serial: str = ""
    clock_offset_s: float | None = None
    hardware: str = ""
    endpoint: str = ""
    address: Place | None = None

    def as_dict(self) -> dict[str, Any]:
        """The description as the cache file and the helper process's answer hold it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The inverse of as_dict; what another version added is left out, and every value is bounded.

        Raises KeyError, TypeError where it is none.
        """
        sub, address = data.get("sub"), data.get("address")
        inner: dict[str, Any] = {"main": Stream(**_known(Stream, data["main"]))}
        inner["sub"] = Stream(**_known(Stream, sub)) if sub else None
        inner["address"] = Place(**_known(Place, address)) if address else None
        return cls(**_known(cls, {key: value for key, value in data.items() if key not in inner}), **inner)

    def without_secrets(self) -> Self:
        """The description as it may be stored."""
        sub = replace(self.sub, uri=hidden(self.sub.uri)) if self.sub else None
        return replace(self, main=replace(self.main, uri=hidden(self.main.uri)), sub=sub)

    @property
    def tells_who(self) -> bool:
        """Whether the camera says enough of itself to be told from others of its make."""
        return bool(self.serial or self.hardware)

    def is_device(self, other: "CameraDescription") -> bool | None:
        """Whether both are one device, by serial number, maker and model, and MAC address; None where they do not tell."""
        told: list[bool] = []
        if self.serial and other.serial:
            told.append(
                (self.manufacturer, self.model, self.serial) == (other.manufacturer, other.model, other.serial),
            )
        if self.hardware and other.hardware:
            told.append(self.hardware.lower() == other.hardware.lower())
        return all(told) if told else None


def _known(cls: Any, data: Any) -> dict[str, Any]:
    """The fields of the class that the data has: texts and numbers of their own kind. Raises TypeError."""
    if not isinstance(data, dict):
        raise TypeError(f"{cls.__name__} out of {type(data).__name__}")
    return {field.name: _plain(field, data[field.name]) for field in fields(cls) if field.name in data}


def _plain(field: Any, value: Any) -> Any:
    if field.type is str:
        try:
            return given(value, most=MOST_CHARACTERS)
        except NotGiven as error:
            raise TypeError(f"{field.name}: {error.reason}") from error
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and -LARGEST < value < LARGEST
    if (field.type in (int, float) and number) or (field.type == float | None and (number or value is None)):
        return value
    raise TypeError(f"{field.name} is {type(value).__name__}")


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading of the climate sensor."""

    temperature_c: float
    humidity_pct: float


class ClimateSensor(Protocol):
    """A temperature and humidity sensor on a line of its own."""

    def read(self) -> Reading:
        """One reading, at most a second. Raises DeviceAbsent, DeviceSilent, DeviceFault (implausible or garbled)."""

    def close(self) -> None:
        """Releases the line; the next read opens it again."""


@dataclass(frozen=True, slots=True)
class ClockState:
    """The wall clock against its reference. offset_s: our clock minus the reference, None where nothing answered."""

    synchronised: bool
    offset_s: float | None
    reference: str  # "kernel", or the NTP server's name
