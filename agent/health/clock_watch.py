"""The wall clock's state, measured in the background, so that a start command waits for no network."""

import logging
import threading

from drivers.clock import clock_state, read_pair
from drivers.faults import DeviceFault
from drivers.ports import ClockState
from recorder.clock.instants import CLOCK_STEP_NS, boot_id
from recorder.session.epoch import Tie, TieSource

EVERY_S = 30.0

log = logging.getLogger(__name__)


class ClockWatch:
    """Measures every half minute, and after a step of the clock, in a thread of its own; ``state`` is the newest result."""

    def __init__(self, ntp_server: str) -> None:
        self._server = ntp_server
        self._stop, self._again = threading.Event(), threading.Event()
        self._shift_ns: int | None = None
        self._thread = threading.Thread(target=self._run, name="clock", daemon=True)
        self.state: ClockState | None = None

    def start(self) -> None:
        """Starts the thread that asks the time server."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread; a question on its way to the time server is not waited for."""
        self._stop.set()
        self._again.set()

    def tie(self) -> Tie:
        """The wall clock against CLOCK_BOOTTIME now, with what the last measurement said of it. Takes microseconds."""
        boottime, utc = read_pair()
        before, self._shift_ns = self._shift_ns, utc - boottime
        if before is not None and abs(self._shift_ns - before) > CLOCK_STEP_NS:
            self.state = None  # what was measured before a step says nothing of the clock after it
            self._again.set()
        state = self.state
        source: TieSource = "ntp" if state and state.synchronised else "unsynchronised"
        return Tie(boot_id(), boottime, utc, source, state.offset_s if state else None)

    def _run(self) -> None:
        failing = False
        while not self._stop.is_set():
            try:
                self.state = clock_state(self._server)
                failing = False
            except DeviceFault as fault:
                if not failing:
                    log.warning("clock state unknown", extra={"fault": str(fault)})
                failing, self.state = True, None
            except Exception:  # the top of this thread: what was measured before must not stand as if it were new
                if not failing:
                    log.exception("clock state unknown")
                failing, self.state = True, None
            self._again.wait(EVERY_S)
            self._again.clear()
