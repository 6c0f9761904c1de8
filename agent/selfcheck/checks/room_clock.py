"""The clock that the official start and end are taken from."""

from agent.selfcheck.check import Check, Outcome, Scene, failed, passed, warned
from agent.selfcheck.result import of_fault
from drivers.clock import ask_ntp, kernel_synchronised
from drivers.faults import DeviceFault
from drivers.ports import ClockState
from recorder.session.wall_clock import clock_fault
from wording.sentence import Sentence, sentence


def look(scene: Scene, _: str) -> Outcome:
    """Against the centre's time server where one is configured, else what the kernel says. A server that is away only warns."""
    server, limit = scene.config.clock.ntp_server, scene.config.clock.max_offset_s
    if not server:
        return judge(ClockState(kernel_synchronised(), None, "kernel"), limit)
    try:
        state = ClockState(kernel_synchronised(), ask_ntp(server, timeout_s=3.0).offset_s, server)
    except DeviceFault as fault:  # then the kernel is believed, as by the status and by the feed
        by_kernel = judge(ClockState(kernel_synchronised(), None, server), limit)
        return warned(by_kernel.value, _limit(limit, server), *of_fault(fault)) if by_kernel.status == "passed" else by_kernel
    return judge(state, limit)


def judge(state: ClockState, limit_s: float) -> Outcome:
    """Pure. The same judgement as of the agent's status and of the feed."""
    measured = state.offset_s is not None
    value = sentence("clock-offset-measured", offset=state.offset_s) if measured else _by_kernel(state)
    threshold = _limit(limit_s, state.reference) if measured else sentence("clock-synchronised")
    fault = clock_fault(state, limit_s)
    if fault is None:
        return passed(value, threshold)
    return failed(value, threshold, *of_fault(fault)) if measured else warned(value, threshold, *of_fault(fault))


def _by_kernel(state: ClockState) -> Sentence:
    return sentence("clock-synchronised" if state.synchronised else "unsynchronised")


def _limit(limit_s: float, server: str) -> Sentence:
    return sentence("clock-offset-limit-from-server", limit=limit_s, server=server)


CHECK = Check("room-clock", "connections", "room-clock-check", ("W-7.3.5",), look, place=3)
