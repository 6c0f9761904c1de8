"""What is another than before of a camera, and ``<root>/accepted-cameras.json``: as what each camera was accepted, and by whom.

A camera that nobody knew is taken as it is, which the file says; from then on a person accepts what changes. Light, since every
track's process loads it.

::

    {"schema": "interview-room-cameras/1", "cameras": {"overview": {"how": "accepted", "at": "2026-11-21T01:30:05.123Z",
     "by": "…", "reason": "…", "asked": {"uid": 1000, "login": "…"}, "identity": {"manufacturer": "…", "model": "…",
     "firmware": "…", "serial": "…", "hardware": "…", "address": "192.168.1.64:80"}}}}
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, Self

from drivers.faults import DeviceFault
from drivers.ports import CameraDescription
from recorder.disk.durable import Json, file_stamp, read_json, write_json
from recorder.disk.typed import typed
from recorder.faults import NotFound
from wording import Fault
from wording.sentence import Sentence

SCHEMA = "interview-room-cameras/1"
CHANGES = {
    "manufacturer": "camera-change-manufacturer",
    "model": "camera-change-model",
    "firmware": "camera-change-firmware",
    "serial": "camera-change-serial",
    "hardware": "camera-change-hardware",
    "address": "camera-change-address",
    "record": "camera-change-record",
}
RECORD_LOST = "record"  # what it was accepted as cannot be read
ONE_ANSWER = ("manufacturer", "model", "firmware", "serial")  # of GetDeviceInformation: told together, or not at all

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a camera says it is, and where it was; "" for what it does not tell. address: host:port."""

    manufacturer: str = ""
    model: str = ""
    firmware: str = ""
    serial: str = ""
    hardware: str = ""
    address: str = ""

    @classmethod
    def of(cls, told: CameraDescription, address: str = "") -> Self:
        """From what the camera said. address: where, unless the description tells it."""
        place = told.address.text if told.address is not None else address
        return cls(told.manufacturer, told.model, told.firmware, told.serial, told.hardware, place)

    @classmethod
    def out_of(cls, device: object) -> Self:
        """From the attributes of a track's status, which have the same names."""
        return cls(**{field.name: str(getattr(device, field.name, "")) for field in fields(cls)})

    @property
    def told(self) -> bool:
        """Whether the camera has said anything of itself."""
        return any(getattr(self, name) for name in ONE_ANSWER) or self.hardware != ""


@dataclass(frozen=True, slots=True)
class Change:
    """What is another than before. what: a field of Identity, or RECORD_LOST."""

    what: str
    before: str
    now: str

    @property
    def said(self) -> Sentence:
        """For a person."""
        return Sentence(CHANGES[self.what], {"before": self.before or "-", "now": self.now or "-"})


def changes(before: Identity, now: Identity) -> tuple[Change, ...]:
    """What changed; a camera that no longer says who it is has changed. Pure.

    A MAC address is asked for by a call that may fail: it is missed only where nothing else says who the camera is.
    """
    names: list[str] = list(ONE_ANSWER) if before.told else []
    if before.hardware and (now.hardware or not now.serial):
        names.append("hardware")
    if before.address and now.address:
        names.append("address")
    pairs = ((name, getattr(before, name), getattr(now, name)) for name in names)
    return tuple(Change(name, was, is_now) for name, was, is_now in pairs if was.lower() != is_now.lower())


def changed(name: str, found: Sequence[Change]) -> Fault:
    """What a person should know, and how to accept it."""
    return DeviceFault("camera-changed", "accept-changed-camera", name=name, changes=tuple(each.said for each in found))


@dataclass(frozen=True, slots=True)
class Accepted:
    """As what a camera was accepted. how: "first-seen" by itself, "accepted" by a person, with name and reason.

    at: RFC 3339, UTC. asked: user id and login of who accepted it.
    """

    identity: Identity
    how: Literal["first-seen", "accepted"]
    at: str
    by: str = ""
    reason: str = ""
    asked: dict[str, Any] | None = None


def read(path: Path) -> dict[str, Accepted] | None:
    """The accepted cameras; empty where there is no file, None where it cannot be understood, which is logged."""
    try:
        data = read_json(path)
        if data["schema"] != SCHEMA:
            raise ValueError(f"schema is {data['schema']}")
        cameras: Any = data["cameras"]
        return {str(name): typed(Accepted, entry) for name, entry in cameras.items()}
    except NotFound:
        return {}
    except (Fault, KeyError, TypeError, ValueError, AttributeError) as error:
        log.warning("accepted cameras unreadable", extra={"path": str(path), "why": f"{type(error).__name__}: {error}"})
        return None


def store(path: Path, accepted: Mapping[str, Accepted]) -> None:
    """Puts these cameras in the place of their former entries, durably. Raises StorageFault."""
    cameras: Json = {name: asdict(entry) for name, entry in {**(read(path) or {}), **accepted}.items()}
    write_json(path, {"schema": SCHEMA, "cameras": cameras})


def since_accepted(accepted: Mapping[str, Accepted] | None, name: str, now: Identity) -> tuple[Change, ...]:
    """What of the camera nobody has accepted yet; nothing of one that was never seen. accepted: as ``read`` gives it. Pure."""
    if accepted is None:
        return (Change(RECORD_LOST, "", ""),)
    known = accepted.get(name)
    return changes(known.identity, now) if known is not None else ()


class AcceptedFile:
    """The file as a process follows it: read again only when it was replaced."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: tuple[int, int] | None = None
        self._cameras: dict[str, Accepted] | None = {}

    def read(self) -> Mapping[str, Accepted] | None:
        """The accepted cameras now, as the function ``read`` gives them."""
        seen = file_stamp(self.path)
        if seen != self._seen:
            self._seen, self._cameras = seen, read(self.path) if seen else {}
        return self._cameras
