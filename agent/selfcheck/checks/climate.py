"""The climate sensor gives a fresh and plausible reading."""

from agent.config.model import Config
from agent.selfcheck.check import Check, Outcome, Scene, failed, never, passed, skipped
from agent.selfcheck.result import NOTHING, both, of_fault
from recorder.clock.instants import SECOND_NS, boottime_ns
from recorder.process.status import ClimateStatus
from wording import Fault

FRESH_S = 10.0  # after it the overlay shows --.-


def look(scene: Scene, _: str) -> Outcome:
    """From the climate process's status, whose driver already refuses implausible readings."""
    if not scene.config.climate.enabled:
        return skipped(both("The room has no climate sensor (climate.enabled = false)."))
    (cold, hot), (dry, wet) = scene.config.selfcheck.temperature_c, scene.config.selfcheck.humidity_pct
    threshold = both(
        "{cold:g} to {hot:g} °C, {dry:g} to {wet:g} %, at most {fresh:g} s old",
        cold=cold,
        hot=hot,
        dry=dry,
        wet=wet,
        fresh=FRESH_S,
    )
    status = scene.statuses().get("climate")
    if not isinstance(status, ClimateStatus):
        what, mend = both("The process of the climate sensor does not run."), both("Start its service and look at its log.")
        return failed(NOTHING, threshold, what, mend)
    if status.fault:
        return failed(NOTHING, threshold, *of_fault(Fault.from_dict(status.fault)))
    if status.reading_ns is None or status.temperature_c is None or status.humidity_pct is None:
        what, mend = both("The climate sensor has not given a reading yet."), both("Wait a few seconds and check again.")
        return failed(NOTHING, threshold, what, mend)
    age = (boottime_ns() - status.reading_ns) / SECOND_NS
    value = both(
        "{temperature:.1f} °C, {humidity:.1f} %, {age:.1f} s old",
        temperature=status.temperature_c,
        humidity=status.humidity_pct,
        age=max(age, 0.0),
    )
    if age > FRESH_S or not (cold <= status.temperature_c <= hot and dry <= status.humidity_pct <= wet):
        return failed(
            value,
            threshold,
            both("The reading is too old, or no room has it."),
            both("Check the sensor's power and wires, and climate.model."),
        )
    return passed(value, threshold)


def devices(_: Config) -> tuple[str, ...]:
    """The sensor."""
    return ("climate",)


CHECK = Check("climate", "devices", "Temperature and humidity", ("W-6.2.2.4.6",), look, devices, never)
