"""A camera goes away, in all the ways in which cameras do, and comes back: what is missing, what is said of it, and when."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic, time
from typing import Any

import pytest

from drivers.discovery import LISTEN_S
from recorder.disk import journal
from recorder.session.lines import cause_of
from tests.demo.subscriber import Subscriber
from tests.failing_world.truth import (
    LOSS_EVENTS,
    PICTURE_NS,
    Truth,
    check_composite_whole,
    check_ledger,
    check_playable,
    check_whole,
    event_after,
    truth_of,
)
from tests.live_room import CASE, SECOND, LiveRoom, wait_for

TOLD_S = 3.0  # an event about a lost device is at the command room within this
BACK_S = 3.0  # a camera that is back is recorded again within this
SEARCHED_AFTER_S = 3.0  # a camera that is not at its address for so long is searched

pytestmark = pytest.mark.timeout(240)


@dataclass(frozen=True, slots=True)
class Outage:
    """A session in which the overview was away once. Times are room time, ns.

    gone_ns, back_ns: of the break and of its end.
    """

    started: dict[str, Any]
    manifest: dict[str, Any]
    gone_ns: int
    back_ns: int
    truth: Truth

    @property
    def gap(self) -> dict[str, Any]:
        """The one gap of the manifest."""
        (gap,) = self.manifest["tracks"]["overview"]["gaps"]
        return dict(gap)


def away(
    room: LiveRoom,
    feed: Subscriber,
    fault: str,
    seconds: float,
    *,
    mend: Callable[[], object] | None = None,
    limit_s: float = 15.0,
) -> Outage:
    """Breaks the overview in mid-session and mends it; checks on the way what each lost camera must lead to."""
    started = room.start()
    room.record_for(2.0)
    pid = room.pid("overview")
    wall_s, began_s = time(), monotonic()
    switch = room.stand_ins.fault("overview", fault)
    wait_for(lambda: (c := room.composer()) and c.lost == ["overview"], "the composite marks the camera as lost", 6.0)
    assert event_after(feed, "overview", LOSS_EVENTS, wall_s) <= TOLD_S
    wait_for(lambda: (t := room.track("overview")) and t.state == "connecting" and t.fault, "the track says why", 6.0)
    wait_for(lambda: monotonic() - began_s >= seconds, "the time of the break is over", seconds + 1)
    assert room.recording(("closeup", "microphone")), "the others go on"
    wall_s = time()
    if mend is None:
        room.stand_ins.fault("overview", "back")
    else:
        mend()
    back_ns = room.room_ns(started)
    wait_for(lambda: (t := room.track("overview")) and t.state == "recording" and not t.fault, "it records again", limit_s)
    wait_for(lambda: (c := room.composer()) and c.lost == [], "the composite shows the camera again", 6.0)
    event_after(feed, "overview", ("device-back",), wall_s, 6.0)
    room.record_on(1.5)
    room.stop()
    assert room.pid("overview") == pid, "no process died of it"
    manifest = room.manifest(started)
    truth = truth_of(room, started, "overview", damaged=1)  # the picture that was on its way when the connection broke
    return Outage(started, manifest, room.room_ns(started, switch.done_ns), back_ns, truth)


def check(room: LiveRoom, outage: Outage) -> None:
    """What must be true of each outage."""
    started, truth = outage.started, outage.truth
    check_ledger(truth, outage.manifest, "overview")
    gap = outage.gap
    assert "overview" in cause_of(gap).say(), gap
    returned_ns = truth.first_sent(outage.back_ns - PICTURE_NS)
    assert gap["to_ns"] - returned_ns <= BACK_S * SECOND, (
        f"{(gap['to_ns'] - returned_ns) / SECOND:.2f} s after the camera was back"
    )
    stored_to_ns = truth.gaps[0].from_ns
    assert abs(stored_to_ns - outage.gone_ns) <= 0.2 * SECOND, "everything up to the break is stored"
    assert truth.missing(gap["to_ns"], outage.manifest["end_ns"] - 5 * PICTURE_NS) == []
    assert truth.error_ms < 200
    check_playable(room, started, "overview")
    check_whole(room, started, "closeup", "microphone")
    check_composite_whole(outage.manifest)
    assert marks(room, started) == ["lost overview", "back overview"]
    room.verified(started)


def marks(room: LiveRoom, started: dict[str, Any]) -> list[str]:
    """What the composer's journal says of cameras."""
    entries = journal.read(room.session_folder(started) / "composite" / "journal.jsonl")
    return [f"{e['kind']} {e['camera']}" for e in entries if e["kind"] in ("lost", "back")]


def test_a_camera_without_power_is_a_gap_of_its_true_length(standing: LiveRoom, standing_feed: Subscriber) -> None:
    """A camera that is off for 3 s is a tile in the composite, an event within 3 s, and a gap that is right to 0.2 s."""
    check(standing, away(standing, standing_feed, "gone", 3.0))


@pytest.mark.whole
@pytest.mark.parametrize("fault", ["frozen", "unplugged"])
def test_a_camera_that_hangs_is_a_gap_of_its_true_length(standing: LiveRoom, standing_feed: Subscriber, fault: str) -> None:
    """A camera that keeps its connections and sends nothing is given up, marked, and recorded again when it goes on."""
    check(standing, away(standing, standing_feed, fault, 5.0))


@pytest.mark.whole
@pytest.mark.parametrize("seconds", [10, 90])
def test_a_cut_network_is_a_gap_of_its_true_length(standing: LiveRoom, standing_feed: Subscriber, seconds: int) -> None:
    """A network that carries nothing for 10 s or 90 s costs that time and at most 3 s more, and nobody has to do anything."""
    check(standing, away(standing, standing_feed, "cut", seconds))


@pytest.mark.whole
def test_a_network_cut_for_one_second_costs_nothing_that_tcp_repairs(standing: LiveRoom, standing_feed: Subscriber) -> None:
    """After a cut of 1 s the ledger says exactly what is missing, which may be nothing, and the recording goes on."""
    started = standing.start()
    standing.record_for(2.0)
    pid, bytes_before = standing.pid("overview"), _bytes(standing)
    cut_s = monotonic()
    standing.stand_ins.fault("overview", "cut")
    wait_for(lambda: monotonic() - cut_s >= 1.0, "the cut is over")
    standing.stand_ins.fault("overview", "back")
    wait_for(lambda: standing.recording() and _bytes(standing) > bytes_before + 300_000, "it records on", 10.0)
    standing.record_for(7.0)
    standing.stop()
    manifest, truth = standing.manifest(started), truth_of(standing, started, "overview", damaged=2)
    check_ledger(truth, manifest, "overview")
    assert sum(gap.ns for gap in truth.gaps) <= (1 + BACK_S) * SECOND
    assert standing.pid("overview") == pid
    check_playable(standing, started, "overview")
    check_whole(standing, started, "closeup", "microphone")
    check_composite_whole(manifest)
    standing.verified(started)


def _bytes(room: LiveRoom) -> int:
    return track.bytes_session if (track := room.track("overview")) else 0


@pytest.mark.whole
def test_a_rebooted_camera_with_another_clock_is_one_gap(standing: LiveRoom, standing_feed: Subscriber) -> None:
    """A camera that restarts and believes in another time is one gap, right to 0.2 s, and its pictures stand at their times."""

    def returned() -> None:
        wait_for(lambda: standing.stand_ins.overview.returned_ns, "the camera has started again", 15.0)

    check(standing, away(standing, standing_feed, "rebooted", 4.0, mend=returned))


@pytest.mark.whole
def test_a_camera_that_gets_a_new_address_is_found_by_its_identity(standing: LiveRoom, standing_feed: Subscriber) -> None:
    """A camera that comes back at another address is searched after 3 s, found by its ONVIF identity, and is one true gap."""
    started = standing.start()
    standing.record_for(2.0)
    pid, wall_s = standing.pid("overview"), time()
    standing.stand_ins.fault("overview", "moved")
    moved_ns = standing.room_ns(started)
    assert event_after(standing_feed, "overview", LOSS_EVENTS, wall_s) <= TOLD_S
    wait_for(lambda: any(e["kind"] == "back" for e in standing.journal(started, "overview")), "it records again", 20.0)
    wait_for(lambda: (c := standing.composer()) and c.lost == [], "the composite shows the camera again", 6.0)
    standing.record_on(1.5)
    standing.stop()
    manifest, truth = standing.manifest(started), truth_of(standing, started, "overview", damaged=1)
    check_ledger(truth, manifest, "overview")
    (gap,) = truth.gaps
    assert gap.to_ns - moved_ns <= (SEARCHED_AFTER_S + LISTEN_S + BACK_S) * SECOND
    assert truth.missing(gap.to_ns, manifest["end_ns"] - 5 * PICTURE_NS) == []
    (back,) = (e for e in standing.journal(started, "overview") if e["kind"] == "back")
    assert back["device"]["address"]["host"] == standing.stand_ins.overview.host, "the journal says where it was found"
    (changed,) = (e for e in standing.journal(started, "overview") if e["kind"] == "device")
    assert [each["what"] for each in changed["changes"]] == ["address"], "and that it is another place"
    refused = standing.command.ask("session", "start", *CASE, expected=range(1, 10))
    assert "camera-changed" in json.dumps(refused), "the next session asks a person"
    assert standing.pid("overview") == pid
    check_playable(standing, started, "overview")
    check_whole(standing, started, "closeup", "microphone")
    check_composite_whole(manifest)
    standing.verified(started)


@pytest.mark.whole
def test_lost_units_of_a_connected_camera_are_a_gap_of_their_true_length(standing: LiveRoom) -> None:
    """Pictures that a connected camera leaves out for 1 s are a gap that is right to 0.2 s; single ones leave no false gap."""
    started = standing.start()
    standing.record_for(2.0)
    standing.stand_ins.fault("overview", "drop", 25)
    standing.stand_ins.fault("closeup", "drop", 3)
    standing.record_for(6.0)
    standing.stop()
    manifest = standing.manifest(started)
    for camera, gaps in (("overview", 1), ("closeup", 0)):
        truth = truth_of(standing, started, camera)
        assert len(truth.gaps) == gaps
        check_ledger(truth, manifest, camera)
        assert truth.missing(manifest["start_ns"], manifest["end_ns"] - 5 * PICTURE_NS) == [], "what left is stored"
    check_whole(standing, started, "microphone")
    check_composite_whole(manifest)
    standing.verified(started)
