"""The MP4s hold every packet of the recording, unchanged, at its time, and nothing else."""

import hashlib
import os
import shutil
import signal
import stat
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest

from burner.disc import remux, sealed_session
from burner.disc.deliver import Delivered, Delivery, clear, deliver, disc_folder
from burner.disc.sealed_session import runs
from burner.faults import BurnFault, Stopped
from recorder.clock.instants import SECOND_NS
from recorder.composite.part import count_pictures
from recorder.disk.durable import read_json, write_json
from recorder.disk.typed import WrongField
from recorder.evidence.sealed_segments import SealedSegment, parts
from recorder.faults import AlreadyRunning, EvidenceFault
from recorder.session.lines import read_lines
from recorder.track.segments import recover
from tests.burner.sessions import SECONDS, T0


def same_packets(sources: Sequence[Path], target: Path) -> bool:
    """Whether the target holds exactly the packets of the sources, in order. Each source's times begin anew."""
    return [(d.packets, d.sha256) for d in remux.digests(sources)] == [(d.packets, d.sha256) for d in remux.digests([target])]


def make(session: Path, **options: Any) -> dict[str, Delivered]:
    found = sealed_session.read(session)
    with disc_folder(found) as folder:
        return {d.name: d for d in deliver(found, folder, **options).files}


def packets(path: Path) -> list[tuple[float, bytes]]:
    """Seconds and bytes of each packet of the first stream."""
    with av.open(str(path)) as container:
        return [(float((p.pts or 0) * p.time_base), bytes(p)) for p in container.demux(container.streams[0]) if p.size]


def stored(session: Path, track: str) -> list[bytes]:
    return [data for path in sorted((session / "tracks" / track).glob("*.mkv")) for _, data in packets(path)]


def damage(path: Path, at: int) -> None:
    path.chmod(0o640)
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_one_file_a_run_and_a_hole_stays_a_hole(session: Path) -> None:
    made = make(session)
    assert list(made) == ["composite-01.mp4", "overview-01.mp4", "closeup-01.mp4", "closeup-02.mp4", "microphone-01.mp4"]
    spans = {name: ((d.first_ns - T0) / SECOND_NS, (d.end_ns - T0) / SECOND_NS) for name, d in made.items()}
    assert spans["overview-01.mp4"] == (-1, SECONDS)
    assert (spans["closeup-01.mp4"], spans["closeup-02.mp4"]) == ((0, 3), (5, 6))


@pytest.mark.parametrize(
    ("track", "files", "codec", "tag"),
    [
        ("overview", ["overview-01.mp4"], "h264", "avc1"),
        ("closeup", ["closeup-01.mp4", "closeup-02.mp4"], "hevc", "hvc1"),
        ("microphone", ["microphone-01.mp4"], "flac", "fLaC"),
    ],
)
def test_every_packet_is_there_unchanged(session: Path, track: str, files: list[str], codec: str, tag: str) -> None:
    make(session)
    delivered = [data for file in files for _, data in packets(session / "disc" / file)]
    assert delivered == stored(session, track)
    sources = sorted((session / "tracks" / track).glob("*.mkv"))
    assert sum(d.packets for f in files for d in remux.digests([session / "disc" / f])) == len(delivered)
    if len(files) == 1:
        assert same_packets(sources, session / "disc" / files[0])
        assert not same_packets(sources[:-1], session / "disc" / files[0])
    with av.open(str(session / "disc" / files[0])) as container:
        context = container.streams[0].codec_context
        assert (context.name, context.codec_tag) == (codec, tag)
        assert sum(1 for _ in container.decode(container.streams[0])) > 0


def test_times_go_on_across_segments(session: Path) -> None:
    make(session)
    times = [t for t, _ in packets(session / "disc" / "overview-01.mp4")]
    assert times == pytest.approx([n / 25 for n in range((SECONDS + 1) * 25)], abs=0.0015)
    sound = [t for t, _ in packets(session / "disc" / "microphone-01.mp4")]
    assert sound == sorted(sound)
    assert sound[21] == pytest.approx(2.0, abs=0.0015)  # the second segment begins where room time says
    with av.open(str(session / "disc" / "overview-01.mp4")) as container:
        assert (container.duration or 0) / 1e6 == pytest.approx(SECONDS + 1, abs=0.002)


def test_a_clock_that_runs_wrong_is_put_right(session: Path, tmp_path: Path) -> None:
    """A camera that counts 400 ppm too fast: its pictures stand where room time had them."""
    found = sealed_session.read(session)
    first = replace(found.segments["overview"][0], ppm=-400.0, end_ns=T0 + round(1.9992e9) - SECOND_NS)
    target = tmp_path / "x.mp4"
    remux.segments_to_mp4(session, [first], target, stopped=lambda: False, done=lambda _: None)
    times = [t for t, _ in packets(target)]
    assert times[-1] == pytest.approx(49 / 25 * (1 - 400e-6), abs=0.0006)


def test_the_index_stands_in_front(session: Path) -> None:
    make(session)
    for path in (session / "disc").glob("*.mp4"):
        data = path.read_bytes()
        assert data.index(b"moov") < data.index(b"mdat"), path.name


def test_the_composite_keeps_pictures_and_sound_together(session: Path) -> None:
    made = make(session)["composite-01.mp4"]
    assert next((s.kind, s.packets) for s in made.streams) == ("video", SECONDS * 25)
    with av.open(str(session / "disc" / "composite-01.mp4")) as container:
        picture, sound = container.streams.video[0], container.streams.audio[0]
        assert picture.start_time == 0
        first = next(container.decode(sound))
        assert first.time == pytest.approx(0, abs=0.001)
    assert same_packets([session / "composite" / "part-001.mp4"], session / "disc" / "composite-01.mp4")


def test_files_of_an_earlier_run_are_used_again_unless_one_differs(session: Path) -> None:
    made = make(session)
    before = {p.name: p.stat().st_mtime_ns for p in (session / "disc").glob("*.mp4")}
    assert make(session) == made
    assert {p.name: p.stat().st_mtime_ns for p in (session / "disc").glob("*.mp4")} == before
    damage(session / "disc" / "closeup-02.mp4", -1)
    again = make(session)
    assert {n: d.streams for n, d in again.items()} == {n: d.streams for n, d in made.items()}
    assert again["closeup-02.mp4"].sha256 == hashlib.sha256((session / "disc" / "closeup-02.mp4").read_bytes()).hexdigest()


def test_clear_leaves_no_mp4_and_no_index(session: Path) -> None:
    make(session)
    clear(session / "disc")
    assert [p.name for p in (session / "disc").iterdir()] == [".lock"]


def delivered(session: Path) -> Delivery:
    found = sealed_session.read(session)
    with disc_folder(found) as folder:
        return deliver(found, folder)


ALL = ["composite-01.mp4", "overview-01.mp4", "closeup-01.mp4", "closeup-02.mp4", "microphone-01.mp4"]


@pytest.mark.parametrize(
    ("name", "at", "left"),
    [
        ("tracks/overview/000001.mkv", 5000, [ALL[0], "overview-01.mp4", "overview-02.mp4", *ALL[2:]]),
        ("tracks/overview/000001.mkv", 0, [ALL[0], "overview-01.mp4", "overview-02.mp4", *ALL[2:]]),  # no longer Matroska
        ("tracks/closeup/000001.mkv", None, ALL),  # away
        ("tracks/closeup/000002.mkv", 5000, [n for n in ALL if n != "closeup-02.mp4"]),
        ("composite/part-001.mp4", 5000, ALL[1:]),
    ],
)
def test_what_was_damaged_after_the_seal_is_left_out_and_listed(
    session: Path, name: str, at: int | None, left: list[str]
) -> None:
    before = {s.path for d in delivered(session).files for s in d.sources}
    clear(session / "disc")
    if at is None:
        (session / name).unlink()
    else:
        damage(session / name, at)
    made = delivered(session)
    assert [d.name for d in made.files] == left == [p.name for p in sorted_as(left, session / "disc")]
    assert [d.path for d in made.damaged] == [name]
    assert {s.path for d in made.files for s in d.sources} == before - {name}
    if name.startswith("tracks/overview"):
        assert [((d.first_ns - T0) // SECOND_NS, (d.end_ns - T0) // SECOND_NS) for d in made.files[1:3]] == [(-1, 1), (3, 6)]
        assert ((made.damaged[0].first_ns - T0) // SECOND_NS, (made.damaged[0].end_ns - T0) // SECOND_NS) == (1, 3)


def sorted_as(names: list[str], folder: Path) -> list[Path]:
    """The folder's MP4s in the order of the names; others at the end."""
    return sorted(folder.glob("*.mp4"), key=lambda p: names.index(p.name) if p.name in names else len(names))


def test_files_that_lack_something_are_used_again_until_it_is_back(session: Path) -> None:
    name = "tracks/overview/000001.mkv"
    whole = (session / name).read_bytes()
    damage(session / name, 5000)
    made = delivered(session)
    before = {p.name: p.stat().st_mtime_ns for p in (session / "disc").glob("*.mp4")}
    assert delivered(session) == made
    assert {p.name: p.stat().st_mtime_ns for p in (session / "disc").glob("*.mp4")} == before
    (session / name).write_bytes(whole)
    assert delivered(session).damaged == ()
    assert [p.name for p in sorted_as(ALL, session / "disc")] == ALL


def test_where_nothing_is_whole_there_is_nothing_to_deliver(session: Path) -> None:
    for path in [*session.glob("tracks/*/*.mkv"), *session.glob("composite/*.mp4")]:
        damage(path, 5000)
    with pytest.raises(EvidenceFault, match=r"not what its journal says|cannot be read as a recording"):
        delivered(session)


def test_a_source_that_is_whole_and_cannot_be_used_is_refused(session: Path) -> None:
    """Its digest is right and its journal says something else of it: that is no damage."""
    found = sealed_session.read(session)
    first, *rest = found.segments["overview"]
    found = replace(found, segments={**found.segments, "overview": (replace(first, packets=first.packets + 1), *rest)})
    with disc_folder(found) as folder, pytest.raises(EvidenceFault, match="packets, its journal says"):
        deliver(found, folder)


def test_a_segment_that_was_missing_at_the_seal_is_a_hole(session: Path) -> None:
    found = sealed_session.read(session)
    found = replace(found, segments={"overview": (*found.segments["overview"][:1], *found.segments["overview"][2:])}, parts=())
    with disc_folder(found) as folder:
        made = deliver(found, folder).files
    assert [(d.first_ns - T0) // SECOND_NS for d in made] == [-1, 3]


def test_a_segment_that_was_cut_off_gives_all_its_whole_packets(session: Path, tmp_path: Path) -> None:
    whole = sealed_session.read(session).segments["overview"][0]
    torn = tmp_path / "000000.mkv"
    torn.write_bytes((session / whole.path).read_bytes()[:-9_999])
    facts = recover(torn, whole.first_ns, "h264")
    assert facts is not None
    cut = SealedSegment(
        torn.name, facts.bytes, facts.sha256, facts.packets, facts.first_ns, facts.end_ns, 0, 0.0, "h264", recovered=True
    )
    remux.segments_to_mp4(tmp_path, [cut], tmp_path / "x.mp4", stopped=lambda: False, done=lambda _: None)
    kept = [data for _, data in packets(tmp_path / "x.mp4")]
    assert 0 < len(kept) == facts.packets < whole.packets
    assert kept == [data for _, data in packets(session / whole.path)][: len(kept)]


@pytest.mark.parametrize("seconds", [1, 2, 5])
def test_what_a_part_shows_after_the_official_end_is_left_out(session: Path, seconds: int) -> None:
    """Pictures and sound up to the end alone, each packet unchanged."""
    found = sealed_session.read(session)
    (part,) = found.parts
    assert not part.cut
    early = sealed_session.until(part, T0 + seconds * SECOND_NS)
    assert (early.cut, early.pictures, early.end_ns) == (True, 25 * seconds, T0 + seconds * SECOND_NS)
    with disc_folder(found) as folder:
        made = deliver(replace(found, parts=(early,)), folder).files[0]
        again = deliver(replace(found, parts=(early,)), folder).files[0]
    assert made == again
    assert (made.name, made.end_ns) == ("composite-01.mp4", early.end_ns)
    for kind, per_s in (("video", 25), ("audio", 48_000 / 1024)):
        whole, cut = (_packets_of(path, kind) for path in (session / part.path, session / "disc" / made.name))
        assert cut == whole[: len(cut)]
        assert len(whole) > len(cut)
        assert abs(len(cut) - per_s * seconds) <= (0 if kind == "video" else 2)  # the encoder's delay, and a started block
    assert count_pictures(session / "disc" / made.name) == 25 * seconds


def _packets_of(path: Path, kind: str) -> list[tuple[Fraction, bytes]]:
    """Time, s, and bytes of each packet."""
    with av.open(str(path)) as container:
        (stream,) = (s for s in container.streams if s.type == kind)
        return [((p.pts or 0) * p.time_base, bytes(p)) for p in container.demux(stream) if p.size]


def test_a_part_that_begins_after_the_official_end_is_on_no_disc(session: Path) -> None:
    path = session / "manifest.json"
    path.chmod(0o640)
    for seconds, expected in ((SECONDS, [(SECONDS * 25, False)]), (2, [(50, True)]), (0, [])):
        content = dict(read_json(path))
        write_json(path, {**content, "end_ns": T0 + seconds * SECOND_NS})
        assert [(p.pictures, p.cut) for p in sealed_session.read(session).parts] == expected


@pytest.mark.parametrize("cut", [-20, 4, 60, 107, 200])
def test_a_part_that_was_cut_off_at_a_fragment_s_head_is_delivered(session: Path, tmp_path: Path, cut: int) -> None:
    data = (session / "composite" / "part-001.mp4").read_bytes()
    third = [at for at in range(len(data)) if data.startswith(b"moof", at)][2] - 4
    torn, target = tmp_path / "part,,:001.mp4", tmp_path / "x.mp4"
    torn.write_bytes(data[: third + cut])
    remux.part_to_mp4(torn, target, stopped=lambda: False, timeout_s=20)
    assert same_packets([torn], target)
    video, _ = remux.digests([target])
    assert (video.kind, video.packets) == ("video", count_pictures(torn))
    assert video.packets >= 2 * 25


def test_one_process_at_a_time(session: Path) -> None:
    found = sealed_session.read(session)
    with disc_folder(found), pytest.raises(AlreadyRunning), disc_folder(found):
        pass


def test_stopping_is_heard(session: Path) -> None:
    with pytest.raises(Stopped):
        make(session, stopped=lambda: True)


def ffmpeg_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Puts a program named ffmpeg before the real one."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "ffmpeg"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")


def test_an_ffmpeg_that_dies_is_no_success(session: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ffmpeg_that(tmp_path, monkeypatch, "kill -SEGV $$")
    with pytest.raises(BurnFault, match=signal.SIGSEGV.name):
        make(session)


def test_an_ffmpeg_that_loses_packets_is_noticed(session: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ffmpeg_that(tmp_path, monkeypatch, f'exec {shutil.which("ffmpeg")} -t 3 "$@"')
    with pytest.raises(BurnFault, match="does not hold the packets"):
        make(session)


def test_an_ffmpeg_that_hangs_is_ended(session: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ffmpeg_that(tmp_path, monkeypatch, "exec sleep 60")
    with pytest.raises(BurnFault, match="took longer than 1 s"):
        remux.part_to_mp4(session / "composite" / "part-001.mp4", tmp_path / "x.mp4", stopped=lambda: False, timeout_s=1)


def segment(first_s: float, end_s: float, codec: str = "h264") -> SealedSegment:
    return SealedSegment("p", 1, "", 1, round(first_s * SECOND_NS), round(end_s * SECOND_NS), 0, 0.0, codec, False)


def test_runs_end_at_holes_and_changes_of_codec() -> None:
    whole = [segment(0, 10), segment(10.04, 20), segment(19.97, 30)]
    assert runs(whole) == (tuple(whole),)
    assert [len(r) for r in runs([*whole, segment(33, 40), segment(40, 50, "hevc")])] == [3, 1, 1]
    assert runs([]) == ()


def test_a_journal_line_without_its_fields_is_told() -> None:
    with pytest.raises(WrongField, match="bytes"):
        list(read_lines([{"kind": "segment", "seq": 3, "file": "000000.mkv"}]))
    line = {"kind": "part", "seq": 4, "bytes": 1, "sha256": "", "first_picture": 0, "pictures": 1, "start_ns": 0, "end_ns": 1}
    with pytest.raises(EvidenceFault, match="incomplete entry"):
        parts(read_lines([{**line, "file": "../../etc/passwd"}]))
    with pytest.raises(EvidenceFault, match="incomplete entry 4"):
        parts(read_lines([{**line, "file": "part-001.mp4", "end_ns": None}]))
