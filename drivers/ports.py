"""What the room's devices are to the rest of the product: Protocols and values, no library's terms."""

from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol, Self


@dataclass(frozen=True, slots=True)
class CameraAddress:
    """Where a camera is and how to log in. With rtsp (and rtsp_sub), for a camera without ONVIF, host and port are unused."""

    name: str
    host: str = ""
    port: int = 80
    user: str = ""
    password: str = ""
    rtsp: str = ""
    rtsp_sub: str = ""

    def __repr__(self) -> str:
        return f"CameraAddress({self.name!r}, {self.rtsp or f'{self.host}:{self.port}'!r}, user={self.user!r}, password=***)"


@dataclass(frozen=True, slots=True)
class Stream:
    """One stream of a camera as its description promises it; 0 or "" where it is not told. uri carries no password."""

    uri: str
    codec: str = ""  # "h264", "h265"
    width: int = 0
    height: int = 0
    fps: float = 0.0
    bitrate_bps: float = 0.0


@dataclass(frozen=True, slots=True)
class CameraDescription:
    """What a camera says of itself. clock_offset_s: its clock minus ours, read before any password is used; None: not told."""

    main: Stream
    sub: Stream | None = None
    manufacturer: str = ""
    model: str = ""
    firmware: str = ""
    serial: str = ""
    clock_offset_s: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """For the cache file and the helper process's answer."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The inverse of as_dict. Raises KeyError, TypeError where it is none."""
        sub = data.get("sub")
        return replace(cls(**{**data, "main": Stream(**data["main"]), "sub": Stream(**sub) if sub else None}))


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
