"""Failures of devices."""

from wording import Exit, Fault


class DeviceFault(Fault):
    """A device is missing, does not answer, refuses, or says something that cannot be."""

    exit_code = Exit.DEVICE


class DeviceAbsent(DeviceFault):
    """The device is not there at all: no such address, port or drive."""


class DeviceRefused(DeviceFault):
    """The device is there and refuses: wrong user or password."""


class DeviceSilent(DeviceFault):
    """The device was there and says nothing within the time-out."""
