"""A whole room of stand-in equipment: started together, stopped together, described for the product and for those who test it."""

import json
import os
import secrets
import shutil
import socket
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from tests.equipment.broker import StandInBroker
from tests.equipment.camera import StandInCamera
from tests.equipment.climate import StandInClimate
from tests.equipment.clips import Clip, ClipRecipe, prepare
from tests.equipment.clock import StandInClock
from tests.equipment.drives import StandInDrive
from tests.equipment.microphone import RATE_HZ, StandInMicrophone, prepare_sound
from tests.equipment.process import EquipmentError, free_port
from tests.equipment.scene import FLASH_PERIOD_S, FLASH_PICTURES, FLASH_RECT

DEFAULT_CACHE = Path(__file__).resolve().parents[2] / ".cache" / "equipment"
Overrides = Mapping[str, Mapping[str, object]]


class Device(Protocol):
    """What every stand-in has. FAULTS: names of methods that switch a fault, with no or one number as argument."""

    @property
    def FAULTS(self) -> tuple[str, ...]: ...  # noqa: N802  # a constant of each class

    def start(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Switch:
    """A fault that was switched: it holds from an instant between began_ns and done_ns, CLOCK_BOOTTIME, before and after."""

    device: str
    fault: str
    value: float | None
    began_ns: int
    done_ns: int


class StandInRoom:
    """Two cameras, microphone, climate sensor, broker, time server and drives, on free loopback ports.

    folder: for logs, secrets, the broker's data. cache: prepared clips and sound, kept from run to run. recipe: of the clips.
    language: of the speech. run_discs: folder of the drives' files. units_log: write down each access unit that a camera sends
    (``folder/units-<camera>.jsonl``). relay: a process between each camera and its clients, for a network's faults (relay.py).
    Each switched fault is in ``switches`` and a line of ``folder/switches.jsonl``. Ready in under 6 s when the cache is filled.
    """

    def __init__(
        self,
        folder: Path,
        cache: Path | None = None,
        *,
        recipe: ClipRecipe | None = None,
        language: str = "zh",
        centre: str = "centre-01",
        room: str = "room-01",
        tls: bool = True,
        microphone_ppm: float = 0.0,
        units_log: bool = False,
        discs: Path | None = None,
        relay: bool = False,
    ) -> None:
        self.folder = folder.resolve()
        self.cache = (cache or DEFAULT_CACHE).resolve()
        self.room, self.centre = room, centre
        self._recipe, self._language, self._ppm, self._units_log = recipe or ClipRecipe(), language, microphone_ppm, units_log
        self._relay, self._discovery_port = relay, free_port(socket.SOCK_DGRAM)
        self.switches: list[Switch] = []
        self.folder.mkdir(parents=True, exist_ok=True)
        log = self.folder / "log"
        self._run = _short_folder()
        self.epoch_ns = time.monotonic_ns()
        passwords = {room: secrets.token_hex(8), "command-room": secrets.token_hex(8)}
        self.broker = StandInBroker(self.folder / "broker", log / "broker.log", passwords, centre=centre, room=room, tls=tls)
        self.climate = StandInClimate(self._run, log / "climate.log")
        self.clock = StandInClock(self._run / "chrony", log / "clock.log")
        self.discs = [StandInDrive((discs or self.folder / "discs").resolve() / f"disc-{n}.img") for n in (1, 2)]
        self.overview: StandInCamera
        self.closeup: StandInCamera
        self.microphone: StandInMicrophone

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def _start(self) -> None:
        shutil.rmtree(self.folder / "broker", ignore_errors=True)
        (self.folder / "switches.jsonl").unlink(missing_ok=True)
        with ThreadPoolExecutor(max_workers=8) as pool:
            at_once: tuple[Device, ...] = (self.broker, self.climate, self.clock, *self.discs)
            simple = [pool.submit(device.start) for device in at_once]
            sound = pool.submit(prepare_sound, self.cache, self._language)
            clip = pool.submit(prepare, self.cache, self._recipe).result()
            self.overview, self.closeup = self._camera("overview", clip), self._camera("closeup", clip)
            log = self.folder / "log" / "microphone.log"
            self.microphone = StandInMicrophone(self._run / "sound", log, sound.result(), self.epoch_ns, ppm=self._ppm)
            for future in [*simple, *(pool.submit(device.start) for device in (self.overview, self.closeup, self.microphone))]:
                future.result()
        self._write_secrets()

    def _camera(self, name: Any, clip: Clip) -> StandInCamera:
        units = self.folder / f"units-{name}.jsonl" if self._units_log else None
        if units:
            units.unlink(missing_ok=True)
        log = self.folder / "log" / f"{name}.log"
        password = secrets.token_hex(8)
        return StandInCamera(
            name,
            clip,
            log,
            self.epoch_ns,
            password=password,
            units_log=units,
            relay=self._relay,
            discovery_port=self._discovery_port,
        )

    def _write_secrets(self) -> None:
        folder = self.folder / "secrets"
        folder.mkdir(mode=0o700, exist_ok=True)
        values = {
            "overview": self.overview.password,
            "closeup": self.closeup.password,
            "mqtt": self.broker.passwords[self.broker.room_user],
        }
        for name, value in values.items():
            self.secret(name).touch(mode=0o600)
            self.secret(name).write_text(value + "\n", encoding="utf-8")

    def secret(self, name: str) -> Path:
        """The file with a password: overview, closeup, mqtt."""
        return self.folder / "secrets" / f"{name}.txt"

    def stop(self) -> None:
        """Ends every process, in any state."""
        for name in ("microphone", "overview", "closeup", "climate", "clock", "broker"):
            if device := getattr(self, name, None):
                with suppress(EquipmentError, OSError):
                    device.stop()
        shutil.rmtree(self._run, ignore_errors=True)

    @property
    def env(self) -> dict[str, str]:
        """What the product's processes need in their environment besides what they have."""
        return self.microphone.env

    @property
    def devices(self) -> dict[str, Device]:
        """Every device by the name that fault takes."""
        named: dict[str, Device] = {"overview": self.overview, "closeup": self.closeup, "microphone": self.microphone}
        named |= {"climate": self.climate, "broker": self.broker, "clock": self.clock}
        return named | {f"disc-{n}": drive for n, drive in enumerate(self.discs, 1)}

    def fault(self, device: str, fault: str, value: float | None = None) -> Switch:
        """Switches a fault by name, and tells when: ``fault("overview", "jump", 7.5)``, ``fault("overview", "back")``.

        Raises EquipmentError naming what there is where the device or the fault is unknown.
        """
        found = self.devices.get(device)
        if found is None:
            raise EquipmentError(f"no device {device}; there are: {', '.join(self.devices)}")
        if fault not in found.FAULTS:
            raise EquipmentError(f"{device} has no fault {fault}; it has: {', '.join(found.FAULTS)}")
        method = getattr(found, fault)
        began_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        try:
            method() if value is None else method(value)
        except TypeError as error:
            raise EquipmentError(f"{device} {fault}: {error}") from error
        switch = Switch(device, fault, value, began_ns, time.clock_gettime_ns(time.CLOCK_BOOTTIME))
        self.switches.append(switch)
        with open(self.folder / "switches.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(switch)) + "\n")
        return switch

    def facts(self) -> dict[str, Any]:
        """Everything that somebody outside needs to know, for room.json."""

        def camera(camera: StandInCamera) -> dict[str, Any]:
            login = {"host": camera.host, "onvif_port": camera.onvif_port, "rtsp_port": camera.rtsp_port, "user": camera.user}
            login |= {"password": camera.password, "rtsp": camera.address("main"), "rtsp_sub": camera.address("sub")}
            return login | {"units_log": str(camera.units_log) if camera.units_log else None}

        broker = self.broker
        return {
            "pid": os.getpid(),
            "pids": {name: device.pids for name, device in self.devices.items() if hasattr(device, "pids")},
            "epoch_monotonic_ns": self.epoch_ns,
            "flash": {"period_s": FLASH_PERIOD_S, "pictures": FLASH_PICTURES, "rect": list(FLASH_RECT)},
            "switches": str(self.folder / "switches.jsonl"),
            "env": self.env,
            "overview": camera(self.overview),
            "closeup": camera(self.closeup),
            "microphone": {"device": "default", "rate_hz": RATE_HZ, "channels": 1},
            "climate": {
                "port": str(self.climate.port),
                "temperature_c": self.climate.temperature_c,
                "humidity_pct": self.climate.humidity_pct,
            },
            "broker": {
                "host": broker.host,
                "port": broker.port,
                "ca_file": str(broker.ca_file) if broker.ca_file else None,
                "room_user": broker.room_user,
                "room_password": broker.passwords[broker.room_user],
                "command_user": broker.command_user,
                "command_password": broker.passwords[broker.command_user],
            },
            "clock": {"ntp_server": self.clock.address},
            "drives": [drive.device for drive in self.discs],
        }

    def config_text(self, root: Path, run: Path, language: str = "zh", overrides: Overrides | None = None) -> str:
        """The product's configuration for this room, TOML.

        overrides: section to keys, over everything else: ``{"recording": {"planned_minutes": 5}, "camera.overview": {…}}``.
        """
        broker = self.broker
        sections: dict[str, dict[str, object]] = {
            "room": {"id": self.room, "centre": self.centre, "name": "调查询问室一" if language == "zh" else "Interview room 1"},
            "ui": {"language": language},
            "onvif": {"discovery": self.overview.discovery},
            "microphone": {"device": "default", "rate_hz": RATE_HZ, "channels": 1},
            "climate": {"port": self.climate.port, "model": "xy-md02", "address": self.climate.ADDRESS},
            "storage": {"root": root, "run": run, "reserve_gib": 0.5},
            "burner": {"drives": [drive.device for drive in self.discs], "copies": len(self.discs)},
            "mqtt": {"host": broker.host, "port": broker.port, "user": broker.room_user, "password_file": self.secret("mqtt")},
            "clock": {"ntp_server": self.clock.address},
        }
        sections["mqtt"] |= {"tls": True, "ca_file": broker.ca_file} if broker.ca_file else {"tls": False}
        for camera in (self.overview, self.closeup):
            sections[f"camera.{camera.name}"] = {
                "host": camera.host,
                "port": camera.onvif_port,
                "user": camera.user,
                "password_file": self.secret(camera.name),
                "width": self._recipe.width,
                "height": self._recipe.height,
            }
        for section, keys in (overrides or {}).items():
            sections.setdefault(section, {}).update(keys)
        lines = []
        for section, keys in sections.items():
            lines += [f"[{section}]", *(f"{key} = {_toml(value)}" for key, value in keys.items()), ""]
        return "\n".join(lines)


def _toml(value: object) -> str:
    if isinstance(value, Path):
        value = str(value)
    return json.dumps(value, ensure_ascii=False)  # bools, numbers, strings and lists of them are written alike


def _short_folder() -> Path:
    """A private folder for sockets and links, which may have 107 bytes."""
    folder = Path(tempfile.mkdtemp(prefix="room-"))
    if len(os.fsencode(folder)) > 60:
        folder.rmdir()
        folder = Path(tempfile.mkdtemp(prefix="room-", dir="/tmp"))
    return folder
