"""The feed: everything in order, the current group first, a slow reader loses groups and the writer loses nothing."""

import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest

from recorder.media import live
from recorder.media.live import LiveKind, LiveMessage, LiveReader, LiveServer, data_message, format_message
from recorder.media.packets import Packet
from tests.recorder import media_samples


def message(n: int, gop: int, size: int = 10) -> LiveMessage:
    return data_message(Packet(n, n % gop == 0, bytes(size), n), n, 1.5)


def wait_for_clients(server: LiveServer, count: int) -> None:
    deadline = time.monotonic() + 5
    while len(server._clients) < count:
        assert time.monotonic() < deadline, "no reader was accepted within 5 s"
        time.sleep(0.01)


def test_a_reader_gets_the_format_and_the_current_group_first(tmp_path: Path) -> None:
    format_, _ = media_samples.video(tmp_path, seconds=1)
    server = LiveServer(tmp_path / "live-overview.sock")
    server.publish(format_message(format_))
    for n in range(60):
        server.publish(message(n, 25))
    with LiveReader(tmp_path / "live-overview.sock") as reader:
        first = reader.read()
        assert first is not None
        assert first.kind is LiveKind.FORMAT
        assert first.format.extradata == format_.extradata
        assert (first.format.width, first.format.codec, first.format.time_base) == (320, "h264", format_.time_base)
        wait_for_clients(server, 1)
        server.publish(message(60, 25))
        got = [reader.read() for _ in range(11)]
        assert [m.pts for m in got if m] == list(range(50, 61))
        assert got[0] is not None
        assert (got[0].key, got[0].ppb, got[0].time_ns) == (True, 1500, 50)
    server.close()
    assert not (tmp_path / "live-overview.sock").exists()


def test_a_reader_that_does_not_read_loses_whole_groups_and_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "QUEUE_BYTES", 1 << 20)
    server = LiveServer(tmp_path / "f.sock")
    with LiveReader(tmp_path / "f.sock") as reader:
        wait_for_clients(server, 1)
        began = time.monotonic()
        for n in range(500):
            server.publish(message(n, 25, size=20_000))
        assert time.monotonic() - began < 2
        server.publish(message(500, 25))
        got: list[int] = []
        while not got or got[-1] != 500:
            received = reader.read()
            assert received is not None
            got.append(received.pts)
    server.close()
    jumps = [(a, b) for a, b in pairwise(got) if b != a + 1]
    assert len(got) < 200, "memory is bounded: something was dropped"
    assert all(b % 25 == 0 for b in [got[0], *(b for _, b in jumps)]), "what follows a loss begins with a key frame"


def test_a_group_without_end_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "GROUP_BYTES", 1 << 20)
    format_, _ = media_samples.video(tmp_path, seconds=1)
    server = LiveServer(tmp_path / "f.sock")
    server.publish(format_message(format_))
    for n in range(200):
        server.publish(message(n, 1000, size=20_000))
        assert sum(len(kept.payload) for kept in server._group) <= 1 << 20
    with LiveReader(tmp_path / "f.sock") as reader:
        first = reader.read()
        assert first is not None
        assert first.kind is LiveKind.FORMAT
        wait_for_clients(server, 1)
        server.publish(message(1000, 1000))
        after = reader.read()
        assert after is not None
        assert (after.pts, after.key) == (1000, True)
    server.close()


def test_silence_is_a_time_out_and_the_end_is_the_end(tmp_path: Path) -> None:
    server = LiveServer(tmp_path / "f.sock")
    with LiveReader(tmp_path / "f.sock", timeout_s=0.2) as reader:
        with pytest.raises(TimeoutError):
            reader.read()
        wait_for_clients(server, 1)
        threading.Timer(0.05, server.close).start()
        assert reader.read() is None


def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        LiveReader(tmp_path / "none.sock")


def test_a_long_chinese_folder_is_no_obstacle(tmp_path: Path) -> None:
    folder = tmp_path / ("调查询问室 一" * 12)
    folder.mkdir()
    server = LiveServer(folder / "live-overview.sock")
    LiveReader(folder / "live-overview.sock").close()
    server.close()
