"""``<root>/calibration.json``: each camera's delay as it was measured in the room, and which delay is in force.

Light, since every track's process reads it.

::

    {"schema": "interview-room-calibration/1", "cameras": {"overview": {"latency_ms": 182.4, "spread_ms": 6.1, "claps": 5,
     "kind": "clap", "microphone_ms": 0.0, "at": "2026-11-21T01:30:05.123Z", "by": "…", "version": "…",
     "device": {"manufacturer": "…", "model": "…", "serial": "…"}}}}
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from recorder.clock.instants import MS_NS
from recorder.disk.durable import Json, file_stamp, read_json, write_json
from recorder.disk.typed import WrongField, typed
from recorder.faults import BadInput, NotFound
from wording import Fault

SCHEMA = "interview-room-calibration/1"
LARGEST_MS = 5000.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CalibratedDevice:
    """Which camera was measured; "" where it does not tell."""

    manufacturer: str = ""
    model: str = ""
    serial: str = ""

    def differs(self, other: "CalibratedDevice") -> bool:
        """Whether they are two devices: by serial number where both have one, else by maker and model where both tell them."""
        if self.serial and other.serial:
            return self.serial != other.serial
        mine, theirs = (self.manufacturer, self.model), (other.manufacturer, other.model)
        return any(mine) and any(theirs) and mine != theirs

    def __str__(self) -> str:
        return " ".join(part for part in (self.manufacturer, self.model, self.serial) if part) or "?"


@dataclass(frozen=True, slots=True)
class Calibration:
    """One camera's measured delay from light to arrival.

    spread_ms: the claps' median distance from their median. kind: "clap" or "flash". microphone_ms: the microphone's delay it was
    measured against. at: RFC 3339, UTC. by: who did it. version: of the software.
    """

    latency_ms: float
    spread_ms: float
    claps: int
    kind: str
    microphone_ms: float
    at: str
    by: str
    version: str
    device: CalibratedDevice

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Out of the file. Raises WrongField where it is none."""
        found = typed(cls, data)
        if not 0 <= found.latency_ms <= LARGEST_MS:
            raise WrongField("latency_ms")
        return found


def read(path: Path) -> dict[str, Calibration]:
    """What was measured, by camera; empty where nothing was, or where the file cannot be understood, which is logged."""
    try:
        data = read_json(path)
        if data["schema"] != SCHEMA:
            raise ValueError(f"schema is {data['schema']}")
        cameras: Any = data["cameras"]
        return {str(name): Calibration.from_dict(entry) for name, entry in cameras.items()}
    except NotFound:
        return {}
    except (Fault, KeyError, TypeError, ValueError, AttributeError) as error:
        log.warning("calibration unreadable", extra={"path": str(path), "why": f"{type(error).__name__}: {error}"})
        return {}


def measured_of(cameras: Mapping[str, Any], known: Iterable[str]) -> dict[str, Calibration]:
    """What a calibration measured, as a command sends it. known: the cameras there are. Raises BadInput."""
    measured: dict[str, Calibration] = {}
    for name in known:
        if name in cameras:
            try:
                measured[name] = Calibration.from_dict(cameras[name])
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise BadInput(
                    "calibration-not-usable", "calibrate-with-own-version", camera=name, why=repr(error)[:200]
                ) from error
    if not measured or measured.keys() != cameras.keys():
        raise BadInput(
            "calibration-not-usable", "calibrate-with-own-version", camera=", ".join(map(str, cameras))[:200], why="camera"
        )
    return measured


def store(path: Path, measured: Mapping[str, Calibration]) -> None:
    """Puts these cameras' calibrations in the place of their former ones, durably. Raises StorageFault."""
    cameras: Json = {name: asdict(entry) for name, entry in {**read(path), **measured}.items()}
    write_json(path, {"schema": SCHEMA, "cameras": cameras})


def latency_ns(path: Path | None, name: str, configured_ms: float | None) -> int:
    """The delay to take off a device's times: as configured, else as calibrated, else none. Never raises; see read."""
    if configured_ms is not None:
        return round(configured_ms * MS_NS)
    found = read(path).get(name) if path is not None else None
    return round(found.latency_ms * MS_NS) if found else 0


class Latency:
    """A device's delay as its process follows it: the file is read again only when it was replaced.

    configured_ns: holds where calibration, the file, is None. ns: in force.
    """

    def __init__(self, configured_ns: int, calibration: Path | None = None, name: str = "") -> None:
        self.ns = configured_ns
        self._path, self._name = calibration, name
        self._seen: tuple[int, int] | None = None
        if calibration is not None:
            self.ns = 0
            self.refresh()

    def refresh(self) -> bool:
        """Takes the file's newest state; whether the delay changed. Not for a time line that is being recorded: it would jump."""
        if self._path is None:
            return False
        seen = file_stamp(self._path)
        if seen == self._seen:
            return False
        self._seen, before = seen, self.ns
        self.ns = latency_ns(self._path, self._name, None)
        return self.ns != before
