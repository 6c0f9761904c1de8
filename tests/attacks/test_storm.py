"""Nobody can end a recording, or keep another person from ending it, by opening connections."""

import json
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.attacks import storm
from tests.live_room import LiveRoom, gap_spans, wait_for

OFFICER = 64321  # an unprivileged user whose group is the room's, as an officer's is
AT_LEAST = 5_000

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.skipif(os.getuid() != 0, reason="only root can act as another user"),
]


def let_in(room: LiveRoom) -> list[str]:
    """Gives the officer's group what the units give it: the folder and the agent's socket. All sockets of the room."""
    os.chown(room.run, -1, OFFICER)
    room.run.chmod(0o750)
    os.chown(room.run / "agent.sock", -1, OFFICER)
    found = [str(path) for path in room.run.rglob("*") if stat.S_ISSOCK(path.stat().st_mode)]
    assert str(room.run / "agent.sock") in found and len(found) >= 2
    return found


@pytest.mark.parametrize("seconds", [pytest.param(6.0, id="6 s"), pytest.param(60.0, id="a minute", marks=pytest.mark.attack)])
def test_a_storm_of_connections_costs_nothing(open_room: LiveRoom, seconds: float) -> None:
    room = open_room
    sockets = let_in(room)
    answer = room.start()
    room.record_for(2.0)
    files = {name: len(list(Path(f"/proc/{room.pid(name)}/fd").iterdir())) for name in ("overview", "closeup", "microphone")}
    command = ["nice", "-n", "19", sys.executable, storm.__file__, str(seconds), *sockets]
    attacker = subprocess.Popen(command, stdout=subprocess.PIPE, user=OFFICER, group=OFFICER, extra_groups=[], text=True)
    try:
        until = time.monotonic() + seconds - 3
        while time.monotonic() < until:
            now = {name: len(list(Path(f"/proc/{room.pid(name)}/fd").iterdir())) for name in files}
            assert all(now[name] <= files[name] + 8 for name in files), (files, now)
            assert room.recording(), "every track's status is fresh, and bytes reach the disk"
            time.sleep(0.25)
        began = time.monotonic()
        room.command.ask("session", "stop", "--by", "乙", "--reason", "test", "--no-wait")
        took_s = time.monotonic() - began
        told = json.loads(attacker.communicate(timeout=30)[0])
    finally:
        attacker.kill()
        attacker.wait()
    assert took_s < 2.0
    assert sum(told[str(room.run / "agent.sock")].values()) > AT_LEAST, told
    assert all("connected" not in counted for path, counted in told.items() if not path.endswith("agent.sock")), told
    wait_for((room.session_folder(answer) / "manifest.sig").exists, "the seal", 60)
    for track in ("overview", "closeup", "microphone"):
        assert gap_spans(room.manifest(answer), track) == []
    room.verified(answer)
