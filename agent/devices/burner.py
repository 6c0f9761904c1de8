"""The burner worker and its optical drives: one process, a device a drive."""

from typing import TYPE_CHECKING

from agent.devices.kind import (
    OK,
    DeviceHealth,
    DeviceKind,
    Judgement,
    Limits,
    Look,
    Measurement,
    health,
    missing,
    not_there,
    told_fault,
)
from recorder.process.status import BurnerStatus, Status
from wording import Fault

if TYPE_CHECKING:
    from agent.config.model import Config
    from burner.work.process import BurnerSettings

BURNER = "burner"


def judge(_look: Look, status: Status) -> Judgement:
    """Judges the worker itself; its drives are judged one by one elsewhere."""
    fault = told_fault(status)
    return OK if fault is None else ("failed", fault)


def drives(look: Look, limits: Limits) -> tuple[DeviceHealth, ...]:
    """Every drive, ``drive-1`` first: as many as the configuration names, or as the worker shows."""
    status = look.statuses.get(BURNER)
    shown = status.drives if isinstance(status, BurnerStatus) else []
    count = max(limits.drives, len(shown), 1 if BURNER in (*look.expected, *look.required) else 0)
    return tuple(_drive(look, number, shown) for number in range(1, count + 1))


def _drive(look: Look, number: int, shown: list[dict[str, object]]) -> DeviceHealth:
    """One optical drive as drivers.optical.DriveState.as_dict tells it; a drive without a disc, or with a written one, is ok."""
    name, status = f"drive-{number}", look.statuses.get(BURNER)
    required = not {BURNER, name}.isdisjoint(look.required)
    if status is None:
        return missing(look, name, BURNER, required=required)
    if number > len(shown):
        return health(name, ("unknown", told_fault(status)), required, status)
    drive = shown[number - 1]
    told = drive.get("fault")
    fault = Fault.from_dict(told) if isinstance(told, dict) and "code" in told else None
    verdict: Judgement = OK if fault is None else ("failed", fault)
    if str(drive.get("state", "")) == "absent":
        verdict = ("absent", fault or not_there())
    words = [Measurement(k, v) for k in ("device", "state", "medium") if isinstance(v := drive.get(k), str)]
    sizes = [
        Measurement(k.removesuffix("_bytes"), v, "B")
        for k in ("free_bytes", "capacity_bytes")
        if isinstance(v := drive.get(k), int)
    ]
    return health(name, verdict, required, status, (*words, *sizes))


def _settings(config: "Config") -> object:
    from agent.config.settings import burner_settings

    return burner_settings(config)


def _work(settings: "BurnerSettings") -> None:
    from burner.work.process import run_worker

    run_worker(settings)


KIND = DeviceKind(
    id=BURNER,
    title="disc-drives",
    help="help-run-burner",
    unit="room-agent-burner.service",
    command=(BURNER,),
    settings=_settings,
    work=_work,
    program="burner.work.process",
    judge=judge,
    meant=lambda config: bool(config.burner.drives),
    checks=("drives",),
    members=drives,
    pattern="drive-[1-9][0-9]?",
)
