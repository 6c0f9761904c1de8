"""A camera as a source: every access unit with its time, and each way of failing told apart within 3 s."""

import json
import statistics
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice, pairwise
from pathlib import Path

import pytest

from drivers.faults import DeviceAbsent, DeviceFault, DeviceRefused, DeviceSilent
from drivers.ports import CameraAddress, Stream
from recorder.capture.camera import GIVE_UP_S, READ_S, CameraSource, StreamReader
from recorder.capture.camera_identity import CameraSettings, remembered
from recorder.clock.instants import SECOND_NS, boottime_ns
from recorder.disk.durable import make_folder, write_json
from recorder.media.packets import Connected, Jumped, Lost, Packet
from tests.equipment.camera import StandInCamera
from tests.equipment.clips import SMALL, only
from tests.equipment.process import free_port, wait_for
from tests.equipment.test_rtsp import pictures
from tests.recorder.stand_ins import PASSWORD, TICKS, by_onvif, camera, description, plain, until

SIZE = (320, 180)


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandInCamera]:
    with camera(tmp_path_factory.mktemp("camera 摄像机")) as one:
        yield one


@pytest.fixture
def overview(device: StandInCamera) -> Iterator[StandInCamera]:
    """The camera, well before and after."""
    yield device
    device.back()


@pytest.fixture
def sources() -> Iterator[list[CameraSource]]:
    """Sources that end with the test."""
    started: list[CameraSource] = []
    yield started
    for source in started:
        source.stop()
    for source in started:
        source.join(5)
        assert not source.is_alive()


def open_main(address: CameraAddress) -> StreamReader:
    return StreamReader(Stream(address.rtsp), address)


def first_packets(reader: StreamReader, count: int) -> list[Packet]:
    return list(islice((item for item in reader.packets() if isinstance(item, Packet)), count))


def fails(address: CameraAddress, kind: type[DeviceFault]) -> DeviceFault:
    """The fault of opening, which must hold no password in any language or field."""
    with pytest.raises(kind) as caught:
        open_main(address)
    told = json.dumps([caught.value.as_dict(), caught.value.say("zh"), str(caught.value)], ensure_ascii=False)
    assert address.password not in told
    assert address.user + ":" not in told
    return caught.value


def is_packet(item: object) -> bool:
    return isinstance(item, Packet)


def test_every_access_unit_from_a_key_frame_on_with_its_time(overview: StandInCamera) -> None:
    reader = open_main(plain(overview))
    before = boottime_ns()
    packets = first_packets(reader, 30)
    reader.container.close()
    assert (reader.format.codec, reader.format.width, reader.format.height, reader.format.fps) == ("h264", 640, 360, 25.0)
    assert packets[0].key
    assert {b.pts - a.pts for a, b in pairwise(packets)} == {TICKS}, "the first one's time too: one interval before the second's"
    assert [p.key for p in packets] == [n % 5 == 0 for n in range(30)]
    clip = overview._clip.units("overview", "main")
    units = [pictures(unit) for unit in clip]
    first = units.index(pictures(packets[0].data))
    assert [units.index(pictures(p.data)) for p in packets] == [(first + n) % len(units) for n in range(30)]
    arrivals = [p.arrival_ns for p in packets]
    assert arrivals == sorted(arrivals)
    assert before - SECOND_NS // 25 <= arrivals[0]
    assert arrivals[-1] <= boottime_ns()
    assert overview.units_log is not None
    sent_ns = {
        line["index"] % len(clip): line["sent_ns"] for line in map(json.loads, overview.units_log.read_text().splitlines())
    }
    monotonic_ns = boottime_ns() - time.monotonic_ns()
    delays_ms = [(p.arrival_ns - monotonic_ns - sent_ns[(first + n) % len(clip)]) / 1e6 for n, p in enumerate(packets)]
    assert abs(statistics.median(delays_ms)) < 15, "stamped when it came, not when the next one pushed it out"


def test_h265_likewise(tmp_path: Path) -> None:
    recipe = only(replace(SMALL, codec="h265", width=320, height=192, sub_width=160, sub_height=96), "scene")
    with camera(tmp_path, recipe) as device:
        reader = open_main(plain(device))
        packets = first_packets(reader, 12)
        reader.container.close()
    assert (reader.format.codec, reader.format.width) == ("hevc", 320)
    assert [p.key for p in packets] == [n % 5 == 0 for n in range(12)]
    assert {b.pts - a.pts for a, b in pairwise(packets)} == {TICKS}


def test_a_wrong_password_is_refused_and_never_named(overview: StandInCamera) -> None:
    fault = fails(plain(overview, password="falsch-123"), DeviceRefused)
    assert "overview" in fault.say("en")


def test_nobody_there_is_absent(overview: StandInCamera) -> None:
    address = plain(overview)
    address = CameraAddress("overview", user="admin", password=PASSWORD, rtsp=f"rtsp://127.0.0.1:{free_port()}/main")
    began = time.monotonic()
    assert "refused" in fails(address, DeviceAbsent).say("en")
    assert time.monotonic() - began < 1


def test_a_path_that_the_camera_does_not_have_is_named(overview: StandInCamera) -> None:
    address = CameraAddress("overview", user=overview.user, password=PASSWORD, rtsp=f"{plain(overview).rtsp}-no")
    assert address.rtsp in fails(address, DeviceFault).say("en")


def test_a_stream_that_falls_silent_is_noticed_within_its_time_out(overview: StandInCamera) -> None:
    packets = open_main(plain(overview)).packets()
    assert len(list(islice(packets, 5))) == 5
    overview.frozen()
    began = time.monotonic()
    with pytest.raises(DeviceSilent):
        list(packets)
    assert time.monotonic() - began < GIVE_UP_S + 0.7, "told by the first read that times out"


def test_a_stream_that_falls_silent_is_told_long_before_it_is_given_up(overview: StandInCamera) -> None:
    reader = open_main(plain(overview))
    packets = reader.packets()
    assert len(list(islice(packets, 5))) == 5
    assert reader.quiet is None
    overview.frozen()
    time.sleep(READ_S + 0.3)
    assert reader.quiet is not None and reader.quiet.code == "camera-frozen"
    reader.container.close()


def test_a_stream_that_breaks_off_is_noticed_at_once(overview: StandInCamera) -> None:
    packets = open_main(plain(overview)).packets()
    assert len(list(islice(packets, 5))) == 5
    overview.gone()
    began = time.monotonic()
    with pytest.raises(DeviceAbsent):
        list(packets)
    assert time.monotonic() - began < 1


def test_a_camera_that_was_away_is_found_again(overview: StandInCamera, sources: list[CameraSource]) -> None:
    source = CameraSource(CameraSettings(plain(overview), SIZE))
    sources.append(source)
    source.start()
    first = until(source, is_packet, 5)
    assert isinstance(first[0], Connected)
    overview.gone()
    lost = until(source, lambda item: isinstance(item, Lost), 3)[-1]
    overview.back()
    again = until(source, is_packet, 8)
    assert isinstance(lost, Lost)
    assert [type(item) for item in again[-2:]] == [Connected, Packet]
    packet = again[-1]
    assert isinstance(packet, Packet)
    assert packet.key
    assert source.reconnects == 1
    assert all(PASSWORD not in json.dumps(item.fault) for item in again if isinstance(item, Lost))


@pytest.mark.parametrize("seconds", [7.5, -3600.0])
def test_a_clock_that_jumps_is_told_and_costs_no_picture(
    overview: StandInCamera, sources: list[CameraSource], seconds: float
) -> None:
    source = CameraSource(CameraSettings(plain(overview), SIZE))
    sources.append(source)
    source.start()
    until(source, is_packet, 5)
    overview.jump(seconds)
    items = [*until(source, lambda item: isinstance(item, Jumped), 3), *until(source, is_packet, 3)]
    assert not [item for item in items if isinstance(item, Connected | Lost)], "the connection stands"
    (jumped,) = [item for item in items if isinstance(item, Jumped)]
    assert jumped.by_ns / SECOND_NS == pytest.approx(seconds, abs=0.3)
    delivered = [item for item in items if isinstance(item, Packet)]
    assert all(a.pts < b.pts < a.pts + 10 * TICKS for a, b in pairwise(delivered)), "the count goes on as if nothing had been"


def test_an_unknown_camera_is_asked_and_remembered(overview: StandInCamera, sources: list[CameraSource], tmp_path: Path) -> None:
    memory = tmp_path / "cameras" / "overview.json"
    source = CameraSource(CameraSettings(by_onvif(overview), SIZE, memory))
    sources.append(source)
    source.start()
    connected = until(source, is_packet, 10)[0]
    assert isinstance(connected, Connected)
    wait_for(memory.exists, "it is remembered, beside")
    kept = remembered(memory)
    assert kept is not None
    assert kept.sub is not None
    assert (kept.sub.width, kept.sub.height) == SIZE
    assert connected.device["model"] == kept.model
    assert PASSWORD not in memory.read_text(encoding="utf-8")


def test_a_known_camera_is_not_asked_before_it_is_recorded(
    overview: StandInCamera, sources: list[CameraSource], tmp_path: Path
) -> None:
    memory = make_folder(tmp_path / "cameras") / "overview.json"
    write_json(memory, description(overview).as_dict())
    overview.slow(3)
    source = CameraSource(CameraSettings(by_onvif(overview), SIZE, memory))
    sources.append(source)
    began = boottime_ns()
    source.start()
    connected, packet = until(source, is_packet, 5)
    assert isinstance(connected, Connected)
    assert isinstance(packet, Packet)
    assert packet.arrival_ns - began < 2 * SECOND_NS, "ONVIF takes 3 s for each answer"
    assert connected.device["model"] == "remembered"


def test_what_asking_beside_finds_is_told_and_costs_nothing(
    overview: StandInCamera, sources: list[CameraSource], tmp_path: Path
) -> None:
    memory = make_folder(tmp_path / "cameras") / "overview.json"
    write_json(memory, description(overview).as_dict())
    overview.onvif.stop()
    source = CameraSource(CameraSettings(by_onvif(overview), SIZE, memory))
    sources.append(source)
    source.start()
    until(source, is_packet, 5)
    wait_for(lambda: source.description_fault is not None, "the fault of ONVIF, once it was asked again", 15)
    assert source.description_fault is not None
    assert source.description_fault["exit_code"] == 7
    assert not [item for item in until(source, is_packet, 2) if isinstance(item, Lost)]
    assert (remembered(memory) or description(overview)).model == "remembered"


def test_a_memory_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    (tmp_path / "torn.json").write_text('{"main": {"uri"', encoding="utf-8")
    (tmp_path / "other.json").write_text('{"fields": "of another version"}', encoding="utf-8")
    assert [remembered(p) for p in (None, tmp_path / "none.json", tmp_path / "torn.json", tmp_path / "other.json")] == [None] * 4
