"""The stand-in climate sensor: an XY-MD02 on a pseudo-terminal, spoken to in Modbus RTU.

Function 04, input registers 1 (temperature) and 2 (humidity), tenths, signed; 9600 8N1, address 1.
"""

import asyncio
import threading
from pathlib import Path

from pymodbus import FramerType
from pymodbus.server import ModbusSerialServer
from pymodbus.simulator import DataType, SimData, SimDevice

from tests.equipment.process import Child, EquipmentError, wait_for


class StandInClimate:
    """The sensor at the serial port ``port`` (a link in run)."""

    FAULTS = ("back", "silent", "garbage", "gone", "temperature", "humidity")
    ADDRESS = 1

    def __init__(self, run: Path, log: Path, *, temperature_c: float = 23.4, humidity_pct: float = 45.0) -> None:
        self.temperature_c, self.humidity_pct = temperature_c, humidity_pct
        self.port = run / "ttyClimate"
        self._far_end = run / "ttySensor"
        self._log = log
        self._line: Child | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._fault = ""

    @property
    def pids(self) -> list[int]:
        return [self._line.pid] if self._line else []

    def start(self) -> None:
        """Plugs the sensor in. Raises EquipmentError."""
        self.port.parent.mkdir(parents=True, exist_ok=True)
        ends = [f"pty,raw,echo=0,link={end}" for end in (self.port, self._far_end)]
        line = self._line = Child("socat", ["socat", *ends], self._log)
        wait_for(lambda: self.port.exists() and self._far_end.exists(), "the serial line", alive=line)
        listening = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(listening)), name="climate", daemon=True)
        self._thread.start()
        if not listening.wait(5):
            raise EquipmentError("the Modbus server does not listen")

    async def _serve(self, listening: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        registers = [SimData(1, values=[0, 0], datatype=DataType.REGISTERS)]
        unused = [SimData(0, values=[False] * 16, datatype=DataType.BITS)]
        settings = [SimData(0x101, values=[self.ADDRESS, 9600], datatype=DataType.REGISTERS)]
        device = SimDevice(self.ADDRESS, (unused, unused, settings, registers), action=self._measure)
        server = ModbusSerialServer(
            device, framer=FramerType.RTU, port=str(self._far_end), baudrate=9600, trace_packet=self._spoil
        )
        self._stop = asyncio.Event()
        await server.serve_forever(background=True)
        listening.set()
        await self._stop.wait()
        await server.shutdown()  # type: ignore[no-untyped-call]

    async def _measure(
        self, function: int, start: int, _address: int, _count: int, registers: list[int], _values: object
    ) -> None:
        if function == 4:
            for register, value in ((1, self.temperature_c), (2, self.humidity_pct)):
                registers[register - start] = round(value * 10) & 0xFFFF

    def _spoil(self, sending: bool, data: bytes) -> bytes:
        if not sending or not self._fault:
            return data
        return b"" if self._fault == "silent" else bytes(byte ^ 0x5A for byte in data)

    def stop(self) -> None:
        """Unplugs it."""
        if self._loop and self._thread and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(3)
        line, self._line = self._line, None
        if line:
            line.end()

    # faults

    def back(self) -> None:
        """Plugged in and well."""
        self._fault = ""
        if self._line is None:
            self.start()

    def silent(self) -> None:
        """Does not answer."""
        self._fault = "silent"

    def garbage(self) -> None:
        """Answers with garbled bytes."""
        self._fault = "garbage"

    def gone(self) -> None:
        """Unplugged: the serial port vanishes."""
        self.stop()

    def temperature(self, celsius: float) -> None:
        """Measures this temperature from now on."""
        self.temperature_c = celsius

    def humidity(self, percent: float) -> None:
        """Measures this relative humidity from now on."""
        self.humidity_pct = percent
