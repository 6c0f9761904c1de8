"""On the disc every picture stands where its segment has it, however a camera orders them; an MP4 is the same each time."""

import re
import subprocess
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import pytest

from burner.disc import remux
from burner.disc.deliver import of_one_file
from burner.disc.sealed_session import runs
from recorder.clock.instants import SECOND_NS
from recorder.disk import journal
from recorder.evidence.sealed_segments import segments
from recorder.media.packets import Format, Packet
from recorder.media.parameter_sets import format_at
from recorder.session.lines import read_lines
from recorder.track.recording import Identity, Recording
from tests.burner.disc.films import CAMERAS, SECONDS, T0, encoded, made, recorded
from tests.recorder import media_samples
from wording import Fault


@pytest.mark.parametrize("camera", CAMERAS)
def test_every_picture_is_shown_when_its_segment_shows_it(tmp_path: Path, camera: str) -> None:
    encoder, options = CAMERAS[camera]
    units = encoded(encoder, options)
    found = recorded(tmp_path, units, "hevc" if encoder == "libx265" else "h264")
    assert len(found) >= 4
    target, digest = made(tmp_path, found)
    with av.open(str(target)) as container:
        got = [((p.pts or 0) * p.time_base, (p.dts or 0) * p.time_base) for p in container.demux(container.streams[0]) if p.size]
    ms = Fraction(1, 1000)
    for unit, (pts, dts) in zip(units, got, strict=True):
        due = Fraction((unit.pts or 0) * 40_001_600, SECOND_NS)
        assert abs(pts - due) <= ms, "a segment's own times are of whole milliseconds"
        assert dts <= pts
    assert all(one[1] < later[1] for one, later in pairwise(got))
    assert sorted(pts for pts, _ in got)[0] == 0

    with av.open(str(target)) as container:
        frames = list(container.decode(video=0))
    assert len(frames) == len(units), "every picture decodes"
    steps = [b.time - a.time for a, b in pairwise(frames)]
    assert all(0.0385 <= step <= 0.0415 for step in steps), [step for step in steps if not 0.0385 <= step <= 0.0415]
    assert remux.digests([target]) == (digest,), "read back, times included"


def hash_by_ffmpeg(path: Path) -> str:
    """What anybody who has ffmpeg finds of the packets of a file's one stream."""
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-c", "copy", "-f", "streamhash", "-hash", "sha256", "-"]
    told = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    return re.fullmatch(r"0,[va],SHA256=([0-9a-f]{64})\n", told)[1]  # type: ignore[index]


@pytest.mark.parametrize("camera", CAMERAS)
def test_the_recorder_s_digest_of_packets_is_what_ffmpeg_finds_in_the_mp4(tmp_path: Path, camera: str) -> None:
    encoder, options = CAMERAS[camera]
    found = recorded(tmp_path, encoded(encoder, options), "hevc" if encoder == "libx265" else "h264")
    assert {segment.run_since for segment in found} == {"000000.mkv"}
    assert hash_by_ffmpeg(made(tmp_path, found)[0]) == found[-1].run_sha256
    assert hash_by_ffmpeg(made(tmp_path, found[1:2], "one.mp4")[0]) == found[1].packets_sha256
    assert hash_by_ffmpeg(made(tmp_path, found[:-1], "cut.mp4")[0]) == found[-2].run_sha256 != found[-1].run_sha256


def test_sound_has_such_digests_too(tmp_path: Path) -> None:
    form, packets = media_samples.sound(5.0)
    recording = Recording(tmp_path / "tracks" / "microphone", Identity("microphone", "s", "b", "1"), T0, 2 * SECOND_NS)
    for n, packet in enumerate(packets):
        recording.write(packet, T0 + n * SECOND_NS // 25, form, 0.0)
    recording.end(T0 + 5 * SECOND_NS, 0.0)
    recording.close()
    found = segments("microphone", read_lines(journal.read(tmp_path / "tracks" / "microphone" / "journal.jsonl")))
    assert len(found) == 3
    assert hash_by_ffmpeg(made(tmp_path, found)[0]) == found[-1].run_sha256


def test_a_run_ends_at_a_gap_as_a_film_does(tmp_path: Path) -> None:
    units = encoded(*CAMERAS["no B-frames"])
    del units[60:85]  # a second; the recorder is told that the source was lost, and that it is back
    recording = Recording(tmp_path / "tracks" / "closeup", Identity("closeup", "s", "b", "1"), T0, 2 * SECOND_NS)
    format_ = format_at(bytes(units[0]), Format("video", "h264", Fraction(1, 90_000), extradata=b""))
    for n, unit in enumerate(units):
        if n == 60:
            recording.lost(Fault("connection-lost", "check-cable"), 0.0)
        if n < 60 or n >= 75:  # from a key frame on
            at = T0 + (unit.pts or 0) * SECOND_NS // 25
            recording.write(Packet((unit.pts or 0) * 3600, unit.is_keyframe, bytes(unit), at), at, format_, 0.0)
    recording.end(T0 + SECONDS * SECOND_NS, 0.0)
    recording.close()
    found = segments("closeup", read_lines(journal.read(tmp_path / "tracks" / "closeup" / "journal.jsonl")))
    films = runs(found)
    assert len(films) == 2
    for number, film in enumerate(films):
        assert {segment.run_since for segment in film} == {Path(film[0].path).name}
        assert hash_by_ffmpeg(made(tmp_path, film, f"{number}.mp4")[0]) == film[-1].run_sha256


def test_another_process_begins_another_run(tmp_path: Path) -> None:
    units = encoded(*CAMERAS["no B-frames"])
    first = recorded(tmp_path, units[:100], "h264")
    journal_path = tmp_path / "tracks" / "closeup" / "journal.jsonl"
    kept = [line for line in journal_path.read_text().splitlines() if '"kind":"end"' not in line]
    journal_path.write_text("".join(f"{line}\n" for line in kept))
    both = recorded(tmp_path, units[100:], "h264")
    assert both[: len(first)] == first
    assert {segment.run_since for segment in both[len(first) :]} == {Path(both[len(first)].path).name}


@pytest.mark.parametrize("camera", ["a deep pyramid", "H.265"])
def test_it_is_the_same_byte_for_byte(tmp_path: Path, camera: str) -> None:
    encoder, options = CAMERAS[camera]
    found = recorded(tmp_path, encoded(encoder, options), "hevc" if encoder == "libx265" else "h264")
    one, again = made(tmp_path, found)[0], made(tmp_path, found, "y.mp4")[0]
    assert one.read_bytes() == again.read_bytes()


def test_a_camera_that_begins_to_reorder_in_mid_session(tmp_path: Path) -> None:
    """The whole file gets the delay that its deepest segment needs."""
    plain = encoded(*CAMERAS["no B-frames"])
    deep = encoded(*CAMERAS["a deep pyramid"])
    for unit in deep:
        unit.pts = (unit.pts or 0) + SECONDS * 25
    found = recorded(tmp_path, plain + deep, "h264")
    _, digest = made(tmp_path, found)
    with av.open(str(tmp_path / "x.mp4")) as container:
        got = [p.pts * p.time_base for p in container.demux(container.streams[0]) if p.size and p.pts is not None]
    assert [round(pts / Fraction(40_001_600, SECOND_NS)) for pts in got] == [unit.pts for unit in plain + deep]
    assert remux.digests([tmp_path / "x.mp4"]) == (digest,)


def test_a_delay_is_no_longer_than_it_must_be() -> None:
    assert remux.decoding_delay([0, 1, 2, 3]) == 0
    assert remux.decoding_delay([0, 4, 2, 1, 3, 8, 6, 5, 7]) == 2
    assert remux.decoding_delay([]) == 0


def alternating() -> list["av.Packet[Any]"]:
    """One camera, two sets of parameters, another one at each key frame."""
    encoder, options = CAMERAS["no B-frames"]
    one, other = encoded(encoder, f"{options}:level=4.0"), encoded(encoder, f"{options}:level=4.2")
    return [(other if n // 25 % 2 else one)[n] for n in range(len(one))]


def test_parameter_sets_that_alternate_cost_one_file(tmp_path: Path) -> None:
    units = alternating()
    found = recorded(tmp_path, units, "h264")
    assert len(found) == SECONDS, "the recorder begins a segment with each"
    assert len({remux.segment_format(tmp_path / each.path).sets for each in found}) == 2
    [(group, mixed)] = of_one_file(tmp_path, found)
    assert (group, mixed) == (found, True)
    target = tmp_path / "x.mp4"
    remux.segments_to_mp4(tmp_path, found, target, stopped=lambda: False, done=lambda _: None, mixed=True)
    with av.open(str(target)) as container:
        assert container.streams.video[0].codec_context.codec_tag == "avc3"
        assert len(list(container.decode(video=0))) == len(units)


def test_parameter_sets_that_only_the_description_has_are_a_file_each(tmp_path: Path) -> None:
    def without_sets(path: Path) -> remux.SegmentFormat:
        return remux.SegmentFormat(("h264", 1, 1), path.name.encode())

    found = recorded(tmp_path, alternating(), "h264")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(remux, "segment_format", without_sets)
        assert [len(group) for group, _ in of_one_file(tmp_path, found)] == [1] * SECONDS
