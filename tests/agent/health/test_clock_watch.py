"""The clock's state is the newest measurement's, or unknown."""

import queue

import pytest

from agent.health import clock_watch
from agent.health.clock_watch import ClockWatch
from drivers.ports import ClockState
from tests.equipment.process import wait_for


def test_a_measurement_that_fails_in_itself_leaves_the_state_unknown_until_the_next(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    good = ClockState(True, 0.25, "server")
    outcomes: queue.SimpleQueue[ClockState | Exception] = queue.SimpleQueue()

    def measure(_server: str) -> ClockState:
        outcome = outcomes.get()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(clock_watch, "clock_state", measure)
    monkeypatch.setattr(clock_watch, "EVERY_S", 0.01)
    watch = ClockWatch("server")
    watch.start()
    outcomes.put(good)
    wait_for(lambda: watch.state == good, "measured", 5)
    for _ in range(2):
        outcomes.put(OverflowError("a defect"))
    wait_for(lambda: watch.state is None, "unknown", 5)
    assert watch.tie().source == "unsynchronised"
    outcomes.put(good)
    wait_for(lambda: watch.state == good, "measured again", 5)
    assert caplog.messages.count("clock state unknown") == 1, "told once"
    watch.stop()
    outcomes.put(good)
    watch._thread.join(5)
    assert not watch._thread.is_alive()
