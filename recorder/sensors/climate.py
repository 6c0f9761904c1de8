"""The climate process: one reading a second, and a status whatever the sensor does."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from drivers.climate import ModbusClimate, Range
from drivers.faults import DeviceAbsent, DeviceFault, DeviceSilent
from drivers.ports import ClimateSensor, Reading
from recorder.clock.instants import SECOND_NS, boottime_ns
from recorder.process.runner import Reporter, process
from recorder.process.status import ClimateStatus

log = logging.getLogger(__name__)

READ_EVERY_S = 1.0
LOOK_EVERY_S = 0.1
OK_NS = 2_500_000_000  # one lost answer is no failure, three seconds without a reading are


@dataclass(frozen=True, slots=True)
class ClimateSettings:
    """run: storage.run, where the status and the lock lie. model: a key of drivers.climate.PROFILES. Ranges in °C and %."""

    run: Path
    port: str
    model: str = "xy-md02"
    address: int = 1
    baudrate: int = 9600
    temperature_c: tuple[float, float] = (-10.0, 50.0)
    humidity_pct: tuple[float, float] = (5.0, 95.0)
    version: str = ""
    name: str = "climate"


class Watch:
    """What is known of the sensor: the newest reading and the newest failure, with their instants. Used by two threads."""

    def __init__(self, port: str, started_ns: int) -> None:
        self._port, self._heard_ns = port, started_ns
        self._reading: tuple[int, Reading] | None = None
        self._fault: DeviceFault | None = None
        self._state = "starting"
        self._lock = threading.Lock()

    def heard(self, result: Reading | DeviceFault, now_ns: int) -> None:
        """The end of one attempt."""
        with self._lock:
            self._heard_ns = now_ns
            if isinstance(result, Reading):
                self._reading, self._fault = (now_ns, result), None
            else:
                self._fault = result

    def _judge(self, now_ns: int) -> tuple[str, DeviceFault | None]:
        if self._reading and now_ns - self._reading[0] <= OK_NS:
            return "ok", None
        if now_ns - self._heard_ns > OK_NS:
            return "silent", DeviceSilent("climate-sensor-port-hangs", "replug-sensor-adapter", port=self._port)
        if self._fault is None:
            return self._state, None
        return ("absent" if isinstance(self._fault, DeviceAbsent) else "silent"), self._fault

    def fill(self, status: ClimateStatus, now_ns: int) -> str:
        """Writes the newest reading and what is wrong at now_ns into the status; gives the state."""
        with self._lock:
            self._state, fault = self._judge(now_ns)
            if (fault is None) != (status.fault is None):
                log.info("climate sensor changed", extra={"state": self._state, "fault": str(fault or "")})
            status.fault = fault.as_dict() if fault else None
            if self._reading:
                status.reading_ns = self._reading[0]
                status.temperature_c, status.humidity_pct = self._reading[1].temperature_c, self._reading[1].humidity_pct
            return self._state


def run(settings: ClimateSettings) -> None:
    """The process: until SIGTERM or SIGINT. Raises AlreadyRunning, StorageFault."""
    plausible = Range(settings.temperature_c, settings.humidity_pct)
    sensor = ModbusClimate(
        settings.port, model=settings.model, address=settings.address, baudrate=settings.baudrate, plausible=plausible
    )
    with process(settings.name, settings.run) as stop:
        serve(settings, sensor, stop)


def serve(
    settings: ClimateSettings, sensor: ClimateSensor, stop: threading.Event, clock: Callable[[], int] = boottime_ns
) -> None:
    """Reads and reports until stop is set. The reads have a thread of their own: a driver that hangs holds nothing up."""
    watch = Watch(settings.port, clock())
    reader = threading.Thread(target=_read_on, args=(sensor, watch, stop, clock), name="climate-read", daemon=True)
    reader.start()
    status = ClimateStatus(name=settings.name, pid=0, boot_id="", version=settings.version)
    reporter = Reporter(status, settings.run)
    while not stop.wait(LOOK_EVERY_S):
        reporter.state(watch.fill(status, clock()))
        reporter.report()
    reader.join(2 * READ_EVERY_S)
    reporter.remove()


def _read_on(sensor: ClimateSensor, watch: Watch, stop: threading.Event, clock: Callable[[], int]) -> None:
    due = clock()
    while not stop.is_set():
        try:
            watch.heard(sensor.read(), clock())
        except DeviceFault as fault:
            watch.heard(fault, clock())
        except Exception as error:  # the top of this thread: whatever it was, the sensor is asked again
            log.exception("reading the climate sensor failed")
            why = f"{type(error).__name__}: {error}"
            watch.heard(DeviceFault("source-failed", "look-at-log", why=why), clock())
        now = clock()
        due = max(due + round(READ_EVERY_S * SECOND_NS), now)
        stop.wait((due - now) / SECOND_NS)
    sensor.close()
