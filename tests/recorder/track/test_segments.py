"""Segments hold the camera's packets, nothing else, and are on the disk when they are listed."""

import hashlib
from pathlib import Path

import av
import numpy as np
import pytest

from recorder.disk.sink import Sink
from recorder.faults import StorageFault
from recorder.media.packets import Packet
from recorder.track.segments import open_writer, recover
from tests.recorder import media_samples


def stored(path: Path) -> list[tuple[int, bool, bytes]]:
    with av.open(str(path)) as container:
        return [(int(p.pts or 0), p.is_keyframe, bytes(p)) for p in container.demux() if p.size]


def test_packets_come_back_unchanged(tmp_path: Path) -> None:
    format_, packets = media_samples.video(tmp_path)
    writer = open_writer(tmp_path / "000000.mkv", format_)
    for packet in packets:
        writer.write(packet)
    writer.finish()
    digest = writer.sink.close()
    back = stored(tmp_path / "000000.mkv")
    assert [data for _, _, data in back] == [p.data for p in packets]
    assert [key for _, key, _ in back] == [p.key for p in packets]
    assert [pts for pts, _, _ in back] == [p.pts // 90 for p in packets]
    assert digest == hashlib.sha256((tmp_path / "000000.mkv").read_bytes()).hexdigest()


def test_sound_is_lossless(tmp_path: Path) -> None:
    format_, packets = media_samples.sound()
    writer = open_writer(tmp_path / "000000.mkv", format_)
    for packet in packets:
        writer.write(packet)
    writer.finish()
    writer.sink.close()
    with av.open(str(tmp_path / "000000.mkv")) as container:
        back = np.concatenate([f.to_ndarray().reshape(-1) for f in container.decode(audio=0)])
    assert back.astype("<i2").tobytes() == b"".join(p.data for p in packets)
    assert len(stored(tmp_path / "000000.mkv")) == writer.packets


def test_garbage_amid_the_sound_costs_the_packets_that_it_hit_alone(tmp_path: Path) -> None:
    format_, packets = media_samples.sound()
    file = tmp_path / "000000.mkv"
    writer = open_writer(file, format_)
    for packet in packets:
        writer.write(packet)
    writer.finish()
    writer.sink.close()
    whole, data = stored(file), bytearray(file.read_bytes())
    _, _, hit = whole[len(whole) // 2]
    at = data.index(hit)
    data[at : at + len(hit)] = bytes(len(hit))
    file.write_bytes(data)
    facts = recover(file, 0, "flac")
    assert facts is not None
    assert facts.packets == len(whole), "a packet that no decoder takes is there all the same"
    assert 0 < facts.samples < sum(len(p.data) for p in packets) // 2
    assert facts.last_pts == whole[-1][0]


def test_a_name_is_never_used_twice(tmp_path: Path) -> None:
    Sink(tmp_path / "a").close()
    with pytest.raises(StorageFault, match="cannot be written"):
        Sink(tmp_path / "a")


def test_what_is_synced_survives_a_cut_at_any_byte(tmp_path: Path) -> None:
    format_, packets = media_samples.video(tmp_path)
    writer = open_writer(tmp_path / "whole.mkv", format_)
    sizes = []
    for packet in packets:
        writer.write(packet)
        sizes.append(writer.sink.bytes)
    writer.finish()
    writer.sink.close()
    data = (tmp_path / "whole.mkv").read_bytes()
    torn = tmp_path / "torn.mkv"
    for length in (sizes[-1], sizes[60] + 7, len(data) // 3, 100, 0):
        torn.write_bytes(data[:length])
        facts = recover(torn, 1_000_000_000_000, "h264")
        whole = sum(1 for size in sizes if size <= length)
        if facts is None:
            assert whole <= 1
            continue
        assert facts.recovered
        assert torn.read_bytes() == data[:length]
        assert facts.packets >= whole - 30  # a cluster is closed after 900 ms at the latest
        assert facts.first_ns == 1_000_000_000_000
        assert facts.end_ns == facts.first_ns + facts.packets * 40_000_000


def test_a_full_disk_is_said_and_not_believed(tmp_path: Path) -> None:
    full = Path("/dev/full")
    sink = Sink.__new__(Sink)
    Sink.__init__(sink, tmp_path / "x")
    import os

    os.close(sink._fd)
    sink._fd = os.open(full, os.O_WRONLY)
    sink.write(b"data")
    with pytest.raises(StorageFault, match="No space left"):
        sink.check()
    os.close(sink._fd)


def test_a_key_frame_is_a_key_frame_in_the_file(tmp_path: Path) -> None:
    format_, packets = media_samples.video(tmp_path, gop=10)
    writer = open_writer(tmp_path / "s.mkv", format_)
    for packet in packets[:30]:
        writer.write(Packet(packet.pts, packet.key, packet.data, packet.arrival_ns))
    writer.finish()
    writer.sink.close()
    assert writer.keyframes == 3
