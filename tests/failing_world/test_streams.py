"""What cameras do to their streams while they go on: it is stored as it came, leaves no false gap, and can be played."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import av
import pytest

from tests.equipment.clips import B_FRAMES, LONG_GROUPS, SMALL, ClipRecipe
from tests.failing_world.truth import (
    PICTURE_NS,
    Truth,
    check_composite_whole,
    check_delivered,
    check_ledger,
    check_playable,
    check_whole,
    truth_of,
)
from tests.live_room import SECOND, LiveRoom

IN_STEP_MS = 40.0
MEND_S = 3.0  # what cannot be taken over without a break costs no more than this
CAMERAS = ("overview", "closeup")

pytestmark = pytest.mark.timeout(180)


def disturbed(room: LiveRoom, *disturb: Callable[[], object], seconds: float = 4.0) -> tuple[dict[str, Any], dict[str, Truth]]:
    """A session with these disturbances, each followed by some seconds; the session and the truth about each camera."""
    started = room.start()
    room.record_for(2.0)
    pids = [room.pid(name) for name in (*CAMERAS, "microphone", "composer")]
    for act in disturb:
        act()
        room.record_on(seconds)
    room.stop()
    assert [room.pid(name) for name in (*CAMERAS, "microphone", "composer")] == pids, "no process died of it"
    check_composite_whole(room.manifest(started))
    check_whole(room, started, "microphone")
    return started, {camera: truth_of(room, started, camera) for camera in CAMERAS}


def check_account(room: LiveRoom, started: dict[str, Any], camera: str, truth: Truth, *, undecodable: int = 0) -> None:
    """The ledger is true, everything that came is stored, and both the segments and the MP4s can be played."""
    manifest = room.manifest(started)
    check_ledger(truth, manifest, camera)
    inside = [(gap.from_ns - 5 * PICTURE_NS, gap.to_ns + PICTURE_NS) for gap in truth.gaps]
    edges = [manifest["start_ns"], *(at for span in inside for at in span), manifest["end_ns"] - 5 * PICTURE_NS]
    missing = sum(len(truth.missing(a, b)) for a, b in zip(edges[::2], edges[1::2], strict=True))
    assert missing == 0, f"{camera}: {missing} units that were sent are not stored, outside every gap"
    check_delivered(room, started, camera, check_playable(room, started, camera, undecodable))
    room.verified(started)


@pytest.mark.whole
def test_timestamps_that_jump_by_an_hour(standing: LiveRoom) -> None:
    """Timestamps that jump by an hour, forwards or back, cost nothing, are noted, and what follows stands at its true time."""
    cameras = standing.stand_ins
    started, truths = disturbed(
        standing, lambda: (cameras.fault("overview", "jump", 3600), cameras.fault("closeup", "jump", -3600)), seconds=6.0
    )
    for camera, truth in truths.items():
        assert truth.gaps == []
        check_account(standing, started, camera, truth)
        print(f"{camera}: within {truth.error_ms:.1f} ms")
        assert truth.error_ms <= IN_STEP_MS
        jumps = [entry for entry in standing.journal(started, camera) if entry["kind"] == "jump"]
        assert len(jumps) == 1, "the journal says so"


@pytest.mark.whole
def test_equal_stamps_and_garbage_leave_no_gap(standing: LiveRoom) -> None:
    """Packets of one time and pictures of random bytes are stored as they came: no gap, no crash, and the rest can be played."""
    cameras = standing.stand_ins
    started, truths = disturbed(
        standing,
        lambda: cameras.fault("overview", "equal_stamps", 3),
        lambda: (cameras.fault("overview", "garbage", 3), cameras.fault("closeup", "garbage", 12)),
        seconds=3.0,
    )
    for camera, truth in truths.items():
        assert truth.gaps == []
        assert sum(truth.sent[place].garbage for place in truth.places) == (3 if camera == "overview" else 12)
        check_account(standing, started, camera, truth, undecodable=20)


@pytest.mark.whole
def test_a_disturbed_network_is_told_truly(standing: LiveRoom) -> None:
    """80 ms of jitter leave no gap; random bytes in the connection cost at most 3 s, and the ledger says exactly what."""
    cameras = standing.stand_ins
    started, truths = disturbed(
        standing,
        lambda: (cameras.fault("overview", "jitter", 80), cameras.fault("closeup", "junk", 200)),
        seconds=7.0,
    )
    assert truths["overview"].gaps == []
    print(f"overview: within {truths['overview'].error_ms:.1f} ms")
    assert truths["overview"].error_ms <= IN_STEP_MS
    assert sum(gap.ns for gap in truths["closeup"].gaps) <= MEND_S * SECOND
    for camera, truth in truths.items():
        check_account(standing, started, camera, truth)


@pytest.mark.whole
def test_another_size_and_other_parameters_in_mid_stream(standing: LiveRoom) -> None:
    """A camera that changes its picture's size, or its parameter sets, leaves no gap; every segment decodes in its own size."""
    cameras = standing.stand_ins
    started, truths = disturbed(
        standing,
        lambda: (cameras.fault("overview", "size"), cameras.fault("closeup", "parameters")),
        lambda: (cameras.fault("overview", "back"), cameras.fault("closeup", "back")),
    )
    for camera, truth in truths.items():
        assert truth.gaps == []
        check_account(standing, started, camera, truth)
    assert sizes(standing, started, "overview") == [(640, 360), SMALL.other_size, (640, 360)]
    assert sizes(standing, started, "closeup") == [(640, 360)]


def sizes(room: LiveRoom, started: dict[str, Any], camera: str) -> list[tuple[int, int]]:
    """The sizes of the pictures that a track's segments decode to, in order."""
    found: list[tuple[int, int]] = []
    for path in sorted((room.session_folder(started) / "tracks" / camera).glob("*.mkv")):
        with av.open(f"file:{path}") as container:
            for picture in container.decode(video=0):
                if (picture.width, picture.height) not in found[-1:]:
                    found.append((picture.width, picture.height))
    return found


@pytest.mark.whole
@pytest.mark.parametrize(
    "recipe",
    [
        replace(B_FRAMES, seconds=LONG_GROUPS.seconds, gop=LONG_GROUPS.gop, audio="pcma"),
        replace(SMALL, codec="h265", audio="pcmu"),
    ],
    ids=["b-frames, 4 s groups, G.711", "h265, G.711"],
)
def test_other_streams_are_stored_whole(make_room: Callable[..., LiveRoom], recipe: ClipRecipe) -> None:
    """B-frames, key frames 4 s apart, H.265 and a camera's own sound in G.711: no gap, every packet stored, everything plays."""
    room = make_room(recipe=recipe)
    started, truths = disturbed(room, seconds=4.0)
    for camera, truth in truths.items():
        assert truth.gaps == []
        check_account(room, started, camera, truth)
