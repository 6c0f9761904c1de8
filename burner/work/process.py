"""The burner's process: takes up the wanted job, says once a second how it goes, and looks at the drives while it is idle."""

import logging
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from burner.faults import BurnFault, Stopped
from burner.work.jobs import CANCELLED, CancelWord, Job, JobResult, JobStore, stopped_fault
from drivers.optical import DriveState, glance, look
from recorder.disk.durable import Json
from recorder.disk.journal import utc_now
from recorder.faults import AlreadyRunning, StorageFault
from recorder.process.runner import Reporter, process
from recorder.process.status import BurnerStatus
from wording import Exit, Fault, Language

POLL_S = 0.25
GLANCE_S = 2.0
RETRY_S = 2.0  # after the data disk refused, or while an image is authored from the same session
NAME = "burner"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BurnerSettings:
    """root, run: storage.root and storage.run. drives: those of the configuration, shown in the status in this order.

    media_bytes: capacity to plan with where a drive tells none; 0: unknown. reserve_bytes: what a burn leaves free on the data
    disk, for the next recording.
    """

    root: Path
    run: Path
    drives: tuple[str, ...]
    language: Language
    version: str
    media_bytes: int = 0
    reserve_bytes: int = 0


def run_worker(settings: BurnerSettings) -> None:
    """The process: until SIGTERM or SIGINT. A disc that burns at that moment is lost; its job is taken up at the next start.

    Raises AlreadyRunning, StorageFault where it cannot begin.
    """
    with process(NAME, settings.run) as stop:
        _Worker(settings, stop).run()


@dataclass(slots=True)
class _Now:
    """What the status thread says; replaced field by field."""

    state: str = "idle"
    job: str | None = None
    session: str | None = None
    progress: float | None = None
    drives: list[dict[str, object]] = field(default_factory=list)
    last: Json | None = None
    fault: dict[str, object] | None = None


class _Worker:
    def __init__(self, settings: BurnerSettings, stop: threading.Event) -> None:
        self._settings, self._stop = settings, stop
        self._jobs = JobStore(settings.root)
        self._now = _Now()
        self._seen: dict[str, tuple[str, DriveState]] = {}
        self._glanced_s: float | None = None
        self._over = threading.Event()
        self._reporter = Reporter(BurnerStatus(name=NAME, pid=0, boot_id="", version=settings.version), settings.run)

    def run(self) -> None:
        """The loop."""
        reporting = threading.Thread(target=self._report, name="status", daemon=True)
        reporting.start()
        try:
            while not self._stop.is_set():
                wait_s = self._turn()
                self._stop.wait(wait_s)
        except Stopped:
            log.info("burner stopped in the middle of a job", extra={"job": self._now.job})
        finally:
            self._over.set()
            reporting.join()
            self._reporter.remove()

    def _turn(self) -> float:
        """One comparison of wanted and done; seconds until the next. Raises Stopped."""
        try:
            job = self._jobs.wanted()
            done = self._jobs.result(job) if job else None
            if job is not None and done is None:
                done = self._take_up(job)
                self._seen.clear()
                self._glanced_s = None
            self._rest(done)
        except (StorageFault, AlreadyRunning) as fault:
            self._now.state, self._now.fault = "failed", fault.as_dict()
            return RETRY_S
        except Fault as fault:  # wanted.json or a result cannot be understood
            self._now.state, self._now.fault = "failed", fault.as_dict()
        self._look()
        return POLL_S

    def _take_up(self, job: Job) -> Json:
        log.info("burn job taken up", extra={"job": job.id, "session": job.session})
        now, settings = self._now, self._settings
        now.job, now.session, now.fault = job.id, job.session, None

        def say(state: str, progress: float) -> None:
            now.state, now.progress = state, progress

        def hindered(fault: Fault | None) -> None:
            now.fault = fault.as_dict() if fault else None

        started = utc_now()
        try:
            from burner.work.burning import Burner

            burner = Burner(
                settings.root,
                settings.language,
                settings.media_bytes,
                say,
                self._stop.is_set,
                hindered,
                cancelled=CancelWord(self._jobs, job),
                reserve_bytes=settings.reserve_bytes,
                run_folder=settings.run,
            )
            return burner.run(job)
        except (Stopped, StorageFault, AlreadyRunning):
            raise
        except Exception as error:  # the top of this process: a defect ends the job, not the worker
            log.exception("burn job met a defect", extra={"job": job.id})
            fault = BurnFault(
                "burner-internal-fault",
                "burn-again-report-if-repeated",
                exit_code=Exit.DEFECT,
                why=f"{type(error).__name__}: {error}",
            )
            left = self._jobs.left(job)
            begun = [d for d in left.discs if d.begun] if left else []
            for disc in begun:
                disc.fault = disc.fault or stopped_fault(disc.device)
            return self._jobs.finish(JobResult(job, None, begun, 0, fault, started, utc_now()))

    def _rest(self, done: Json | None) -> None:
        now = self._now
        fault = done.get("fault") if done and not done.get("ok") else None
        failed = isinstance(fault, dict) and fault.get("code") != CANCELLED
        now.state, now.fault = ("failed", fault) if failed and isinstance(fault, dict) else ("idle", None)
        now.job = now.session = now.progress = None
        now.last = done

    def _look(self) -> None:
        """Every two seconds a glance at each drive, and a look where its disc may have been changed."""
        if self._glanced_s is not None and time.monotonic() - self._glanced_s < GLANCE_S:
            return
        self._glanced_s = time.monotonic()
        for device in self._settings.drives:
            token = glance(device)
            if device not in self._seen or self._seen[device][0] != token:
                self._seen[device] = (token, look(device))
        self._now.drives = [state.as_dict() for _, state in self._seen.values()]

    def _report(self) -> None:
        status = self._reporter.status
        assert isinstance(status, BurnerStatus)
        while not self._over.wait(POLL_S):
            now = self._now
            self._reporter.state(now.state)
            status.job, status.session, status.progress = now.job, now.session, now.progress
            status.drives, status.last, status.fault = now.drives, now.last, now.fault
            with suppress(OSError):
                self._reporter.report()
