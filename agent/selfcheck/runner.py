"""Runs the checks at once, each in a thread of its own; a check that crashes or hangs becomes a finding."""

import logging
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotInTime
from datetime import UTC, datetime

from agent.config.model import Config
from agent.selfcheck.check import Check, Outcome, Scene, failed
from agent.selfcheck.checks import (
    broker,
    camera_clock,
    camera_frozen,
    camera_keyframes,
    camera_latency,
    camera_light,
    camera_login,
    camera_stream,
    climate,
    disk_space,
    disk_write,
    drives,
    encoder,
    microphone_clipped,
    microphone_delivers,
    microphone_level,
    processes,
    room_clock,
)
from agent.selfcheck.result import NOTHING, Finding, Report, both, of_fault
from agent.version import product_version
from wording import Fault

LIMIT_S = 12.0

CHECKS: tuple[Check, ...] = (
    processes.CHECK,
    climate.CHECK,
    drives.CHECK,
    disk_space.CHECK,
    disk_write.CHECK,
    encoder.CHECK,
    camera_login.CHECK,
    camera_clock.CHECK,
    room_clock.CHECK,
    broker.CHECK,
    microphone_delivers.CHECK,
    microphone_level.CHECK,
    microphone_clipped.CHECK,
    camera_stream.CHECK,
    camera_keyframes.CHECK,
    camera_light.CHECK,
    camera_frozen.CHECK,
    camera_latency.CHECK,
)

log = logging.getLogger(__name__)


def run(config: Config, *, at: datetime | None = None, checks: Sequence[Check] = CHECKS, limit_s: float = LIMIT_S) -> Report:
    """Every check on every device of its, in the order of ``checks``; done after limit_s at the latest."""
    at, began = at or datetime.now(UTC), time.monotonic()
    scene = Scene(config)
    running = [_Running(check, device, scene) for check in checks for device in check.devices(config)]
    findings = tuple(one.finding(began + limit_s, limit_s, required=one.check.required(config)) for one in running)
    room = {"id": config.room.id, "name": config.room.name, "centre": config.room.centre, "class": config.room.class_}
    return Report(at, time.monotonic() - began, room, findings, config.room.timezone, product_version())


class _Running:
    """One check on one device, at work. Its thread is a daemon: one that hangs for ever holds nothing up."""

    def __init__(self, check: Check, device: str, scene: Scene) -> None:
        self.check, self._device = check, device
        self._began = time.monotonic()
        self._done: Future[tuple[Outcome, float]] = Future()
        threading.Thread(target=self._do, args=(scene,), name=f"check-{check.id}", daemon=True).start()

    def _do(self, scene: Scene) -> None:
        try:
            outcome = self.check.look(scene, self._device)
        except Fault as fault:
            outcome = failed(NOTHING, NOTHING, *of_fault(fault))
        except Exception as error:  # the top of this check's thread
            log.exception("check crashed", extra={"check": self.check.id, "device": self._device})
            outcome = failed(
                both("defect"),
                NOTHING,
                both("The check itself failed: {why}.", why=f"{type(error).__name__}: {error}"),
                both("This is a defect of the program: report it with the log."),
            )
        self._done.set_result((outcome, time.monotonic() - self._began))

    def finding(self, deadline: float, limit_s: float, *, required: bool) -> Finding:
        try:
            outcome, seconds = self._done.result(max(0.0, deadline - time.monotonic()))
        except NotInTime:
            seconds = time.monotonic() - self._began
            outcome = failed(
                NOTHING,
                NOTHING,
                both("The check did not end within {limit:g} s.", limit=limit_s),
                both("Check again; if it comes again, restart the device."),
            )
        return Finding(
            check=self.check.id,
            heading=self.check.heading,
            title=both(self.check.title),
            device=self._device,
            status="warning" if outcome.status == "failed" and not required else outcome.status,
            value=outcome.value,
            threshold=outcome.threshold,
            clauses=self.check.clauses,
            what=outcome.what,
            mend=outcome.mend,
            required=required,
            seconds=seconds,
        )
