"""The cameras' streams, read with PyAV as the product reads them."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from typing import Any

import av
import numpy as np
import pytest
from av.container import InputContainer

from tests.equipment.camera import StandInCamera
from tests.equipment.canvas import Picture
from tests.equipment.clips import SMALL, Clip, prepare
from tests.equipment.process import wait_for
from tests.equipment.room import DEFAULT_CACHE, StandInRoom
from tests.equipment.test_clips import nal_units

TICKS = 3600  # of 90 kHz in 40 ms
OPTIONS = {"rtsp_transport": "tcp", "allowed_media_types": "video"}


@contextmanager
def opened(address: str, read_limit_s: float = 1.5) -> Iterator[InputContainer]:
    with av.open(address, options=OPTIONS, timeout=(5.0, read_limit_s)) as stream:
        yield stream


def packets(stream: InputContainer, count: int) -> "list[av.Packet[Any]]":
    """The next packets. ffmpeg gives the first of a connection no time; it gets its own: one step before the second."""
    out: list[av.Packet[Any]] = []
    for packet in stream.demux(video=0):
        out.append(packet)
        if len(out) == count:
            break
    if out[0].pts is None and len(out) > 1 and out[1].pts is not None:
        out[0].pts = out[1].pts - TICKS
    return out


def until_the_end(stream: InputContainer) -> int:
    """Packets that still come. Raises what reading raises."""
    return sum(1 for packet in stream.demux(video=0) if packet.size)


def pictures(unit: bytes) -> tuple[bytes, ...]:
    """The slices of an access unit."""
    return tuple(nal for nal in nal_units(unit) if nal[0] & 31 in (1, 5))


def sent(camera: StandInCamera, mount: str = "/main") -> list[dict[str, object]]:
    assert camera.units_log
    lines = [json.loads(line) for line in camera.units_log.read_text().splitlines() if line.endswith("}")]
    return [line for line in lines if line["mount"] == mount]


@pytest.mark.parametrize("stream", ["main", "sub"])
def test_a_client_gets_the_prepared_access_units_unchanged_from_a_key_frame_on(
    room: StandInRoom, clip: Clip, stream: str
) -> None:
    units = [pictures(unit) for unit in clip.units("overview", stream)]
    with opened(room.overview.address(stream)) as source:
        got = packets(source, 35)
        assert source.streams.video[0].codec_context.name == "h264"
        assert source.streams.video[0].average_rate == 25
    assert got[0].is_keyframe
    at = [units.index(pictures(bytes(packet))) for packet in got]
    assert at == [(at[0] + n) % len(units) for n in range(35)]
    assert {b.pts - a.pts for a, b in pairwise(got)} == {TICKS}  # type: ignore[operator]


def test_a_wrong_password_is_refused(room: StandInRoom) -> None:
    with pytest.raises(av.HTTPUnauthorizedError), opened(room.overview.address(password="wrong")):
        pass


def test_every_access_unit_leaves_on_time_and_the_flash_is_at_the_epoch(room: StandInRoom, clip: Clip) -> None:
    arrivals = []
    with opened(room.overview.address()) as source:
        for packet in source.demux(video=0):
            arrivals.append((time.monotonic_ns(), pictures(bytes(packet))))
            if len(arrivals) == 45:
                break
    lines = {line["index"]: line for line in sent(room.overview)}
    assert all(line["due_ns"] == room.epoch_ns + index * 40_000_000 for index, line in lines.items())  # type: ignore[operator]
    late_ms = [(line["sent_ns"] - line["due_ns"]) / 1e6 for line in lines.values()]  # type: ignore[operator]
    assert np.median(late_ms) < 5
    units = [pictures(unit) for unit in clip.units("overview", "main")]
    delays = []
    for arrival_ns, unit in arrivals[-20:]:
        phase_ns = (arrival_ns - room.epoch_ns) % (SMALL.seconds * 1_000_000_000)
        delays.append((phase_ns - units.index(unit) * 40_000_000) / 1e6 % (SMALL.seconds * 1000))
    assert np.median(delays) < 100  # of which 40 are the client's parser, that waits for the next access unit


def test_a_frozen_camera_keeps_the_connection_and_goes_on_with_a_key_frame(room: StandInRoom) -> None:
    with opened(room.overview.address(), 0.7) as source:
        packets(source, 3)
        room.fault("overview", "frozen")
        with pytest.raises(av.ExitError):  # the read's time-out
            until_the_end(source)
    with pytest.raises(av.FFmpegError):  # it takes the connection, and has nothing to describe
        av.open(room.overview.address(), options=OPTIONS, timeout=(0.7, 0.7))
    room.fault("overview", "back")
    with opened(room.overview.address()) as source:
        assert packets(source, 2)[0].is_keyframe


def test_a_camera_that_is_gone_breaks_connections_refuses_new_ones_and_comes_back_in_phase(room: StandInRoom) -> None:
    with opened(room.overview.address()) as source:
        packets(source, 3)
        room.fault("overview", "gone")
        started = time.monotonic()
        try:
            until_the_end(source)
        except av.FFmpegError as error:
            assert not isinstance(error, av.ExitError)
        assert time.monotonic() - started < 1
    with pytest.raises(av.ConnectionRefusedError), opened(room.overview.address()):
        pass
    room.fault("overview", "back")
    with opened(room.overview.address()) as source:
        packets(source, 3)
    last = sent(room.overview)[-1]
    assert (last["due_ns"] - room.epoch_ns) // 40_000_000 == last["index"]  # type: ignore[operator]


def test_an_unplugged_camera_answers_nobody(room: StandInRoom) -> None:
    room.fault("overview", "unplugged")
    with pytest.raises(av.FFmpegError):
        av.open(room.overview.address(), options=OPTIONS, timeout=(0.5, 0.5))
    room.fault("overview", "back")
    with opened(room.overview.address()) as source:
        assert packets(source, 1)[0].is_keyframe


def next_odd_step(source: InputContainer) -> int:
    """The first difference of two timestamps that is not one picture's, modulo the 32 bits of an RTP timestamp."""
    times = (packet.pts for packet in source.demux(video=0) if packet.pts is not None)
    return next(
        step % (1 << 32) for _, step in zip(range(100), (b - a for a, b in pairwise(times)), strict=False) if step != TICKS
    )


def test_dropped_access_units_are_missing_and_jump_moves_the_timestamps(room: StandInRoom) -> None:
    with opened(room.overview.address()) as source:
        packets(source, 2)
        room.fault("overview", "drop", 3)
        assert next_odd_step(source) == 4 * TICKS
        for seconds in (7.5, -100.0):
            room.fault("overview", "jump", seconds)
            assert next_odd_step(source) == (TICKS + round(seconds * 90_000)) % (1 << 32)


def test_drift_lets_the_timestamps_run_fast(room: StandInRoom) -> None:
    room.fault("overview", "drift", 10_000)
    with opened(room.overview.address()) as source:
        times = [packet.pts for packet in packets(source, 30)[2:]]
    steps = [b - a for a, b in pairwise(times)]  # type: ignore[operator]
    assert np.mean(steps) == pytest.approx(TICKS * 1.01, abs=0.5)


def test_the_picture_turns_black_or_freezes_at_a_key_frame(room: StandInRoom) -> None:
    def dark(frame: Picture) -> bool:
        return bool(np.percentile(frame, 90) < 30)

    with opened(room.closeup.address()) as source:
        frames = (frame.to_ndarray(format="gray") for frame in source.decode(video=0))
        assert not dark(next(frames))
        room.fault("closeup", "black")
        assert any(dark(next(frames)) for _ in range(60))
        room.fault("closeup", "still")
        assert any(not dark(next(frames)) for _ in range(60))
        assert len({next(frames).tobytes() for _ in range(30)}) == 1


def test_a_changed_password_locks_out_new_connections_only(room: StandInRoom) -> None:
    with opened(room.overview.address()) as source:
        room.fault("overview", "wrong_password")
        packets(source, 10)
        assert room.overview.clients()["/main"] == 1
    wait_for(lambda: room.overview.clients() == {"/main": 0, "/sub": 0}, "the client to be forgotten")
    with pytest.raises(av.HTTPUnauthorizedError), opened(room.overview.address()):
        pass


def test_h265(tmp_path_factory: pytest.TempPathFactory) -> None:
    recipe = replace(SMALL, codec="h265", width=320, height=192, sub_width=160, sub_height=96, cameras=("overview",))
    clip = prepare(DEFAULT_CACHE, recipe)
    camera = StandInCamera("overview", clip, tmp_path_factory.mktemp("h265") / "log", time.monotonic_ns(), password="pw")
    camera.start()
    try:
        with opened(camera.address()) as source:
            got = packets(source, 30)
            assert source.streams.video[0].codec_context.name == "hevc"
            assert got[0].is_keyframe
            units = [set(nal_units(unit)) for unit in clip.units("overview", "main")]
            at = [next(n for n, unit in enumerate(units) if set(nal_units(bytes(packet))) <= unit) for packet in got[1:]]
            assert at == [(at[0] + n) % len(units) for n in range(29)]
    finally:
        camera.stop()
