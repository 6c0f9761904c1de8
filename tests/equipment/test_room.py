"""The room as a whole: as ./demo and bench/ use it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.config.model import parse
from tests.equipment.fault import send
from tests.equipment.process import EquipmentError, wait_for
from tests.equipment.room import DEFAULT_CACHE, StandInRoom

REPOSITORY = Path(__file__).resolve().parents[2]


@contextmanager
def running(out: Path, *options: str) -> Iterator["subprocess.Popen[bytes]"]:
    command = [sys.executable, "-m", "tests.equipment", "--out", str(out), "--cache", str(DEFAULT_CACHE), "--small", *options]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


def facts(out: Path, process: "subprocess.Popen[bytes]") -> dict[str, Any]:
    wait_for(lambda: (out / "room.json").exists() or process.poll() is not None, "the room", 10)
    value: dict[str, Any] = json.loads((out / "room.json").read_text(encoding="utf-8"))
    return value


def gone(pids: list[int]) -> bool:
    """Whether none of the processes lives. A zombie whose new parent has not looked yet is dead."""

    def dead(pid: int) -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
        except (FileNotFoundError, ProcessLookupError):
            return True

    return all(dead(pid) for pid in pids)


def test_a_room_in_the_foreground_takes_faults_and_ends_with_everything(tmp_path: Path, clip: object) -> None:
    out = tmp_path / "a folder 演示"
    started = time.monotonic()
    with running(out, "--language", "en") as process:
        room = facts(out, process)
        assert time.monotonic() - started < 6
        config = parse((out / "config.toml").read_text(encoding="utf-8"))
        assert config.camera.overview.port == room["overview"]["onvif_port"]
        assert config.camera.closeup.password("closeup") == room["closeup"]["password"]
        assert config.mqtt.password() == room["broker"]["room_password"]
        assert (config.ui.language, list(config.burner.drives)) == ("en", room["drives"])
        pids = [pid for some in room["pids"].values() for pid in some]
        assert len(pids) == 7
        assert not any(gone([pid]) for pid in pids)
        assert "no relay" in send(out, "overview", "cut")
        assert send(out, "overview", "gone") == ""
        assert gone(room["pids"]["overview"])
        assert "no fault sideways" in send(out, "overview", "sideways")
        assert "no device window" in send(out, "window", "gone")
        assert send(out, "overview", "jump") != ""
        client = [sys.executable, "-m", "tests.equipment.fault", str(out), "climate", "temperature", "31.5"]
        assert subprocess.run(client, cwd=REPOSITORY, check=False).returncode == 0
        switched = [json.loads(line) for line in Path(room["switches"]).read_text().splitlines()]
        assert [(line["device"], line["fault"], line["value"]) for line in switched] == [
            ("overview", "gone", None),
            ("climate", "temperature", 31.5),
        ]
        now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        assert now_ns - 60_000_000_000 < switched[0]["began_ns"] <= switched[0]["done_ns"] < now_ns
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        assert gone(pids)
        assert not (out / "room.json").exists()
    assert subprocess.run(client, cwd=REPOSITORY, check=False, capture_output=True).returncode == 2


def test_with_relays_every_network_fault_is_switched_from_outside(tmp_path: Path, clip: object) -> None:
    with running(tmp_path, "--relay", "--plain") as process:
        room = facts(tmp_path, process)
        assert sum(len(pids) for pids in room["pids"].values()) == 9
        for fault, value in (("cut", None), ("back", None), ("jitter", 20), ("junk", 100), ("rebooted", 30), ("back", None)):
            assert send(tmp_path, "closeup", fault, value) == ""


def test_nothing_survives_a_killed_room(tmp_path: Path, clip: object) -> None:
    with running(tmp_path) as process:
        room = facts(tmp_path, process)
        pids = [pid for some in room["pids"].values() for pid in some]
        process.send_signal(signal.SIGKILL)
        process.wait(5)
        wait_for(lambda: gone(pids), "the end of every child", 3)
    shutil.rmtree(Path(room["climate"]["port"]).parent)  # the folder of its sockets is all that is left


def test_it_ends_by_itself_after_the_given_time(tmp_path: Path, clip: object) -> None:
    with running(tmp_path, "--seconds", "0.2") as process:
        assert process.wait(15) == 0


def test_overrides_reach_the_configuration(room: StandInRoom, tmp_path: Path) -> None:
    text = room.config_text(
        tmp_path / "数据", tmp_path / "run", "en", {"recording": {"planned_minutes": 5}, "camera.overview": {"fps": 12.5}}
    )
    config = parse(text)
    assert (config.recording.planned_minutes, config.camera.overview.fps, config.storage.root) == (5, 12.5, tmp_path / "数据")


def test_an_unknown_device_or_fault_is_named(room: StandInRoom) -> None:
    with pytest.raises(EquipmentError, match="no device door; there are: overview, closeup"):
        room.fault("door", "gone")
    with pytest.raises(EquipmentError, match="clock has no fault fast; it has: back, gone, frozen"):
        room.fault("clock", "fast")


def test_every_fault_is_a_method(room: StandInRoom) -> None:
    assert all(callable(getattr(device, fault)) for device in room.devices.values() for fault in device.FAULTS)


def test_the_time_server_answers_and_stops_answering(room: StandInRoom) -> None:
    assert room.clock._serves()
    for fault in ("frozen", "gone"):
        room.fault("clock", fault)
        assert not room.clock._serves()
        room.fault("clock", "back")
        assert room.clock._serves()


def test_libburn_takes_the_drives_as_blank_media(room: StandInRoom) -> None:
    def toc() -> str:
        command = ["xorriso", "-outdev", room.discs[0].device, "-toc"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False, env={**os.environ, "LC_ALL": "C"})
        return done.stdout + done.stderr

    assert "is blank" in toc()
    room.discs[0].path.write_bytes(b"x" * 1_000_000)
    room.fault("disc-1", "blank")
    assert "is blank" in toc()
    room.fault("disc-1", "gone")
    assert not room.discs[0].path.exists()
