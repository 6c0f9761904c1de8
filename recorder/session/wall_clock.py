"""Ties made from this PC's clocks."""

from drivers.clock import kernel_synchronised, read_pair
from recorder.clock.instants import boot_id
from recorder.session.epoch import Tie


def read_tie_now() -> Tie:
    """The wall clock now; whether it is worth anything is what the kernel says of it. Asks no network."""
    boottime_ns, utc_ns = read_pair()
    return Tie(boot_id(), boottime_ns, utc_ns, "ntp" if kernel_synchronised() else "unsynchronised")
