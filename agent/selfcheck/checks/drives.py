"""Disc drives with blank discs in them, in a class-1 centre."""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from typing import Any

from agent.config.model import Config
from agent.selfcheck.check import Check, Outcome, Scene, failed, passed, skipped, warned
from agent.selfcheck.result import of_fault
from drivers.optical import DriveState
from drivers.optical import look as look_at_drive
from recorder.process.status import BurnerStatus
from wording import Fault
from wording.sentence import in_a_row, sentence

LOOK_S = 9.0
WORKER_LOOKS_S = 6.0
BUSY = ("preparing", "burning", "verifying")


def look(scene: Scene, _: str) -> Outcome:
    """What the burner's process says of the drives; asked here where it does not run: a drive serves one program at a time."""
    drives = scene.config.burner.drives
    burner = _burner(scene)
    if burner and burner.state in BUSY:
        return warned(
            sentence("burning"),
            sentence("idle"),
            sentence("drives-not-checked-while-burning"),
            sentence("insert-blank-discs-after-burn"),
        )
    if burner and burner.drives:
        states = [from_dict(drive) for drive in burner.drives]
    else:
        with ThreadPoolExecutor(max_workers=max(1, len(drives))) as pool:
            states = list(pool.map(lambda drive: look_at_drive(drive, timeout_s=LOOK_S), drives))
    return judge(states, scene.config.burner.copies, scene.config.room.class_)


def _burner(scene: Scene) -> BurnerStatus | None:
    """The burner's status; one that has just begun is given the time to look at its drives."""
    deadline = time.monotonic() + WORKER_LOOKS_S
    while True:
        status = scene.statuses().get("burner")
        burner = status if isinstance(status, BurnerStatus) else None
        if burner is None or burner.drives or burner.state in BUSY or time.monotonic() > deadline:
            return burner
        time.sleep(0.2)


def from_dict(drive: Mapping[str, Any]) -> DriveState:
    """The inverse of DriveState.as_dict."""
    known = {field.name: drive[field.name] for field in fields(DriveState) if field.name in drive}
    problem = drive.get("problem")
    return DriveState(**{**known, "problem": Fault.from_dict(problem) if problem else None})


def judge(states: Sequence[DriveState], copies: int, centre_class: int) -> Outcome:
    """Pure. One drive burns several copies one after the other, so it is asked for as many blank discs as drives are there."""
    present = [s for s in states if s.present]
    blank = [s for s in present if s.blank]
    wanted = max(1, min(copies, len(present)))
    value = sentence("drives-and-blank-discs-found", present=len(present), all=len(states), blank=len(blank))
    threshold = sentence("blank-discs-required", wanted=wanted)
    if not present and centre_class != 1:
        return skipped(sentence("centre-needs-no-burner", number=centre_class))
    problems = [s.problem for s in states if s.problem]
    what = in_a_row([of_fault(p)[0] for p in problems])
    mend = in_a_row(list({p.say_mend(): of_fault(p)[1] for p in problems if p.mend}.values()))
    if not present:
        return failed(
            value, threshold, what or sentence("no-drive-configured"), mend or sentence("enter-drives-in-configuration")
        )
    if len(blank) < wanted:
        return failed(value, threshold, what or sentence("too-few-blank-discs"), mend or sentence("insert-blank-discs"))
    if len(present) < len(states):
        names = tuple(s.device for s in states if not s.present)
        return warned(value, threshold, what or sentence("drives-missing", names=names), mend)
    return passed(value, threshold)


def required(config: Config) -> bool:
    """A class-1 centre must have a burner, ready (W-6.2.2.4.7)."""
    return config.room.class_ == 1


CHECK = Check(
    "drives", "devices", "drives-and-blank-discs-check", ("W-6.2.2.4.7", "W-7.3.5"), look, lambda _: ("burner",), required
)
