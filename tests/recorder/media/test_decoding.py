"""What can be read of a part that was cut off anywhere."""

import struct
from pathlib import Path

import av
import numpy as np
import pytest

from recorder.clock.instants import boottime_ns
from recorder.composite.encoder import EncoderSettings
from recorder.composite.part import SAMPLES_PER_PICTURE, Part, count_pictures
from recorder.composite.picture import new_canvas
from recorder.media.decoding import whole_pictures

PICTURES = 60


@pytest.fixture(scope="module")
def part(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole part of three fragments."""
    made = Part(tmp_path_factory.mktemp("parts") / "part-001.mp4", EncoderSettings(30, "ultrafast", 64), 0, boottime_ns)
    rng = np.random.default_rng(1)
    for _ in range(PICTURES):
        canvas = new_canvas()
        canvas[200:230, :200] = rng.integers(0, 255, (30, 200))
        while not made.put(canvas, np.zeros(SAMPLES_PER_PICTURE, np.float32), boottime_ns()):
            continue
    made.finish()
    return made.path


def boxes(data: bytes) -> list[tuple[str, int, int]]:
    """Top-level boxes: kind, from, to."""
    found, at = [], 0
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        found.append((kind.decode(), at, at + size))
        at += size
    return found


def test_a_part_is_fragments_alone(part: Path) -> None:
    """An index behind them would be kept in memory until the end."""
    kinds = [kind for kind, _, _ in boxes(part.read_bytes())]
    assert kinds == ["ftyp", "moov", *["moof", "mdat"] * (len(kinds) // 2 - 1)]
    assert len(kinds) >= 8
    assert whole_pictures(part) == PICTURES


def test_a_part_cut_at_any_place_around_a_fragment_s_head_keeps_the_pictures_before(part: Path, tmp_path: Path) -> None:
    data = part.read_bytes()
    heads = [(first, end) for kind, first, end in boxes(data) if kind == "moof"]
    torn = tmp_path / "part,,:001 截断.mp4"
    torn.write_bytes(data[: heads[2][0]])
    before = whole_pictures(torn)
    assert before >= 50
    for cut in range(heads[2][0] - 4, heads[2][1] + 12):
        torn.unlink()  # a file that is written over waits for the disk
        torn.write_bytes(data[:cut])
        assert count_pictures(torn) == before - (cut < heads[2][0] and cut < last_picture_end(part, before)), cut - heads[2][0]


def last_picture_end(path: Path, number: int) -> int:
    """Where the picture before that number ends in the file."""
    with av.open(str(path)) as container:
        packets = [p for p in container.demux(video=0) if p.size]
        return (packets[number - 1].pos or 0) + packets[number - 1].size


def test_a_part_cut_in_a_fragment_s_data_keeps_its_whole_pictures(part: Path, tmp_path: Path) -> None:
    end = last_picture_end(part, 40)
    torn = tmp_path / "part-001.mp4"
    for cut, pictures in ((end - 1, 39), (end, 40), (end + 1, 40)):
        torn.write_bytes(part.read_bytes()[:cut])
        assert count_pictures(torn) == pictures


def test_what_lies_behind_damage_does_not_cost_what_lies_before(part: Path, tmp_path: Path) -> None:
    """A file whose end the disk never wrote."""
    data = part.read_bytes()
    head = [first for kind, first, _ in boxes(data) if kind == "moof"][2]
    torn = tmp_path / "part-001.mp4"
    torn.write_bytes(data[:head] + bytes(100_000))
    assert count_pictures(torn) >= 50
    torn.write_bytes(data[:20])
    assert count_pictures(torn) == 0
