"""The running product in a room of stand-ins, for tests that break something and compare the account with the truth."""

import json
import os
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from recorder.clock.instants import boot_id, boottime_ns
from recorder.disk import journal
from recorder.process.status import ComposerStatus, TrackStatus, read_status, read_statuses
from recorder.session.epoch import read_tie
from tests.demo.command import DemoError, RoomAgent
from tests.demo.interview import Agent, end_room, wait_until_armed
from tests.demo.subscriber import Subscriber
from tests.equipment import process
from tests.equipment.room import Overrides, StandInRoom
from wording import Exit

HOME = Path(__file__).resolve().parents[1]
CACHE = HOME / ".cache" / "equipment"
SECOND = 1_000_000_000
ARMED_S = 10.0
TRACKS = ("overview", "closeup", "microphone")
OVERRIDE = ("--override-by", "test", "--override-reason", "test")
CASE = ("--case", "温综执〔2026〕1号", "--cause", "test", "--handler", "甲", "--interviewee", "乙")
START = ("session", "start", *CASE, *OVERRIDE)
STOP = ("session", "stop", "--by", "甲", "--reason", "test")
SHORT_SEGMENTS: Overrides = {"recording": {"segment_s": 3.0}}
CHEAP: Overrides = {"recording": {"segment_s": 3.0}, "composite": {"preset": "ultrafast", "crf": 40}}
"""As much of the processor as possible left to those who run beside: nothing that is tested depends on the picture's quality."""


def wait_for(condition: Callable[[], Any], what: str, limit_s: float = 20.0) -> Any:
    """As every test waits, and longer: a whole room starts on a small PC."""
    return process.wait_for(condition, what, limit_s, every_s=0.05)


class LiveRoom:
    """The agent and its processes, in ``folder``, on these stand-ins.

    overrides: of the configuration, section to keys. env: for every process of the product.
    """

    def __init__(
        self,
        folder: Path,
        stand_ins: StandInRoom,
        *,
        overrides: Overrides = SHORT_SEGMENTS,
        env: Mapping[str, str] | None = None,
        root: Path | None = None,
    ) -> None:
        self.stand_ins = stand_ins
        self.root, self.run = root or folder / "数据 data", folder / "run"
        self.folder = folder
        config = folder / "config.toml"
        config.write_text(stand_ins.config_text(self.root, self.run, "zh", overrides), encoding="utf-8")
        self.command = RoomAgent(config, {**stand_ins.env, **(env or {})})
        self.agent = self.start_agent()

    def start_agent(self) -> Agent:
        """``room-agent run``."""
        self.agent = Agent(self.command, self.folder / f"agent-{time.monotonic_ns()}.log")
        return self.agent

    def kill_agent(self) -> int:
        """kill -9 of the agent alone; CLOCK_BOOTTIME of it, ns. Everything else goes on."""
        at_ns = self.signal("agent", signal.SIGKILL)
        self.agent.stop()
        return at_ns

    def armed(self) -> None:
        """Waits until every track could begin."""
        deadline = time.monotonic() + ARMED_S  # the files first: asking by the command costs much of a small PC
        while time.monotonic() < deadline and not all(self._says(name) == "armed" for name in (*TRACKS, "composer")):
            self.agent.check()
            time.sleep(0.05)
        wait_until_armed(self.command, self.agent)

    def _says(self, name: str) -> str | None:
        status = read_status(self.run / "status" / f"{name}.json")
        return status.state if status is not None else None

    def start(self) -> dict[str, Any]:
        """A session; its answer."""
        return self.command.ask(*START)

    def stop(self) -> dict[str, Any]:
        """Ends it and waits for the seal."""
        return self.command.ask(*STOP)

    def subscribe(self) -> Subscriber:
        """The command room, listening from now on; ``stop`` it."""
        name = f"feed-{time.monotonic_ns()}"
        return Subscriber(self.stand_ins.facts()["broker"], self.folder / f"{name}.jsonl", client=name)

    # -- the processes --

    def pid(self, name: str) -> int:
        """Of a process by its status."""
        status = wait_for(lambda: read_status(self.run / "status" / f"{name}.json"), f"a status of {name}")
        return int(status.pid)

    def signal(self, name: str, number: signal.Signals) -> int:
        """Sends a signal to one process of the room; CLOCK_BOOTTIME of it, ns."""
        os.kill(self.agent.pid if name == "agent" else self.pid(name), number)
        return boottime_ns()

    def replaced(self, name: str, pid: int, limit_s: float = 20.0) -> int:
        """Waits until another process of this name reports; its id."""
        return int(wait_for(lambda: (p := self.pid(name)) != pid and p, f"another process {name}", limit_s))

    def track(self, name: str) -> TrackStatus | None:
        """A track's status if it is alive."""
        status = read_statuses(self.run / "status", boottime_ns(), boot_id()).get(name)
        return status if isinstance(status, TrackStatus) else None

    def composer(self) -> ComposerStatus | None:
        """The composer's status if it is alive."""
        status = read_statuses(self.run / "status", boottime_ns(), boot_id()).get("composer")
        return status if isinstance(status, ComposerStatus) else None

    def recording(self, names: tuple[str, ...] = TRACKS) -> bool:
        """Whether bytes of all these tracks reach the disk."""
        states = [self.track(name) for name in names]
        return all(s is not None and s.state == "recording" for s in states)

    def record_for(self, seconds: float) -> None:
        """Waits until so much of the running session is recorded and reaches the disk."""
        wait_for(self.recording, "every track recording")
        deadline = time.monotonic() + seconds + 10
        while (left_s := seconds - self.command.ask("session", "status")["recorded_s"]) > 0:
            assert time.monotonic() < deadline, f"not recorded in time: {seconds} s"
            time.sleep(left_s)

    def record_on(self, seconds: float) -> None:
        """Waits until so much more of the running session is recorded and reaches the disk."""
        self.record_for(self.command.ask("session", "status")["recorded_s"] + seconds)

    def settle(self) -> None:
        """Between two tests: an agent runs, and no session does."""
        try:
            self.agent.check()
        except DemoError:
            self.start_agent()
        with suppress(DemoError):  # none is running
            self.command.ask(*STOP)

    # -- the account --

    def session_folder(self, answer: dict[str, Any]) -> Path:
        """Of a started session."""
        return self.root / "sessions" / str(answer["session"])

    def room_ns(self, answer: dict[str, Any], at_ns: int | None = None) -> int:
        """Room time of an instant of CLOCK_BOOTTIME (default: now), by the session's epoch of this boot."""
        tie = read_tie(self.session_folder(answer) / "epochs" / f"{boot_id()}.json")
        return (boottime_ns() if at_ns is None else at_ns) + tie.utc_ns - tie.boottime_ns

    def journal(self, answer: dict[str, Any], track: str) -> list[dict[str, Any]]:
        """A track's journal."""
        return list(journal.read(self.session_folder(answer) / "tracks" / track / "journal.jsonl"))

    def composite_journal(self, answer: dict[str, Any]) -> list[dict[str, Any]]:
        """The composer's journal."""
        return list(journal.read(self.session_folder(answer) / "composite" / "journal.jsonl"))

    def session_journal(self, answer: dict[str, Any]) -> list[dict[str, Any]]:
        """The session's own journal."""
        return list(journal.read(self.session_folder(answer) / "journal.jsonl"))

    def manifest(self, answer: dict[str, Any]) -> dict[str, Any]:
        """The sealed ledger."""
        found: dict[str, Any] = json.loads((self.session_folder(answer) / "manifest.json").read_text(encoding="utf-8"))
        return found

    def verified(self, answer: dict[str, Any]) -> dict[str, Any]:
        """What `room-agent verify` says of the sealed session; it must find nothing wrong with the files."""
        answered = self.command.ask("verify", str(self.session_folder(answer)), expected=(0, int(Exit.NO)))
        wrong = [finding for finding in answered["findings"] if finding["ok"] is False]
        assert wrong == [], wrong
        return answered

    def end(self) -> None:
        """Ends the agent and whatever it left running."""
        end_room(self.command, self.agent, self.run)


def gap_spans(manifest: dict[str, Any], track: str) -> list[tuple[int, int]]:
    """The gaps of a track, or of the "composite", as (from_ns, to_ns) of room time."""
    of = manifest["composite"] if track == "composite" else manifest["tracks"][track]
    return [(int(gap["from_ns"]), int(gap["to_ns"])) for gap in of["gaps"]]


def monotonic_to_boottime_ns() -> int:
    """CLOCK_BOOTTIME minus CLOCK_MONOTONIC, which the stand-ins' logs use."""
    return boottime_ns() - time.clock_gettime_ns(time.CLOCK_MONOTONIC)
