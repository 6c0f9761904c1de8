"""The stages of the whole interview, in order. Each verifies what it did; what cannot be verified raises DemoError."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from recorder.process.status import read_status
from tests.demo import pictures
from tests.demo.command import DemoError, RoomAgent
from tests.demo.subscriber import Subscriber
from tests.equipment.room import StandInRoom

READY_LIMIT_S = 30.0
PICTURES_PER_SECOND = 25
TRACKS = ("overview", "closeup", "microphone")
CASE = {"zh": "温综执〔2026〕第0123号", "en": "WZ-2026-0123"}
CAUSE = {"zh": "占道经营", "en": "Street trading without a permit"}
HANDLERS = {"zh": ("张三", "李四"), "en": ("Zhang San", "Li Si")}
INTERVIEWEE = {"zh": "王五", "en": "Wang Wu"}


@dataclass(slots=True)
class Summary:
    """summary.json, filled stage by stage."""

    out: Path
    values: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def expect(self, holds: bool, otherwise: str) -> None:
        """Notes a problem where something does not hold."""
        if not holds:
            self.problems.append(otherwise)


class Agent:
    """``room-agent run`` as a child; its processes are its own affair."""

    def __init__(self, command: RoomAgent, log: Path) -> None:
        self._log = log.open("wb")
        self._child = subprocess.Popen(
            command.argv("run"),
            env=command.environment(),
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """Of the agent itself."""
        return self._child.pid

    def check(self) -> None:
        """Raises DemoError where it ended by itself."""
        if self._child.poll() is not None:
            raise DemoError(f"the agent ended with {self._child.returncode}; see {self._log.name}")

    def stop(self) -> int:
        """SIGTERM: it stops its processes and itself; its exit code."""
        if self._child.returncode is not None:
            return self._child.returncode
        with suppress(ProcessLookupError):
            self._child.terminate()
        try:
            return self._child.wait(30)
        except subprocess.TimeoutExpired:
            self._child.kill()
            raise DemoError("the agent did not stop within 30 s") from None
        finally:
            self._log.close()


def end_room(command: RoomAgent, agent: Agent, run: Path) -> int:
    """Ends the agent and every process of the room, in any state: the agent alone would leave a running session recording."""
    with suppress(DemoError, subprocess.TimeoutExpired):
        command.ask(
            "session", "stop", "--by", "demo", "--reason", "the room is taken down", expected=tuple(range(256)), timeout_s=20
        )
    try:
        return agent.stop()
    finally:
        for path in (run / "status").glob("[!.]*.json"):
            status = read_status(path)
            if status is not None:
                with suppress(ProcessLookupError):
                    os.kill(status.pid, signal.SIGKILL)


def wait_until_armed(command: RoomAgent, agent: Agent) -> None:
    """Until every track delivers and the climate is read. Raises DemoError."""
    deadline = time.monotonic() + READY_LIMIT_S
    said: dict[str, Any] = {}
    while time.monotonic() < deadline:
        agent.check()
        with suppress(DemoError):
            said = command.ask("session", "status")
            tracks = said["tracks"]
            armed = all(tracks.get(name) and tracks[name]["state"] == "armed" for name in TRACKS)
            if armed and said["composer"] and said["climate"]["temperature_c"] is not None:
                return
        time.sleep(0.2)
    raise DemoError(f"the room is not armed after {READY_LIMIT_S:.0f} s: {said}")


def selfcheck(command: RoomAgent, summary: Summary) -> None:
    """The self-check with its report; it must pass."""
    report = command.ask("selfcheck", "--report", str(summary.out), expected=(0, 1))
    failed = [f"{f['check']} {f['device']}" for f in report["findings"] if f["status"] == "failed"]
    summary.values["selfcheck"] = {"passed": report["exit_code"] == 0, "checks": len(report["findings"]), "failed": failed}
    summary.expect(report["exit_code"] == 0, f"the self-check failed: {', '.join(failed)}")
    if failed:
        raise DemoError(f"the room is not ready: {', '.join(failed)}; see {summary.out / 'selfcheck.html'}")


def record(command: RoomAgent, summary: Summary, seconds: int, language: str, progress: Callable[[str], None]) -> None:
    """Start, wait, stop, seal."""
    handlers = [word for name in HANDLERS[language] for word in ("--handler", name)]
    began = time.monotonic()
    started = command.ask(
        "session", "start", "--case", CASE[language], "--cause", CAUSE[language], *handlers,
        "--interviewee", INTERVIEWEE[language], "--planned-minutes", str(max(1, -(-seconds // 60))),
    )  # fmt: skip
    summary.values["start_answer_s"] = round(time.monotonic() - began, 3)
    summary.values["official_start"] = started["official_start"]
    start = datetime.fromisoformat(started["official_start"])
    last = -1
    while (left := seconds - (datetime.now(start.tzinfo) - start).total_seconds()) > 0.5:
        if int(left) // 10 != last:
            last = int(left) // 10
            progress(f"recording … {int(left)} s")
        time.sleep(min(0.2, left - 0.5) if left > 0.5 else 0)
    began = time.monotonic()
    reason = {"zh": "询问结束", "en": "interview finished"}[language]
    stopped = command.ask("session", "stop", "--by", HANDLERS[language][0], "--reason", reason)
    summary.values["stop_to_sealed_s"] = round(time.monotonic() - began, 3)
    summary.values["official_end"] = stopped["official_end"]
    status = command.ask("session", "status")
    summary.values["session_id"] = status["session"]["id"]
    summary.values["session"] = status["path"]
    length = (datetime.fromisoformat(stopped["official_end"]) - start).total_seconds()
    summary.values["seconds"] = length
    summary.values["tracks"] = {
        name: {"covered": facts["covered"], "gaps": facts["gaps"]} for name, facts in stopped["coverage"].items()
    }
    for name in TRACKS:
        facts = stopped["coverage"].get(name, {"covered": 0, "gaps": 1})
        summary.expect(facts["covered"] == 1 and facts["gaps"] == 0, f"{name} does not cover the session: {facts}")
    _composite(summary, stopped["composite"], length)


def _composite(summary: Summary, said: dict[str, Any], length: float) -> None:
    folder = Path(summary.values["session"])
    parts = sorted((folder / "composite").glob("part-*.mp4"))
    counted = sum(pictures.count(part) for part in parts)
    due = round(length * PICTURES_PER_SECOND)
    summary.values["composite"] = {"path": str(parts[0]), "pictures_due": due, "pictures_written": counted}
    summary.expect(len(parts) == 1, f"the composite is in {len(parts)} parts")
    summary.expect(counted == due == said["pictures_written"], f"the composite has {counted} of {due} pictures: {said}")
    values = summary.values
    captions = (f"T0 {values['official_start']}", f"{counted // 2} / {counted}", f"T1 {values['official_end']}")
    pictures.sheet(parts, counted, captions, summary.out / "contact-sheet.png")


def transcript(command: RoomAgent, summary: Summary, language: str) -> None:
    """A transcript with the official times, attached; the verdict must be a match."""
    start = datetime.fromisoformat(summary.values["official_start"])
    end = datetime.fromisoformat(summary.values["official_end"])
    if language == "zh":
        span = f"{start:%Y年%m月%d日%H时%M分}至{end:%Y年%m月%d日%H时%M分}"
        text = f"询问笔录\n\n询问时间：{span}\n询问地点：调查询问室一\n询问人：张三、李四\n被询问人：王五\n\n问：……\n答：……\n"
    else:
        text = f"Interview record\n\nInterview time: {start:%Y-%m-%dT%H:%M%z} to {end:%Y-%m-%dT%H:%M%z}\n\nQ: …\nA: …\n"
    path = summary.out / ("询问笔录.txt" if language == "zh" else "transcript.txt")
    path.write_text(text, encoding="utf-8")
    answer = command.ask("transcript", "attach", summary.values["session_id"], str(path), expected=(0, 1))
    summary.values["transcript"] = {"file": str(path), "verdict": answer["transcript"]["verdict"]}
    summary.expect(answer["transcript"]["verdict"] == "match", f"the transcript does not match: {answer['transcript']}")


def discs(command: RoomAgent, summary: Summary, room: StandInRoom) -> None:
    """Two discs burned by the worker and read back by it; then each verified again, as anybody can."""
    began = time.monotonic()
    answer = command.ask("disc", "burn", summary.values["session_id"], expected=(0, 1), timeout_s=600)
    summary.values["burn_s"] = round(time.monotonic() - began, 1)
    burned = {disc["image"]: disc for disc in answer["discs"]}
    results = []
    for drive in room.discs:
        told = next((disc for image, disc in burned.items() if image.endswith(str(drive.path))), None)
        again = command.ask("disc", "verify", str(drive.path), expected=(0, 1), timeout_s=300)
        verified = bool(told and told["verified"]) and again["exit_code"] == 0
        results.append({"image": str(drive.path), "verified": verified, "sha256": told["sha256"] if told else None})
        summary.expect(verified, f"{drive.path} is not verified: {told}; read again: {again}")
    summary.values["discs"] = results
    summary.expect(len({disc["sha256"] for disc in results}) == 1, "the two discs differ")
    seal = command.ask("verify", summary.values["session"], expected=(0, 1), timeout_s=300)
    summary.values["session_verified"] = seal["exit_code"] == 0
    summary.expect(seal["exit_code"] == 0, f"the session folder does not verify: {seal}")


def feed(subscriber: Subscriber, summary: Summary) -> None:
    """What the command room saw, once the agent has said goodbye."""
    subscriber.wait_for("state", {"online": False})
    counted = subscriber.stop()
    summary.values["feed"] = counted
    summary.expect(counted["messages"] > 0 and counted["lost"] == 0, f"the feed lost messages: {counted}")
    states = [line["payload"]["room_state"] for line in subscriber.lines() if line["topic"].endswith("/health")]
    for state in ("recording", "sealing"):
        summary.expect(state in states, f"the feed never said {state}")
