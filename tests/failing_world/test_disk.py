"""The disk is full, read-only, broken in one folder, or slow: it is told at once, the originals are the last to suffer.

The disk is a real file system, made as small as it has to be (machine.py); its errors and its slowness come from between the
product and the C library (world.py).
"""

import errno
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest

from recorder.clock.instants import boottime_ns
from recorder.evidence.continuity import GIVEN_UP
from recorder.session.lines import cause_of
from tests.demo.command import DemoError
from tests.demo.subscriber import Subscriber
from tests.failing_world.account import as_the_truth, events, happened_ns, whole
from tests.failing_world.machine import Machine
from tests.failing_world.truth import delivered, packets_stored, pictures_in
from tests.failing_world.world import Calls
from tests.live_room import SECOND, START, TRACKS, gap_spans, wait_for
from wording import Exit

pytestmark = [pytest.mark.timeout(180), pytest.mark.whole]

TELLS_S = 3.0
MB, GB = 1_000_000, 1_000_000_000
Json = dict[str, Any]


def told(pc: Machine, feed: Subscriber, device: str, since_ns: int, kinds: tuple[str, ...] = ("device-lost",)) -> Json:
    """The first event about a device after an instant; it happened within 3 s."""

    def found() -> list[Json]:
        all_events = [event for kind in kinds for event in events(feed, kind) if event["data"].get("device", "disk") == device]
        return sorted((e for e in all_events if happened_ns(e) >= pc.on_boot_ns(since_ns)), key=happened_ns)

    first: Json = wait_for(found, f"the feed tells of {device}", 15.0)[0]
    after_s = (happened_ns(first) - pc.on_boot_ns(since_ns)) / SECOND
    print(f"{device}: {first['kind']} after {after_s:.2f} s: {first['data']}")
    assert after_s < TELLS_S
    return first


def heard(feed: Subscriber) -> None:
    wait_for(feed.lines, "the feed is heard")


def all_playable(pc: Machine, started: Json) -> None:
    """In the MP4s of the disc each stored packet of a camera is a picture."""
    files = delivered(pc, started)
    for camera in ("overview", "closeup"):
        assert sum(pictures_in(file) for file in files[camera]) == len(packets_stored(pc, started, camera))


@contextmanager
def small(pc: Machine, free_bytes: int) -> Iterator[int]:
    """The disk has so much room while the block runs; CLOCK_BOOTTIME from when on, ns."""
    yield pc.disk.leave(free_bytes)
    pc.disk.well()


def test_no_room_at_the_start(pc: Machine) -> None:
    """A session does not begin where its planned length has no room: the refusal says how much there is and how much it takes."""
    with small(pc, 1 * GB):
        refused = pc.command.ask(*START, "--planned-minutes", "120", expected=(int(Exit.STORAGE), int(Exit.REFUSED)))
        (reason,) = refused["fault"].get("reasons") or [refused["fault"]]
        assert reason["code"] == "disk-space-short-for-planned-minutes"
        assert reason["values"]["free"] == "1.0"
        assert reason["values"]["minutes"] == 120
        assert reason["values"]["reserve"] == "0.5"
        assert float(reason["values"]["needed"]) > 1.5
        assert not pc.recording()
        started = pc.command.ask(*START, "--planned-minutes", "1")
        pc.record_for(1.0)
        pc.stop()
        assert pc.manifest(started)["tracks"]["overview"]["gaps"] == []
        pc.verified(started)


def test_the_disk_fills_up(pc: Machine, pc_feed: Subscriber) -> None:
    """First the composite is given up; when nothing is left the originals stop, and go on by themselves when there is room."""
    heard(pc_feed)
    started = pc.start()
    pc.record_for(3.0)
    low_ns = pc.disk.leave(150 * MB)
    told(pc, pc_feed, "disk", low_ns, ("disk-low",))
    (low,) = wait_for(lambda: [e for e in pc.session_journal(started) if e.get("event") == "disk-low"], "it is in the journal")
    assert 0 < low["free_bytes"] <= 150 * MB
    wait_for(lambda: (c := pc.composer()) and c.state != "recording", "the composite is given up", 5.0)
    pc.record_on(2.0)
    for name in TRACKS:
        status = pc.track(name)
        assert status is not None
        assert status.state == "recording", "the originals go on"
        assert status.gaps == 0
    full_ns = pc.disk.leave(0)
    for name in TRACKS:
        told(pc, pc_feed, name, full_ns)

    def said() -> Json:  # 1 while a session is open and a required track does not reach the disk
        return pc.command.ask("session", "status", expected=(0, 1))

    wait_for(lambda: not said()["recording"], "nobody says that it records", 2 * TELLS_S)
    wait_for(lambda: said()["not_on_disk"] == list(TRACKS), "it is said of each", TELLS_S)
    assert said()["exit_code"] == 1
    pc.disk.well()
    wait_for(pc.recording, "every track records again", 10.0)
    pc.record_on(2.0)
    pc.stop()
    manifest = pc.manifest(started)
    for name in TRACKS:
        for from_ns, to_ns in as_the_truth(pc, started, name):
            print(f"{name}: lost {(to_ns - from_ns) / SECOND:.2f} s")
            assert from_ns > pc.room_ns(started, full_ns) - SECOND
    (gap,) = manifest["composite"]["gaps"]
    assert gap["cause"] == GIVEN_UP
    assert gap["to_ns"] == manifest["end_ns"]
    assert gap["from_ns"] > pc.room_ns(started, low_ns) - SECOND
    as_the_truth(pc, started, "composite")
    all_playable(pc, started)
    pc.verified(started)


def test_the_disk_becomes_read_only(pc: Machine, pc_feed: Subscriber) -> None:
    """As the kernel makes it after an error: everybody tells of it; what is on it stays readable, and all go on afterwards."""
    heard(pc_feed)
    started = pc.start()
    pc.record_for(3.0)
    with pc.world.rule("", Calls.ALL, error=errno.EROFS):
        broke_ns = boottime_ns()
        for name in (*TRACKS, "composer"):
            told(pc, pc_feed, name, broke_ns)
        all_readable_now(pc, started)
        with pytest.raises(DemoError):
            pc.stop()
        time.sleep(2.0)
    wait_for(pc.recording, "every track records again", 10.0)
    pc.record_on(2.0)
    pc.stop()
    for name in (*TRACKS, "composite"):
        for from_ns, to_ns in as_the_truth(pc, started, name):
            print(f"{name}: lost {(to_ns - from_ns) / SECOND:.2f} s")
            assert from_ns > pc.room_ns(started, broke_ns) - (3 if name == "composite" else 1) * SECOND
    all_playable(pc, started)
    pc.verified(started)


def all_readable_now(pc: Machine, started: Json) -> None:
    """What the journals list is there with its length, while nothing can be written."""
    for name in TRACKS:
        for entry in pc.journal(started, name):
            if entry["kind"] == "segment":
                assert (pc.session_folder(started) / "tracks" / name / entry["file"]).stat().st_size == entry["bytes"]


@pytest.mark.parametrize("track", ["overview", "microphone"])
def test_one_folder_has_i_o_errors(pc: Machine, pc_feed: Subscriber, track: str) -> None:
    """One track's folder takes nothing: it alone tells so within 3 s, goes on from memory when it can, and all else is whole."""
    heard(pc_feed)
    started = pc.start()
    pc.record_for(3.0)
    with pc.world.rule(f"tracks/{track}/", Calls.ALL, error=errno.EIO):
        broke_ns = boottime_ns()
        told(pc, pc_feed, track, broke_ns)
        time.sleep(2.0)
        others = [name for name in TRACKS if name != track]
        assert pc.recording(tuple(others))
    wait_for(pc.recording, "the track records again", 10.0)
    pc.record_on(2.0)
    pc.stop()
    manifest = whole(pc, started, but=(track,))
    for from_ns, to_ns in as_the_truth(pc, started, track):
        print(f"{track}: lost {(to_ns - from_ns) / SECOND:.2f} s")
        assert from_ns > pc.room_ns(started, broke_ns) - SECOND
    assert all("cannot be written" in cause_of(gap).say() for gap in manifest["tracks"][track]["gaps"])
    all_playable(pc, started)
    pc.verified(started)


def says_fault(pc: Machine, name: str) -> bool:
    status = pc.track(name)
    return status is not None and status.fault is not None


def test_the_disk_is_very_slow(pc: Machine, pc_feed: Subscriber) -> None:
    """Each sync takes 2.5 s for a while: that is told, what arrives waits in memory, and nothing at all is lost."""
    heard(pc_feed)
    started = pc.start()
    pc.record_for(2.0)
    with pc.world.rule("", Calls.SYNC, delay_s=2.5):
        slow_ns = boottime_ns()
        for name in TRACKS:
            wait_for(partial(says_fault, pc, name), f"{name} says that it waits for the disk", 8.0)
        print(f"told in the statuses after {(boottime_ns() - slow_ns) / SECOND:.2f} s")
        time.sleep(4.0)
    wait_for(pc.recording, "every track records again", 20.0)
    pc.record_on(2.0)
    pc.stop()
    manifest = whole(pc, started)
    for name in TRACKS:
        assert gap_spans(manifest, name) == []
    wait_for(lambda: any(e["data"].get("device") in TRACKS for e in events(pc_feed, "device-lost")), "the feed told of it")
    pc.verified(started)
