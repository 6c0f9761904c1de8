"""A recording room under measurement: the product's own processes on the stand-ins, and what /proc says of each."""

import json
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.demo.command import RoomAgent
from tests.demo.interview import Agent, end_room, wait_until_armed
from tests.equipment.room import Overrides, StandInRoom

HOME = Path(__file__).resolve().parents[1]
CACHE = HOME / ".cache" / "equipment"
TRACK_NAMES = ("overview", "closeup", "microphone")
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Reading:
    """One process at one instant. cpu_s: with its ended children.

    Memory in MiB: pss_mb with shared pages counted once, anonymous_mb without pages of files, so that no other program enters.
    """

    pid: int
    rss_mb: float
    pss_mb: float
    anonymous_mb: float
    handles: int
    threads: int
    cpu_s: float


def process_cpu_s(pid: int) -> float:
    """User and system time of a process with that of its ended children, s. Raises OSError where it is gone."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
    return sum(int(fields[n]) for n in (11, 12, 13, 14)) * TICK_S


def process_name(pid: int) -> str:
    """A track's name, or the command's last word. Raises OSError where it is gone."""
    words = [w for w in Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0") if w]
    if not words:
        raise ProcessLookupError(f"process {pid} has ended")
    return next((w for w in words[::-1] if w in TRACK_NAMES), words[-1])


def read_process(pid: int) -> Reading:
    """Everything of one process now. Raises OSError where it is gone."""
    proc = Path(f"/proc/{pid}")
    lines = (line.split() for line in (proc / "smaps_rollup").read_text(encoding="utf-8").splitlines())
    kib = {words[0]: int(words[1]) for words in lines if words[0] in ("Pss:", "Anonymous:")}
    resident = int((proc / "statm").read_text(encoding="utf-8").split()[1]) * PAGE / 2**20
    handles, threads = len(list((proc / "fd").iterdir())), len(list((proc / "task").iterdir()))
    return Reading(pid, resident, kib["Pss:"] / 1024, kib["Anonymous:"] / 1024, handles, threads, process_cpu_s(pid))


def thread_cpu_s(pid: int) -> dict[str, float]:
    """CPU seconds of each live thread, by its place in the order of starting and the kernel's name of it: ``00 python``."""
    times = {}
    with suppress(FileNotFoundError, ProcessLookupError):  # one that has just ended is left out
        for place, task in enumerate(sorted(Path(f"/proc/{pid}/task").iterdir(), key=lambda path: int(path.name))):
            name, fields = (task / "stat").read_text(encoding="utf-8").split("(", 1)[1].rsplit(")", 1)
            times[f"{place:02d} {name}"] = sum(int(fields.split()[n]) for n in (11, 12)) * TICK_S
    return times


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Theil–Sen: the median of the slopes of all pairs of (x, y), so that single outliers do not enter; 0.0 below two points."""
    slopes = [(y1 - y0) / (x1 - x0) for n, (x0, y0) in enumerate(points) for x1, y1 in points[n + 1 :] if x1 != x0]
    return statistics.median(slopes) if slopes else 0.0


class Room:
    """A running room and its processes. folder: for its configuration, data and log."""

    def __init__(self, folder: Path, stand_ins: StandInRoom, overrides: Overrides | None = None) -> None:
        """Returns when every track delivers. Raises DemoError."""
        self.status = folder / "run" / "status"
        self.data = folder / "data"
        sections: dict[str, Mapping[str, object]] = {"recording": {"selfcheck_valid_minutes": 1440}, **(overrides or {})}
        config = folder / "config.toml"
        config.write_text(stand_ins.config_text(self.data, folder / "run", "zh", sections), encoding="utf-8")
        self.command = RoomAgent(config, stand_ins.env)
        self.agent = Agent(self.command, folder / "agent.log")
        try:
            wait_until_armed(self.command, self.agent)
        except BaseException:
            self.stop()
            raise

    def pids(self) -> list[int]:
        """The agent's and those of the processes that tell a status."""
        found = [self.agent.pid]
        for path in self.status.glob("[!.]*.json"):
            found.append(int(json.loads(path.read_text(encoding="utf-8"))["pid"]))
        return found

    def readings(self) -> dict[str, Reading]:
        """Every process by its name; one that has just ended is left out."""
        found = {}
        for pid in self.pids():
            with suppress(FileNotFoundError, ProcessLookupError):
                found[process_name(pid)] = read_process(pid)
        return found

    def cpu_s(self) -> dict[str, float]:
        """By process name: user and system time, with that of its ended children."""
        return {process_name(pid): process_cpu_s(pid) for pid in self.pids()}

    def composer(self) -> dict[str, Any]:
        """The composer's status."""
        status: dict[str, Any] = json.loads((self.status / "composer.json").read_text(encoding="utf-8"))
        return status

    def start(self, seconds: float) -> None:
        """Begins a session that is planned so long."""
        self.command.ask(
            "session", "start", "--case", "1", "--cause", "bench", "--handler", "A", "--interviewee", "B",
            "--planned-minutes", str(int(seconds) // 60 + 1), "--override-by", "bench", "--override-reason", "bench",
        )  # fmt: skip

    def wait(self, until_s: float, every_s: float, look: Callable[[float], None]) -> None:
        """Until an instant of CLOCK_MONOTONIC; calls look(seconds left) each so often and at the end. Raises DemoError."""
        while (left := until_s - time.monotonic()) > 0:
            time.sleep(min(every_s, left))
            self.agent.check()
            look(left)

    def finish(self) -> dict[str, Any]:
        """Stops the session and waits for its seal; what the stop command answers."""
        return self.command.ask("session", "stop", "--by", "A", "--reason", "bench")

    def sessions(self) -> list[Path]:
        """Folders of the sessions, the oldest first."""
        return sorted(p for p in (self.data / "sessions").iterdir() if p.is_dir())

    def stop(self) -> None:
        """Ends the agent and its processes, a session that still runs included."""
        end_room(self.command, self.agent, self.status.parent)
