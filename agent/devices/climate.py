"""The temperature and humidity sensor (W-6.2.2.4.6)."""

from typing import TYPE_CHECKING

from agent.devices.kind import FIRST_NS, OK, DeviceKind, Judgement, Look, Measurement, age_s, not_there, older, told_fault
from recorder.process.status import ClimateStatus, Status
from wording import Fault

if TYPE_CHECKING:
    from agent.config.model import Config
    from recorder.sensors.climate import ClimateSettings


def judge(look: Look, status: Status) -> Judgement:
    """Good where a reading is fresh."""
    fault = told_fault(status)
    if not isinstance(status, ClimateStatus):
        return "failed", fault or _no_reading()
    if status.state == "absent":
        return "absent", fault or not_there()
    if status.state == "starting" and fault is None and not older(look, status.since_ns, FIRST_NS):
        return "unknown", None
    if status.state != "ok" or not status.fresh(look.boottime_ns):
        return "failed", fault or _no_reading()
    return ("degraded", fault) if fault is not None else OK


def _no_reading() -> Fault:
    return Fault("sensor-reading-not-fresh", "check-sensor-cable-power-address")


def measure(look: Look, status: Status) -> tuple[Measurement, ...]:
    """The newest reading, as long as it is fresh."""
    if not isinstance(status, ClimateStatus):
        return ()
    fresh = status.fresh(look.boottime_ns)
    return (
        Measurement("temperature", status.temperature_c if fresh else None, "°C"),
        Measurement("humidity", status.humidity_pct if fresh else None, "%"),
        Measurement("reading_age", age_s(look, status.reading_ns), "s"),
    )


def _settings(config: "Config") -> object:
    from agent.config.settings import climate_settings

    return climate_settings(config)


def _work(settings: "ClimateSettings") -> None:
    from recorder.sensors.climate import run

    run(settings)


KIND = DeviceKind(
    id="climate",
    title="climate-sensor",
    help="help-run-climate",
    unit="room-agent-climate.service",
    command=("climate",),
    settings=_settings,
    work=_work,
    program="recorder.sensors.climate",
    judge=judge,
    measure=measure,
    meant=lambda config: config.climate.enabled,
    checks=("climate",),
)
