"""The climate sensor gives a fresh and plausible reading."""

from agent.config.model import Config
from agent.selfcheck.check import Check, Outcome, Scene, failed, never, passed, skipped
from agent.selfcheck.result import NOTHING, of_fault
from recorder.clock.instants import SECOND_NS, boottime_ns
from recorder.process.status import READING_NS, ClimateStatus
from wording import Fault
from wording.sentence import sentence

FRESH_S = READING_NS / SECOND_NS


def look(scene: Scene, _: str) -> Outcome:
    """From the climate process's status, whose driver already refuses implausible readings."""
    if not scene.config.climate.enabled:
        return skipped(sentence("climate-sensor-not-configured"))
    (cold, hot), (dry, wet) = scene.config.selfcheck.temperature_c, scene.config.selfcheck.humidity_pct
    threshold = sentence(
        "climate-required-range",
        cold=cold,
        hot=hot,
        dry=dry,
        wet=wet,
        fresh=FRESH_S,
    )
    status = scene.statuses().get("climate")
    if not isinstance(status, ClimateStatus):
        what, mend = sentence("climate-process-not-running"), sentence("start-service-and-check-log")
        return failed(NOTHING, threshold, what, mend)
    if status.fault:
        return failed(NOTHING, threshold, *of_fault(Fault.from_dict(status.fault)))
    if status.reading_ns is None or status.temperature_c is None or status.humidity_pct is None:
        what, mend = sentence("climate-no-reading-yet"), sentence("wait-and-check-again")
        return failed(NOTHING, threshold, what, mend)
    now = boottime_ns()
    age = (now - status.reading_ns) / SECOND_NS
    value = sentence(
        "climate-reading",
        temperature=status.temperature_c,
        humidity=status.humidity_pct,
        age=max(age, 0.0),
    )
    if not status.fresh(now) or not (cold <= status.temperature_c <= hot and dry <= status.humidity_pct <= wet):
        return failed(
            value,
            threshold,
            sentence("climate-reading-old-or-implausible"),
            sentence("check-climate-sensor-and-model"),
        )
    return passed(value, threshold)


def devices(_: Config) -> tuple[str, ...]:
    """The one device that this check looks at."""
    return ("climate",)


CHECK = Check("climate", "devices", "temperature-and-humidity", ("W-6.2.2.4.6",), look, devices, never)
