"""CPU seconds, pictures and memory of a recording room, on two 1080p25 cameras of 4 Mbit/s.

CPU seconds are those of the agent and of all its processes from before the start command until the session is sealed, their ended
children included; those of ``bench/one-ffmpeg`` are the whole command's. Both take the same cameras and the same microphone,
in interleaved runs; the ratio is that of each pair, the median is given.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.demo.command import RoomAgent
from tests.demo.interview import Agent, end_room, wait_until_armed
from tests.equipment.room import StandInRoom

HOME = Path(__file__).resolve().parents[1]
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


class Room:
    """A running room and its processes."""

    def __init__(self, folder: Path, stand_ins: StandInRoom) -> None:
        self.status = folder / "run" / "status"
        overrides: dict[str, dict[str, object]] = {"recording": {"selfcheck_valid_minutes": 1440}}
        config = folder / "config.toml"
        config.write_text(stand_ins.config_text(folder / "data", folder / "run", "zh", overrides), encoding="utf-8")
        self.command = RoomAgent(config, stand_ins.env)
        self.agent = Agent(self.command, folder / "agent.log")
        wait_until_armed(self.command, self.agent)

    def pids(self) -> list[int]:
        """The agent's and those of the processes that tell a status."""
        found = [self.agent.pid]
        for path in self.status.glob("[!.]*.json"):
            found.append(int(json.loads(path.read_text(encoding="utf-8"))["pid"]))
        return found

    def cpu_s(self) -> dict[str, float]:
        """By process name: user and system time, with that of its ended children."""
        times = {}
        for pid in self.pids():
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
            name = words[-2] if words[-2] in ("overview", "closeup", "microphone") else next(w for w in words[::-1] if w)
            times[name] = sum(int(fields[n]) for n in (11, 12, 13, 14)) * TICK_S
        return times

    def memory_mb(self) -> tuple[float, float]:
        """Sum of resident sets, and of proportional sets (shared pages counted once), MiB."""
        resident = proportional = 0.0
        for pid in self.pids():
            resident += int(Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()[1]) * PAGE / 2**20
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines():
                if line.startswith("Pss:"):
                    proportional += int(line.split()[1]) / 1024
        return resident, proportional

    def stop(self) -> None:
        """Ends the agent and its processes, a session that still runs included."""
        end_room(self.command, self.agent, self.status.parent)

    def session(self, seconds: int, say: Any) -> dict[str, Any]:
        """One session of so many seconds."""
        before = self.cpu_s()
        memory = []
        began = time.monotonic()
        self.command.ask(
            "session", "start", "--case", "1", "--cause", "bench", "--handler", "A", "--interviewee", "B",
            "--planned-minutes", str(seconds // 60 + 1), "--override-by", "bench", "--override-reason", "bench",
        )  # fmt: skip
        answered_s = time.monotonic() - began
        late = 0
        while (left := began + seconds - 0.3 - time.monotonic()) > 0:
            time.sleep(min(5.0, left))
            memory.append(self.memory_mb())
            composer = json.loads((self.status / "composer.json").read_text(encoding="utf-8"))
            late = max(late, composer["late"])
            say(f"{left:5.0f} s left, lag {composer['lag_ms']:.0f} ms, late {late}, {memory[-1][0]:.0f} MiB")
        began = time.monotonic()
        stopped = self.command.ask("session", "stop", "--by", "A", "--reason", "bench")
        sealed_s = time.monotonic() - began
        after = self.cpu_s()
        by_process = {name: round(after[name] - before.get(name, 0.0), 2) for name in after}
        composite = stopped["composite"]
        return {
            "cpu_s": sum(by_process.values()),
            "by_process": by_process,
            "missing": composite["pictures_due"] - composite["pictures_written"],
            "late": late,
            "memory": memory,
            "answered_s": round(answered_s, 3),
            "stop_to_sealed_s": round(sealed_s, 3),
            "covered": {name: facts["covered"] for name, facts in stopped["coverage"].items()},
        }


def one_ffmpeg(stand_ins: StandInRoom, seconds: int, out: Path) -> dict[str, float]:
    """The yardstick's own JSON line."""
    main, inset = (c.address("main") for c in (stand_ins.overview, stand_ins.closeup))
    done = subprocess.run(
        [str(HOME / "bench" / "one-ffmpeg"), main, inset, str(seconds), str(out), "default"],
        env={**os.environ, **stand_ins.env},
        stdout=subprocess.PIPE,
        check=True,
        timeout=seconds + 60,
    )
    values: dict[str, float] = json.loads(done.stdout.decode().strip().splitlines()[-1])
    return values


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench/room", description=__doc__)
    parser.add_argument("--json", action="store_true", help="only the JSON line on stdout")
    parser.add_argument("--runs", type=int, default=3, help="pairs of runs (default 3)")
    parser.add_argument("--seconds", type=int, default=40, help="length of each run of a pair (default 40)")
    parser.add_argument("--long", type=int, default=600, help="length of the session that is counted (default 600, 0: none)")
    chosen = parser.parse_args()

    def say(text: str) -> None:
        if not chosen.json:
            sys.stderr.write(text + "\n")

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="bench-room-") as name:
        folder = Path(name)
        with StandInRoom(folder / "equipment", HOME / ".cache" / "equipment") as stand_ins:
            result = measure(folder, stand_ins, chosen, say)
    sys.stdout.write(json.dumps(result) + "\n")
    return 0


def measure(folder: Path, stand_ins: StandInRoom, chosen: argparse.Namespace, say: Any) -> dict[str, Any]:
    """Everything, as one JSON object."""
    room = Room(folder, stand_ins)
    pairs, sessions = [], []
    try:
        for run in range(chosen.runs):
            ours = room.session(chosen.seconds, say)
            theirs = one_ffmpeg(stand_ins, chosen.seconds, folder / f"one-ffmpeg-{run}")
            say(f"pair {run + 1}: room {ours['cpu_s']:.2f} s, one ffmpeg {theirs['cpu_s']:.2f} s")
            sessions.append(ours)
            pairs.append((ours["cpu_s"], theirs["cpu_s"]))
        if chosen.long:
            sessions.append(room.session(chosen.long, say))
    finally:
        room.stop()
    longest = sessions[-1]
    third = max(1, len(longest["memory"]) // 3)
    ratios = [ours / theirs for ours, theirs in pairs]
    return {
        "cpu_ratio": round(statistics.median(ratios), 3) if ratios else None,
        "cpu_ratios": [round(r, 3) for r in ratios],
        "room_cpu_s": [round(a, 2) for a, _ in pairs],
        "one_ffmpeg_cpu_s": [round(b, 2) for _, b in pairs],
        "by_process_cpu_s": longest["by_process"],
        "seconds": longest["memory"] and (chosen.long or chosen.seconds),
        "missing": sum(s["missing"] for s in sessions),
        "late": sum(s["late"] for s in sessions),
        "rss_mb": round(max(r for s in sessions for r, _ in s["memory"]), 1),
        "rss_first_third_mb": round(statistics.mean(r for r, _ in longest["memory"][:third]), 1),
        "rss_last_third_mb": round(statistics.mean(r for r, _ in longest["memory"][-third:]), 1),
        "pss_mb": round(max(p for s in sessions for _, p in s["memory"]), 1),
        "start_answer_s": [s["answered_s"] for s in sessions],
        "stop_to_sealed_s": [s["stop_to_sealed_s"] for s in sessions],
        "covered": longest["covered"],
    }


if __name__ == "__main__":
    sys.exit(main())
