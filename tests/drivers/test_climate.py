"""The climate driver on a real pseudo-terminal, with a sensor that speaks Modbus RTU byte by byte."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from drivers.climate import PROFILES, ModbusClimate, Range, decode, signed
from drivers.faults import DeviceAbsent, DeviceFault, DeviceSilent
from drivers.ports import ClimateSensor, Reading
from tests.drivers.serial_line import REQUEST, Line, answer, with_crc


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    line = Line(tmp_path / "ttyS")
    yield line
    line.unplug()


def test_reads_temperature_and_humidity(line: Line) -> None:
    sensor: ClimateSensor = ModbusClimate(str(line.port))
    assert sensor.read() == Reading(23.5, 48.2)
    assert line.requests == [REQUEST]
    line.reply = lambda _: answer(-35, 900)
    assert sensor.read() == Reading(-3.5, 90.0)
    sensor.close()
    assert sensor.read() == Reading(-3.5, 90.0)


def test_signs_as_the_manual_says() -> None:
    assert signed(0xFF33) == -205
    assert decode(PROFILES["xy-md02"], [0xFF33, 602]) == Reading(-20.5, 60.2)


def test_silence(line: Line) -> None:
    line.reply = lambda _: b""
    sensor = ModbusClimate(str(line.port))
    with pytest.raises(DeviceSilent) as caught:
        sensor.read()
    assert str(line.port) in caught.value.say()
    line.reply = lambda _: answer(200, 500)
    assert sensor.read() == Reading(20.0, 50.0)


@pytest.mark.parametrize(
    "reply",
    [
        answer(235, 482)[:-1] + b"\x00",
        with_crc(bytes([2, 4, 4, 0, 1, 0, 2])),
        with_crc(bytes([1, 0x84, 2])),
        b"\x00\xff\x00\xff\x00\xff\x00\xff\x00",
    ],
    ids=["bad crc", "another address", "exception answer", "garbage"],
)
def test_garbled(line: Line, reply: bytes) -> None:
    line.reply = lambda _: reply
    with pytest.raises(DeviceFault) as caught:
        ModbusClimate(str(line.port)).read()
    assert not isinstance(caught.value, DeviceAbsent | DeviceSilent)
    assert "xy-md02" in caught.value.say()


def test_an_adapter_that_echoes_is_no_fault(line: Line) -> None:
    """RS485 adapters that hear themselves put the request before the answer."""
    line.reply = lambda request: request + answer(235, 482)
    sensor = ModbusClimate(str(line.port))
    assert [sensor.read() for _ in range(3)] == [Reading(23.5, 48.2)] * 3
    assert len(line.requests) == 4, "found out once"
    line.reply = lambda _: answer(235, 482)
    assert sensor.read() == Reading(23.5, 48.2), "another adapter, which does not"


def test_an_echo_alone_is_a_silent_sensor(line: Line) -> None:
    line.reply = lambda request: request
    with pytest.raises(DeviceSilent):
        ModbusClimate(str(line.port)).read()


def test_implausible_reading_is_no_reading(line: Line) -> None:
    line.reply = lambda _: answer(1200, 482)
    with pytest.raises(DeviceFault, match=r"120\.0 °C"):
        ModbusClimate(str(line.port)).read()
    assert ModbusClimate(str(line.port), plausible=Range((-40.0, 200.0))).read() == Reading(120.0, 48.2)


def test_a_second_program_is_kept_off_the_line(line: Line) -> None:
    first, second = ModbusClimate(str(line.port)), ModbusClimate(str(line.port))
    first.read()
    with pytest.raises(DeviceFault, match="Another program"):
        second.read()
    first.close()
    assert second.read() == Reading(23.5, 48.2)


def test_unplugged_and_plugged_in_again(line: Line) -> None:
    sensor = ModbusClimate(str(line.port))
    sensor.read()
    line.unplug()
    for _ in range(2):
        with pytest.raises(DeviceAbsent):
            sensor.read()
    line.plug_in()
    assert sensor.read() == Reading(23.5, 48.2)


def test_no_such_port_and_no_serial_port(tmp_path: Path) -> None:
    with pytest.raises(DeviceAbsent, match="is not there"):
        ModbusClimate(str(tmp_path / "ttyUSB9")).read()
    (tmp_path / "file").write_text("")
    with pytest.raises(DeviceAbsent, match="cannot be used"):
        ModbusClimate(str(tmp_path / "file")).read()
