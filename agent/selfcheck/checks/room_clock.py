"""The clock that the official start and end are taken from."""

from agent.selfcheck.check import Check, Outcome, Scene, failed, passed, warned
from agent.selfcheck.result import NOTHING, both, of_fault
from drivers.clock import ask_ntp, kernel_synchronised
from drivers.faults import DeviceFault


def look(scene: Scene, _: str) -> Outcome:
    """Against the centre's time server where one is configured, else what the kernel says. A server that is away only warns."""
    server, limit = scene.config.clock.ntp_server, scene.config.clock.max_offset_s
    if not server:
        return _kernel()
    threshold = both("at most ±{limit:g} s from {server}", limit=limit, server=server)
    try:
        sample = ask_ntp(server, timeout_s=3.0)
    except DeviceFault as fault:
        return warned(NOTHING, threshold, *of_fault(fault))
    value = both("{offset:+.3f} s", offset=sample.offset_s)
    if abs(sample.offset_s) > limit:
        return failed(
            value,
            threshold,
            both("The clock of this PC is {offset:+.3f} s off the time server {server}.", offset=sample.offset_s, server=server),
            both("Let chrony set the clock (`chronyc makestep`) and check that it uses this server."),
        )
    return passed(value, threshold)


def _kernel() -> Outcome:
    threshold = both("synchronised")
    if kernel_synchronised():
        return passed(both("synchronised"), threshold)
    return warned(
        both("not synchronised"),
        threshold,
        both("The clock of this PC is not synchronised; recordings bear the note “unsynchronised”."),
        both("Set chrony up with the centre's time server and enter it in clock.ntp_server."),
    )


CHECK = Check("room-clock", "connections", "Clock of the room", ("W-7.3.5",), look)
