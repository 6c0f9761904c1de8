"""Disc drives with blank discs in them, in a class-1 centre."""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from typing import Any

from agent.config.model import Config
from agent.selfcheck.check import Check, Outcome, Scene, failed, passed, skipped, warned
from agent.selfcheck.result import Text, both, joined
from drivers.optical import DriveState
from drivers.optical import look as look_at_drive
from recorder.process.status import BurnerStatus
from wording import Fault

LOOK_S = 9.0
WORKER_LOOKS_S = 6.0
BUSY = ("preparing", "burning", "verifying")


def look(scene: Scene, _: str) -> Outcome:
    """What the burner's process says of the drives; asked here where it does not run: a drive serves one program at a time."""
    drives = scene.config.burner.drives
    burner = _burner(scene)
    if burner and burner.state in BUSY:
        return warned(
            both("burning"),
            both("idle"),
            both("A disc is being burned; the drives were not looked at."),
            both("Put blank discs in when it is done."),
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
    value = both("{present} of {all} drives, {blank} blank disc(s)", present=len(present), all=len(states), blank=len(blank))
    threshold = both("{wanted} blank disc(s)", wanted=wanted)
    if not present and centre_class != 1:
        return skipped(both("This centre needs no burner of its own (class {number}).", number=centre_class))
    problems = [s.problem for s in states if s.problem]
    what = Text(" ".join(p.say("en") for p in problems), "".join(p.say("zh") for p in problems))
    mends = list(dict.fromkeys((p.say_mend("en"), p.say_mend("zh")) for p in problems))
    mend = Text(" ".join(m[0] for m in mends), "".join(m[1] for m in mends))
    if not present:
        return failed(
            value, threshold, what or both("No drive is configured."), mend or both("Enter the drives in burner.drives.")
        )
    if len(blank) < wanted:
        return failed(value, threshold, what or both("There are too few blank discs."), mend or both("Put blank discs in."))
    if len(present) < len(states):
        names = joined([Text(s.device, s.device) for s in states if not s.present])
        return warned(value, threshold, what or both("Drives are missing: {names}.", names=names), mend)
    return passed(value, threshold)


def required(config: Config) -> bool:
    """A class-1 centre must have a burner, ready (W-6.2.2.4.7)."""
    return config.room.class_ == 1


CHECK = Check(
    "drives", "devices", "Disc drives and blank discs", ("W-6.2.2.4.7", "W-7.3.5"), look, lambda _: ("burner",), required
)
