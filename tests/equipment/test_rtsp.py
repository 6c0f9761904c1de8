"""The cameras' streams, read with PyAV as the product reads them."""

import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
import pytest
from av.container import InputContainer

from tests.equipment.camera import StandInCamera
from tests.equipment.canvas import Picture
from tests.equipment.clips import B_FRAMES, LONG_GROUPS, SMALL, Clip, ClipRecipe, only, prepare
from tests.equipment.process import wait_for
from tests.equipment.room import DEFAULT_CACHE, StandInRoom
from tests.equipment.test_clips import nal_units

TICKS = 3600  # of 90 kHz in 40 ms
OPTIONS = {"rtsp_transport": "tcp", "allowed_media_types": "video", "fpsprobesize": "0", "max_delay": "0"}

Line = dict[str, Any]


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


def digests(got: "list[av.Packet[Any]]") -> list[str]:
    return [hashlib.sha256(bytes(packet)).hexdigest() for packet in got]


def pictures(unit: bytes) -> tuple[bytes, ...]:
    """The slices of an access unit."""
    return tuple(nal for nal in nal_units(unit) if nal[0] & 31 in (1, 5))


def sent(camera: StandInCamera, mount: str = "/main") -> list[Line]:
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
    assert all(line["due_ns"] == room.epoch_ns + index * 40_000_000 for index, line in lines.items())
    late_ms = [(line["sent_ns"] - line["due_ns"]) / 1e6 for line in lines.values()]
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
    assert (last["due_ns"] - room.epoch_ns) // 40_000_000 == last["index"]


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


def matched(camera: StandInCamera, got: "list[av.Packet[Any]]") -> list[Line]:
    """What the log says of each packet, in order: none missing, none twice, none changed."""
    seen, found = digests(got), list[Line]()
    since_ns = time.monotonic_ns() - round((camera._clip.recipe.seconds - 0.5) * 1e9)  # once round the film

    def all_logged() -> bool:  # a line is written after its access unit has left
        lines = [line for line in sent(camera) if line["clients"] and line["sent_ns"] > since_ns]
        starts = [n for n, line in enumerate(lines) if line["sha256"] == seen[0]]
        logged = [lines[start : start + len(seen)] for start in starts]
        found[:] = next((some for some in logged if [line["sha256"] for line in some] == seen), [])
        return bool(found)

    wait_for(all_logged, "the log of all packets, as they came")
    return found


def same_times(got: "list[av.Packet[Any]]", lines: list[Line]) -> bool:
    """Whether packets are as far apart as the log says, modulo the 32 bits of RTP; the first has no time of its own."""
    pairs = [(packet.pts, line["pts_ns"] * 9 // 100_000) for packet, line in zip(got, lines, strict=True)][1:]
    return len({(pts - ticks) % (1 << 32) for pts, ticks in pairs if pts is not None}) == 1


def test_a_jump_of_an_hour_either_way_is_what_the_log_says(room: StandInRoom) -> None:
    for seconds in (3600.0, -3600.0, -3600.0):
        with opened(room.overview.address()) as source:
            got = packets(source, 5)
            room.fault("overview", "jump", seconds)
            got += packets(source, 30)
        lines = matched(room.overview, got)
        assert same_times(got, lines)
        steps = {round((b["pts_ns"] - a["pts_ns"]) / 1e9, 2) for a, b in pairwise(lines)}
        assert steps == {0.04, 0.04 + seconds}


def test_access_units_of_one_time(room: StandInRoom) -> None:
    with opened(room.overview.address()) as source:
        got = packets(source, 5)
        room.fault("overview", "equal_stamps", 2)
        got += packets(source, 30)
    lines = matched(room.overview, got)
    assert same_times(got, lines)
    steps = [b.pts - a.pts for a, b in pairwise(got[1:])]  # type: ignore[operator]
    assert sorted(steps) == [0, 0, *[TICKS] * 30, 3 * TICKS]
    at = steps.index(0)
    assert steps[at : at + 3] == [0, 0, 3 * TICKS]


def test_garbage_is_delivered_as_the_log_says_and_decodes_to_nothing_good(room: StandInRoom, clip: Clip) -> None:
    with opened(room.overview.address()) as source:
        got = packets(source, 10)
        room.fault("overview", "garbage", 7)
        got += packets(source, 40)
    lines = matched(room.overview, got)
    assert sum(line["garbage"] for line in lines) == 7
    assert any(line["garbage"] and line["key"] for line in lines)
    assert same_times(got, lines)
    prepared = {pictures(unit) for unit in clip.units("overview", "main")}
    assert [pictures(bytes(packet)) not in prepared for packet in got] == [line["garbage"] for line in lines]
    assert [packet.is_keyframe for packet in got] == [line["key"] for line in lines]


@pytest.mark.parametrize(("fault", "size"), [("size", SMALL.other_size), ("parameters", (SMALL.width, SMALL.height))])
def test_size_and_parameters_change_at_a_key_frame(room: StandInRoom, fault: str, size: tuple[int, int]) -> None:
    with opened(room.overview.address()) as source:
        got = packets(source, 8)
        room.fault("overview", fault)
        got += packets(source, 20)
    lines = matched(room.overview, got)
    at = next(n for n, line in enumerate(lines) if line["variant"] == fault)
    assert lines[at]["key"]
    assert {line["variant"] for line in lines[at:]} == {fault}
    assert {line["variant"] for line in lines[:at]} == {"scene"}
    assert same_times(got, lines)
    sets = [{nal for nal in nal_units(bytes(got[n])) if nal[0] & 31 in (7, 8)} for n in (0, at)]
    assert len(sets[0] & sets[1]) == (1 if fault == "size" else 0)  # another size is another sequence parameter set
    decoder = av.CodecContext.create("h264", "r")
    assert isinstance(decoder, av.VideoCodecContext)
    frames = [frame for packet in got for frame in decoder.decode(av.Packet(bytes(packet)))] + decoder.decode(None)
    assert [(frame.width, frame.height) for frame in frames] == [(640, 360)] * at + [size] * (len(got) - at)


@contextmanager
def camera_of(recipe: ClipRecipe, folder: Path) -> Iterator[StandInCamera]:
    clip = prepare(DEFAULT_CACHE, recipe)
    units = folder / "units.jsonl"
    camera = StandInCamera("overview", clip, folder / "log", time.monotonic_ns(), password="pw", units_log=units)
    camera.start()
    try:
        yield camera
    finally:
        camera.stop()


def test_b_frames_come_in_decoding_order_and_no_picture_leaves_before_its_time(tmp_path: Path) -> None:
    with camera_of(only(B_FRAMES, "scene"), tmp_path) as camera, opened(camera.address()) as source:
        got = packets(source, 60)
        lines = matched(camera, got)
    got[0].pts = None  # one step before the second is not where it is
    assert same_times(got, lines)
    times = [line["pts_ns"] for line in lines]
    assert times != sorted(times)
    group = times[: B_FRAMES.gop]
    assert sorted(group) == [group[0] + n * 40_000_000 for n in range(B_FRAMES.gop)]
    waits = [line["due_ns"] - camera._epoch_ns - line["pts_ns"] for line in lines]
    assert {min(waits), max(waits)} == {0, 3 * 40_000_000}


def test_key_frames_four_seconds_apart(tmp_path: Path) -> None:
    with camera_of(only(replace(LONG_GROUPS, bframes=2), "scene"), tmp_path) as camera, opened(camera.address()) as source:
        got = packets(source, 105)
        assert [n for n, packet in enumerate(got) if packet.is_keyframe] == [0, 100]
        matched(camera, got)


@pytest.mark.parametrize("codec", ["pcma", "pcmu"])
def test_a_camera_with_sound_of_its_own(tmp_path: Path, codec: Literal["pcma", "pcmu"]) -> None:
    with camera_of(replace(SMALL, audio=codec), tmp_path) as camera:
        with opened(camera.address()) as source:
            assert [stream.type for stream in source.streams] == ["video"]
            matched(camera, packets(source, 30))
        with av.open(camera.address(), options={"rtsp_transport": "tcp"}, timeout=(5, 1.5)) as both:
            sound = both.streams.audio[0].codec_context
            assert (sound.name, sound.sample_rate, sound.channels) == (f"pcm_{codec[-1]}law".replace("ulaw", "mulaw"), 8000, 1)
            got = [packet for packet, _ in zip(both.demux(), range(120), strict=False)]
            heard = [packet for packet in got if packet.stream.type == "audio"]
        data = camera._clip.sound.read_bytes()
        assert b"".join(bytes(packet) for packet in heard) in data * 2
        assert 70 < len(heard) < 90  # two of 20 ms to a picture
        steps = [b.pts - a.pts for a, b in pairwise(heard)]  # type: ignore[operator]
        assert sum(step != 160 for step in steps) <= 1, steps  # on a busy PC libav was seen to jump once; why is not known
        with opened(camera.address("sub")) as source:
            assert len(source.streams) == 1


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


def test_h265(tmp_path: Path) -> None:
    recipe = only(replace(SMALL, codec="h265"), "scene", "parameters")
    with camera_of(recipe, tmp_path) as camera, opened(camera.address()) as source:
        got = packets(source, 5)
        assert source.streams.video[0].codec_context.name == "hevc"
        assert got[0].is_keyframe
        camera.parameters()
        camera.garbage(2)
        got += packets(source, 50)
        lines = matched(camera, got)
    assert same_times(got, lines)
    assert {line["variant"] for line in lines} == {"scene", "parameters"}
    assert sum(line["garbage"] for line in lines) == 2
