"""Every process of the data plane says that it lives and can work."""

from agent.devices.kinds import KINDS
from agent.selfcheck.check import Check, Outcome, Scene, failed, passed
from agent.selfcheck.result import device_name, of_fault
from wording import Fault
from wording.sentence import sentence, verbatim

EXPECTED = tuple(kind.id for kind in KINDS if kind.records)


def look(scene: Scene, _: str) -> Outcome:
    """Status files of this boot, not older than 3 s."""
    alive = scene.statuses()
    missing = [name for name in EXPECTED if name not in alive]
    value = sentence("processes-running-count", count=len(EXPECTED) - len(missing), all=len(EXPECTED))
    threshold = sentence("all-processes-running-required", all=len(EXPECTED))
    if missing:
        return failed(
            value,
            threshold,
            sentence("processes-stopped-or-frozen", names=tuple(device_name(name) for name in missing)),
            sentence("start-room-services-and-read-logs"),
        )
    for name in EXPECTED:
        status = alive[name]
        if status.state == "failed" and status.fault:
            what, mend = of_fault(Fault.from_dict(status.fault))
            return failed(verbatim(status.state), threshold, what, mend)
    return passed(value, threshold)


CHECK = Check("processes", "devices", "recording-processes-check", ("W-7.3.5", "W-8.1.3"), look, place=-1)
