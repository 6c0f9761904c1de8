"""The microphone fails: what is lost is counted and named, and the sound stays in step with the pictures."""

from collections.abc import Callable, Sequence
from time import monotonic, time
from typing import Any

import pytest

from recorder.evidence.continuity import Span
from recorder.session.lines import cause_of
from tests.demo.subscriber import Subscriber
from tests.failing_world.hang import Hang
from tests.failing_world.sound_truth import (
    CRUMB_NS,
    Piece,
    beeps,
    composite_beeps_ms,
    epoch_ns,
    heard,
    heard_holes,
    losses,
    lost_by_the_card,
    pieces,
    stored_beeps_ms,
)
from tests.failing_world.truth import LOSS_EVENTS, check_composite_whole, check_whole, event_after, relative, truth_of
from tests.live_room import SECOND, LiveRoom, gap_spans, wait_for

IN_STEP_MS = 40.0
PACKET_MS = 40.0  # the last packet of a session is stored whole, and may go beyond its end by as much
NAMED_NS = SECOND * 8 // 100  # a loss from here on is told
PLACED_NS = SECOND // 5  # the place of a loss…
CREPT_NS = SECOND  # …but for a loss shorter than this, which is known when so much later sound is no earlier again
ASTRAY_S = 1.2  # until then that sound is out of step
TOLD_S = 3.0

pytestmark = pytest.mark.timeout(180)


def hears_again(room: LiveRoom) -> None:
    """Waits until the microphone's track records."""
    wait_for(lambda: (t := room.track("microphone")) and t.state == "recording" and not t.fault, "it records again", 15.0)


def wait_until(at_s: float) -> None:
    """Until an instant of CLOCK_MONOTONIC: how long something is broken."""
    wait_for(lambda: monotonic() >= at_s, "the time of the break is over")


def record_on(room: LiveRoom, seconds: float) -> None:
    """So much more of the running session."""
    room.record_on(seconds)


def check_sound(room: LiveRoom, started: dict[str, Any], late: Sequence[Span] = ()) -> list[Span]:
    """The ledger against the samples: each loss told and counted, none made up, all in step; when what is missing sounded.

    late: when sound came later than the composite waits for it.
    """
    manifest, found = room.manifest(started), pieces(room, started)
    lost = [hole for hole in losses(found) if hole.ns >= NAMED_NS]
    told = [Span(*span) for span in gap_spans(manifest, "microphone")]
    said = f"missing {relative(heard_holes(found), manifest)}, in the manifest {relative(told, manifest)}"
    assert len(told) == len(lost), said
    for one, true in zip(told, lost, strict=True):
        assert abs(one.ns - true.ns) <= CRUMB_NS, said
        assert abs(one.from_ns - true.from_ns) <= (CREPT_NS if true.ns < CREPT_NS else PLACED_NS), said
    for entry in room.journal(started, "microphone"):
        if entry["kind"] == "lost":
            near = [hole for hole in lost if abs(entry["from_ns"] - hole.from_ns) <= CREPT_NS]
            cause = cause_of(entry).say()
            assert near, f"nothing is missing: {cause}; {said}"
            seconds = entry["values"].get("seconds")
            if "are missing" in cause or "discarded" in cause:
                assert abs(seconds * SECOND - near[0].ns) <= CRUMB_NS, f"{cause} {said}"
    astray = [p for p in found if abs(p.error_ms) > IN_STEP_MS]
    where = [(round((p.room_ns - manifest["start_ns"]) / SECOND, 3), round(p.error_ms, 1)) for p in astray]
    assert sum(p.samples for p in astray) <= 48_000 * ASTRAY_S * len(lost), f"from (s) on out of step by (ms): {where}; {said}"
    check_beeps(room, started, found, late)
    return lost


def check_beeps(room: LiveRoom, started: dict[str, Any], found: list[Piece], late: Sequence[Span]) -> None:
    """Each beep that is stored is in the composite, at its time; a loss without the card's word shows a second later."""
    manifest, shown = room.manifest(started), composite_beeps_ms(room, started)
    first_ns, last_ns = manifest["start_ns"] + SECOND // 2, manifest["end_ns"] - SECOND // 2
    spans = [(max(first_ns, span.from_ns + SECOND), min(last_ns, span.to_ns - SECOND // 2)) for span in heard(found)]
    due = {beep for from_ns, to_ns in spans for beep in beeps(from_ns, to_ns, epoch_ns(room, started))}
    due -= {beep for span in late for beep in beeps(span.from_ns - SECOND, span.to_ns + SECOND, epoch_ns(room, started))}
    assert due
    assert due <= set(shown), f"the beeps {due - set(shown)} of {due} are not in the composite"
    astray = {beep: ms for beep, ms in shown.items() if beep in due and abs(ms) > IN_STEP_MS}
    assert not astray, f"out of step by (ms): {astray}, of {shown}"


def finish(room: LiveRoom, started: dict[str, Any]) -> None:
    """Stops; everything but the microphone is whole."""
    room.stop()
    check_whole(room, started, "overview", "closeup")
    check_composite_whole(room.manifest(started))
    room.verified(started)


@pytest.mark.whole
@pytest.mark.parametrize(("fault", "seconds"), [("gone", 4.0), ("frozen", 8.0)])
def test_a_lost_sound_server_is_a_gap_of_its_true_length(
    standing: LiveRoom, standing_feed: Subscriber, fault: str, seconds: float
) -> None:
    """A sound server that is killed, or hangs for 8 s, is told within 3 s; afterwards the sound is in step within 40 ms."""
    started = standing.start()
    standing.record_for(2.0)
    pid, wall_s, began_s = standing.pid("microphone"), time(), monotonic()
    standing.stand_ins.fault("microphone", fault)
    assert event_after(standing_feed, "microphone", LOSS_EVENTS, wall_s) <= TOLD_S
    wait_for(lambda: monotonic() - began_s >= seconds, "the time of the break is over", seconds + 1)
    wall_s = time()
    standing.stand_ins.fault("microphone", "back")
    hears_again(standing)
    event_after(standing_feed, "microphone", ("device-back",), wall_s)
    record_on(standing, 6.5)  # a beep at least
    finish(standing, started)
    lost = check_sound(standing, started)
    assert lost
    assert sum(hole.ns for hole in lost) <= (seconds + 3) * SECOND
    assert standing.pid("microphone") == pid


@pytest.mark.whole
def test_a_microphone_that_is_unplugged_twice_is_two_gaps(standing: LiveRoom, standing_feed: Subscriber) -> None:
    """A microphone that is unplugged and plugged in again is told within 3 s and goes on by itself, each time, in step."""
    started = standing.start()
    standing.record_for(2.0)
    for _ in range(2):
        wall_s = time()
        standing.stand_ins.fault("microphone", "gone")
        assert event_after(standing_feed, "microphone", LOSS_EVENTS, wall_s) <= TOLD_S
        wait_for(lambda: (t := standing.track("microphone")) and t.state == "connecting" and t.fault, "it is lost", 6.0)
        standing.stand_ins.fault("microphone", "back")
        hears_again(standing)
        record_on(standing, 3.0)
    record_on(standing, 3.0)
    finish(standing, started)
    assert len(check_sound(standing, started)) >= 2


@pytest.mark.whole
def test_samples_that_the_card_loses_are_counted_and_named(standing: LiveRoom) -> None:
    """A card that stands still for 0.3 to 0.9 s loses samples: how many is written down, and what follows is in step."""
    started = standing.start()
    for seconds in (0.3, 0.45, 0.9):
        record_on(standing, 7.0)  # what is late is seen against the seconds before
        standing.stand_ins.fault("microphone", "frozen")  # the FIFO before it holds 0.17 s; what comes meanwhile is lost
        wait_until(monotonic() + seconds)
        standing.stand_ins.fault("microphone", "back")
    record_on(standing, 4.0)
    finish(standing, started)
    lost = check_sound(standing, started)
    assert len(lost) >= 3, "the stand-in lost samples"
    assert sum(hole.ns for hole in lost) >= (0.3 + 0.45 + 0.9 - 3 * 0.2) * SECOND


@pytest.mark.whole
def test_an_overloaded_pc_loses_no_sound_that_was_buffered(standing: LiveRoom) -> None:
    """A track that gets no processor for 0.4 or 0.8 s loses nothing, since so much is buffered before it, and is in step."""
    started = standing.start()
    standing.record_for(2.0)
    pid, hung = standing.pid("microphone"), []
    for seconds in (0.4, 0.8):
        from_ns = standing.room_ns(started)
        with Hang(pid):
            wait_until(monotonic() + seconds)
        hung.append(Span(from_ns, standing.room_ns(started)))
        record_on(standing, 6.0)
        hears_again(standing)
    finish(standing, started)
    assert check_sound(standing, started, hung) == [], "the sound server holds as much"
    assert standing.pid("microphone") == pid, "the supervisor was patient"


@pytest.mark.whole
@pytest.mark.parametrize("sign", [1, -1])
def test_clocks_that_run_wrong_make_no_gap_and_nothing_drifts(make_room: Callable[..., LiveRoom], sign: int) -> None:
    """Cameras off by ±500 ppm and a microphone off by ±200 ppm: no gap, no sample lost, everything in its place."""
    room = make_room(armed=False, microphone_ppm=sign * 200.0)
    for camera, ppm in (("overview", 500), ("closeup", -500)):
        room.stand_ins.fault(camera, "drift", sign * ppm)
    room.armed()
    started = room.start()
    lost = lost_by_the_card(room)
    room.record_for(36.0)
    finish(room, started)
    assert lost_by_the_card(room) == lost, "the stand-in itself lost nothing"
    check_whole(room, started, "microphone")
    manifest, segments = room.manifest(started), [e for e in room.journal(started, "microphone") if e["kind"] == "segment"]
    seconds = (manifest["end_ns"] - segments[0]["first_ns"]) / SECOND
    more_ms = 1000 * (sum(e["samples"] for e in segments) / (48_000 * (1 + sign * 200e-6)) - seconds)
    assert -IN_STEP_MS <= more_ms <= PACKET_MS + IN_STEP_MS, f"{more_ms:.1f} ms more samples than the card sampled"
    for errors in (stored_beeps_ms(room, started), composite_beeps_ms(room, started)):
        assert len(errors) >= 4, "those near the end of a segment cannot be measured"
        assert all(abs(ms) <= IN_STEP_MS for ms in errors.values()), f"out of step by (ms): {errors}"
    for camera, ppm in (("overview", 500), ("closeup", -500)):
        assert truth_of(room, started, camera).error_ms <= IN_STEP_MS
        told = [e["ppm"] for e in room.journal(started, camera) if e["kind"] == "segment"][-1]
        assert abs(told + sign * ppm) < 150, f"{camera} is said to be off by {-told} ppm"
