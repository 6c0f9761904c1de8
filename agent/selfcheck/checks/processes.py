"""Every process of the data plane says that it lives and can work."""

from agent.config.model import TRACKS
from agent.selfcheck.check import Check, Outcome, Scene, failed, passed
from agent.selfcheck.result import Text, both, device_name, joined, of_fault
from wording import Fault

EXPECTED = (*TRACKS, "composer")


def look(scene: Scene, _: str) -> Outcome:
    """Status files of this boot, not older than 3 s."""
    alive = scene.statuses()
    missing = [name for name in EXPECTED if name not in alive]
    value = both("{count} of {all} running", count=len(EXPECTED) - len(missing), all=len(EXPECTED))
    threshold = both("{all} of {all} running", all=len(EXPECTED))
    if missing:
        return failed(
            value,
            threshold,
            both("Not running, or frozen: {names}.", names=joined([device_name(name) for name in missing])),
            both("Start the room's services and look at their logs."),
        )
    for name in EXPECTED:
        status = alive[name]
        if status.state == "failed" and status.fault:
            what, mend = of_fault(Fault.from_dict(status.fault))
            return failed(Text(status.state, status.state), threshold, what, mend)
    return passed(value, threshold)


CHECK = Check("processes", "devices", "Recording processes run", ("W-7.3.5", "W-8.1.3"), look)
