"""The power goes at any instant, in each state of a session: the PC goes on by itself, and the record says what is missing.

What the disk has then is what was synced and some of the rest (power_cut.py); the boot that follows is another one, with clocks
that begin anew (machine.py).
"""

import json
import random
import subprocess
import time
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import pytest

from recorder.clock.instants import boottime_ns
from recorder.evidence.continuity import REBOOTED
from recorder.track.segments import recover
from tests.failing_world import power_cut
from tests.failing_world.account import as_the_truth, whole
from tests.failing_world.machine import Machine
from tests.failing_world.sound_truth import heard_holes, pieces
from tests.failing_world.world import Calls
from tests.live_room import SECOND, STOP, TRACKS, gap_spans, wait_for

pytestmark = [pytest.mark.timeout(180), pytest.mark.whole]

LOST_S = 1.0  # of what came before the cut, a track
COMPOSITE_LOST_S = 4.0  # a second until a fragment is written, one until it is synced, and what the encoder is behind
BACK_S = 30.0
Json = dict[str, Any]


def cut_by_chance(pc: Machine, chance: random.Random, most_s: float = 3.0) -> int:
    """Within the next seconds; CLOCK_BOOTTIME of it, ns."""
    time.sleep(chance.uniform(0.0, most_s))
    return pc.cut(chance)


def goes_on(pc: Machine, started: Json) -> None:
    """No hand is laid on it: the same session is recorded on."""
    wait_for(pc.recording, "every track records again", BACK_S)
    assert pc.command.ask("session", "status")["session"]["id"] == started["session"]
    pc.record_on(2.0)


def session(pc: Machine, started: Json) -> Json:
    found: Json = json.loads((pc.session_folder(started) / "session.json").read_text(encoding="utf-8"))
    return found


def check_cut(pc: Machine, started: Json, cut_ns: int, up_ns: int) -> Json:
    """Each track has one gap, as long as the truth says: a second at most before the cut, and until it recorded again."""
    manifest = pc.manifest(started)
    assert manifest["official_start"] == started["official_start"]
    assert len(manifest["epochs"]) == 2
    cut_room_ns, up_room_ns = pc.room_ns(started, cut_ns), pc.room_ns(started, up_ns)
    for name, lost_s in {**dict.fromkeys(TRACKS, LOST_S), "composite": COMPOSITE_LOST_S}.items():
        spans = as_the_truth(pc, started, name)
        assert len(spans) == 1, f"{name}: {spans}"
        ((from_ns, to_ns),) = spans
        before_s, after_s = (cut_room_ns - from_ns) / SECOND, (to_ns - up_room_ns) / SECOND
        print(f"{name}: lost {before_s:.2f} s before the cut, back {after_s:.2f} s after the agent's start")
        assert before_s <= lost_s, f"{name}: {before_s:.2f} s of what came before the cut are lost"
        of = manifest["composite"] if name == "composite" else manifest["tracks"][name]
        assert of["gaps"][0]["cause"] == REBOOTED
    for name in TRACKS:
        check_torn(pc, started, name)
    pc.verified(started)
    return manifest


def check_torn(pc: Machine, started: Json, track: str) -> None:
    """A segment that was cut off is kept, and listed as recovered or as empty; one that was closed is not."""
    entries = pc.journal(started, track)
    second = [n for n, entry in enumerate(entries) if entry["kind"] == "begin"][1]
    closed = {e["file"] for e in entries[:second] if e["kind"] == "segment" and not e["recovered"]}
    for entry in entries[:second]:
        if entry["kind"] == "open" and entry["file"] not in closed:
            listed = [e for e in entries if e["kind"] in ("segment", "empty") and e["file"] == entry["file"]]
            assert len(listed) == 1
            assert listed[0]["kind"] == "empty" or listed[0]["recovered"] is True
            if listed[0]["kind"] == "segment":
                assert (pc.session_folder(started) / "tracks" / track / entry["file"]).stat().st_size == listed[0]["bytes"]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_power_cut_while_recording(pc: Machine, seed: int) -> None:
    """The session goes on by itself: a second at most is lost before the cut, and the ledger is the truth."""
    chance = random.Random(seed)
    started = pc.start()
    pc.record_for(2.5)
    cut_ns = cut_by_chance(pc, chance)
    up_ns = pc.power_up()
    goes_on(pc, started)
    pc.stop()
    check_cut(pc, started, cut_ns, up_ns)


def test_two_power_cuts_in_one_session(pc: Machine) -> None:
    """The power comes back for moments only: each boot goes on, and each gap is told."""
    chance = random.Random(4)
    started = pc.start()
    pc.record_for(2.0)
    pc.cut(chance)
    for _ in range(2):
        pc.power_up()
        time.sleep(chance.uniform(0.5, 4.0))
        pc.cut(chance)
    pc.power_up()
    goes_on(pc, started)
    pc.stop()
    for name in (*TRACKS, "composite"):
        assert as_the_truth(pc, started, name)
    assert pc.manifest(started)["official_start"] == started["official_start"]
    pc.verified(started)


def test_a_power_cut_in_the_middle_of_a_journal_s_line(pc: Machine) -> None:
    """Half a line is no line: its bytes are kept beside the journal, which says so, and the segment is read back."""
    chance = random.Random(5)
    started = pc.start()
    pc.record_for(2.0)
    journal = "tracks/closeup/journal.jsonl"
    with pc.world.rule(journal, Calls.SYNC, delay_s=5.0) as calls:
        wait_for(calls, "a line is on its way to the disk")
        cut_ns = pc.cut(chance, within=journal)
    up_ns = pc.power_up()
    goes_on(pc, started)
    pc.stop()
    (torn,) = [entry for entry in pc.journal(started, "closeup") if entry["kind"] == "torn-line"]
    kept = pc.session_folder(started) / "tracks" / "closeup" / torn["kept_as"]
    assert kept.stat().st_size == torn["bytes"] > 0
    check_cut(pc, started, cut_ns, up_ns)


def test_a_power_cut_in_a_ready_room(pc: Machine) -> None:
    """Between sessions: the room arms itself again, and the next session is whole."""
    pc.cut(random.Random(6))
    pc.power_up()
    pc.armed()
    started = pc.start()
    pc.record_for(2.0)
    pc.stop()
    whole(pc, started)
    pc.verified(started)


@pytest.mark.parametrize("seed", [7, 8])
def test_a_power_cut_while_sealing(pc: Machine, seed: int) -> None:
    """Between the official end and the seal: the session is sealed by itself, to the same end."""
    chance = random.Random(seed)
    started = pc.start()
    pc.record_for(2.5)
    command = pc.command
    with subprocess.Popen(command.argv(*STOP), env=command.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
        wait_for(lambda: session(pc, started)["state"] != "recording", "the session is stopped")
        end = session(pc, started)["official_end"]
        cut_ns = cut_by_chance(pc, chance, 1.0)
    pc.power_up()
    wait_for(lambda: session(pc, started)["state"] == "sealed", "it is sealed", BACK_S)
    assert session(pc, started)["official_end"] == end
    manifest = pc.manifest(started)
    for name in TRACKS:
        spans = gap_spans(manifest, name)
        assert len(spans) <= 1
        for from_ns, to_ns in spans:
            before_s = (pc.room_ns(started, cut_ns) - from_ns) / SECOND
            print(f"{name}: lost {before_s:.2f} s before the cut")
            assert before_s <= LOST_S
            assert to_ns == manifest["end_ns"]
    for name in ("overview", "closeup", "composite"):
        as_the_truth(pc, started, name)
    assert heard_holes(pieces(pc, started)) == []
    assert manifest["official_start"] == started["official_start"]
    pc.verified(started)


def test_a_power_cut_after_the_seal(pc: Machine) -> None:
    """A sealed session is as it was, to the byte, and the room is ready for the next."""
    started = pc.start()
    pc.record_for(2.0)
    pc.stop()
    folder = pc.session_folder(started)
    files = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    pending = power_cut.read(pc.world.log).pending
    assert [change for change in pending if change.path.is_relative_to(folder)] == [], "no name waits to be synced"
    pc.cut(random.Random(9))
    pc.power_up()
    pc.armed()
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == files
    status = pc.command.ask("session", "status")["session"]
    assert (status["id"], status["state"]) == (started["session"], "sealed")
    whole(pc, started)
    pc.verified(started)


@pytest.mark.parametrize("track", ["overview", "microphone"])
def test_zeros_or_garbage_behind_what_was_synced(pc: Machine, tmp_path: Path, track: str) -> None:
    """A disk may lie about the end of a file: what was synced is recovered to the packet, and no time is made up."""
    chance = random.Random(11)
    started = pc.start()
    pc.record_for(4.0)
    pc.stop()
    entry = max((e for e in pc.journal(started, track) if e["kind"] == "segment"), key=lambda e: int(e["bytes"]))
    data = (pc.session_folder(started) / "tracks" / track / entry["file"]).read_bytes()
    file = tmp_path / "torn.mkv"
    for number in range(60):
        synced = chance.randint(600, len(data))
        behind = chance.randint(1, len(data) - synced + 1)
        sure, _ = recovered(file, data[:synced])
        _, end_ns = recovered(file, data[: synced + behind])
        found, found_end_ns = recovered(file, data[:synced] + (bytes(behind) if number % 2 else chance.randbytes(behind)))
        assert found[: len(sure)] == sure
        assert found_end_ns <= end_ns
    pc.verified(started)


def recovered(path: Path, data: bytes) -> tuple[list[str], int]:
    """The packets of a torn segment that are recovered, by their digests, and where what they cover ends, ns."""
    path.write_bytes(data)
    facts = recover(path, 0, "")
    digests = []
    with suppress(av.error.FFmpegError), av.open(f"file:{path}") as container:
        for packet in container.demux():
            if packet.size:
                digests.append(sha256(bytes(packet)).hexdigest())
    assert len(digests) == (facts.packets if facts else 0)
    return digests, facts.end_ns if facts else 0


def test_a_pc_without_a_clock_battery(pc: Machine) -> None:
    """Its wall clock begins in 2020 after the cut: room time does not go back nor jump later, and the record says so."""
    started = pc.start()
    pc.record_for(2.5)
    pc.cut(random.Random(10))
    pc.world.set_wall(datetime(2020, 1, 1, tzinfo=UTC).timestamp() - time.time())
    pc.power_up()
    goes_on(pc, started)
    shift_ns, at_ns = room_time(pc)
    pc.world.set_wall(0.0)  # the time server is heard
    pc.record_on(2.0)
    again_ns, later_ns = room_time(pc)
    assert abs((again_ns - shift_ns) - (later_ns - at_ns)) < SECOND // 2, "room time goes on as it went"
    pc.stop()
    manifest = pc.manifest(started)
    first, second = sorted(manifest["epochs"], key=lambda epoch: epoch["utc_ns"])
    assert first["source"] != "floor"
    assert second["source"] == "floor"
    for name in TRACKS:
        segments = [entry for entry in pc.journal(started, name) if entry["kind"] == "segment"]
        assert all(one["end_ns"] <= two["first_ns"] + SECOND // 5 for one, two in pairwise(segments))
        assert len(gap_spans(manifest, name)) == 1
        assert manifest["tracks"][name]["gaps"][0]["cause"] == REBOOTED
    years = [tie["utc_ns"] for tie in manifest["ties"] if tie["utc_ns"] < manifest["start_ns"] - 365 * 86400 * SECOND]
    assert years, "what the wall clock said is in the ties"
    (step,) = [entry for entry in pc.session_journal(started) if entry.get("event") == "clock-step"]
    assert step["step_s"] > 365 * 86400
    length = datetime.fromisoformat(session(pc, started)["official_end"]) - datetime.fromisoformat(started["official_start"])
    assert 5 < length.total_seconds() < 60
    pc.verified(started)


@pytest.mark.parametrize("off_s", [-40.0, 40.0])
def test_a_power_cut_after_the_wall_clock_was_set(pc: Machine, off_s: float) -> None:
    """A session that began by a wrong clock, which was then set: the next boot goes on in its room time, and the gap is true."""
    pc.world.synchronised = False
    pc.world.set_wall(off_s)
    started = pc.start()
    pc.record_for(2.0)
    pc.world.synchronised = True
    pc.world.set_wall(0.0)
    wait_for(
        lambda: [t for t in pc.session_journal(started) if t["kind"] == "tie" and t["source"] == "ntp"],
        "a tie to the right clock",
    )
    pc.record_on(1.0)
    cut_ns = pc.cut(random.Random(11))
    up_ns = boottime_ns()
    pc.power_up()
    goes_on(pc, started)
    pc.stop()
    first, second = sorted(check_cut(pc, started, cut_ns, up_ns)["epochs"], key=lambda epoch: epoch["utc_ns"])
    assert first["ahead_ns"] == 0
    assert second["ahead_ns"] / SECOND == pytest.approx(off_s, abs=0.2)


def room_time(pc: Machine) -> tuple[int, int]:
    """What the agent says of room time, ns, and CLOCK_BOOTTIME when it said so."""
    before_ns = boottime_ns()
    said = datetime.fromisoformat(pc.command.ask("session", "status")["now"])
    return round(said.timestamp() * 1000) * 1_000_000, (before_ns + boottime_ns()) // 2
