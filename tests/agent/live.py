"""A real `room-agent run` without its children: their status files are written here, as they themselves write them."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agent.config.model import parse
from agent.config.places import Places
from recorder.clock.instants import boot_id, boottime_ns
from recorder.disk.durable import make_folder, write_json
from recorder.process.status import ComposerStatus, TrackStatus
from recorder.process.wanted import Wanted
from recorder.session.tracks import TRACKS
from tests.agent.room import config_text
from tests.live_room import wait_for


@dataclass
class Answer:
    """What one call of the command line did."""

    code: int
    out: str
    err: str
    seconds: float

    def json(self) -> dict[str, Any]:
        value = json.loads(self.out)
        assert isinstance(value, dict)
        return value


@dataclass
class LiveAgent:
    """root and run hold Chinese characters and spaces. silent: tracks that write no status. drives: of the configuration."""

    folder: Path
    more: str = ""
    silent: set[str] = field(default_factory=set)
    unfinished: set[str] = field(default_factory=set)
    drives: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        base = make_folder(self.folder / ("调查询问室 " + "长" * 40))
        self.config = base / "配置.toml"
        text = config_text(base / "数据", base / "run", self.more, self.drives).replace("[mqtt]", "reserve_gib = 0\n[mqtt]", 1)
        self.config.write_text(text, "utf-8")
        self.places: Places = parse(self.config.read_text("utf-8")).storage.places
        make_folder(self.places.status)
        self._stop = threading.Event()
        self._children = threading.Thread(target=self._report, daemon=True)

    def _report(self) -> None:
        while not self._stop.wait(0.1):
            now = boottime_ns()
            wanted = Wanted.read(self.places.wanted)
            state, finished = "armed", None
            if wanted.session is not None:
                state = "recording"
                if wanted.stop_ns is not None and time.time_ns() > wanted.stop_ns:
                    state, finished = "finished", wanted.session
            common: dict[str, Any] = {
                "pid": os.getpid(),
                "boot_id": boot_id(),
                "version": "",
                "at_ns": now,
                "session": wanted.session,
            }
            for name in TRACKS:
                if name in self.silent:
                    continue
                done = name not in self.unfinished
                TrackStatus(
                    name=name,
                    state=state if done else "recording",
                    finished=finished if done else None,
                    last_packet_ns=now,
                    last_disk_ns=now if wanted.session else None,
                    bitrate_bps=1e5,
                    **common,
                ).write(self.places.status)
            ComposerStatus(name="composer", state=state, finished=finished, **common).write(self.places.status)

    def selfcheck(self, *, passed: bool = True) -> None:
        """A report as the self-check stores it."""
        at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        failed = [] if passed else ["camera-light:closeup"]
        make_folder(self.places.selfcheck)
        report = {"schema": "interview-room-selfcheck/1", "at": at, "passed": passed, "failed_checks": failed}
        write_json(self.places.selfcheck / "latest.json", report)

    def command(self, *words: str, env: dict[str, str] | None = None) -> Answer:
        """Runs `room-agent` with these words."""
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "agent", *words, "--config", str(self.config)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**os.environ, **(env or {})},
        )
        return Answer(done.returncode, done.stdout, done.stderr, time.monotonic() - began)

    @contextmanager
    def agent(self, *, wait: bool = True) -> Iterator[subprocess.Popen[str]]:
        """The agent's process; ended with SIGTERM if it still lives."""
        log = self.folder / "agent.log"
        with log.open("a") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "agent", "run", "--no-children", "--config", str(self.config)], stderr=output, text=True
            )
        try:
            if wait:
                wait_for(lambda: process.poll() is not None or self.command("session", "status").code == 0, "the agent answers")
                assert process.poll() is None, log.read_text()
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.wait(15)

    def __enter__(self) -> "LiveAgent":
        self._children.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._children.join()


START = ("session", "start", "--case", "案1", "--cause", "由", "--handler", "张三", "--handler", "李四", "--interviewee", "王五")
STOP = ("session", "stop", "--by", "赵六", "--reason", "询问结束")
