"""The composer: it shows no device of its own, but the room's picture depends on it."""

from typing import TYPE_CHECKING

from agent.devices.kind import BEHIND_S, OK, DeviceKind, Judgement, Look, Measurement, age_s, nothing_on_disk, older, told_fault
from recorder.process.status import ON_DISK_NS, ComposerStatus, Status
from wording import Fault

if TYPE_CHECKING:
    from agent.config.model import Config
    from recorder.composite.settings import ComposerSettings

LAG_MS = 2000.0  # a picture encoded later than this after it was due is late


def judge(look: Look, status: Status) -> Judgement:
    """Judges whether the composer composes in time and its output reaches the disk."""
    fault = told_fault(status)
    if not isinstance(status, ComposerStatus) or status.state == "failed":
        return "failed", fault
    if look.state == "recording" and look.recorded_s > BEHIND_S and older(look, status.last_disk_ns, ON_DISK_NS):
        return "failed", fault or nothing_on_disk(look, status.last_disk_ns)
    if fault is None and look.state == "recording" and status.lag_ms > LAG_MS:
        fault = Fault("composite-behind", "end-other-programs", seconds=round(status.lag_ms / 1000, 1))
    return ("degraded", fault) if fault is not None else OK


def measure(look: Look, status: Status) -> tuple[Measurement, ...]:
    """Pictures, lateness, parts and encoder of the running session."""
    if not isinstance(status, ComposerStatus):
        return ()
    return (
        Measurement("pictures_due", status.pictures_due),
        Measurement("pictures_written", status.pictures_written),
        Measurement("late", status.late),
        Measurement("lag", round(status.lag_ms), "ms"),
        Measurement("damaged", sum(status.damaged.values())),
        Measurement("parts", status.parts),
        Measurement("encoder", status.encoder),
        Measurement("last_disk_age", age_s(look, status.last_disk_ns), "s"),
    )


def _settings(config: "Config") -> object:
    from agent.config.settings import composer_settings

    return composer_settings(config)


def _work(settings: "ComposerSettings") -> None:
    from recorder.composite.process import run

    run(settings)


KIND = DeviceKind(
    id="composer",
    title="composer",
    help="help-run-composer",
    unit="room-agent-composer.service",
    command=("composer",),
    settings=_settings,
    work=_work,
    program="recorder.composite.process",
    judge=judge,
    measure=measure,
    records=True,
    checks=("encoder",),
)
