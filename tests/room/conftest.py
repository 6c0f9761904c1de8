"""One room for all tests of this folder: stand-ins, agent, tracks, composer."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from recorder import journal
from recorder.room_time import boot_id, boottime_ns
from recorder.wanted import TrackStatus, read_status, read_statuses
from tests.demo.command import RoomAgent
from tests.demo.interview import Agent, end_room, wait_until_armed
from tests.equipment.clips import SMALL
from tests.equipment.room import StandInRoom

HOME = Path(__file__).resolve().parents[2]
OVERRIDE = ("--override-by", "test", "--override-reason", "test")
START = (
    "session",
    "start",
    "--case",
    "温综执〔2026〕1号",
    "--cause",
    "test",
    "--handler",
    "甲",
    "--interviewee",
    "乙",
    *OVERRIDE,
)
STOP = ("session", "stop", "--by", "甲", "--reason", "test")


def wait_for(condition: Callable[[], Any], what: str, limit_s: float = 20.0) -> Any:
    """The first true value of the condition. Fails naming what was waited for."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    pytest.fail(f"not within {limit_s} s: {what}")


class LiveRoom:
    """The running product and its stand-ins."""

    def __init__(self, folder: Path, stand_ins: StandInRoom) -> None:
        self.stand_ins = stand_ins
        self.root, self.run = folder / "数据 data", folder / "run"
        self.folder = folder
        config = folder / "config.toml"
        overrides: dict[str, dict[str, object]] = {"recording": {"segment_s": 3.0}}
        config.write_text(stand_ins.config_text(self.root, self.run, "zh", overrides), encoding="utf-8")
        self.command = RoomAgent(config, stand_ins.env)
        self.agent = self.start_agent()

    def start_agent(self) -> Agent:
        """``room-agent run``, until the room is armed."""
        self.agent = Agent(self.command, self.folder / f"agent-{time.monotonic_ns()}.log")
        return self.agent

    def armed(self) -> None:
        """Waits until every track could begin."""
        wait_until_armed(self.command, self.agent)

    def start(self) -> dict[str, Any]:
        """A session; its answer."""
        return self.command.ask(*START)

    def stop(self) -> dict[str, Any]:
        """Ends it and waits for the seal."""
        return self.command.ask(*STOP)

    def pid(self, name: str) -> int:
        """Of a process by its status."""
        status = wait_for(lambda: read_status(self.run / "status" / f"{name}.json"), f"a status of {name}")
        return int(status.pid)

    def track(self, name: str) -> TrackStatus | None:
        """A track's status if it is alive."""
        status = read_statuses(self.run / "status", boottime_ns(), boot_id()).get(name)
        return status if isinstance(status, TrackStatus) else None

    def recording(self, names: tuple[str, ...] = ("overview", "closeup", "microphone")) -> bool:
        """Whether bytes of all these tracks reach the disk."""
        states = [self.track(name) for name in names]
        return all(s is not None and s.state == "recording" for s in states)

    def record_for(self, seconds: float) -> None:
        """Waits until so much of the running session is recorded and reaches the disk."""
        wait_for(self.recording, "every track recording")
        wait_for(lambda: self.command.ask("session", "status")["recorded_s"] >= seconds, f"{seconds} s recorded", seconds + 10)

    def session_folder(self, answer: dict[str, Any]) -> Path:
        """Of a started session."""
        return self.root / "sessions" / str(answer["session"])

    def journal(self, answer: dict[str, Any], track: str) -> list[dict[str, Any]]:
        """A track's journal."""
        return list(journal.read(self.session_folder(answer) / "tracks" / track / "journal.jsonl"))

    def end(self) -> None:
        """Ends the agent and whatever it left running."""
        end_room(self.command, self.agent, self.run)


@pytest.fixture(scope="session")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveRoom]:
    """A room, armed."""
    folder = tmp_path_factory.mktemp("调查询问室 room")
    with StandInRoom(folder / "equipment", HOME / ".cache" / "equipment", recipe=SMALL) as stand_ins:
        live = LiveRoom(folder, stand_ins)
        try:
            live.armed()
            yield live
        finally:
            live.end()
