"""One track's folder: roll-over without loss, holes named, torn segments kept, every death survived."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import pytest

from recorder.disk import journal
from recorder.evidence.continuity import DIED, REBOOTED, coverage
from recorder.faults import StorageFault
from recorder.media.packets import Format, Packet
from recorder.session.lines import read_lines
from recorder.track.recording import Identity, Recording
from tests.recorder import media_samples
from wording import Fault
from wording.sentence import Sentence, plain_values

T0 = 1_795_000_000_000_000_000
SEGMENT_NS = 2_000_000_000


def room(packet: Packet) -> int:
    return T0 + packet.arrival_ns


def begin(folder: Path, boot: str = "boot-1") -> Recording:
    return Recording(folder / "overview", Identity("overview", "s1", boot, "0"), T0, SEGMENT_NS)


def entries(folder: Path) -> list[dict[str, Any]]:
    return list(journal.read(folder / "overview" / "journal.jsonl"))


def media(folder: Path) -> list[bytes]:
    listed = [e["file"] for e in entries(folder) if e["kind"] == "segment"]
    out = []
    for name in listed:
        with av.open(str(folder / "overview" / name)) as container:
            out += [bytes(p) for p in container.demux() if p.size]
    return out


def write(recording: Recording, format_: Format, packets: list[Packet]) -> None:
    for packet in packets:
        recording.write(packet, room(packet), format_, 0.0)


def test_no_packet_is_lost_or_doubled_where_segments_meet(tmp_path: Path) -> None:
    format_, packets = media_samples.video(tmp_path, seconds=8)
    recording = begin(tmp_path)
    write(recording, format_, packets)
    stop = room(packets[-1]) + 40_000_000
    recording.end(stop, 0.0)
    recording.close()
    assert media(tmp_path) == [p.data for p in packets]
    segments = [e for e in entries(tmp_path) if e["kind"] == "segment"]
    assert [s["packets"] for s in segments] == [50, 50, 50, 50]
    assert coverage(read_lines(entries(tmp_path)), T0, stop).gaps == ()


def test_a_hole_inside_a_connection_is_a_gap_of_its_length(tmp_path: Path) -> None:
    format_, packets = media_samples.video(tmp_path, seconds=8)
    recording = begin(tmp_path)
    kept = packets[:60] + packets[100:]
    write(recording, format_, kept)
    recording.end(room(packets[-1]) + 40_000_000, 0.0)
    gaps = coverage(read_lines(entries(tmp_path)), T0, room(packets[-1])).gaps
    assert [(g.from_ns - T0, g.to_ns - T0) for g in gaps] == [(60 * 40_000_000, 100 * 40_000_000)]
    assert gaps[0].cause.code == "connected-device-delivered-nothing"
    assert gaps[0].cause.say().startswith("The device delivered nothing for 1.6 s ")
    assert media(tmp_path) == [p.data for p in kept], "what did arrive is kept, whether or not a key frame came first"


def test_a_hole_ends_no_segment_and_one_before_a_key_frame_is_told_too(tmp_path: Path) -> None:
    """A segment begins at a key frame, never at a hole; what lies in the hole is not covered, whichever segment goes over it."""
    format_, packets = media_samples.video(tmp_path, seconds=8)
    recording = begin(tmp_path)
    write(recording, format_, packets[:30] + packets[60:90] + packets[100:])  # the second hole ends at a key frame
    stop = room(packets[-1]) + 40_000_000
    recording.end(stop, 0.0)
    recording.close()
    kinds = [e["kind"] for e in entries(tmp_path)]
    assert "lost" not in kinds and kinds.count("silence") == 2
    gaps = coverage(read_lines(entries(tmp_path)), T0, stop).gaps
    assert [(g.from_ns - T0, g.to_ns - T0) for g in gaps] == [
        (30 * 40_000_000, 60 * 40_000_000),
        (90 * 40_000_000, 100 * 40_000_000),
    ]
    for line in entries(tmp_path):
        if line["kind"] == "segment":
            with av.open(str(tmp_path / "overview" / line["file"])) as container:
                assert next(container.demux()).is_keyframe


@pytest.mark.parametrize("after", [0, 1, 3, 10])
def test_a_silence_that_a_dead_process_had_not_told_is_read_from_the_disk(tmp_path: Path, after: int) -> None:
    """after: how many pictures came behind it before the process died. What of them reached the disk decides who tells it."""
    format_, packets = media_samples.video(tmp_path, seconds=8)
    recording = begin(tmp_path)
    write(recording, format_, packets[:70] + packets[95 : 96 + after])
    recording.close()
    begin(tmp_path).close()
    reopened = begin(tmp_path)
    write(reopened, format_, packets[150:])
    stop = room(packets[-1]) + 40_000_000
    reopened.end(stop, 0.0)
    reopened.close()
    told = [e for e in entries(tmp_path) if e["kind"] == "silence"]
    assert [(e["from_ns"] - T0, e["to_ns"] - T0) for e in told] == [(70 * 40_000_000, 95 * 40_000_000)] * (after >= 3)
    gaps = coverage(read_lines(entries(tmp_path)), T0, stop).gaps
    assert gaps[0].from_ns - T0 == 70 * 40_000_000 and gaps[-1].to_ns - T0 == 150 * 40_000_000


def test_a_lost_source_is_named_with_its_cause(tmp_path: Path) -> None:
    format_, packets = media_samples.video(tmp_path, seconds=8)
    recording = begin(tmp_path)
    write(recording, format_, packets[:75])
    recording.lost(Fault("camera-ended-connection", "check-power-and-network-cable", name="overview"), 0.0)
    recording.lost(Fault("recording-process-asked-to-stop", "start-service-again"), 0.0)
    write(recording, format_, packets[125:])
    recording.end(room(packets[-1]) + 40_000_000, 0.0)
    gaps = coverage(read_lines(entries(tmp_path)), T0, room(packets[-1])).gaps
    assert [(g.from_ns - T0, g.to_ns - T0, g.cause) for g in gaps] == [
        (75 * 40_000_000, 125 * 40_000_000, Sentence("camera-ended-connection", {"name": "overview"}))
    ]


def test_an_orderly_stop_and_a_new_process_continue(tmp_path: Path) -> None:
    format_, packets = media_samples.video(tmp_path, seconds=8)
    first = begin(tmp_path)
    write(first, format_, packets[:90])
    first.lost(Fault("recording-process-asked-to-stop", "start-service-again"), 0.0)
    first.close()
    second = begin(tmp_path)
    assert second.packets == 90
    assert second.end_ns == T0 + 90 * 40_000_000
    write(second, format_, packets[100:])
    second.end(room(packets[-1]) + 40_000_000, 0.0)
    assert media(tmp_path) == [p.data for p in packets[:90] + packets[100:]]
    assert second.ended
    assert begin(tmp_path).ended, "an ended recording stays ended"


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.recorder.track.test_recording import *
folder = Path(sys.argv[1])
format_, packets = media_samples.video(folder, seconds=8)
recording = begin(folder)
for n, packet in enumerate(packets):
    recording.write(packet, room(packet), format_, 0.0)
    recording.sync()
    if n == 130:
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("boot", ["boot-1", "boot-2"])
def test_a_killed_process_loses_nothing_that_was_synced(tmp_path: Path, boot: str) -> None:
    _, packets = media_samples.video(tmp_path, seconds=8)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path)], env={**os.environ, "PYTHONPATH": "."}, timeout=30, check=False
    )
    assert killed.returncode == -9
    torn = sorted((tmp_path / "overview").glob("*.mkv"))[-1]
    before = torn.read_bytes()
    recording = begin(tmp_path, boot)
    recovered = [e for e in entries(tmp_path) if e["kind"] == "segment" and e["recovered"]]
    assert [e["file"] for e in recovered] == [torn.name]
    assert torn.read_bytes() == before, "kept as it was"
    assert len(media(tmp_path)) >= 131 - 25
    lost = [e for e in entries(tmp_path) if e["kind"] == "lost"]
    assert lost[-1]["cause"] == (REBOOTED if boot == "boot-2" else DIED)
    format_, packets = media_samples.video(tmp_path, seconds=8)
    write(recording, format_, packets[150:])
    recording.end(room(packets[-1]) + 40_000_000, 0.0)
    gaps = coverage(read_lines(entries(tmp_path)), T0, room(packets[-1])).gaps
    assert len(gaps) == 1
    assert gaps[0].to_ns == T0 + 150 * 40_000_000


def test_a_failed_write_gives_up_the_segment_and_reads_back_what_is_there(tmp_path: Path) -> None:
    format_, packets = media_samples.video(tmp_path, seconds=8)
    recording = begin(tmp_path)
    write(recording, format_, packets[:80])
    open_ = recording._open
    assert open_ is not None
    os.close(open_.writer.sink._fd)
    open_.writer.sink._fd = os.open("/dev/full", os.O_WRONLY)
    with pytest.raises(Fault, match="No space left") as caught:
        write(recording, format_, packets[80:])
    recording.give_up(caught.value)
    write(recording, format_, packets[100:])
    recording.end(room(packets[-1]) + 40_000_000, 0.0)
    recovered = [e for e in entries(tmp_path) if e["kind"] == "segment" and e["recovered"]]
    assert len(recovered) == 1
    assert recovered[0]["packets"] <= 30
    gaps = coverage(read_lines(entries(tmp_path)), T0, room(packets[-1])).gaps
    assert len(gaps) == 1
    assert gaps[0].cause == Sentence(caught.value.code, plain_values(caught.value.values))
    assert "No space left" in gaps[0].cause.say()


def test_a_damaged_journal_is_kept_aside_and_its_segments_are_read_anew(tmp_path: Path) -> None:
    format_, packets = media_samples.video(tmp_path, seconds=4)
    recording = begin(tmp_path)
    write(recording, format_, packets[:60])
    recording.lost(Fault("camera-ended-connection", "check-power-and-network-cable", name="overview"), 0.0)
    recording.close()
    path = recording.folder / "journal.jsonl"
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([lines[0], lines[1].replace(b'"at":"', b'"at": "'), *lines[2:]]))
    again = begin(tmp_path)
    assert (again.segments, again.packets, again.ended) == (2, 60, False)
    write(again, format_, packets[75:100])
    stop = room(packets[99]) + 40_000_000
    again.end(stop, 0.0)
    again.close()
    (damaged,) = [e for e in entries(tmp_path) if e["kind"] == "damaged"]
    assert hashlib.sha256((recording.folder / damaged["kept_as"]).read_bytes()).hexdigest() == damaged["sha256"]
    assert damaged["line"] == 3
    assert media(tmp_path) == [p.data for p in packets[:60] + packets[75:100]]
    assert [e["recovered"] for e in entries(tmp_path) if e["kind"] == "segment"] == [True, True, False]
    (gap,) = coverage(read_lines(entries(tmp_path)), T0, stop).gaps
    assert (gap.from_ns - T0, gap.to_ns - T0) == pytest.approx((60 * 40_000_000, 75 * 40_000_000), abs=2_000_000)


def test_whoever_dies_while_segments_are_read_anew_leaves_the_rest_to_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    format_, packets = media_samples.video(tmp_path, seconds=8)
    recording = begin(tmp_path)
    write(recording, format_, packets[:190])
    recording.lost(Fault("camera-ended-connection", "check-power-and-network-cable", name="overview"), 0.0)
    recording.close()
    path = recording.folder / "journal.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"at":"', b'"at": "', 1))
    lines = 0

    def append(self: journal.Journal, kind: str, /, **fields: object) -> journal.Head:
        nonlocal lines
        lines += 1
        if lines > 3:
            raise StorageFault("file-not-writable", "check-data-disk-health", path=path, why="full")
        return whole(self, kind, **fields)

    whole = journal.Journal.append
    with monkeypatch.context() as disk:
        disk.setattr(journal.Journal, "append", append)
        with pytest.raises(StorageFault):
            begin(tmp_path)
    assert len([e for e in entries(tmp_path) if e["kind"] == "segment"]) == 2
    again = begin(tmp_path)
    assert (again.segments, again.packets) == (4, 190)
    again.close()
    assert media(tmp_path) == [p.data for p in packets[:190]]
    assert begin(tmp_path).packets == 190


def test_sound_on_a_disk_that_refuses_leaves_no_file_open(tmp_path: Path) -> None:
    format_, packets = media_samples.sound(4.0)
    recording = begin(tmp_path)
    handles = len(list(Path("/proc/self/fd").iterdir()))
    for place in range(0, 100, 20):
        write(recording, format_, packets[place : place + 20])
        assert recording._open is not None
        recording._open.writer.sink.error = OSError(28, os.strerror(28))
        with pytest.raises(StorageFault) as caught:
            recording.lost(Fault("camera-ended-connection", "check-power-and-network-cable", name="overview"), 0.0)
        recording.give_up(caught.value)
        recording.flush()
    assert len(list(Path("/proc/self/fd").iterdir())) == handles
    assert [e["recovered"] for e in entries(tmp_path) if e["kind"] == "segment"] == [True] * 5
