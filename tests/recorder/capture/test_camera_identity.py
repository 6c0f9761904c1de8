"""A camera that got another address is found by who it is, in mid-session and by itself; nobody else is taken for it."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from drivers.discovery import Target
from drivers.ports import CameraAddress, CameraDescription, Place, Stream
from recorder.capture.camera import CameraSource
from recorder.capture.camera_identity import CameraSettings, KnownCamera, remembered, still_true, where
from recorder.disk.durable import make_folder, write_json
from recorder.media.packets import Connected, Item, Lost, Packet
from tests.equipment.camera import StandInCamera
from tests.equipment.onvif import Discovery, OnvifService
from tests.equipment.onvif_messages import Profile
from tests.equipment.process import HOST, wait_for
from tests.recorder.stand_ins import PASSWORD, by_onvif, camera, until

SIZE = (320, 180)
MAIN = Profile("main", "h264", 640, 360, 25, 5, 500_000)


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandInCamera]:
    with camera(tmp_path_factory.mktemp("camera")) as one:
        yield one


@pytest.fixture
def overview(device: StandInCamera) -> Iterator[StandInCamera]:
    """The camera, well before and after."""
    yield device
    device.onvif.serial = "LO2-overview"
    device.back()


def settings_of(device: StandInCamera, folder: Path) -> CameraSettings:
    host, _, port = device.discovery.rpartition(":")
    address = replace(by_onvif(device), host=HOST)
    return CameraSettings(address, SIZE, folder / "cameras" / "overview.json", Target(host, int(port)))


def names() -> set[str]:
    return {thread.name for thread in threading.enumerate()}


@contextmanager
def running(settings: CameraSettings) -> Iterator[CameraSource]:
    source = CameraSource(settings)
    source.start()
    try:
        yield source
    finally:
        source.stop()
        source.join(6)
        assert not source.is_alive()
        wait_for(lambda: names().isdisjoint({"describe", "remember"}), "its last question is answered, and kept", 15)


@contextmanager
def stranger(target: Target, host: str, serial: str = "LO2-another") -> Iterator[OnvifService]:
    """Another device of the same make, with the same password."""
    service = OnvifService("overview", (MAIN,), 8554, "admin", PASSWORD, b"")
    service.host = service.reached = host
    service.serial = serial
    service.start()
    responder = Discovery(service, group_port=target.port)
    try:
        yield service
    finally:
        responder.stop()
        service.stop()


def is_packet(item: Item) -> bool:
    return isinstance(item, Packet)


def is_lost(item: Item) -> bool:
    return isinstance(item, Lost)


def place_of(item: Item) -> dict[str, object]:
    assert isinstance(item, Connected)
    return dict(item.device["address"])


def who_and_where(settings: CameraSettings) -> CameraDescription | None:
    """What is remembered, without the clock: each question that is answered reads that anew."""
    known = remembered(settings.memory)
    return None if known is None else replace(known, clock_offset_s=None)


def remember(device: StandInCamera, settings: CameraSettings) -> CameraDescription:
    """Lets a source see the camera once."""
    with running(settings) as source:
        until(source, is_packet, 20)
    known = who_and_where(settings)
    assert known is not None
    assert known.serial == "LO2-overview"
    return known


def test_a_moved_camera_is_found_in_mid_session(overview: StandInCamera, tmp_path: Path) -> None:
    settings = settings_of(overview, tmp_path)
    configured = f"{HOST}:{overview.onvif_port}"
    with running(settings) as source:
        first = until(source, is_packet, 20)[-2]
        assert place_of(first) | {"at": ""} == {
            "host": HOST, "port": overview.onvif_port, "configured": configured, "how": "configured", "at": "", "before": ""
        }  # fmt: skip
        assert source.description_fault is None
        overview.moved(5)
        moved_at = time.monotonic()
        until(source, is_lost, 5)
        back = until(source, is_packet, 15)
        assert time.monotonic() - moved_at < 12, "3 s of patience, a search, a connection; on a machine that is busy"
        found = place_of(back[-2])
        assert (found["host"], found["how"], found["before"], found["configured"]) == (
            "127.0.0.5", "discovery", configured, configured
        )  # fmt: skip
        assert source.description_fault is not None
        assert source.description_fault["values"] == {
            "name": "overview", "found": f"127.0.0.5:{overview.onvif_port}", "configured": configured
        }  # fmt: skip
    known = remembered(settings.memory)
    assert known is not None
    assert known.main.uri == f"rtsp://127.0.0.5:{overview.rtsp_port}/main"
    assert known.endpoint == overview.onvif.endpoint
    with running(settings) as source:
        began = time.monotonic()
        again = until(source, is_packet, 5)
        assert not [item for item in again if is_lost(item)], "a restarted process goes straight where the camera was last"
        assert time.monotonic() - began < 3
        assert place_of(again[0])["how"] == "discovery"
        assert source.description_fault is not None
        overview.back()
        until(source, is_lost, 5)
        assert place_of(until(source, is_packet, 15)[-2])["how"] == "configured"
        assert source.description_fault is None, "it is where the configuration says"


def test_a_camera_that_moved_while_the_process_was_away_is_found(overview: StandInCamera, tmp_path: Path) -> None:
    settings = settings_of(overview, tmp_path)
    remember(overview, settings)
    overview.moved(8)
    with running(settings) as source:
        items = until(source, is_packet, 20)
        assert place_of(items[-2])["host"] == "127.0.0.8"


def test_nobody_else_is_taken_for_it_and_the_attempts_go_on(overview: StandInCamera, tmp_path: Path) -> None:
    settings = settings_of(overview, tmp_path)
    before = remember(overview, settings)
    assert settings.discovery is not None
    overview.gone()
    try:
        with running(settings) as source, stranger(settings.discovery, "127.0.0.6") as other:
            losses = []
            asked = threading.Event()
            answer = other.answer

            def count(request: bytes) -> bytes:
                if b"GetDeviceInformation" in request:
                    asked.set()
                return answer(request)

            other.answer = count  # type: ignore[method-assign]
            deadline = time.monotonic() + 25
            while not asked.is_set() and time.monotonic() < deadline:
                losses += until(source, is_lost, 6)
            assert asked.is_set(), "the stranger was looked at"
            losses += until(source, is_lost, 6)
            assert all(is_lost(item) for item in losses)
            assert len(losses) >= 3, "the search holds no attempt up"
            assert who_and_where(settings) == before
            overview.start()
            assert place_of(until(source, is_packet, 10)[-2])["host"] == HOST
    finally:
        overview.back()


def test_no_candidate_changes_nothing(overview: StandInCamera, tmp_path: Path) -> None:
    settings = settings_of(overview, tmp_path)
    before = remember(overview, settings)
    overview.gone()
    known = KnownCamera(settings)
    known.describe()
    assert settings.discovery is not None
    assert not known._find(settings.discovery)
    assert who_and_where(settings) == before
    known.stop()


def test_another_camera_in_its_place_is_recorded_and_said_and_left_when_it_is_found(
    overview: StandInCamera, tmp_path: Path
) -> None:
    settings = settings_of(overview, tmp_path)
    known = remember(overview, settings)
    assert settings.discovery is not None
    with running(settings) as source:
        until(source, is_packet, 10)
    overview.onvif.serial = "LO2-swapped"
    with running(settings) as source:
        until(source, is_packet, 10)
        wait_for(lambda: source.description_fault is not None, "the hint", 15)
        assert source.description_fault is not None
        assert source.description_fault["values"] == {"name": "overview", "now": "LO2-swapped", "before": "LO2-overview"}
        assert who_and_where(settings) == known, "the one before is looked for still"
        until(source, is_packet, 3)
        profiles = tuple(overview.onvif._profiles.values())
        itself = OnvifService("overview", profiles, overview.rtsp_port, "admin", PASSWORD, b"")
        itself.host = itself.reached = "127.0.0.9"
        itself.start()
        responder = Discovery(itself, group_port=settings.discovery.port)
        try:
            lost = until(source, is_lost, 30)[-1]
            assert isinstance(lost, Lost)
            assert "127.0.0.9" in json.dumps(lost.fault)
        finally:
            responder.stop()
            itself.stop()


def test_a_camera_that_says_too_little_of_itself_is_never_searched(overview: StandInCamera, tmp_path: Path) -> None:
    settings = settings_of(overview, tmp_path)
    known = replace(remember(overview, settings), serial="", hardware="")
    assert settings.memory is not None
    for description, discovery in ((known, settings.discovery), (replace(known, serial="S"), None)):
        write_json(settings.memory, description.as_dict())
        one = KnownCamera(replace(settings, discovery=discovery))
        one.describe()
        one.failing()
        assert one._searching is None
        one.stop()


def test_a_reconnected_camera_is_asked_for_a_key_frame(
    overview: StandInCamera, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recorder.capture.camera_identity.ASK_AGAIN_NS", 0)
    settings = settings_of(overview, tmp_path)
    with running(settings) as source:
        until(source, is_packet, 20)
        wanted = overview.onvif.key_frames_wanted
        overview.gone()
        until(source, is_lost, 5)
        overview.back()
        until(source, is_packet, 10)
        wait_for(lambda: overview.onvif.key_frames_wanted > wanted, "SetSynchronizationPoint", 10)


class StuckDisk:
    """Takes what is to be written and does not answer until it is let go; then it writes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked, self.let_go = threading.Event(), threading.Event()
        self.written: list[dict[str, object]] = []
        monkeypatch.setattr("recorder.capture.camera_identity.write_json", self._write)

    def _write(self, path: Path, value: dict[str, object]) -> None:
        self.asked.set()
        self.let_go.wait(20)
        write_json(path, value)
        self.written.append(value)


def test_a_disk_that_stands_still_holds_no_connection_up(
    overview: StandInCamera, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recorder.capture.camera_identity.ASK_AGAIN_NS", 0)
    disk, settings = StuckDisk(monkeypatch), settings_of(overview, tmp_path)
    with running(settings) as source:
        until(source, is_packet, 15)
        assert disk.asked.wait(1), "it is to be remembered"
        overview.gone()
        until(source, is_lost, 5)
        overview.back()
        until(source, is_packet, 10)
        assert not disk.let_go.is_set()
        disk.let_go.set()
    assert remember(overview, settings).serial == "LO2-overview"


def test_the_newest_of_what_waited_for_the_disk_is_kept(
    overview: StandInCamera, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, settings = StuckDisk(monkeypatch), settings_of(overview, tmp_path)
    one = KnownCamera(settings)
    found = CameraDescription(Stream("rtsp://192.0.2.9/m"), serial="S")
    one._keep(found, "192.0.2.1", 80)
    assert disk.asked.wait(5)
    for last in (2, 3):
        one._keep(found, f"192.0.2.{last}", 80, "discovery")
    for beat in (one.connected, one.failing):
        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        thread.join(5)
        assert not thread.is_alive(), "the source's thread is not held up"
    disk.let_go.set()
    wait_for(lambda: "remember" not in names(), "the disk has it")
    kept = remembered(settings.memory)
    assert kept is not None
    assert kept.address is not None
    assert kept.address.host == "192.0.2.3"
    assert len(disk.written) == 2, "one writer; what is old by then is not written"
    one.stop()


def test_what_the_disk_refused_is_kept_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recorder.capture.camera_identity.KEEP_AGAIN_S", 0.05)
    memory = tmp_path / "cameras" / "overview.json"
    memory.parent.write_text("in the way")
    one = KnownCamera(CameraSettings(CameraAddress("overview", "192.0.2.1"), SIZE, memory))
    one._keep(CameraDescription(Stream("rtsp://192.0.2.1/m"), serial="S"), "192.0.2.1", 80)
    wait_for(lambda: one._keeping is not None and one._unkept is not None, "it was refused")
    memory.parent.unlink()
    wait_for(memory.exists, "the disk takes it")
    wait_for(lambda: one._keeping is None, "the writer ends")


def test_where_a_camera_is() -> None:
    address = CameraAddress("overview", "cam-1", 80)
    known = CameraDescription(Stream("rtsp://192.0.2.9/m"), address=Place("192.0.2.9", 8080, "cam-1:80", "discovery"))
    assert where(address, known) == ("192.0.2.9", 8080)
    assert where(address, None) == ("cam-1", 80)
    assert where(replace(address, host="192.0.2.10"), known) == ("192.0.2.10", 80), "who configures it anew says where it is"
    assert still_true(address, known)
    assert still_true(CameraAddress("overview", "192.0.2.9", 8080), known), "corrected to where it was found"
    assert not still_true(replace(address, host="192.0.2.10"), known)
    older = replace(known, address=None)
    assert still_true(CameraAddress("overview", "192.0.2.9"), older)
    assert not still_true(address, older)


def test_a_configuration_that_names_another_place_is_believed(overview: StandInCamera, tmp_path: Path) -> None:
    settings = settings_of(overview, tmp_path)
    assert settings.memory is not None
    make_folder(settings.memory.parent)
    write_json(settings.memory, CameraDescription(Stream("rtsp://192.0.2.9/m"), serial="S").as_dict())
    one = KnownCamera(settings)
    assert one.describe().serial == "LO2-overview"
    assert one.fault is None
    one.stop()
