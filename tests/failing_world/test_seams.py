"""No packet is lost at the seams: from segment to segment, from part to part, over a restart, and on the way to the disc."""

import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from recorder.disk import journal
from tests.equipment.microphone import RATE_HZ
from tests.failing_world.sound_truth import heard_holes, lost_by_the_card, pieces, samples_of
from tests.failing_world.truth import PICTURE_NS, check_ledger, delivered, packets_of, packets_stored, truth_of
from tests.live_room import SECOND, TRACKS, LiveRoom, wait_for

pytestmark = pytest.mark.timeout(120)


@dataclass(frozen=True, slots=True)
class Sealed:
    """A sealed session in which the composer and the close-up's track were killed.

    files: its delivered MP4s by track. unheard: samples that the sound server itself did not take, on an overloaded machine.
    """

    room: LiveRoom
    started: dict[str, Any]
    manifest: dict[str, Any]
    files: dict[str, list[Path]]
    unheard: int


@pytest.fixture(scope="module")
def sealed(standing_room: LiveRoom) -> Sealed:
    """The session of all tests of this file."""
    room = standing_room
    wait_for(
        lambda: room.composer() and all((t := room.track(n)) and t.state == "armed" for n in TRACKS), "the room is armed", 30.0
    )
    started, unheard = room.start(), lost_by_the_card(room)
    room.record_for(4.0)
    for name in ("composer", "closeup"):
        pid = room.pid(name)
        room.signal(name, signal.SIGKILL)
        room.replaced(name, pid)
        wait_for(lambda: room.recording() and (c := room.composer()) and c.state == "recording", "everything records", 10.0)
        room.record_on(1.5)
    room.record_on(2.0)
    room.stop()
    room.verified(started)
    unheard = lost_by_the_card(room) - unheard
    return Sealed(room, started, room.manifest(started), delivered(room, started), unheard)


def test_segments_hold_every_packet_once(sealed: Sealed) -> None:
    """From segment to segment, and while the composer dies, each access unit that the camera sent is stored once, unchanged."""
    truth = truth_of(sealed.room, sealed.started, "overview")
    segments = [e for e in sealed.room.journal(sealed.started, "overview") if e["kind"] == "segment"]
    assert len(segments) >= 3
    assert len(sealed.manifest["composite"]["parts"]) >= 2
    assert truth.gaps == []
    assert truth.places == list(range(truth.places[0], truth.places[-1] + 1)), "none missing, none twice"
    assert truth.sent[truth.places[0]].at_ns <= sealed.manifest["start_ns"] + PICTURE_NS
    assert truth.sent[truth.places[-1]].at_ns >= sealed.manifest["end_ns"] - 3 * PICTURE_NS


def test_a_restarted_track_stores_no_packet_twice(sealed: Sealed) -> None:
    """Before and after a track's death each access unit is stored once; between them is the one gap that the ledger tells."""
    truth = truth_of(sealed.room, sealed.started, "closeup")
    check_ledger(truth, sealed.manifest, "closeup")
    (gap,) = truth.gaps
    runs = [
        [p for p in truth.places if truth.sent[p].at_ns < gap.to_ns],
        [p for p in truth.places if truth.sent[p].at_ns >= gap.to_ns],
    ]
    for run in runs:
        assert run == list(range(run[0], run[-1] + 1)), "none missing, none twice"


@pytest.mark.parametrize("camera", ["overview", "closeup"])
def test_delivered_pictures_are_the_camera_s(sealed: Sealed, camera: str) -> None:
    """The MP4s of a disc hold each packet of the segments, so of the camera, in order: none missing, none twice, none changed."""
    told = [packet.digest for packet in packets_stored(sealed.room, sealed.started, camera)]
    truth = truth_of(sealed.room, sealed.started, camera)
    delivered = [found for file in sealed.files[camera] for _, found in packets_of(file)]
    assert delivered == told == [truth.sent[place].digest for place in truth.places]


def test_delivered_sound_is_the_microphone_s(sealed: Sealed) -> None:
    """No sample is missing from segment to segment, and the MP4 of the disc holds the same samples."""
    missing_s = sum(hole.ns for hole in heard_holes(pieces(sealed.room, sealed.started))) / SECOND
    assert round(missing_s * RATE_HZ) <= sealed.unheard, "no sample is missing that the microphone delivered"
    folder = sealed.room.session_folder(sealed.started) / "tracks" / "microphone"
    stored = [samples_of(path) for path in sorted(folder.glob("*.mkv"))]
    assert np.array_equal(np.concatenate(stored), np.concatenate([samples_of(path) for path in sealed.files["microphone"]]))


def test_delivered_parts_are_the_composite_s(sealed: Sealed) -> None:
    """Each part of the composite is on the disc with each of its packets, pictures and sound, unchanged."""
    folder = sealed.room.session_folder(sealed.started) / "composite"
    parts = [folder / str(e["file"]) for e in journal.read(folder / "journal.jsonl") if e["kind"] == "part"]
    assert len(parts) == len(sealed.files["composite"]) >= 2
    for part, file in zip(sorted(parts), sealed.files["composite"], strict=True):
        assert _raw(part) == _raw(file)


def _raw(path: Path) -> dict[str, list[bytes]]:
    """The packets of each stream."""
    found: dict[str, list[bytes]] = {"video": [], "audio": []}
    with av.open(f"file:{path}") as container:
        for packet in container.demux():
            if packet.size:
                found[packet.stream.type].append(bytes(packet))
    return found
