"""A session of the real room, and what one death or one fault costs it."""

import hashlib
import json
import os
import re
import signal
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from time import time_ns
from typing import Any

import av
import pytest

from recorder.evidence.continuity import DIED, coverage
from recorder.process.status import TrackStatus
from recorder.session.lines import cause_of, read_lines
from tests.demo import pictures
from tests.demo.interview import TRACKS
from tests.equipment.clips import SMALL, prepare
from tests.failing_world.truth import nal_units
from tests.live_room import LiveRoom, wait_for

pytestmark = pytest.mark.timeout(180)
SECOND = 1_000_000_000


PARAMETER_SETS = (7, 8, 9)  # SPS, PPS, delimiter: servers repeat and reorder them on the way


def units_sent(room: LiveRoom, camera: str) -> dict[str, int]:
    """Digest of each access unit of the stand-in's clip, to its place in the clip."""
    clip = prepare(room.stand_ins.cache, SMALL)
    assert camera in ("overview", "closeup")
    units = clip.units(camera, "main")  # type: ignore[arg-type]
    return {digest(re.split(rb"\x00*\x00\x00\x01", unit)[1:]): n for n, unit in enumerate(units)}


def digest(nals: list[bytes]) -> str:
    """Of an access unit's content, whatever frames its NAL units."""
    found = hashlib.sha256()
    for nal in nals:
        if nal and nal[0] & 31 not in PARAMETER_SETS:
            found.update(len(nal.rstrip(b"\0")).to_bytes(4) + nal.rstrip(b"\0"))
    return found.hexdigest()


def stored_packets(folder: Path, journal: list[dict[str, Any]]) -> list[bytes]:
    packets = []
    for entry in journal:
        if entry["kind"] == "segment":
            with av.open(str(folder / entry["file"])) as container:
                packets += [bytes(p) for p in container.demux() if p.size]
    return packets


def test_a_quiet_session_is_whole(room: LiveRoom) -> None:
    room.armed()
    started = room.start()
    room.record_for(8.0)
    stopped = room.stop()
    folder = room.session_folder(started)
    length = (datetime.fromisoformat(stopped["official_end"]) - datetime.fromisoformat(started["official_start"])).total_seconds()
    assert length == round(length)
    for track in TRACKS:
        assert stopped["coverage"][track] == {**stopped["coverage"][track], "covered": 1.0, "gaps": 0}
    part = folder / "composite" / "part-001.mp4"
    assert pictures.count(part) == 25 * length == stopped["composite"]["pictures_written"]
    with av.open(str(part)) as container:
        sound = sum(f.samples for f in container.decode(audio=0))
    assert sound == pytest.approx(48000 * length, abs=2048), "the sound is as long as the pictures"
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["official_start"] == started["official_start"]
    for entry in manifest["files"]:
        data = (folder / entry["path"]).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (entry["bytes"], entry["sha256"]), entry["path"]
    assert room.command.ask("verify", str(folder), expected=(0, 1))["exit_code"] == 0
    first = room.journal(started, "overview")[1]
    assert first["kind"] == "open"
    assert first["first_ns"] <= manifest["start_ns"], "begins with the key frame at or before the official start"


@pytest.mark.parametrize("camera", ["overview", "closeup"])
def test_packets_are_the_camera_s_none_missing_none_twice(room: LiveRoom, camera: str) -> None:
    """Over several segments of the session before: each stored packet is one that the camera sent, in its order."""
    folder = sorted((room.root / "sessions").iterdir())[-1]
    journal = room.journal({"session": folder.name}, camera)
    packets = stored_packets(folder / "tracks" / camera, journal)
    assert len([e for e in journal if e["kind"] == "segment"]) >= 2
    order = units_sent(room, camera)
    places = [order[digest(nal_units(packet))] for packet in packets]
    assert len(places) >= 200
    assert all(b == (a + 1) % len(order) for a, b in pairwise(places))


def test_the_agent_may_die_in_mid_session(room: LiveRoom) -> None:
    room.armed()
    started = room.start()
    room.record_for(1.0)
    before = {name: room.track(name) for name in TRACKS}
    os.kill(room.agent.pid, signal.SIGKILL)
    wait_for(lambda: all(_grew(before[name], room.track(name)) for name in TRACKS), "the tracks go on without the agent")
    room.start_agent()
    status = wait_for(lambda: room.command.ask("session", "status", expected=(0, 4)).get("session"), "the agent is back")
    assert status["state"] == "recording"
    again = room.command.ask(*_start_words(), expected=(5,))
    assert "fault" in again, "a second session is refused"
    stopped = room.stop()
    for track in TRACKS:
        assert (stopped["coverage"][track]["covered"], stopped["coverage"][track]["gaps"]) == (1.0, 0)
    assert stopped["composite"]["pictures_due"] == stopped["composite"]["pictures_written"]
    assert room.command.ask("verify", str(room.session_folder(started)), expected=(0, 1))["exit_code"] == 0


def _grew(before: TrackStatus | None, now: TrackStatus | None) -> bool:
    return before is not None and now is not None and now.bytes_session > before.bytes_session + 50_000


def _start_words() -> tuple[str, ...]:
    return ("session", "start", "--case", "2", "--cause", "c", "--handler", "h", "--interviewee", "i")


def test_one_track_and_the_composer_may_die(room: LiveRoom) -> None:
    room.armed()
    started = room.start()
    room.record_for(4.0)
    victims = {name: room.pid(name) for name in ("closeup", "composer")}
    for pid in victims.values():
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: all(room.pid(name) != pid for name, pid in victims.items()), "both were started again")
    wait_for(room.recording, "every track recording again")
    room.record_on(2.5)
    stopped = room.stop()
    covered = stopped["coverage"]
    assert covered["overview"]["gaps"] == covered["microphone"]["gaps"] == 0
    assert covered["closeup"]["gaps"] == 1
    folder = room.session_folder(started)
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    gap = manifest["tracks"]["closeup"]["gaps"][0]
    assert 0.05 < gap["seconds"] < 4.5
    assert gap["cause"] == DIED
    parts = manifest["composite"]["parts"]
    assert len(parts) == 2
    assert manifest["composite"]["gaps"], "what the composite misses is in the ledger"
    written = sum(pictures.count(folder / part) for part in parts)
    assert written == manifest["composite"]["pictures_written"] < manifest["composite"]["pictures_due"]
    assert room.command.ask("verify", str(folder), expected=(0, 1))["exit_code"] == 0


def test_a_camera_that_goes_and_comes_back(room: LiveRoom) -> None:
    room.armed()
    started = room.start()
    room.record_for(2.0)
    gone_ns = time_ns()
    room.stand_ins.overview.gone()
    wait_for(lambda: (s := room.track("overview")) and s.state != "recording" and s.fault, "the track says that it is lost", 6.0)
    composer = wait_for(lambda: _lost(room), "the composite marks the camera", 6.0)
    assert composer == ["overview"]
    back_ns = time_ns()
    room.stand_ins.overview.back()
    wait_for(lambda: (s := room.track("overview")) and s.state == "recording", "the camera records again", 10.0)
    stopped = room.stop()
    assert stopped["coverage"]["overview"]["gaps"] == 1
    assert stopped["coverage"]["closeup"]["gaps"] == stopped["coverage"]["microphone"]["gaps"] == 0
    assert stopped["composite"]["pictures_due"] == stopped["composite"]["pictures_written"], "a lost camera costs no picture"
    manifest = json.loads((room.session_folder(started) / "manifest.json").read_text(encoding="utf-8"))
    gap = manifest["tracks"]["overview"]["gaps"][0]
    assert abs(gap["from_ns"] - gone_ns) < 0.3 * SECOND
    assert -0.3 * SECOND < gap["to_ns"] - back_ns < 6 * SECOND
    assert "camera overview" in cause_of(gap).say()


def _lost(room: LiveRoom) -> list[str]:
    status = json.loads((room.run / "status" / "composer.json").read_text(encoding="utf-8"))
    lost: list[str] = status["lost"]
    return lost


def test_a_silent_sensor_is_dashes_within_ten_seconds(room: LiveRoom) -> None:
    room.armed()

    def reading() -> float | None:
        value: float | None = room.command.ask("session", "status")["climate"]["temperature_c"]
        return value

    assert wait_for(lambda: reading() is not None, "a reading")
    room.stand_ins.climate.silent()
    try:
        wait_for(lambda: reading() is None, "no reading is shown any more", 11.0)
    finally:
        room.stand_ins.climate.back()
    wait_for(lambda: reading() is not None, "the sensor is back", 10.0)


def test_coverage_counts_only_what_is_on_the_disk(room: LiveRoom) -> None:
    """The account of the last session, computed again from its journal alone."""
    folder = sorted((room.root / "sessions").iterdir())[-1]
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    for track in TRACKS:
        entries = room.journal({"session": folder.name}, track)
        found = coverage(read_lines(entries), manifest["start_ns"], manifest["end_ns"])
        assert len(found.gaps) == len(manifest["tracks"][track]["gaps"])
