"""Lip sync: flash and beep of the stand-ins, whose true times are known, found again in the composite minute by minute.

Each condition is a room of its own, recorded by the product's processes and measured when it is sealed. The cameras' pictures
are made to lie on the composite's grid of 40 ms, of which the composer shows the nearest: so a shift below 20 ms does not flip
the offset by a whole picture, and what such a shift is, ``fine_offsets_ms`` tells from the main camera's journal. A camera in a
real room lies anywhere on that grid, which is ±20 ms more. ``calibration_ms`` is the first condition's median of its first
minute and is taken off all of them. ``max_abs_offset_ms`` is of every single flash; ``drift_ms`` the largest of all conditions,
of the composite's offsets and of the fine ones. ``not_found`` counts flashes without a beep or beeps without a flash: with
``late`` above 0 the PC was too slow, and the run says nothing. ``simulated`` is hours in simulated time through the same time
model (bench/sync_model.py).
"""

import argparse
import json
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.rig import CACHE, Room
from bench.sync_measure import aligned_epoch_ns, measure, monotonic_to_boottime_ns, summary
from bench.sync_model import Simulation, simulate
from tests.equipment.room import StandInRoom

PHASE_NS = 0  # on the grid: the composer shows the picture nearest to an instant
SIMULATED = (
    Simulation(jitter_ms=0.0),
    Simulation(microphone_ppm=200.0),
    Simulation(microphone_ppm=-200.0),
    Simulation(camera_ppm=100.0, microphone_ppm=200.0),
    Simulation(camera_ppm=100.0, microphone_ppm=-200.0),
    Simulation(camera_ppm=-100.0, microphone_ppm=200.0),
)


@dataclass(frozen=True, slots=True)
class Condition:
    """ppm: by how much a clock is fast; jitter_ms: up to so long the network holds a packet."""

    microphone_ppm: float = 0.0
    camera_ppm: float = 0.0
    jitter_ms: float = 0.0


CONDITIONS = {
    "plain": Condition(),
    "microphone+200": Condition(microphone_ppm=200.0),
    "microphone-200": Condition(microphone_ppm=-200.0),
    "camera+100": Condition(camera_ppm=100.0),
    "camera-100": Condition(camera_ppm=-100.0),
    "jitter": Condition(jitter_ms=80.0),
    "all": Condition(microphone_ppm=200.0, camera_ppm=100.0, jitter_ms=80.0),
}


def record(folder: Path, condition: Condition, minutes: float, say: Callable[[str], None]) -> tuple[Path, int, dict[str, Any]]:
    """One session under a condition: its folder, CLOCK_BOOTTIME of a true flash, and the product's own account."""
    stand_ins = StandInRoom(folder / "equipment", CACHE, microphone_ppm=condition.microphone_ppm, relay=True)
    stand_ins.epoch_ns = aligned_epoch_ns(time.monotonic_ns(), time.time_ns(), PHASE_NS)
    flash_ns = stand_ins.epoch_ns + monotonic_to_boottime_ns()
    with stand_ins:
        for camera in ("overview", "closeup"):
            stand_ins.fault(camera, "drift", condition.camera_ppm)
            stand_ins.fault(camera, "jitter", condition.jitter_ms)
        room = Room(folder, stand_ins)
        try:
            began = time.monotonic()
            room.start(minutes * 60)
            late = [0]

            def look(left: float) -> None:
                status = room.composer()
                late[0] = max(late[0], status["late"])
                say(f"  {left:5.0f} s left, lag {status['lag_ms']:.0f} ms, late {late[0]}")

            room.wait(began + minutes * 60, 15.0, look)
            stopped = room.finish()
            account = {"late": late[0], **stopped["composite"], "gaps": sum(t["gaps"] for t in stopped["coverage"].values())}
        finally:
            room.stop()
    return room.sessions()[-1], flash_ns, account


def simulated(hours: float, seeds: int) -> dict[str, Any]:
    """The worst of all runs, and each of them."""
    runs = []
    for seed in range(1, seeds + 1):
        for run in SIMULATED:
            chosen = Simulation(**{**asdict(run), "hours": hours, "seed": seed})
            result = simulate(chosen)
            runs.append({**asdict(chosen), "max_abs_offset_ms": result.max_abs_offset_ms, "drift_ms": result.drift_ms})
    return {
        "hours": hours,
        "max_abs_offset_ms": max((r["max_abs_offset_ms"] for r in runs), default=None),
        "drift_ms": max((r["drift_ms"] for r in runs), key=abs, default=None),
        "runs": runs,
    }


def chosen_conditions(text: str) -> list[str]:
    """Names between commas. Raises argparse.ArgumentTypeError."""
    names = list(CONDITIONS) if text == "each" else [name for name in text.split(",") if name]
    for name in names:
        if name not in CONDITIONS:
            raise argparse.ArgumentTypeError(f"no condition {name}; there are: {', '.join(CONDITIONS)}")
    return names


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench/sync", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="only the JSON line")
    parser.add_argument("--minutes", type=float, default=3.0, help="length of each session (default %(default)s)")
    parser.add_argument(
        "--conditions",
        type=chosen_conditions,
        default=list(CONDITIONS),
        help=f"names between commas, in this order (default: each of {','.join(CONDITIONS)})",
    )
    parser.add_argument("--hours", type=float, default=4.0, help="of simulated time (default %(default)s; 0: none)")
    parser.add_argument("--seeds", type=int, default=3, help="of the simulation (default %(default)s)")
    chosen = parser.parse_args()

    def say(text: str) -> None:
        if not chosen.json:
            sys.stderr.write(text + "\n")

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    results: list[dict[str, Any]] = []
    for name in chosen.conditions:
        condition = CONDITIONS[name]
        say(f"{name}: {chosen.minutes:g} min")
        with tempfile.TemporaryDirectory(prefix="bench-sync-") as temporary:
            folder, flash_ns, account = record(Path(temporary), condition, chosen.minutes, say)
            measured = summary(measure(folder, flash_ns), results[0]["calibration_ms"] if results else None)
        results.append({"name": name, **asdict(condition), "minutes": chosen.minutes, **measured, **account})
        say(f"  {json.dumps(results[-1])}")
    drifts = [abs(r[key]) for r in results for key in ("drift_ms", "fine_drift_ms")]
    offsets = [r["max_abs_offset_ms"] for r in results]
    answer = {
        "max_abs_offset_ms": None if not offsets or None in offsets else max(offsets),
        "drift_ms": max(drifts, default=None),
        "not_found": sum(r["not_found"] for r in results),
        "conditions": results,
        "simulated": simulated(chosen.hours, chosen.seeds) if chosen.hours else None,
    }
    sys.stdout.write(json.dumps(answer) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
