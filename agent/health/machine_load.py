"""The PC's load as the kernel tells it."""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Machine:
    """The PC's load. cpu_busy: part of all cores since the sample before; None where the kernel does not tell."""

    cpu_busy: float | None = None
    load_1m: float | None = None
    cores: int = 1
    memory_total: int | None = None
    memory_available: int | None = None


class MachineLoad:
    """Reads /proc; each read is over the time since the one before."""

    def __init__(self) -> None:
        self._cpu: tuple[int, int] | None = None

    def read(self) -> Machine:
        """The load now; what cannot be read is None."""
        load = None
        with suppress(OSError):
            load = round(os.getloadavg()[0], 2)
        memory = _memory()
        return Machine(self._busy(), load, os.cpu_count() or 1, memory.get("MemTotal:"), memory.get("MemAvailable:"))

    def _busy(self) -> float | None:
        busy = None
        with suppress(OSError, ValueError, IndexError):
            times = [int(t) for t in Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]]
            total, idle = sum(times), times[3] + times[4]  # proc(5): user nice system idle iowait irq softirq steal
            if self._cpu is not None and total > self._cpu[0]:
                busy = min(1.0, max(0.0, 1 - (idle - self._cpu[1]) / (total - self._cpu[0])))
            self._cpu = (total, idle)
        return busy


def _memory() -> dict[str, int]:
    memory: dict[str, int] = {}
    with suppress(OSError, ValueError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines()[:5]:
            name, value, *_ = line.split()
            memory[name] = int(value) * 1024
    return memory
