"""One stand-in camera or microphone for tests of the tracks: the real protocols, small pictures."""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from drivers.ports import CameraAddress, CameraDescription, Stream
from recorder.capture.source import Source
from recorder.media.packets import Item
from tests.equipment.camera import StandInCamera
from tests.equipment.clips import SMALL, ClipRecipe, prepare
from tests.equipment.microphone import StandInMicrophone, prepare_sound
from tests.equipment.room import DEFAULT_CACHE, _short_folder

TICKS = 3600  # 40 ms of 90 kHz
PASSWORD = "geheim:9/@ä"


@contextmanager
def camera(folder: Path, recipe: ClipRecipe = SMALL) -> Iterator[StandInCamera]:
    """A camera with ONVIF and RTSP, a key frame each 0.2 s. It writes down what it sends: see ``units_log``."""
    device = StandInCamera(
        "overview",
        prepare(DEFAULT_CACHE, recipe),
        folder / "overview.log",
        time.monotonic_ns(),
        password=PASSWORD,
        units_log=folder / "units.jsonl",
    )
    try:
        device.start()
        yield device
    finally:
        device.stop()


@contextmanager
def microphone(folder: Path) -> Iterator[StandInMicrophone]:
    """A pickup behind a sound server of its own; ``env`` makes it ALSA's default."""
    run = _short_folder()
    device = StandInMicrophone(run / "sound", folder / "microphone.log", prepare_sound(DEFAULT_CACHE), time.monotonic_ns())
    try:
        device.start()
        yield device
    finally:
        device.stop()
        shutil.rmtree(run)


def plain(device: StandInCamera, *, password: str = PASSWORD, sub: bool = False) -> CameraAddress:
    """The camera as one without ONVIF."""
    uris = [f"rtsp://{device.host}:{device.rtsp_port}/{stream}" for stream in ("main", "sub")]
    return CameraAddress("overview", "", 80, device.user, password, uris[0], uris[1] if sub else "")


def by_onvif(device: StandInCamera) -> CameraAddress:
    """The camera as ONVIF finds it."""
    return CameraAddress("overview", device.host, device.onvif_port, device.user, device.password)


def description(device: StandInCamera) -> CameraDescription:
    """What the camera would say of itself."""
    address = plain(device, sub=True)
    sizes = [(SMALL.width, SMALL.height), (SMALL.sub_width, SMALL.sub_height)]
    main, sub = (Stream(uri, "h264", *size, fps=25.0) for uri, size in zip((address.rtsp, address.rtsp_sub), sizes, strict=True))
    return CameraDescription(main, sub, "stand-in", "remembered")


def until(source: Source, condition: Callable[[Item], bool], limit_s: float) -> list[Item]:
    """What a source delivers up to the first item for which the condition holds. Raises queue.Empty after limit_s."""
    deadline = time.monotonic() + limit_s
    items: list[Item] = []
    while not items or not condition(items[-1]):
        items.append(source.items.get(timeout=max(0.001, deadline - time.monotonic())))
    return items


def slices(packet: bytes) -> tuple[bytes, ...]:
    """The slices of an H.264 packet as Matroska frames them: four bytes of length before each NAL unit."""
    found, at = [], 0
    while at < len(packet):
        size = int.from_bytes(packet[at : at + 4])
        nal = packet[at + 4 : at + 4 + size]
        found += [nal] if nal[0] & 31 in (1, 5) else []
        at += 4 + size
    return tuple(found)
