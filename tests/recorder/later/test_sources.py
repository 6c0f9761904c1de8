"""The sealed originals as the composer gets them: nothing readable is left out because of what lies before it."""

from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import av
import numpy as np
import pytest

from recorder.clock.instants import PICTURE_NS, SECOND_NS
from recorder.composite.picture import FULL
from recorder.evidence.sealed_segments import SealedSegment
from recorder.faults import EvidenceFault
from recorder.later.sources import CameraOfSegments, SoundOfSegments, begins_keyed, needed
from recorder.media.packets import Format, Packet
from recorder.track.segments import open_writer
from tests.recorder import media_samples

RATE = 48_000
BLOCK = RATE // 25
FRAME = 4608  # samples in a packet of FLAC


def segment(folder: Path, name: str, format_: Format, packets: Sequence[Packet], first_ns: int) -> SealedSegment:
    """One file of packets of 40 ms."""
    writer = open_writer(folder / name, format_)
    for packet in packets:
        writer.write(packet)
    writer.finish()
    digest, size = writer.sink.close(), (folder / name).stat().st_size
    pts = packets[0].pts if format_.media == "audio" else 0
    end_ns = first_ns + len(packets) * PICTURE_NS
    return SealedSegment(name, size, digest, len(packets), first_ns, end_ns, pts, 0.0, format_.codec, recovered=True)


def damaged(folder: Path, whole: SealedSegment, number: int) -> SealedSegment:
    """With one packet's bytes overwritten."""
    path = folder / whole.path
    with av.open(str(path)) as container:
        packet = bytes(next(p for n, p in enumerate(container.demux()) if n == number))
    data = path.read_bytes()
    assert data.count(packet) == 1
    path.write_bytes(data.replace(packet, bytes(len(packet))))
    return replace(whole, sha256=sha256(path.read_bytes()).hexdigest())


@pytest.mark.parametrize("number", [0, 20])
def test_a_damaged_packet_of_a_recovered_segment_costs_itself_alone(tmp_path: Path, number: int) -> None:
    format_, packets = media_samples.sound(4)
    torn = damaged(tmp_path, segment(tmp_path, "0.mkv", format_, packets, 0), number)
    sound = SoundOfSegments(tmp_path, [torn], RATE)
    read = [sound.read(n * PICTURE_NS, BLOCK) for n in range(95)]
    assert sum(missing for _, missing in read) == pytest.approx(FRAME, abs=50)
    assert min(np.abs(heard).max() for heard, _ in read[60:]) > 0.3, "the sound behind it is heard"
    with pytest.raises(EvidenceFault, match="cannot be read"):
        for n in range(95):
            SoundOfSegments(tmp_path, [replace(torn, recovered=False)], RATE).read(n * PICTURE_NS, BLOCK)


def test_a_segment_that_begins_without_a_key_frame_needs_the_one_before(tmp_path: Path) -> None:
    format_, packets = media_samples.video(tmp_path, seconds=4, gop=100)
    edges = ((0, 30), (30, 60), (60, 100))
    segments = [segment(tmp_path, f"{a}.mkv", format_, packets[a:b], a * PICTURE_NS) for a, b in edges]
    assert [begins_keyed(tmp_path, s) for s in segments] == [True, False, False]
    from_ns = 70 * PICTURE_NS
    used = needed(segments, from_ns, from_ns + SECOND_NS, keyed=lambda s: begins_keyed(tmp_path, s))
    assert list(used) == segments
    assert needed(segments, from_ns, from_ns + SECOND_NS) == tuple(segments[1:]), "which is near enough to show"
    camera = CameraOfSegments(tmp_path, "overview", used, FULL, from_ns)
    camera.advance(from_ns)
    assert camera.input.picture(from_ns)[1] == from_ns


def test_a_segment_that_cannot_be_opened_is_gone_behind(tmp_path: Path) -> None:
    format_, packets = media_samples.sound(1)
    whole = segment(tmp_path, "0.mkv", format_, packets, 0)
    assert begins_keyed(tmp_path, whole)
    (tmp_path / "1.mkv").write_bytes(b"nothing")
    broken = replace(whole, path="1.mkv", first_ns=SECOND_NS, end_ns=2 * SECOND_NS)
    assert not begins_keyed(tmp_path, broken)
    assert not begins_keyed(tmp_path, replace(whole, path="2.mkv"))
