"""What the self-check takes from a track's feed."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.selfcheck.judge import moving_share
from agent.selfcheck.samples import NothingArrivesError, spread, take_pictures, take_sound
from recorder.media.live import LiveKind, LiveMessage, data_message, format_message
from recorder.media.live_hub import LiveHub
from recorder.media.live_publisher import LivePublisher
from tests.equipment.process import wait_for
from tests.recorder import media_samples


class Feed:
    """A track whose thread publishes for a while, in real time, and the composer's hub that passes it on."""

    def __init__(self, path: Path, track: str, messages: list[LiveMessage], pace_s: float) -> None:
        self._hub = LiveHub(path, [track])
        self._publisher = LivePublisher(path, track)
        wait_for(lambda: self._publisher.connected, "the hub")
        self._thread = threading.Thread(target=self._publish, args=(messages, pace_s))
        self._stop = threading.Event()
        self._thread.start()

    def _publish(self, messages: list[LiveMessage], pace_s: float) -> None:
        for message in messages:
            self._publisher.publish(message)
            if self._stop.wait(pace_s if message.kind is LiveKind.DATA else 0):
                return

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._publisher.close()
        self._hub.close()


@pytest.fixture
def feed(tmp_path: Path) -> Iterator[Callable[..., tuple[Path, str]]]:
    opened: list[Feed] = []

    def open_feed(messages: list[LiveMessage], pace_s: float = 0.04) -> tuple[Path, str]:
        path = tmp_path / f"feed-{len(opened)}.sock"
        opened.append(Feed(path, "overview", messages, pace_s))
        return path, "overview"

    yield open_feed
    for one in opened:
        one.close()


def video_messages(tmp_path: Path, *, gop: int = 25, seconds: int = 4) -> list[LiveMessage]:
    form, packets = media_samples.video(tmp_path, seconds, gop=gop)
    return [format_message(form), *(data_message(p, p.arrival_ns, 0.0) for p in packets)]


def test_pictures_are_taken_from_the_feed(feed: Callable[..., tuple[Path, str]], tmp_path: Path) -> None:
    sample = take_pictures(*feed(video_messages(tmp_path), 0.01), window_s=0.9)
    assert sample.size == (320, 180)
    assert sample.seen.fps == pytest.approx(25, abs=0.01)
    assert sample.seen.key_distance_s == 1.0
    assert not sample.seen.stalled
    assert 2 <= len(sample.lumas) <= 4, "the key pictures"
    share = moving_share(sample.lumas)
    assert share is not None
    assert share > 0.9
    assert sample.seen.bits_per_s > 1e6


def test_pictures_between_key_frames_serve_where_key_frames_are_rare(
    feed: Callable[..., tuple[Path, str]], tmp_path: Path
) -> None:
    sample = take_pictures(*feed(video_messages(tmp_path, gop=100), 0.005), window_s=0.3)
    assert sample.seen.key_distance_s is None
    assert len(sample.seen.keys_ns) == 1
    assert sample.seen.since_key_s > 0.5
    assert len(sample.lumas) == 8


def test_a_lost_camera_and_one_that_falls_silent(feed: Callable[..., tuple[Path, str]], tmp_path: Path) -> None:
    messages = video_messages(tmp_path)
    lost = take_pictures(*feed([*messages[:30], LiveMessage(LiveKind.LOST)], 0.02), window_s=3.0)
    assert lost.seen.stalled
    began = time.monotonic()
    assert take_pictures(*feed(messages[:30], 0.01), window_s=8.0).seen.stalled
    assert time.monotonic() - began < 4
    with pytest.raises(NothingArrivesError):
        take_pictures(*feed(messages[:1]), window_s=0.3)
    with pytest.raises(NothingArrivesError):
        take_pictures(tmp_path / "no.sock", "overview", window_s=0.3)


def test_sound_is_taken_from_the_feed(feed: Callable[..., tuple[Path, str]]) -> None:
    form, packets = media_samples.sound(3.0)
    whole = [format_message(form), *(data_message(p, p.arrival_ns, 0.0) for p in packets)]
    sample = take_sound(*feed(whole), window_s=1.0)
    assert sample.samples.shape[1] == 1
    seconds = len(sample.samples) / 48000
    assert seconds == pytest.approx(sample.span_s, abs=1e-3)
    assert 0.5 < seconds < 1.5
    holed = take_sound(*feed([m for n, m in enumerate(whole) if not 5 < n < 12]), window_s=1.0)
    assert holed.span_s - len(holed.samples) / 48000 == pytest.approx(0.24, abs=1e-3)


def test_spread() -> None:
    items = [LiveMessage(LiveKind.DATA, pts=n) for n in range(100)]
    kept = spread(items)
    assert (len(kept), kept[0].pts, kept[-1].pts) == (8, 0, 99)
    assert spread(items[:3]) == items[:3]
