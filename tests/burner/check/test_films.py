"""A film is held against the journal packet by packet: whoever made it, and whatever its maker signed."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import av
import pytest

from burner.check.films import FilmRead, FilmReader, judge, judge_all
from recorder.evidence.findings import Finding
from recorder.evidence.sealed_segments import SealedSegment
from tests.burner.disc.films import CAMERAS, T0, encoded, made, recorded

Film = tuple[Path, tuple[SealedSegment, ...]]
PATH = "data/originals/closeup-01.mp4"


@pytest.fixture(scope="module", params=["no B-frames", "a deep pyramid", "H.265 with a pyramid"])
def film(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Film:
    folder = tmp_path_factory.mktemp("film")
    encoder, options = CAMERAS[request.param]
    found = recorded(folder, encoded(encoder, options), "hevc" if encoder == "libx265" else "h264")
    return made(folder, found)[0], found


def read(path: Path, sources: Sequence[SealedSegment], *, step: int = 70_000) -> FilmRead:
    """As a disc is read: piece by piece, from its beginning to its end."""
    reader = FilmReader([each.packets for each in sources])
    data = path.read_bytes()
    for at in range(0, len(data), step):
        reader.feed(data[at : at + step])
    return reader.end()


def told(path: Path, sources: Sequence[SealedSegment]) -> list[Finding]:
    return list(judge(PATH, T0, sources, read(path, sources)))


def codes(found: Sequence[Finding]) -> set[str]:
    return {finding.code for finding in found}


def remuxed(source: Path, target: Path, *options: str) -> Path:
    """By anybody's ffmpeg, its index in front."""
    command = ["ffmpeg", "-v", "error", "-i", str(source), *options, "-movflags", "+faststart", str(target)]
    subprocess.run(command, check=True)
    return target


def test_a_film_that_holds_what_was_recorded(film: Film) -> None:
    path, sources = film
    assert told(path, sources) == []
    found = list(judge_all({PATH: read(path, sources)}, {PATH: (T0, sources)}))
    assert [(f.ok, f.code, f.values) for f in found] == [
        (True, "films-hold-the-recorded-packets", {"films": 1, "packets": sum(s.packets for s in sources)})
    ]


def test_a_film_that_is_cut(film: Film, tmp_path: Path) -> None:
    path, sources = film
    assert codes(told(remuxed(path, tmp_path / "cut.mp4", "-t", "5", "-c", "copy"), sources)) & {
        "film-is-longer-or-shorter",
        "film-differs-from-segment",
    }
    assert codes(told(path, sources[:-1])) == {"film-is-longer-or-shorter"}


def test_a_film_of_other_pictures(film: Film, tmp_path: Path) -> None:
    path, sources = film
    other = remuxed(path, tmp_path / "other.mp4", "-c:v", "libx264", "-preset", "ultrafast", "-bf", "0")
    assert "film-differs-from-segment" in codes(told(other, sources))


def test_one_changed_byte_is_found_in_its_segment(film: Film, tmp_path: Path) -> None:
    path, sources = film
    with av.open(str(path)) as container:
        packets = [p for p in container.demux(container.streams[0]) if p.size]
    number = sources[0].packets + 3
    at, size = packets[number].pos or 0, packets[number].size
    changed = tmp_path / "changed.mp4"
    shutil.copy(path, changed)
    with open(changed, "r+b") as file:
        file.seek(at + size - 1)
        last = file.read(1)[0]
        file.seek(at + size - 1)
        file.write(bytes([last ^ 1]))
    found = told(changed, sources)
    assert [(f.code, f.values["segment"]) for f in found] == [("film-differs-from-segment", sources[1].path)]


def test_pictures_at_other_times(film: Film, tmp_path: Path) -> None:
    path, sources = film
    slow = remuxed(path, tmp_path / "slow.mp4", "-c", "copy", "-bsf:v", "setts=pts=PTS*1.2:dts=DTS*1.2")
    assert codes(told(slow, sources)) == {"film-shows-segment-at-another-time"}


def test_two_segments_changed_about(film: Film) -> None:
    path, sources = film
    about = (sources[1], sources[0], *sources[2:])
    assert "film-differs-from-segment" in codes(told(path, about))


@pytest.mark.parametrize("data", [b"", b"no film", os.urandom(300_000), b"\0\0\0\x18ftypisom" + bytes(50_000)])
def test_what_is_no_film_is_told(tmp_path: Path, film: Film, data: bytes) -> None:
    path = tmp_path / "x.mp4"
    path.write_bytes(data)
    found = told(path, film[1])
    assert codes(found) == {"film-cannot-be-read"}
    assert all(finding.disagrees for finding in found)


def test_a_reader_that_has_ended_takes_the_rest_of_a_long_file(film: Film) -> None:
    reader = FilmReader([each.packets for each in film[1]])
    for _ in range(200):
        reader.feed(bytes(100_000))
    assert reader.end().why


def test_segments_of_version_0_1_0_have_no_such_digests(film: Film) -> None:
    path, sources = film
    before = [SealedSegment(**{**{n: getattr(s, n) for n in SealedSegment.__slots__}, "packets_sha256": ""}) for s in sources]
    found = list(judge_all({PATH: read(path, before)}, {PATH: (T0, before)}))
    assert codes(found) == {"films-without-packet-digests"}
