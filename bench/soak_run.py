"""One long session: what each process holds, read every minute from /proc, and what the session lacks at its end.

``memory_slope_mb_per_h`` is the Theil–Sen slope of the sum of the proportional sets (PSS) after 20 minutes, in MiB an hour; the
same by process. So long the fits of time gather their points (recorder/clock/instants.py) and the allocators their blocks.
``anonymous_slope_mb_per_h`` leaves out pages of files, whose share depends on who else runs. A line a minute is said on standard
error, with the anonymous memory of each process.
"""

import argparse
import json
import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.rig import CACHE, Reading, Room, slope
from tests.equipment.room import StandInRoom

WARM_UP_S = 1200.0


@dataclass(frozen=True, slots=True)
class Sample:
    """All processes at one instant. at_s: since the session's start."""

    at_s: float
    processes: Mapping[str, Reading]


def memory_slopes(samples: Sequence[Sample], warm_up_s: float) -> dict[str, Any]:
    """MiB an hour after the warming up: of the sum and by process; None where there are fewer than two samples left."""
    kept = [s for s in samples if s.at_s >= warm_up_s]
    names = sorted({name for s in kept for name in s.processes})

    def per_hour(points: list[tuple[float, float]]) -> float | None:
        return round(slope(points), 3) if len(points) > 1 else None

    return {
        "memory_slope_mb_per_h": per_hour([(s.at_s / 3600, sum(p.pss_mb for p in s.processes.values())) for s in kept]),
        "anonymous_slope_mb_per_h": per_hour([(s.at_s / 3600, sum(p.anonymous_mb for p in s.processes.values())) for s in kept]),
        "rss_slope_mb_per_h": per_hour([(s.at_s / 3600, sum(p.rss_mb for p in s.processes.values())) for s in kept]),
        "memory_slope_mb_per_h_by_process": {
            n: per_hour([(s.at_s / 3600, s.processes[n].pss_mb) for s in kept if n in s.processes]) for n in names
        },
        "anonymous_slope_mb_per_h_by_process": {
            n: per_hour([(s.at_s / 3600, s.processes[n].anonymous_mb) for s in kept if n in s.processes]) for n in names
        },
    }


def account(samples: Sequence[Sample], warm_up_s: float) -> dict[str, Any]:
    """Everything that the samples say. Needs two at least."""
    first, last = samples[0].processes, samples[-1].processes
    return {
        **memory_slopes(samples, warm_up_s),
        "pss_first_mb": round(sum(p.pss_mb for p in first.values()), 1),
        "pss_last_mb": round(sum(p.pss_mb for p in last.values()), 1),
        "rss_last_mb": round(sum(p.rss_mb for p in last.values()), 1),
        "pss_by_process_mb": {n: [round(first[n].pss_mb, 1), round(p.pss_mb, 1)] for n, p in last.items() if n in first},
        "handles_first": sum(p.handles for p in first.values()),
        "handles_last": sum(p.handles for p in last.values()),
        "handles_by_process": {name: [first[name].handles, p.handles] for name, p in last.items() if name in first},
        "threads_first": sum(p.threads for p in first.values()),
        "threads_last": sum(p.threads for p in last.values()),
        "cpu_s_by_process": {name: round(p.cpu_s - first[name].cpu_s, 2) for name, p in last.items() if name in first},
        "restarted": sorted(name for name in last if name not in first or first[name].pid != last[name].pid),
    }


def soak(room: Room, minutes: float, every_s: float) -> dict[str, Any]:
    """One session. Raises DemoError where the product does not do as it is asked."""
    room.start(minutes * 60)
    began = time.monotonic()
    late = 0
    samples: list[Sample] = []

    def look(left_s: float) -> None:
        nonlocal late
        at_s = time.monotonic() - began
        samples.append(Sample(at_s, room.readings()))
        status = room.composer()
        late = max(late, int(status["late"]))
        now = samples[-1].processes
        pss_mb, handles, threads = (sum(getattr(p, name) for p in now.values()) for name in ("pss_mb", "handles", "threads"))
        anonymous = ", ".join(f"{name} {p.anonymous_mb:.1f}" for name, p in sorted(now.items()))
        sys.stderr.write(
            f"{at_s / 60:6.1f} min, {left_s / 60:.1f} left: PSS {pss_mb:.1f} MiB, {handles} handles, {threads} threads, "
            f"lag {status['lag_ms']:.0f} ms, late {late}; anonymous: {anonymous}\n"
        )

    room.wait(began + 5.0, 5.0, look)  # the first reading when the composer composes and the tracks write
    room.wait(began + minutes * 60 - 0.3, every_s, look)
    stopped = room.finish()
    composite, coverage = stopped["composite"], stopped["coverage"]
    return {
        "minutes": minutes,
        **account(samples, min(WARM_UP_S, minutes * 60 / 3)),
        "late": late,
        "pictures_due": composite["pictures_due"],
        "pictures_written": composite["pictures_written"],
        "gaps": sum(facts["gaps"] for facts in coverage.values()),
        "covered": {name: facts["covered"] for name, facts in coverage.items()},
        "samples": len(samples),
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench/soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="only the JSON line on standard output (as always)")
    parser.add_argument("--minutes", type=float, default=80.0, help="length of the session (default %(default)s)")
    parser.add_argument("--every", type=float, default=60.0, help="seconds between two readings (default %(default)s)")
    chosen = parser.parse_args()
    if chosen.minutes < 0.5:
        parser.error(f"--minutes {chosen.minutes:g}: half a minute at least")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job would ignore it
    try:
        with tempfile.TemporaryDirectory(prefix="bench-soak-") as name:
            folder = Path(name)
            with StandInRoom(folder / "equipment", CACHE) as stand_ins:
                room = Room(folder, stand_ins)
                try:
                    result = soak(room, chosen.minutes, chosen.every)
                finally:
                    room.stop()
    except KeyboardInterrupt:
        sys.stderr.write("soak: ended by Ctrl-C; the room is taken down\n")
        return 130
    sys.stdout.write(json.dumps(result) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
