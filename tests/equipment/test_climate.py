"""The sensor, read with minimalmodbus as the product reads it."""

import termios
from collections.abc import Iterator

import minimalmodbus
import pytest
import serial

from tests.equipment.room import StandInRoom


@pytest.fixture
def instrument(room: StandInRoom) -> Iterator[minimalmodbus.Instrument]:
    sensor = minimalmodbus.Instrument(str(room.climate.port), room.climate.ADDRESS)
    sensor.serial.baudrate = 9600
    sensor.serial.timeout = 0.3
    yield sensor
    sensor.serial.close()


def read(sensor: minimalmodbus.Instrument) -> tuple[float, float]:
    return tuple(sensor.read_register(n, 1, functioncode=4, signed=True) for n in (1, 2))


def test_tenths_of_degrees_and_percent_signed(room: StandInRoom, instrument: minimalmodbus.Instrument) -> None:
    assert read(instrument) == (23.4, 45.0)
    room.fault("climate", "temperature", -20.5)
    room.fault("climate", "humidity", 61.2)
    assert read(instrument) == (-20.5, 61.2)


def test_silent_and_garbled(room: StandInRoom, instrument: minimalmodbus.Instrument) -> None:
    room.fault("climate", "silent")
    with pytest.raises(minimalmodbus.NoResponseError):
        read(instrument)
    room.fault("climate", "garbage")
    with pytest.raises(minimalmodbus.InvalidResponseError):
        read(instrument)
    room.fault("climate", "back")
    instrument.serial.reset_input_buffer()
    assert read(instrument) == (23.4, 45.0)


def test_unplugged_and_plugged_in_again(room: StandInRoom, instrument: minimalmodbus.Instrument) -> None:
    room.fault("climate", "gone")
    assert not room.climate.port.exists()
    with pytest.raises((OSError, termios.error, serial.SerialException, minimalmodbus.NoResponseError)):
        read(instrument)
    instrument.serial.close()
    room.fault("climate", "back")
    instrument.serial.open()
    assert read(instrument) == (23.4, 45.0)
