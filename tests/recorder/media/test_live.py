"""The live stream: everything in order, the current group first; whoever is slow loses groups, and the track loses nothing."""

import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest

from recorder.media import live
from recorder.media.live import (
    HEADER,
    MAGIC,
    CurrentGroup,
    Hello,
    LiveKind,
    LiveMessage,
    LiveQueue,
    LiveReader,
    data_message,
    format_message,
)
from recorder.media.live_hub import READERS, LiveHub
from recorder.media.live_publisher import LivePublisher
from recorder.media.packets import Format, Packet
from recorder.process import local_socket
from tests.equipment.process import wait_for
from tests.recorder import media_samples

FORMAT = format_message(Format("video", "h264", Fraction(1, 90_000), b"", 640, 360, 25.0))


def message(n: int, gop: int, size: int = 10) -> LiveMessage:
    return data_message(Packet(n, n % gop == 0, bytes(size), n), n, 1.5)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "live.sock"


@pytest.fixture
def hub(path: Path) -> Iterator[LiveHub]:
    with closing(LiveHub(path, ["overview", "closeup"])) as listening:
        yield listening


@pytest.fixture
def track(path: Path, hub: LiveHub) -> Iterator[LivePublisher]:
    with closing(LivePublisher(path, "overview")) as publisher:
        wait_for(lambda: publisher.connected, "the hub")
        yield publisher


def test_who_comes_later_gets_the_format_and_the_current_group_first(
    path: Path, hub: LiveHub, track: LivePublisher, tmp_path: Path
) -> None:
    format_, _ = media_samples.video(tmp_path, seconds=1)
    early = hub.listen("overview")
    track.publish(format_message(format_))
    for n in range(60):
        track.publish(message(n, 25))
    assert [early.take(5) for _ in range(61)][-1] == message(59, 25)
    with LiveReader(path, "overview") as reader:
        first = reader.read()
        assert first is not None
        assert first.kind is LiveKind.FORMAT
        assert first.format.extradata == format_.extradata
        assert (first.format.width, first.format.codec, first.format.time_base) == (320, "h264", format_.time_base)
        track.publish(message(60, 25))
        got = [reader.read() for _ in range(11)]
        assert [m.pts for m in got if m] == list(range(50, 61))
        assert got[0] is not None
        assert (got[0].key, got[0].ppb, got[0].time_ns) == (True, 1500, 50)


def test_a_composer_that_comes_later_or_anew_gets_the_current_group(path: Path) -> None:
    with closing(LivePublisher(path, "overview")) as track:
        track.publish(FORMAT)
        for n in range(30):
            track.publish(message(n, 25))
        for _ in range(2):
            with closing(LiveHub(path, ["overview"])) as hub:
                wait_for(lambda: track.connected, "the hub")
                wait_for(lambda: hub.connected("overview"), "the track")  # waited for within the loop
                taken = hub.listen("overview")
                assert [m.pts for m in (taken.take(5) for _ in range(6)) if m] == [0, 25, 26, 27, 28, 29]
            assert taken.take(5) is None, "a composer that ends is the end"
            track.publish(LiveMessage(LiveKind.DATA, payload=b"who sends notices that nobody takes"))
            wait_for(lambda: not track.connected, "the loss")
            for n in range(25, 30):
                track.publish(message(n, 25))


def test_a_composer_that_stands_still_holds_nobody_up(path: Path) -> None:
    listener = local_socket.listen(path)
    with closing(LivePublisher(path, "overview")) as track:
        connection, _ = listener.accept()
        wait_for(lambda: track.connected, "a composer that reads nothing")
        began = time.monotonic()
        for n in range(500):
            track.publish(message(n, 25, size=200_000))
        assert time.monotonic() - began < 2
        began = time.monotonic()
    assert time.monotonic() - began < 1, "nor is the end held up"
    connection.close()
    listener.close()


def test_a_taker_that_is_slow_loses_whole_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "QUEUE_BYTES", 1 << 20)
    queue = LiveQueue()
    for n in range(500):
        queue.put(message(n, 25, size=20_000))
    queue.close()
    got = [m.pts for m in iter(lambda: queue.take(1), None)]
    jumps = [(a, b) for a, b in pairwise(got) if b != a + 1]
    assert got[-1] == 499
    assert len(got) < 100, "memory is bounded: something was dropped"
    assert len(got) + queue.dropped == 500
    assert all(b % 25 == 0 for b in [got[0], *(b for _, b in jumps)]), "what follows a loss begins with a key frame"


def test_a_group_without_end_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "GROUP_BYTES", 1 << 20)
    group = CurrentGroup()
    format_ = LiveMessage(LiveKind.FORMAT)
    group.add(format_)
    for n in range(200):
        group.add(message(n, 1000, size=20_000))
        assert sum(len(kept.payload) for kept in group.messages()) == group.size <= 1 << 20
    assert group.messages() == [format_]
    group.add(message(1000, 1000))
    assert [m.pts for m in group.messages()] == [0, 1000]


def test_silence_is_a_time_out_and_the_end_is_the_end(path: Path, hub: LiveHub) -> None:
    track = LivePublisher(path, "overview")
    wait_for(lambda: hub.connected("overview"), "the track")
    with LiveReader(path, "overview", timeout_s=0.2) as reader:
        with pytest.raises(TimeoutError):
            reader.read()
        assert hub.takers("overview") == 1
        threading.Timer(0.05, track.close).start()
        assert reader.read() is None


def test_a_reader_that_has_gone_is_forgotten(path: Path, hub: LiveHub, track: LivePublisher) -> None:
    wait_for(lambda: hub.connected("overview"), "the track")
    track.publish(FORMAT)
    for _ in range(3):  # more of them in all than are served at once
        for _ in range(READERS // 2):
            with LiveReader(path, "overview") as reader:
                assert reader.read() == FORMAT
        wait_for(lambda: hub.takers("overview") == 0, "the end of those that have gone")
    with LiveReader(path, "overview") as reader:
        wait_for(lambda: hub.takers("overview") == 1, "the next one")
        track.publish(message(0, 25))
        wait_for(lambda: reader.read() is not None, "it is served")


def test_nobody_listens_and_no_track_gives(path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        LiveReader(path, "overview")
    with closing(LiveHub(path, ["overview"])) as hub:
        with LiveReader(path, "overview") as reader:
            assert reader.read() is None
        with pytest.raises(ConnectionRefusedError):
            hub.listen("overview")


def test_a_track_s_new_process_takes_the_old_one_s_place(path: Path, hub: LiveHub, track: LivePublisher) -> None:
    wait_for(lambda: hub.connected("overview"), "the track")
    before = hub.listen("overview")
    with closing(LivePublisher(path, "overview")) as newer:
        assert before.take(5) is None
        wait_for(lambda: newer.connected, "the newer one")


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\n\r\n" * 4,
        HEADER.pack(MAGIC, LiveKind.DATA, 1, 4, 0, 0, 0) + b"data",
        HEADER.pack(MAGIC, 77, 1, 4, 0, 0, 0) + b"data",
        HEADER.pack(MAGIC, LiveKind.HELLO, 0, 4, 0, 0, 0) + b"\xff\xff\xff\xff",
        HEADER.pack(MAGIC, LiveKind.HELLO, 0, 2**32 - 1, 0, 0, 0),
        Hello("balcony", takes=False).message().packed(),
        LiveMessage(LiveKind.HELLO, payload=b'{"track": 7, "takes": false}').packed(),
        LiveMessage(LiveKind.HELLO, payload=b'{"track": "overview", "takes": false, "x": "' + b"x" * 300 + b'"}').packed(),
        b"",
    ],
    ids=["http", "data first", "no kind", "no utf-8", "4 GiB", "no such track", "a number", "long", "nothing"],
)
def test_what_makes_no_sense_ends_its_own_connection_alone(
    path: Path, hub: LiveHub, track: LivePublisher, sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recorder.media.live_hub.HELLO_S", 0.3)
    wait_for(lambda: hub.connected("overview"), "the track")
    taken = hub.listen("overview")
    with local_socket.connect(path, 5) as stranger:
        stranger.sendall(sent)
        with suppress(ConnectionResetError):
            assert stranger.recv(1) == b""
    track.publish(message(0, 25))
    came = taken.take(5)
    assert came is not None and came.key


def served_as(uid: int, path: Path) -> bool:
    """Whether the composer gives a process of that user a stream."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setresuid(uid, uid, uid)
            with LiveReader(path, "overview") as reader:
                code = 0 if reader.read() is not None else 1
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1] == 0


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user")
def test_another_user_is_let_go_even_where_the_socket_s_mode_lets_it_in() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "live.sock"
        Path(folder).chmod(0o755)
        with closing(LiveHub(path, ["overview"])) as hub, closing(LivePublisher(path, "overview")) as track:
            wait_for(lambda: hub.connected("overview"), "the track")
            track.publish(FORMAT)
            path.chmod(0o666)
            assert served_as(0, path)
            assert not served_as(65534, path)


def test_a_long_chinese_folder_is_no_obstacle(tmp_path: Path) -> None:
    folder = tmp_path / ("调查询问室 一" * 12)
    folder.mkdir()
    with closing(LiveHub(folder / "live.sock", ["overview"])) as hub, closing(LivePublisher(folder / "live.sock", "overview")):
        wait_for(lambda: hub.connected("overview"), "the track")
    assert not (folder / "live.sock").exists()
