"""What is asked of the burner and what it answers: the files under ``<root>/burn/``.

::

    wanted.json           {"job": "…", "session": "…", "drives": ["/dev/sr0"], "copies": 2, "extra": false}, and "cancelled": true
                          once the job is to end
    jobs/<job>.json       the result, once, when the job is over
    progress/<job>.json   what a killed worker's successor must know; gone when the job is over

    {"schema": "interview-room-burn/1", "job": "…", "session": "…", "ok": true, "copies": 2, "verified": 2, "verified_before": 0,
     "label": "EV20261121_001", "image_bytes": 0, "image_sha256": "…", "content_sha256": "…", "damaged": [],
     "started": "…", "finished": "…", "fault": null,
     "discs": [{"device": "stdio:/d/1.img", "image": "/d/1.img", "verified": true, "sha256": "…", "fault": null}]}

``verified`` counts the session's verified discs, those of earlier jobs with the same ``content_sha256`` (``verified_before``)
included: a disc with a transcript that was replaced since is no copy. ``fault`` is wording.Fault.as_dict().
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from burner.faults import BurnFault, DiscSpoiled
from drivers.optical import stdio_path
from recorder.disk.durable import Json, file_stamp, make_folder, read_json, write_json
from recorder.disk.journal import utc_now
from recorder.disk.typed import WrongField, typed
from recorder.faults import BadInput, EvidenceFault, NotFound
from wording import Exit, Fault

RESULT_SCHEMA = "interview-room-burn/1"
CANCELLED = "burn-job-cancelled"
NEW_DISC = "replace-spoiled-disc-and-burn-again"


@dataclass(frozen=True, slots=True)
class Job:
    """An order for discs. copies: how many verified discs the session is to have. drives: in the order they are used.

    extra: one disc more than the session has of this content, whatever copies says. cancelled: it is to end.
    """

    id: str
    session: str
    drives: tuple[str, ...]
    copies: int
    extra: bool = False
    cancelled: bool = False

    def beyond(self, before: int) -> "Job":
        """The job where the session has so many verified discs of this content already."""
        return replace(self, copies=before + 1) if self.extra else self

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> "Job":
        """The content of burn/wanted.json. Raises BadInput."""
        try:
            order = typed(_Order, data)
        except WrongField as error:
            raise _incomplete(error.field, data.get(error.field.partition(".")[0])) from error
        if not order.job or "/" in order.job or order.job.startswith("."):
            raise _incomplete("job", order.job)
        for name, value in (("session", order.session), ("drives", order.drives)):
            if not value:
                raise _incomplete(name, value)
        if order.copies < 1:
            raise _incomplete("copies", order.copies)
        return cls(order.job, order.session, tuple(dict.fromkeys(order.drives)), order.copies, order.extra, order.cancelled)


@dataclass(frozen=True, slots=True)
class _Order:
    """burn/wanted.json."""

    job: str
    session: str
    drives: tuple[str, ...]
    copies: int
    extra: bool = False
    cancelled: bool = False


def _incomplete(name: str, value: object) -> BadInput:
    return BadInput("burn-job-invalid", "request-discs-again", name=name, value=value)


def cancelled_fault(job: Job) -> BurnFault:
    """The fault of a job that a person ended."""
    return BurnFault(CANCELLED, "burn-again-when-wanted", exit_code=Exit.NO, job=job.id)


def stopped_fault(device: str) -> DiscSpoiled:
    """The fault for a disc whose burning was cut short because the process or the job was asked to end."""
    return DiscSpoiled("disc-burning-interrupted", NEW_DISC, device=device)


@dataclass(slots=True)
class Disc:
    """One drive's part in a job. begun: burning was started, so that its disc is no longer blank."""

    device: str
    fault: Fault | None = None
    begun: bool = False
    sha256: str | None = None
    verified: bool = False

    def as_dict(self) -> Json:
        """The disc as the job's result lists it."""
        return {
            "device": self.device,
            "image": str(stdio_path(self.device) or self.device),
            "verified": self.verified,
            "sha256": self.sha256,
            "fault": self.fault.as_dict() if self.fault else None,
        }


@dataclass(frozen=True, slots=True)
class Image:
    """What was sent to the drives. sha256: None until all of it was sent.

    content: burner.disc.sealed_session.content when the image was made. damaged: what it lacks of the session's files.
    """

    label: str
    bytes: int
    content: str
    damaged: tuple[str, ...] = ()
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Left:
    """What an interrupted run of the same job left. step: "burning" or "verifying"."""

    step: str
    discs: tuple[Disc, ...]
    image: Image


@dataclass(frozen=True, slots=True)
class JobResult:
    """A finished job. content: burner.disc.sealed_session.content of its discs, None where it could not be told."""

    job: Job
    image: Image | None
    discs: Sequence[Disc]
    verified_before: int
    fault: Fault | None
    started: str
    finished: str
    content: str | None = None

    @property
    def verified(self) -> int:
        """The session's verified discs."""
        return self.verified_before + sum(d.verified for d in self.discs)

    def as_dict(self) -> Json:
        """The content of burn/jobs/<job>.json."""
        return {
            "schema": RESULT_SCHEMA,
            "job": self.job.id,
            "session": self.job.session,
            "ok": self.verified >= self.job.copies,
            "copies": self.job.copies,
            "verified": self.verified,
            "verified_before": self.verified_before,
            "label": self.image.label if self.image else None,
            "image_bytes": self.image.bytes if self.image else None,
            "image_sha256": self.image.sha256 if self.image else None,
            "content_sha256": self.content,
            "damaged": list(self.image.damaged) if self.image else [],
            "started": self.started,
            "finished": self.finished,
            "fault": self.fault.as_dict() if self.fault else None,
            "discs": [d.as_dict() for d in self.discs],
        }


@dataclass(frozen=True, slots=True)
class JobStore:
    """The folder ``<root>/burn``. Every writing method raises StorageFault."""

    root: Path
    folder: Path = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", self.root / "burn")

    def wanted(self) -> Job | None:
        """What the agent asks for. Raises BadInput, EvidenceFault where it cannot be understood."""
        try:
            return Job.from_dict(read_json(self.folder / "wanted.json"))
        except NotFound:
            return None

    def result(self, job: Job) -> Json | None:
        """A finished job's result. Raises EvidenceFault."""
        try:
            return read_json(self.folder / "jobs" / f"{job.id}.json")
        except NotFound:
            return None

    def finish(self, result: JobResult) -> Json:
        """Stores the result and forgets the progress."""
        data = result.as_dict()
        write_json(make_folder(self.folder / "jobs") / f"{result.job.id}.json", data)
        self._progress(result.job).unlink(missing_ok=True)
        return data

    def cancelled(self, job: Job, verified: int, content: str | None) -> JobResult:
        """The result of a job that was ended before a worker took it up, or after one died. verified: discs of this content."""
        left = self.left(job)
        begun = [disc for disc in left.discs if disc.begun] if left else []
        for disc in begun:
            disc.fault = disc.fault or stopped_fault(disc.device)
        now = utc_now()
        return JobResult(job.beyond(verified), None, begun, verified, cancelled_fault(job), now, now, content)

    def verified_before(self, job: Job, content: str) -> int:
        """Discs of this session and this content that other jobs verified. A result without its content counts none."""
        count = 0
        for path in sorted((self.folder / "jobs").glob("[!.]*.json")):
            try:
                found: dict[str, Any] = read_json(path)
            except (NotFound, EvidenceFault):
                continue
            mine, discs = found.get("session") == job.session and found.get("job") != job.id, found.get("discs")
            if mine and found.get("content_sha256") == content and isinstance(discs, list):
                count += sum(1 for d in discs if isinstance(d, dict) and d.get("verified") is True)
        return count

    def note(self, job: Job, step: str, discs: Sequence[Disc], image: Image) -> None:
        """Before a step whose interruption must be known."""
        make_folder(self.folder / "progress")
        noted = [{"device": d.device, "begun": d.begun, "fault": d.fault.as_dict() if d.fault else None} for d in discs]
        about: Json = {
            "step": step,
            "discs": noted,
            "label": image.label,
            "image_bytes": image.bytes,
            "image_sha256": image.sha256,
            "content_sha256": image.content,
            "damaged": list(image.damaged),
        }
        write_json(self._progress(job), about)

    def left(self, job: Job) -> Left | None:
        """What an interrupted run noted; None where there was none, or its note is unreadable."""
        try:
            data: dict[str, Any] = read_json(self._progress(job))
            discs = tuple(
                Disc(d["device"], Fault.from_dict(d["fault"]) if d["fault"] else None, bool(d["begun"])) for d in data["discs"]
            )
            content, damaged = data.get("content_sha256") or "", tuple(data.get("damaged") or ())
            image = Image(data["label"], data["image_bytes"], content, damaged, data["image_sha256"])
            return Left(data["step"], discs, image)
        except (NotFound, EvidenceFault, KeyError, TypeError):
            return None

    def _progress(self, job: Job) -> Path:
        return self.folder / "progress" / f"{job.id}.json"


class CancelWord:
    """Whether a job's order has the word by now that the job is to end. The file is read only when it was replaced."""

    def __init__(self, jobs: JobStore, job: Job) -> None:
        self._jobs, self._job = jobs, job
        self._stamp: tuple[int, int] | None = None
        self._said = job.cancelled

    def __call__(self) -> bool:
        """Asked between the blocks of a burn."""
        stamp = file_stamp(self._jobs.folder / "wanted.json")
        if not self._said and stamp != self._stamp:
            self._stamp = stamp
            with suppress(Fault):
                now = self._jobs.wanted()
                self._said = now is not None and now.id == self._job.id and now.cancelled
        return self._said
