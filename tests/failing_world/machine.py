"""The room's PC as a whole: its disk, its clocks, its power. Only the product's processes are on it; the stand-ins go on.

A boot after a power cut is a real one to whoever asks the kernel: CLOCK_BOOTTIME and CLOCK_MONOTONIC begin near zero (a time
namespace), and the boot has another identity (a mount namespace in which another file lies over the kernel's).
"""

import os
import random
import shutil
import signal
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from recorder.clock.instants import boot_id, boottime_ns
from recorder.process.status import ComposerStatus, Status, TrackStatus, read_statuses
from recorder.session.epoch import read_tie
from tests.demo.command import DemoError, RoomAgent
from tests.demo.interview import Agent
from tests.equipment.room import Overrides, StandInRoom
from tests.failing_world import power_cut
from tests.failing_world.world import World
from tests.live_room import CACHE, STOP, LiveRoom, wait_for

SECOND = 1_000_000_000
BOOT_S = 15.0  # from the power to the services


class NotPermittedError(Exception):
    """The kernel does not let this user do what a test needs."""


def run(*words: str | Path) -> None:
    """Raises NotPermittedError."""
    done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode != 0:
        raise NotPermittedError(f"{' '.join(map(str, words))}: {done.stderr.strip()}")


class Disk:
    """A file system of its own for the storage: a tmpfs, which is never larger than what is written on it."""

    LARGE = 64 << 30

    def __init__(self, at: Path) -> None:
        """Raises NotPermittedError."""
        self.at = at
        at.mkdir()
        run("mount", "-t", "tmpfs", "-o", f"size={self.LARGE}", "room-disk", at)

    @property
    def free_bytes(self) -> int:
        return shutil.disk_usage(self.at).free

    def leave(self, free_bytes: int) -> int:
        """Makes it so full, or by some pages less; CLOCK_BOOTTIME of it, ns. Raises NotPermittedError."""
        for tries in range(10):  # it is written to meanwhile
            size = shutil.disk_usage(self.at).used + free_bytes + (tries << 15)
            with suppress(NotPermittedError):
                run("mount", "-o", f"remount,rw,size={size}", self.at)
                return boottime_ns()
        raise NotPermittedError(f"{self.at} cannot be made smaller")

    def well(self) -> int:
        """With room enough; CLOCK_BOOTTIME of it, ns."""
        run("mount", "-o", f"remount,rw,size={self.LARGE}", self.at)
        return boottime_ns()

    def remove(self) -> None:
        """Takes it away, whoever has files open there."""
        subprocess.run(["umount", "-l", self.at], check=False, timeout=30)


@dataclass(frozen=True, slots=True)
class Boot:
    """One run of the PC. shift_ns: its CLOCK_BOOTTIME minus that of the PC under the tests. enter: before each command on it."""

    id: str
    shift_ns: int = 0
    enter: tuple[str, ...] = ()

    def now_ns(self) -> int:
        """Its CLOCK_BOOTTIME."""
        return boottime_ns() + self.shift_ns


@dataclass(frozen=True, slots=True)
class On(RoomAgent):
    """The command on a boot."""

    boot: Boot

    def argv(self, *words: str) -> list[str]:
        return [*self.boot.enter, *super(On, self).argv(*words)]


class Machine(LiveRoom):
    """A room whose PC may lose its power. boots: all so far; world: clock and calls to the disk of every boot."""

    def __init__(self, folder: Path, stand_ins: StandInRoom, disk: Disk, *, overrides: Overrides) -> None:
        self.boots = [Boot(boot_id())]
        self._holder: subprocess.Popen[str] | None = None
        self.disk = disk
        root = disk.at / "数据 data"
        root.mkdir()
        self.world = World(disk.at / "world", root, CACHE)
        super().__init__(folder, stand_ins, overrides=overrides, env=self.world.env, root=root)

    @property
    def boot(self) -> Boot:
        """The present one."""
        return self.boots[-1]

    def start_agent(self) -> Agent:
        self.command = On(self.command.config, self.command.env, self.boot)
        return super().start_agent()

    def _alive(self, name: str) -> Status | None:
        return read_statuses(self.run / "status", self.boot.now_ns(), self.boot.id).get(name)

    def track(self, name: str) -> TrackStatus | None:
        return found if isinstance(found := self._alive(name), TrackStatus) else None

    def composer(self) -> ComposerStatus | None:
        return found if isinstance(found := self._alive("composer"), ComposerStatus) else None

    def room_ns(self, answer: dict[str, Any], at_ns: int | None = None) -> int:
        """Room time of an instant of this PC's CLOCK_BOOTTIME (default: now), by the session's first epoch."""
        folder = self.session_folder(answer) / "epochs"
        boot = next(boot for boot in self.boots if (folder / f"{boot.id}.json").exists())
        tie = read_tie(folder / f"{boot.id}.json")
        return (boottime_ns() if at_ns is None else at_ns) + boot.shift_ns + tie.utc_ns - tie.boottime_ns

    def on_boot_ns(self, at_ns: int) -> int:
        """CLOCK_BOOTTIME of the present boot at an instant of this PC's."""
        return at_ns + self.boot.shift_ns

    def ready(self) -> None:
        """Between two tests: no session runs, and every track could begin; by another boot where nothing else helps."""
        try:
            self.agent.check()
            self._finish()
            self.armed()
        except (DemoError, subprocess.TimeoutExpired, pytest.fail.Exception):
            self.cut(random.Random(0))
            self.power_up()
            self._finish()
            self.armed()

    def _finish(self) -> None:
        wait_for(self._answers, "the agent answers", 30.0)
        if self.command.ask("session", "status")["state"] in ("recording", "sealing"):
            with suppress(DemoError):  # it is sealing already
                self.command.ask(*STOP)
            wait_for(lambda: self.command.ask("session", "status")["state"] not in ("recording", "sealing"), "the seal", 40.0)

    def _answers(self) -> bool:
        with suppress(DemoError):
            return bool(self.command.ask("session", "status"))
        return False

    # -- power --

    def cut(self, chance: random.Random, *, within: str = "") -> int:
        """The power is gone: every process at once, the memory, and of the disk what was on its way. CLOCK_BOOTTIME of it, ns.

        within: see power_cut.cut.
        """
        at_ns = boottime_ns()
        for number in (signal.SIGKILL, signal.SIGKILL):  # whoever was being born at the first
            for pid in self._processes():
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
        self.agent.stop()
        wait_for(lambda: not list(self._processes()), "every process is gone")
        if (self.run / "log").is_dir():  # not where the cut came before the agent had begun
            shutil.copytree(self.run / "log", self.folder / f"log-{len(self.boots)}", dirs_exist_ok=True)
        shutil.rmtree(self.run, ignore_errors=True)
        for line in power_cut.cut(self.root, self.world.log, chance, within=within):
            print(line)
        self._halt()
        return at_ns

    def _processes(self) -> Iterator[int]:
        """The agent first."""
        mark = f"WORLD_LOG={self.world.log}".encode()
        if self.agent.pid and Path(f"/proc/{self.agent.pid}/cmdline").exists():
            yield self.agent.pid
        for path in Path("/proc").glob("[0-9]*/environ"):
            with suppress(OSError):
                if mark in path.read_bytes().split(b"\0") and int(path.parent.name) != self.agent.pid:
                    yield int(path.parent.name)

    def power_up(self) -> int:
        """Another boot: everything as the services would start it. This PC's CLOCK_BOOTTIME of the agent's start, ns."""
        shift_ns = round(BOOT_S * SECOND) - boottime_ns() // SECOND * SECOND
        new = str(uuid.uuid4())
        identity = self.folder / f"boot-{len(self.boots)}"
        identity.write_text(new + "\n", encoding="ascii")
        script = 'mount --bind "$1" /proc/sys/kernel/random/boot_id && echo $$ && exec sleep infinity'
        holder = self._holder = subprocess.Popen(
            [
                *("unshare", "--mount", "--time", "--boottime", str(shift_ns // SECOND), "--monotonic", str(shift_ns // SECOND)),
                *("--fork", "--kill-child", "sh", "-c", script, "sh", identity),
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert holder.stdout is not None
        inside = holder.stdout.readline().strip()
        if not inside:
            raise NotPermittedError("another boot needs a time and a mount namespace (unshare)")
        self.boots.append(Boot(new, shift_ns, ("nsenter", "--target", inside, "--mount", "--time", "--")))
        at_ns = boottime_ns()
        self.start_agent()
        return at_ns

    def _halt(self) -> None:
        if self._holder is not None:
            self._holder.kill()
            self._holder.wait()
            assert self._holder.stdout is not None
            self._holder.stdout.close()
            self._holder = None

    def end(self) -> None:
        try:
            self.world.well()
            super().end()
        finally:
            for pid in self._processes():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._halt()


@contextmanager
def machine(folder: Path, *, overrides: Overrides, **stand_in: Any) -> Iterator[Machine]:
    """A PC with a disk of its own in a room of stand-ins. Raises NotPermittedError."""
    disk = Disk(folder / "disk")
    try:
        with StandInRoom(folder / "equipment", CACHE, **stand_in) as stand_ins:
            made = Machine(folder, stand_ins, disk, overrides=overrides)
            try:
                yield made
            finally:
                disk.well()
                made.end()
    finally:
        disk.remove()
