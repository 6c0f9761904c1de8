"""One burn job: prepare, burn to all drives at once, read back, compare, answer.

A run that was killed is taken up again. A disc on which burning was interrupted is lost and its content is never trusted; only a
``stdio:`` file that this very job began is replaced. A disc with content is never written to.
"""

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from burner.disc import sealed_session as evidence_
from burner.disc.author import plan_disc
from burner.disc.deliver import clear, deliver, disc_folder
from burner.disc.image import ImagePlan, Written
from burner.faults import BurnFault, DiscSpoiled, DoesNotFit, Stopped
from burner.work.drive import BurnOutcome, DriveBurn, Fanout, read_back
from burner.work.jobs import NEW_DISC, Disc, Image, Job, JobResult, JobStore, Left, cancelled_fault, stopped_fault
from drivers import optical
from drivers.optical import DriveState, stdio_path
from recorder.disk.durable import Json, storage_fault
from recorder.disk.journal import utc_now
from recorder.faults import AlreadyRunning
from wording import Fault, Language

MARK = "user.interview-room.job"  # on a stdio: file from the beginning of its burn to the end of its job
SHARES = {"preparing": (0.0, 0.2), "burning": (0.2, 0.5), "verifying": (0.7, 0.3)}  # of a job's progress

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Course:
    """How far a job has come. job: with the copies that it is to reach. before: discs of this content that were verified before.

    left: what an interrupted run left. content: of the discs, None while it is not known.
    """

    job: Job
    left: Left | None = None
    before: int = 0
    content: str | None = None
    discs: list[Disc] = field(default_factory=list)
    image: Image | None = None

    @property
    def burned_before(self) -> bool:
        """An interrupted run had sent all of the image."""
        return self.left is not None and self.left.step == "verifying"

    def count(self, jobs: JobStore, content: str) -> None:
        """Counts the session's verified discs of this content."""
        self.content, self.before = content, jobs.verified_before(self.job, content)
        self.job = self.job.beyond(self.before)

    def take_over_left(self) -> None:
        """Where nothing was begun this time, the discs of the interrupted run are those to be told of."""
        if self.left is not None and not self.discs:
            self.discs = list(self.left.discs)
            self.image = self.left.image if self.burned_before else None


@dataclass(slots=True)
class Burner:
    """Runs jobs, one at a time.

    media_bytes: capacity to plan with where a drive tells none, 0 where that is unknown too. say: told (state, progress 0…1 of
    the job) as it goes. stopped: asked between blocks. hindered: told what a person has to do meanwhile, None when it was done.
    cancelled: asked like stopped; the job then ends, with a result. reserve_bytes: what a burn leaves free on the data disk.
    run_folder: storage.run, where no disc's file may lie either.
    """

    root: Path
    language: Language
    media_bytes: int = 0
    say: Callable[[str, float], object] = lambda _state, _progress: None
    stopped: Callable[[], bool] = lambda: False
    hindered: Callable[[Fault | None], object] = lambda _: None
    cancelled: Callable[[], bool] = lambda: False
    reserve_bytes: int = 0
    run_folder: Path | None = None

    def run(self, job: Job) -> Json:
        """The job's result, stored before it is returned; faults become part of it.

        Raises Stopped, AlreadyRunning, StorageFault (the result cannot be stored).
        """
        jobs, started = JobStore(self.root), utc_now()
        course = _Course(job)
        fault: Fault | None = None
        try:
            self._carry_out(jobs, course)
        except AlreadyRunning:  # an image is being authored from this session: a moment's patience, no result
            raise
        except Stopped:
            if self.stopped() or not self.cancelled():
                raise
            fault = cancelled_fault(job)
            course.take_over_left()
        except Fault as problem:
            fault = problem
        discs, image = course.discs, course.image
        burned = image is not None and image.sha256 is not None
        for disc in discs:
            if disc.begun and not disc.verified and disc.fault is None:  # cut off by a fault that is not the disc's own
                disc.fault = _not_read_back(disc.device) if burned else stopped_fault(disc.device)
        told = [d for d in discs if d.begun or d.fault is not None]  # the others are as blank as they were
        result = JobResult(course.job, image, told, course.before, fault, started, utc_now(), course.content)
        if fault is None and result.verified < course.job.copies:
            result = replace(result, fault=_first_fault(discs) or _more_discs(result.verified, course.job.copies))
        if result.fault is not None:
            log.error("burn job failed", extra={"job": job.id, "session": job.session, "fault": str(result.fault)})
        stored = jobs.finish(result)
        for disc in discs:
            if disc.begun:
                _release_file(disc)
                optical.eject(disc.device)
        return stored

    def _carry_out(self, jobs: JobStore, course: _Course) -> None:
        """All of a job, as far as it comes; what is reached stands in course. Raises Fault, Stopped."""
        session_folder = evidence_.session_folder(self.root, course.job.session)
        left = course.left = jobs.left(course.job)
        content = left.image.content if left is not None and course.burned_before else evidence_.content(session_folder)
        course.count(jobs, content)
        session = evidence_.read(session_folder)
        evidence_.require_final(session)
        if self.cancelled():
            raise Stopped
        with disc_folder(session) as folder, self._cleared(folder):
            if left is not None and course.burned_before:
                course.discs, course.image = list(left.discs), left.image
            else:
                self._tell("preparing", 0.0)
                course.discs = self._choose(course.job, course.before, left)
                if any(d.fault is None for d in course.discs):
                    self._make(jobs, course, session, folder)
            self._verify(course.discs, course.image)
            if course.before + sum(d.verified for d in course.discs) >= course.job.copies:
                clear(folder)

    def _make(self, jobs: JobStore, course: _Course, session: evidence_.Evidence, folder: Path) -> None:
        """Makes the files for the discs, and burns them. Raises Fault, Stopped."""
        delivery = deliver(
            session,
            folder,
            progress=lambda p: self._tell("preparing", p),
            stopped=self._over,
            reserve_bytes=self.reserve_bytes,
        )
        if self._over():
            raise Stopped
        damaged = tuple(each.path for each in delivery.damaged)
        if damaged:  # no copy of a disc that lacks nothing, or something else
            course.count(jobs, evidence_.content(session.folder, damaged))
            course.discs = self._choose(course.job, course.before, course.left)
        plan = plan_disc(session, folder, delivery, language=self.language, draft=False)
        image = Image(plan.label, plan.bytes, course.content or "", damaged)
        course.image = self._burn(jobs, course.job, plan, course.discs, image)

    def _over(self) -> bool:
        """The process or the job is to end."""
        return self.stopped() or self.cancelled()

    @contextmanager
    def _cleared(self, folder: Path) -> Iterator[None]:
        """The files for the discs go where the job is cancelled: they can be made again."""
        try:
            yield
        except Stopped:
            if self.cancelled() and not self.stopped():
                clear(folder)
            raise

    def _tell(self, state: str, share: float) -> None:
        start, width = SHARES[state]
        self.say(state, start + width * share)

    def _choose(self, job: Job, before: int, left: Left | None) -> list[Disc]:
        """The drives to burn with; where too few can, those that cannot with their faults."""
        begun = {d.device: d for d in left.discs} if left else {}
        for disc in begun.values():
            _remove_own_file(disc, job)
        needed = job.copies - before if job.copies > before else job.copies
        good: list[Disc] = []
        bad: list[Disc] = []
        for device in job.drives:
            if len(good) == needed:
                break
            problem = self._misplaced(device) or optical.look(device).problem
            if problem is not None and device in begun:
                problem = stopped_fault(device)
            (good if problem is None else bad).append(Disc(device, problem))
        return good if len(good) == needed else [*good, *bad]

    def _misplaced(self, device: str) -> Fault | None:
        """Why nothing may be written to a drive's file: it would lie among the product's own files."""
        folder = optical.lies_in(device, [self.root, *([self.run_folder] if self.run_folder else [])])
        if folder is None:
            return None
        return BurnFault("drive-file-lies-in-storage", "name-drive-elsewhere", drive=device, folder=folder)

    def _burn(self, jobs: JobStore, job: Job, plan: ImagePlan, discs: Sequence[Disc], image: Image) -> Image:
        """Burns to every disc without a fault; those that fail get theirs. The image with its digest, where all of it was sent.

        Raises EvidenceFault, StorageFault, BurnFault, Stopped.
        """
        states = {d.device: optical.look(d.device) for d in discs if d.fault is None}
        kept = {self.root.stat().st_dev: self.reserve_bytes}
        for device, problem in room_faults(states, plan.bytes, self.media_bytes, kept).items():
            next(d for d in discs if d.device == device).fault = problem
        for disc in discs:
            if disc.fault is None:
                disc.fault = _begin_file(disc, job)
                disc.begun = disc.fault is None
        chosen = [d for d in discs if d.fault is None]
        if not chosen:
            return image
        jobs.note(job, "burning", discs, image)
        written, outcomes = self._stream(plan, chosen)
        for disc, outcome in zip(chosen, outcomes, strict=True):
            disc.fault = outcome.fault
        if written is None:
            return image
        image = replace(image, sha256=written.sha256)
        jobs.note(job, "verifying", discs, image)
        return image

    def _stream(self, plan: ImagePlan, discs: Sequence[Disc]) -> tuple[Written | None, list[BurnOutcome]]:
        """What was sent (None where every drive failed first) and how each drive ended.

        Raises EvidenceFault, StorageFault (a source), BurnFault (a drive's xorriso cannot be started), Stopped.
        """
        burns: list[DriveBurn] = []
        ended = False
        sent = 0

        try:
            for disc in discs:
                burns.append(DriveBurn(disc.device, plan.bytes))
            fanout = Fanout(burns, self._over)

            def sink(data: bytes) -> None:
                nonlocal sent
                fanout(data)
                sent += len(data)
                self._tell("burning", sent / plan.bytes)

            try:
                written: Written | None = plan.write_to(sink)
            except Stopped:
                if self._over():
                    raise
                written = None
            outcomes = [b.finish(self._over) for b in burns]
            ended = not self._over()
        finally:
            if not ended:
                for burn in burns:
                    burn.give_up(stopped_fault(burn.device))
                    burn.finish(lambda: True)
                for disc in discs[len(burns) :]:
                    _release_file(disc)
                    disc.begun = False
        if not ended:
            raise Stopped
        return written, outcomes

    def _verify(self, discs: Sequence[Disc], image: Image | None) -> None:
        """Reads every burned disc back, all at once, and compares. Raises Stopped."""
        due = [d for d in discs if d.fault is None]
        if image is None or image.sha256 is None or not due:
            return
        self._tell("verifying", 0.0)
        read: Counter[str] = Counter()
        open_trays: dict[str, Fault] = {}
        length = image.bytes

        def one(disc: Disc) -> None:
            def progress(count: int) -> None:
                read[disc.device] = count
                self._tell("verifying", sum(read.values()) / (length * len(due)))

            def by_hand(fault: Fault | None) -> None:
                if fault is None:
                    del open_trays[disc.device]
                else:
                    open_trays[disc.device] = fault
                self.hindered(next(iter(tuple(open_trays.values())), None))

            try:
                disc.sha256 = read_back(disc.device, length, progress=progress, stopped=self._over, by_hand=by_hand)
            except Fault as fault:
                disc.fault = fault
                if disc.device in open_trays:
                    by_hand(None)
                return
            disc.verified = disc.sha256 == image.sha256
            if not disc.verified:
                disc.fault = DiscSpoiled("disc-readback-differs", NEW_DISC, device=disc.device)

        with ThreadPoolExecutor(len(due)) as pool:
            list(pool.map(one, due))


def room_faults(
    states: dict[str, DriveState], image_bytes: int, media_bytes: int, kept: Mapping[int, int] | None = None
) -> dict[str, Fault]:
    """Pure but for stat: the drives that cannot take the image, with why. Two files on one disk share its room.

    kept: by disk (st_dev), bytes that must stay free there.
    """
    faults: dict[str, Fault] = {}
    taken: Counter[int] = Counter()
    for device, state in states.items():
        if state.problem is not None:
            faults[device] = state.problem
            continue
        free = state.free_bytes or media_bytes
        disk = _disk_of(device)
        if disk is not None:
            free -= taken[disk] + (kept or {}).get(disk, 0)
        if free < image_bytes and (free or disk is not None):
            faults[device] = DoesNotFit(
                "disc-too-small-for-image",
                "insert-larger-blank-disc",
                needed_mb=-(-image_bytes // 1_000_000),
                device=device,
                free_mb=max(0, free) // 1_000_000,
            )
        elif disk is not None:
            taken[disk] += image_bytes
    return faults


def _disk_of(device: str) -> int | None:
    """The file system of a plain file behind a stdio: drive."""
    path = stdio_path(device)
    if path is None or path.is_block_device():
        return None
    return path.parent.stat().st_dev


def _begin_file(disc: Disc, job: Job) -> Fault | None:
    """Creates the file of a stdio: drive and marks it, so that a burn that was cut off knows its own."""
    path = stdio_path(disc.device)
    if path is None:
        return None
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            with suppress(OSError):  # a file system without attributes: then an interrupted file is left for a person
                os.setxattr(fd, MARK, job.id.encode())
        finally:
            os.close(fd)
    except OSError as error:
        return storage_fault(path, error)
    return None


def _remove_own_file(disc: Disc, job: Job) -> None:
    """Removes what this job's interrupted run wrote to a stdio: file; its xorriso may still hold the old file."""
    path = stdio_path(disc.device)
    if path is None or not path.is_file():
        return
    try:
        own = os.getxattr(path, MARK) == job.id.encode()
    except OSError:
        return
    try:
        if own:
            path.unlink()
    except OSError as error:
        raise storage_fault(path, error) from error


def _release_file(disc: Disc) -> None:
    """A finished disc is nobody's to remove."""
    path = stdio_path(disc.device)
    if path is not None:
        with suppress(OSError):
            os.removexattr(path, MARK)


def _not_read_back(device: str) -> DiscSpoiled:
    """The fault for a disc that was burned whole and not compared."""
    return DiscSpoiled("disc-not-read-back", NEW_DISC, device=device)


def _first_fault(discs: Sequence[Disc]) -> Fault | None:
    return next((d.fault for d in discs if d.fault is not None), None)


def _more_discs(verified: int, copies: int) -> Fault:
    return BurnFault("too-few-discs-verified", "insert-blank-disc-and-burn-again", verified=verified, copies=copies)
