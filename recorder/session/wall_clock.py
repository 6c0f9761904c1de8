"""This PC's wall clock: ties made from it, and whether it is right."""

import math

from drivers.clock import kernel_synchronised, read_pair
from drivers.ports import ClockState
from recorder.clock.instants import boot_id
from recorder.session.epoch import Tie
from wording import Fault


def read_tie_now() -> Tie:
    """A tie made from the wall clock now. The kernel says whether the clock is synchronised; no server is asked."""
    boottime_ns, utc_ns = read_pair()
    return Tie(boot_id(), boottime_ns, utc_ns, "ntp" if kernel_synchronised() else "unsynchronised")


def clock_fault(state: ClockState, limit_s: float) -> Fault | None:
    """What is wrong with the wall clock; None where nothing is. Self-check, status and feed all judge by this.

    Where the time server was measured against, the offset decides, whatever the kernel says of its synchronisation.
    """
    if state.offset_s is None or not math.isfinite(state.offset_s):
        return None if state.synchronised else Fault("clock-not-synchronised", "check-time-server")
    if abs(state.offset_s) > limit_s:
        return Fault("clock-off", "set-clock-before-next-session", seconds=round(state.offset_s, 3))
    return None
