"""What the composer looks at: as much as it must remember, one stream until the other is there, formats that change."""

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from drivers.ports import CameraAddress
from recorder.capture import camera as camera_source
from recorder.clock.instants import PICTURE_NS, SECOND_NS, boottime_ns
from recorder.composite import inputs
from recorder.composite.inputs import SoundInput, VideoInput, VideoInputSettings
from recorder.composite.picture import FULL, STRIP_HEIGHT, WIDTH, new_canvas
from recorder.media.live import LiveKind, data_message, format_message
from recorder.media.live_hub import LiveHub
from recorder.media.live_publisher import LivePublisher
from recorder.media.packets import Format, Packet
from tests.equipment.process import wait_for
from tests.recorder import media_samples
from tests.recorder.stand_ins import camera, plain

Video = tuple[Format, list[Packet]]


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LiveHub]:
    with closing(LiveHub(tmp_path / "live.sock", ["overview", "microphone"])) as listening:
        yield listening


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Video:
    return media_samples.video(tmp_path_factory.mktemp("samples"), seconds=6)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Video:
    """Of another size."""
    return media_samples.video(tmp_path_factory.mktemp("other"), seconds=6, size=(640, 360))


def show(to: VideoInput, video: Video, first_ns: int, pictures: int) -> None:
    format_, packets = video
    to.take(format_message(format_))
    for n, packet in enumerate(packets[:pictures]):
        to.take(data_message(packet, first_ns + n * PICTURE_NS, 0.0))


def shown(to: VideoInput, due_ns: int) -> tuple[int, int]:
    """Number of the sample picture that is shown, and its time."""
    picture, at_ns = to.picture(due_ns)
    assert picture is not None
    canvas = new_canvas()
    picture.paint(canvas)
    spread = canvas[STRIP_HEIGHT + 20 : 500].std(axis=0)
    return round(int(np.argmax(spread > 12)) / (WIDTH / 320) / 4), at_ns


def test_what_is_kept_while_idle_reaches_back_to_a_slow_beginning(hub: LiveHub, video: Video) -> None:
    """A session may begin at a T0 five seconds ago, and the disk may then need some more for the first part's line."""
    pictures = VideoInput(VideoInputSettings("overview", 0), FULL, hub)
    show(pictures, video, 0, 150)
    pictures.idle(9 * SECOND_NS)
    assert shown(pictures, SECOND_NS + 3 * PICTURE_NS) == (28, SECOND_NS + 3 * PICTURE_NS)
    pictures = VideoInput(VideoInputSettings("overview", 0), FULL, hub)
    show(pictures, video, 0, 150)
    pictures.idle(20 * SECOND_NS)
    assert len(pictures._packets) <= 25, "the newest group alone"

    sound = SoundInput(48000, hub)
    format_, packets = media_samples.sound(20)
    sound.idle()
    sound.take(format_message(format_))
    for n, packet in enumerate(packets):
        sound.take(data_message(packet, n * PICTURE_NS, 0.0))
    heard, missing = sound.read(round(8.2 * SECOND_NS), 1920)
    assert missing == 0 and np.abs(heard).max() > 0.1


def test_only_what_the_newest_picture_needs_is_decoded(hub: LiveHub, video: Video, monkeypatch: pytest.MonkeyPatch) -> None:
    """At a session's beginning, or after a stop, many seconds are due at once."""
    pictures = VideoInput(VideoInputSettings("overview", 0), FULL, hub)
    show(pictures, video, 0, 150)
    decoded: list[int] = []
    decode = pictures._decode
    monkeypatch.setattr(pictures, "_decode", lambda d, m: decoded.append(m.time_ns // PICTURE_NS) or decode(d, m))  # type: ignore[func-returns-value]
    assert shown(pictures, 60 * PICTURE_NS) == (60, 60 * PICTURE_NS)
    assert decoded == list(range(50, 61)), "from the last key frame on"


def test_another_format_is_shown_when_its_time_has_come(hub: LiveHub, video: Video, other: Video) -> None:
    pictures = VideoInput(VideoInputSettings("overview", 0), FULL, hub)
    show(pictures, video, 0, 20)
    assert shown(pictures, 5 * PICTURE_NS) == (5, 5 * PICTURE_NS)
    show(pictures, other, 30 * PICTURE_NS, 20)
    for n in range(6, 20):
        assert shown(pictures, n * PICTURE_NS) == (n, n * PICTURE_NS)
    assert pictures.picture(29 * PICTURE_NS)[1] == 19 * PICTURE_NS
    picture, at_ns = pictures.picture(33 * PICTURE_NS)
    assert picture is not None and at_ns == 33 * PICTURE_NS
    assert [message.time_ns // PICTURE_NS for _, message in pictures._packets] == list(range(34, 50))


def test_a_feed_that_gives_its_last_group_again_is_shown_once(hub: LiveHub, video: Video) -> None:
    """A track that was reached anew hands over the current group of pictures first."""
    pictures = VideoInput(VideoInputSettings("overview", 0), FULL, hub)
    show(pictures, video, 0, 20)
    assert shown(pictures, 10 * PICTURE_NS) == (10, 10 * PICTURE_NS)
    show(pictures, video, 0, 40)
    for n in range(11, 40):
        assert shown(pictures, n * PICTURE_NS) == (n, n * PICTURE_NS)


class Feed:
    """A camera's track, which sends 25 pictures a second without end."""

    def __init__(self, path: Path, video: Video) -> None:
        self.publisher = LivePublisher(path, "overview")
        self._video = video
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._send)
        self._thread.start()

    def _send(self) -> None:
        format_, packets = self._video
        self.publisher.publish(format_message(format_))
        n = 0
        while not self._stop.wait(0.04):
            self.publisher.publish(data_message(packets[n % 150], boottime_ns(), 0.0))
            n += 1

    def close(self) -> None:
        self._stop.set()
        self._thread.join(5)
        self.publisher.close()


@contextmanager
def pumping(address: CameraAddress, folder: Path, video: Video, hub: LiveHub) -> Iterator[VideoInput]:
    """An input with a sub-stream; its track sends to the hub of this folder."""
    feed = Feed(folder / "live.sock", video)
    wait_for(lambda: feed.publisher.connected, "the hub")
    pictures = VideoInput(VideoInputSettings("overview", 0, address), FULL, hub)
    pictures.start()
    try:
        yield pictures
    finally:
        pictures.stop()
        pictures.join(10)
        feed.close()
        assert not pictures.is_alive()


def test_a_sub_stream_that_hangs_takes_nothing_from_the_main_one(
    tmp_path: Path, video: Video, hub: LiveHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(camera_source, "OPEN_S", 1.0)
    monkeypatch.setattr(inputs, "SUB_AGAIN_NS", SECOND_NS // 5)
    came: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as silent:

        def accept() -> None:
            with suppress(OSError):
                while True:
                    came.append(silent.accept()[0])

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        uri = f"rtsp://127.0.0.1:{silent.getsockname()[1]}/sub"
        with pumping(CameraAddress("overview", rtsp=uri, rtsp_sub=uri), tmp_path, video, hub) as pictures:
            wait_for(lambda: len(pictures._packets) > 5, "the main stream")
            times, taking = list[int](), set[int]()

            def tried_thrice() -> bool:
                with pictures._lock:
                    times.extend(message.time_ns for _, message in pictures._packets)
                taking.add(hub.takers("overview"))
                return len(came) >= 3

            wait_for(tried_thrice, "three tries", 20)
            assert taking == {1}, "the main stream was never left"
            known = sorted(set(times))
            assert max(b - a for a, b in pairwise(known)) < SECOND_NS // 2
        silent.shutdown(socket.SHUT_RDWR)
        thread.join(5)
    for each in came:
        each.close()
    wait_for(lambda: not any(t.name == "open-overview" for t in threading.enumerate()), "the end of the last try")


def test_the_main_stream_is_shown_until_the_sub_stream_is_open(tmp_path: Path, video: Video, hub: LiveHub) -> None:
    with camera(tmp_path) as device, pumping(plain(device, sub=True), tmp_path, video, hub) as pictures:
        wait_for(lambda: hub.takers("overview") == 1, "the main stream")
        wait_for(lambda: hub.takers("overview") == 0, "the sub-stream instead of it", 20)
        wait_for(lambda: len({id(decoder) for decoder, _ in pictures._packets}) == 2, "the sub-stream's pictures")
        with pictures._lock:
            main_ns, sub_ns = (
                [m.time_ns for d, m in pictures._packets if (d is pictures._decoder) is sub] for sub in (False, True)
            )
        assert main_ns and sub_ns[0] - main_ns[-1] < SECOND_NS, "one follows the other"
        device.stop()
        wait_for(lambda: hub.takers("overview") == 1, "the main stream again", 10)


def test_a_sub_stream_that_nobody_shows_any_more_is_closed(tmp_path: Path, hub: LiveHub) -> None:
    with camera(tmp_path) as device:
        address = plain(device, sub=True)
        pictures = VideoInput(VideoInputSettings("overview", 0, address), FULL, hub)
        assert not pictures._sub_open()
        opening = pictures._opening
        assert opening is not None
        wait_for(pictures._sub_open, "the open stream", 10)
        wait_for(lambda: sum(device.clients().values()) == 1, "the camera's client")
        pictures.stop()
        pictures.run()
        wait_for(lambda: sum(device.clients().values()) == 0, "the camera left alone")


def test_messages_of_no_format_are_nothing(hub: LiveHub, video: Video) -> None:
    pictures = VideoInput(VideoInputSettings("overview", 0), FULL, hub)
    message = data_message(video[1][0], 0, 0.0)
    assert message.kind is LiveKind.DATA
    pictures.take(message)
    assert pictures.picture(PICTURE_NS) == (None, 0)
