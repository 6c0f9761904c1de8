"""Temperature and humidity sensors on a serial line: Modbus RTU through minimalmodbus.

Register maps (function 04, read input registers; both values in tenths, temperature signed, so 0xFF33 is −20.5 °C):

==========  ===========  ========  ======  =============================================================
model       temperature  humidity  line    source
==========  ===========  ========  ======  =============================================================
``xy-md02``  1           2         8N1     XY-MD02 user manual, "Modbus protocol", table of input registers
``sht20``    1           2         8N1     SHT20 Modbus RTU temperature and humidity sensor, user manual
==========  ===========  ========  ======  =============================================================
"""

import errno
import logging
import os
import termios
from dataclasses import dataclass

import minimalmodbus
import serial

from drivers.faults import DeviceAbsent, DeviceFault, DeviceSilent
from drivers.ports import Reading

log = logging.getLogger(__name__)

ANSWER_S = 0.3  # an answer of 9 bytes takes 10 ms at 9600 baud; sensors think for up to 100 ms
FUNCTION_READ_INPUT = 4


@dataclass(frozen=True, slots=True)
class SensorProfile:
    """Where a model keeps its two values. first: register of the first one; scale: units per count."""

    first: int
    temperature: int
    humidity: int
    scale: float


PROFILES = {
    "xy-md02": SensorProfile(first=1, temperature=0, humidity=1, scale=0.1),
    "sht20": SensorProfile(first=1, temperature=0, humidity=1, scale=0.1),
}


def signed(register: int) -> int:
    """A 16-bit register as two's complement."""
    return register - 0x10000 if register & 0x8000 else register


def decode(profile: SensorProfile, registers: list[int]) -> Reading:
    """Two registers as a reading."""
    return Reading(
        round(signed(registers[profile.temperature]) * profile.scale, 2), round(registers[profile.humidity] * profile.scale, 2)
    )


@dataclass(frozen=True, slots=True)
class Range:
    """What a room can have; a value outside is a fault of the sensor or of its register map. °C and %."""

    temperature_c: tuple[float, float] = (-10.0, 50.0)
    humidity_pct: tuple[float, float] = (5.0, 95.0)

    def holds(self, reading: Reading) -> bool:
        """Whether both values lie inside."""
        (cold, hot), (dry, wet) = self.temperature_c, self.humidity_pct
        return cold <= reading.temperature_c <= hot and dry <= reading.humidity_pct <= wet


class ModbusClimate:
    """One sensor on a line of its own (a drivers.ports.ClimateSensor).

    The line is opened by the first read, exclusively, and given back after any failure: after unplugging the port still calls
    itself open, and only a new open finds the new device.
    """

    def __init__(
        self, port: str, *, model: str = "xy-md02", address: int = 1, baudrate: int = 9600, plausible: Range | None = None
    ) -> None:
        """model: a key of PROFILES. address: Modbus address, 1–247. Opens nothing."""
        self._port, self._model, self._address, self._baudrate = port, model, address, baudrate
        self._profile, self._plausible = PROFILES[model], plausible or Range()
        self._instrument: minimalmodbus.Instrument | None = None
        self._echo = False  # the adapter gives back what is sent

    def read(self) -> Reading:
        """One reading within half a second. Raises DeviceAbsent, DeviceSilent, DeviceFault (garbled or implausible)."""
        try:
            registers = self._registers()
        except minimalmodbus.NoResponseError as error:
            self.close()
            raise DeviceSilent(
                "climate-sensor-no-answer",
                "check-climate-power-wires-and-settings",
                port=self._port,
                address=self._address,
            ) from error
        except minimalmodbus.ModbusException as error:
            self.close()
            raise DeviceFault(
                "climate-answer-unreadable",
                "check-climate-model-baudrate-and-line",
                port=self._port,
                model=self._model,
                why=" ".join(str(error).split())[:120],
            ) from error
        except (OSError, termios.error) as error:  # unplugged; termios.error is no OSError
            self.close()
            raise self._absent(error) from error
        reading = decode(self._profile, registers)
        if not self._plausible.holds(reading):
            raise DeviceFault(
                "climate-reading-implausible",
                "check-climate-model-or-replace-sensor",
                port=self._port,
                temperature_c=reading.temperature_c,
                humidity_pct=reading.humidity_pct,
            )
        return reading

    def _registers(self) -> list[int]:
        """The two registers. An RS485 adapter that hears itself puts the request before the answer: that is skipped from then on.

        Raises what minimalmodbus raises.
        """
        try:
            return self._asked()
        except minimalmodbus.NoResponseError:
            raise
        except minimalmodbus.ModbusException as first:
            self.close()
            self._echo = not self._echo
            try:
                registers = self._asked()
            except minimalmodbus.LocalEchoError:  # nothing was echoed
                self._echo = False
                raise first from None
            except minimalmodbus.NoResponseError:
                raise
            except minimalmodbus.ModbusException:
                self._echo = False
                raise first from None
            log.info("the RS485 adapter's own echo", extra={"port": self._port, "skipped": self._echo})
            return registers

    def _asked(self) -> list[int]:
        instrument = self._instrument or self._open()
        return list(instrument.read_registers(self._profile.first, 2, functioncode=FUNCTION_READ_INPUT))

    def _open(self) -> minimalmodbus.Instrument:
        try:
            line = serial.Serial(self._port, self._baudrate, timeout=ANSWER_S, write_timeout=ANSWER_S, exclusive=True)
        except (OSError, termios.error, ValueError) as error:
            raise self._absent(error) from error
        self._instrument = minimalmodbus.Instrument(line, self._address)
        self._instrument.handle_local_echo = self._echo
        return self._instrument

    def _absent(self, error: Exception) -> DeviceFault:
        code = error.errno if isinstance(error, OSError) else error.args[0] if error.args else None
        if code == errno.EAGAIN:
            return DeviceFault(
                "climate-port-busy",
                "free-or-change-climate-port",
                port=self._port,
            )
        if code in (errno.ENOENT, errno.ENODEV, errno.ENXIO, errno.EIO):
            return DeviceAbsent(
                "climate-port-missing",
                "plug-in-climate-adapter-check-port",
                port=self._port,
            )
        return DeviceAbsent(
            "climate-port-unusable",
            "check-climate-port-and-permission",
            port=self._port,
            why=os.strerror(code) if isinstance(code, int) else error,
        )

    def close(self) -> None:
        """Gives the line back; the next read opens it again."""
        instrument, self._instrument = self._instrument, None
        if instrument is not None and instrument.serial is not None:
            try:
                instrument.serial.close()
            except (OSError, termios.error) as error:
                log.debug("closing the climate sensor's port failed", extra={"error": str(error)})
