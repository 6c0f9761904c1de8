"""The track's process with cameras as they are in the field: each quirk is a line of the stand-in's script."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import av
import pytest

from drivers.faults import DeviceFault
from drivers.ports import CameraAddress, Stream
from recorder.capture.camera import OPEN_S, StreamReader
from recorder.clock.instants import SECOND_NS
from recorder.evidence.continuity import interruptions
from recorder.evidence.inventory import read_writer
from recorder.evidence.manifest import track_summary
from recorder.media.packets import Packet
from recorder.media.wholeness import last_is_whole
from recorder.session.lines import read_lines
from tests.equipment.process import wait_for
from tests.equipment.quirk_camera import QuirkCamera
from tests.recorder.track.test_process import Room


def address(camera: QuirkCamera) -> CameraAddress:
    return CameraAddress("overview", user="admin", password="geheim-1", rtsp=camera.uri)


def recorded(folder: Path, camera: QuirkCamera, seconds: float) -> Room:
    """A session of so many seconds."""
    room = Room(folder, address(camera))
    with room.recording():
        start = room.now_ns
        room.want(start)
        room.until(lambda s: s.state == "recording", "bytes on the disk")
        time.sleep(seconds)
        stop = room.now_ns
        room.want(start, stop)
        room.until(lambda s: s.state == "finished", "its end", 15)
    room.start_ns, room.stop_ns = start, stop  # type: ignore[attr-defined]
    return room


def gaps_s(room: Room) -> list[float]:
    """The lengths of the gaps, s."""
    found = room.coverage(room.start_ns, room.stop_ns).gaps  # type: ignore[attr-defined]
    return [round((gap.to_ns - gap.from_ns) / SECOND_NS, 2) for gap in found]


def pictures(room: Room) -> tuple[int, int]:
    """How many pictures the segments hold, and how many of them decode without an error."""
    stored = decoded = 0
    for line in room.lines("segment"):
        with av.open(str(room.folder / line["file"])) as container:
            stream = container.streams.video[0]
            stream.codec_context.options = {"err_detect": "explode"}
            for packet in container.demux(stream):
                stored += bool(packet.size)
                decoded += len(packet.decode())
    return stored, decoded


def test_a_night(tmp_path: Path) -> None:
    """25, 12, 4, 1 and 25 pictures a second, with one real silence in each stretch: each is told, nothing else is."""
    lines = []
    silences = []
    for rate, seconds in ((25, 1), (12, 1), (4, 1.5), (1, 3), (25, 1)):
        length = max(0.3, 3 / rate)
        silences.append(round(length - 1 / rate, 2))
        lines += [f"{rate}/s for {seconds} s", f"silence of {length} s", f"{rate}/s for {seconds} s"]
    with QuirkCamera(*lines) as camera:
        room = recorded(tmp_path, camera, 20)
    assert gaps_s(room) == pytest.approx(silences, abs=0.05)
    stored, decoded = pictures(room)
    assert stored == decoded > 150
    assert len(room.lines("begin")) == 1 and not room.lines("lost"), "one connection"


@pytest.mark.parametrize("rate", [4, 0.5])
def test_few_pictures_from_the_start(tmp_path: Path, rate: float) -> None:
    with QuirkCamera(f"{rate}/s for 100 s") as camera:
        room = Room(tmp_path, address(camera))
        with room.recording():
            start = room.now_ns
            room.want(start)
            time.sleep(7)
            assert room.status().fault is None
            room.want(start, stop := room.now_ns)
            room.until(lambda s: s.state == "finished", "its end", 15)
    assert room.coverage(start, stop).gaps == ()
    assert not room.lines("lost")
    stored, decoded = pictures(room)
    assert stored == decoded >= 6 * rate


@pytest.mark.parametrize("told", ["SDP says 1/s", "SDP says 60/s", "SDP says 25/s"])
def test_whatever_the_session_description_says_a_loss_is_told(tmp_path: Path, told: str) -> None:
    with QuirkCamera(told, "25/s for 1.5 s", "silence of 1.24 s", "25/s for 100 s") as camera:
        room = recorded(tmp_path, camera, 2.5)
    assert gaps_s(room) == pytest.approx([1.2], abs=0.05)


OPENING = [
    ("DESCRIBE answers 453", "camera-has-too-many-viewers", "453"),
    ("SETUP answers 453", "camera-has-too-many-viewers", "453"),
    ("PLAY answers 503", "camera-has-too-many-viewers", "503"),
    ("DESCRIBE answers 404", "camera-has-no-such-stream", "404"),
    ("SETUP answers 461", "camera-refuses-rtp-over-tcp", "461"),
    ("PLAY answers 454", "camera-lost-rtsp-session", "454"),
    ("PLAY answers 455", "camera-lost-rtsp-session", "455"),
    ("DESCRIBE answers 500", "camera-stream-service-fails", "500"),
    ("SETUP answers 551", "camera-stream-service-fails", "551"),
    ("OPTIONS answers 400", "camera-refuses-rtsp-request", "400"),
    ("OPTIONS answers 405", "camera-refuses-rtsp-request", "405"),
    ("OPTIONS answers 501", "camera-stream-service-fails", "501"),
    ("DESCRIBE answers 401", "camera-refuses-stream-login", ""),
]


def opening(camera: QuirkCamera, open_s: float = OPEN_S) -> DeviceFault:
    with pytest.raises(DeviceFault) as caught:
        StreamReader(Stream(camera.uri), address(camera), open_s).container.close()
    told = json.dumps([caught.value.as_dict(), caught.value.say("zh"), caught.value.say("en"), caught.value.say_mend("en")])
    assert "Error" not in told and "geheim" not in told
    return caught.value


@pytest.mark.parametrize(("line", "code", "status"), OPENING)
def test_a_refusal_is_told_by_its_status(line: str, code: str, status: str) -> None:
    with QuirkCamera(line) as camera:
        fault = opening(camera)
    assert fault.code == code and status in fault.say("en")


@pytest.mark.parametrize("method", ["OPTIONS", "DESCRIBE", "SETUP", "PLAY"])
def test_slow_answers_are_told_as_slow(method: str) -> None:
    with QuirkCamera(f"{method} takes 0.9 s") as camera:
        fault = opening(camera, open_s=0.5)
    assert fault.code == "camera-stream-not-answered-in-time"


def test_slow_answers_are_waited_for_longer_the_next_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recorder.capture.camera.OPEN_S", 0.5)
    with QuirkCamera("DESCRIBE takes 0.9 s") as camera:
        room = Room(tmp_path, address(camera))
        with room.recording():
            assert room.status().state == "armed"


def test_a_redirection_is_told_and_not_followed() -> None:
    with QuirkCamera() as there, QuirkCamera(f"redirects to {there.uri}") as here:
        fault = opening(here)
    assert (fault.code, fault.values["target"]) == ("camera-redirects-stream", f"rtsp://127.0.0.1:{there.port}")
    assert there.connections == 0


def test_the_journal_names_who_delivered(tmp_path: Path) -> None:
    with QuirkCamera() as camera:
        room = recorded(tmp_path, camera, 1)
    [begin] = room.lines("begin")
    assert begin["device"]["delivered_by"] == f"127.0.0.1:{camera.port}"
    assert begin["device"]["address"]["host"] == "127.0.0.1" and begin["device"]["address"]["port"] == camera.port
    assert begin["device"]["stream"] == camera.uri
    assert "192.168" not in json.dumps(begin)


def test_a_connection_that_ends_at_equal_distances_is_told_as_that(tmp_path: Path) -> None:
    with QuirkCamera("ends each connection after 3.5 s") as camera:
        room = Room(tmp_path, address(camera))
        with room.recording():
            wait_for(lambda: camera.viewers >= 4, "the fourth connection", 40)
            room.until(lambda s: s.state == "armed" and s.fault is not None, "the hint")
            fault = room.status().fault
    assert fault is not None and fault["code"] == "camera-ends-connection-regularly"


BROKEN = [(codec, order, place) for codec in ("H.264", "H.265") for order in ("", "B-frames") for place in ("in", "behind")]


def broken_off(codec: str, order: str, place: str) -> bool | None:
    """Whether the last picture of a connection is whole that broke off in a picture's middle, or behind it."""
    lines = [f"sends {word}" for word in (codec, order) if word and word != "H.264"]
    with QuirkCamera("50/s for 100 s", f"breaks off {place} picture 31", *lines) as camera:
        reader = StreamReader(Stream(camera.uri), address(camera))
        packets: list[Packet] = []
        try:
            packets.extend(packet for packet in reader.packets() if isinstance(packet, Packet))
        except DeviceFault:
            reader.container.close()
        packets = [packet for group in groups(packets)[-2:] for packet in group]
        assert len(packets) >= 6
        return last_is_whole(packets[-1].format or reader.format, packets)


def test_a_connection_that_breaks_off_in_a_picture_and_behind_one() -> None:
    with ThreadPoolExecutor(len(BROKEN)) as pool:
        found = dict(zip(BROKEN, pool.map(lambda case: broken_off(*case), BROKEN), strict=True))
    assert found == {case: case[2] == "behind" for case in BROKEN}


BROKEN_OFF = {
    "in": ("breaks off in picture 91", "sends B-frames"),
    "behind": ("breaks off behind picture 91",),
    "sent again": ("breaks off in picture 79",),
}


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Room]]:
    """Sessions with cameras whose connection broke off once, all at the same time."""
    folder = tmp_path_factory.mktemp("broken")

    def session(name: str) -> Room:
        with QuirkCamera(*BROKEN_OFF[name]) as camera:
            return recorded(folder / name, camera, 4.5)

    with ThreadPoolExecutor(len(BROKEN_OFF)) as pool:
        yield dict(zip(BROKEN_OFF, pool.map(session, BROKEN_OFF), strict=True))


def summary(room: Room) -> dict[str, Any]:
    """What a manifest says of the track."""
    path = room.folder / "journal.jsonl"
    journalled, _ = read_writer("tracks/overview", path.read_bytes(), path)
    start, stop = room.start_ns, room.stop_ns  # type: ignore[attr-defined]
    return track_summary(journalled, start, stop, ZoneInfo("Asia/Shanghai"))


def test_a_picture_that_is_cut_off_is_marked(broken: dict[str, Room]) -> None:
    """The gap begins before it."""
    room = broken["in"]
    (lost,), (line,), told = room.lines("lost"), room.lines("cut"), summary(room)
    assert line["cause"] == "last-picture-not-whole"
    ((gap,), (picture,)) = told["gaps"], told["cut"]
    assert (gap["from_ns"], line["to_ns"]) == (line["from_ns"], lost["from_ns"])
    assert gap["cause"] == lost["cause"] == "camera-ended-connection"
    assert 0.03 < (line["to_ns"] - line["from_ns"]) / SECOND_NS < 0.13, "with what was to be shown before it"
    assert (picture["from_ns"], picture["path"]) == (gap["from_ns"], f"tracks/overview/{line['file']}")
    (shown,) = interruptions(read_lines(room.lines()))
    assert (shown.from_ns, shown.to_ns) == (gap["from_ns"], gap["to_ns"])


def test_a_last_picture_that_came_whole_counts(broken: dict[str, Room]) -> None:
    room = broken["behind"]
    (lost,), told = room.lines("lost"), summary(room)
    assert not room.lines("cut") and "cut" not in told
    assert [gap["from_ns"] for gap in told["gaps"]] == [lost["from_ns"]]


def test_a_camera_that_begins_with_a_key_frame_from_before_the_loss(broken: dict[str, Room]) -> None:
    """What it sends again is stored again: the pictures behind it cannot be decoded without."""
    room = broken["sent again"]
    assert len(room.lines("cut")) == 1
    assert summary(room)["gaps"] == [], "the picture that was cut came whole with the next connection"
    (lost,), (back,) = room.lines("lost"), room.lines("back")
    assert back["at_ns"] >= lost["from_ns"], "an interruption does not end before it begins"
    for line in room.lines("segment"):
        with av.open(str(room.folder / line["file"])) as container:
            assert next(container.demux()).is_keyframe


def groups(packets: list[Packet]) -> list[list[Packet]]:
    """Groups of pictures."""
    found: list[list[Packet]] = []
    for packet in packets:
        if packet.key:
            found.append([])
        found[-1].append(packet)
    return found


def test_parameter_sets_that_alternate_cost_no_picture(tmp_path: Path) -> None:
    with QuirkCamera("alternates its parameter sets") as camera:
        room = recorded(tmp_path, camera, 6)
    assert gaps_s(room) == []
    stored, decoded = pictures(room)
    assert stored == decoded >= 150
    files = [line["file"] for line in room.lines("segment")]
    assert all(one < later for one, later in pairwise(files))
