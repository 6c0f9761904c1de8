"""Runs the checks at once, each in a thread of its own; a check that crashes or hangs becomes a finding."""

import logging
import pkgutil
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotInTime
from datetime import UTC, datetime
from importlib import import_module

from agent.config.model import Config
from agent.devices.kinds import KINDS
from agent.selfcheck import checks
from agent.selfcheck.check import Check, Outcome, Scene, failed
from agent.selfcheck.result import NOTHING, CheckResult, SelfcheckReport, of_fault
from agent.version import product_version
from wording import Fault
from wording.sentence import sentence

LIMIT_S = 12.0


def _found() -> tuple[Check, ...]:
    """The CHECK of every module of agent.selfcheck.checks, in the report's order: by place, then as device kinds name them."""
    named = list(dict.fromkeys(name for kind in KINDS for name in kind.checks))
    others = sorted(module.name for module in pkgutil.iter_modules(checks.__path__) if module.name not in named)
    found: list[Check] = [import_module(f"{checks.__name__}.{name}").CHECK for name in (*named, *others)]
    return tuple(sorted(found, key=lambda check: check.place))


CHECKS = _found()

log = logging.getLogger(__name__)


def run(
    config: Config, *, at: datetime | None = None, chosen: Sequence[Check] = CHECKS, limit_s: float = LIMIT_S
) -> SelfcheckReport:
    """Every check on every device of its, in the order of ``chosen``; done after limit_s at the latest."""
    at, began = at or datetime.now(UTC), time.monotonic()
    scene = Scene(config)
    running = [_Running(check, device, scene) for check in chosen for device in check.devices(config)]
    findings = tuple(one.finding(began + limit_s, limit_s, required=one.check.required(config)) for one in running)
    room = {"id": config.room.id, "name": config.room.name, "centre": config.room.centre, "class": config.room.class_}
    return SelfcheckReport(at, time.monotonic() - began, room, findings, config.room.timezone, product_version())


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
                sentence("program-defect"),
                NOTHING,
                sentence("check-itself-failed", why=f"{type(error).__name__}: {error}"),
                sentence("report-program-defect-with-log"),
            )
        self._done.set_result((outcome, time.monotonic() - self._began))

    def finding(self, deadline: float, limit_s: float, *, required: bool) -> CheckResult:
        try:
            outcome, seconds = self._done.result(max(0.0, deadline - time.monotonic()))
        except NotInTime:
            seconds = time.monotonic() - self._began
            outcome = failed(
                NOTHING,
                NOTHING,
                sentence("check-timed-out", limit=limit_s),
                sentence("check-again-or-restart-device"),
            )
        return CheckResult(
            check=self.check.id,
            heading=self.check.heading,
            title=sentence(self.check.title),
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
