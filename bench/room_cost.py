"""CPU seconds, pictures and memory of a recording room, on two 1080p25 cameras of 4 Mbit/s.

CPU seconds are those of the agent and of all its processes from before the start command until the session is sealed, their ended
children included; those of ``bench/one-ffmpeg`` are the whole command's. Both take the same cameras and the same microphone,
in interleaved runs; the ratio is that of each pair, the median is given.

``--inset main`` gives the room no sub-stream: the inset is scaled from the other camera's main stream. ``both`` measures each,
the second under ``inset_main``. ``limit_cpu_s`` is what the decodes and the encode of a run's pictures take alone
(bench/room_limit.py), ``limit_ratio`` that over the median of one ffmpeg. ``where_cpu_s`` is of a run: what the limit counted,
what else the composer took (capture of the sub-stream, sound, AAC, container, waiting), and all other processes. Of the
composer's threads those that live at the session's end are given, in the order of their starting.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.rig import CACHE, HOME, Room, thread_cpu_s
from bench.room_limit import least_cpu_s
from tests.equipment.clips import prepare
from tests.equipment.room import Overrides, StandInRoom


def session(room: Room, seconds: int, say: Any) -> dict[str, Any]:
    """One session of so many seconds."""
    before = room.cpu_s()
    composer_pid = int(room.composer()["pid"])
    threads_before = thread_cpu_s(composer_pid)
    memory: list[tuple[float, float]] = []
    threads: dict[str, float] = {}
    late = 0

    def look(left: float) -> None:
        nonlocal late
        readings = room.readings().values()
        memory.append((sum(r.rss_mb for r in readings), sum(r.pss_mb for r in readings)))
        threads.update(thread_cpu_s(composer_pid))
        status = room.composer()
        late = max(late, status["late"])
        say(f"{left:5.0f} s left, lag {status['lag_ms']:.0f} ms, late {late}, {memory[-1][0]:.0f} MiB")

    began = time.monotonic()
    room.start(seconds)
    answered_s = time.monotonic() - began
    room.wait(began + seconds - 0.3, 5.0, look)
    began = time.monotonic()
    stopped = room.finish()
    sealed_s = time.monotonic() - began
    after = room.cpu_s()
    by_process = {name: round(after[name] - before.get(name, 0.0), 2) for name in after}
    composite = stopped["composite"]
    return {
        "seconds": seconds,
        "cpu_s": sum(by_process.values()),
        "by_process": by_process,
        "threads": busiest(threads, threads_before),
        "missing": composite["pictures_due"] - composite["pictures_written"],
        "late": late,
        "memory": memory,
        "answered_s": round(answered_s, 3),
        "stop_to_sealed_s": round(sealed_s, 3),
        "covered": {name: facts["covered"] for name, facts in stopped["coverage"].items()},
    }


def busiest(after: Mapping[str, float], before: Mapping[str, float], least_s: float = 0.1) -> dict[str, float]:
    """CPU seconds between two readings of a process's threads, those left out that did next to nothing."""
    spent = {name: round(value - before.get(name, 0.0), 2) for name, value in after.items()}
    return {name: value for name, value in spent.items() if value >= least_s}


def one_ffmpeg(stand_ins: StandInRoom, seconds: int, out: Path) -> dict[str, float]:
    """The yardstick's own JSON line."""
    main, inset = (c.address("main") for c in (stand_ins.overview, stand_ins.closeup))
    done = subprocess.run(
        [str(HOME / "bench" / "one-ffmpeg"), main, inset, str(seconds), str(out), "default"],
        env={**os.environ, **stand_ins.env},
        stdout=subprocess.PIPE,
        check=True,
        timeout=seconds + 60,
    )
    values: dict[str, float] = json.loads(done.stdout.decode().strip().splitlines()[-1])
    return values


def without_sub(stand_ins: StandInRoom) -> Overrides:
    """The closeup by plain RTSP, which names no sub-stream."""
    camera = stand_ins.closeup
    return {"camera.closeup": {"rtsp": f"rtsp://{camera.host}:{camera.rtsp_port}/main"}}


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench/room", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="only the JSON line on stdout")
    parser.add_argument("--runs", type=int, default=3, help="pairs of runs (default 3)")
    parser.add_argument("--seconds", type=int, default=40, help="length of each run of a pair (default 40)")
    parser.add_argument("--long", type=int, default=600, help="length of the session that is counted (default 600, 0: none)")
    parser.add_argument(
        "--inset", choices=("sub", "main", "both"), default="sub", help="where the inset comes from (default sub)"
    )
    chosen = parser.parse_args()
    if chosen.runs < 1 and not chosen.long:
        parser.error("--runs 0 --long 0: nothing is left to measure")

    def say(text: str) -> None:
        if not chosen.json:
            sys.stderr.write(text + "\n")

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    results = []
    for inset in ("sub", "main") if chosen.inset == "both" else (chosen.inset,):
        with tempfile.TemporaryDirectory(prefix="bench-room-") as name:
            folder = Path(name)
            with StandInRoom(folder / "equipment", CACHE) as stand_ins:
                say(f"inset from the {inset} stream")
                results.append(measure(folder, stand_ins, chosen, say, sub=inset == "sub"))
    answer = results[0] if len(results) == 1 else {**results[0], "inset_main": results[1]}
    sys.stdout.write(json.dumps(answer) + "\n")
    return 0


def measure(folder: Path, stand_ins: StandInRoom, chosen: argparse.Namespace, say: Any, *, sub: bool) -> dict[str, Any]:
    """Everything, as one JSON object."""
    room = Room(folder, stand_ins, None if sub else without_sub(stand_ins))
    pairs, sessions = [], []
    try:
        for run in range(chosen.runs):
            ours = session(room, chosen.seconds, say)
            theirs = one_ffmpeg(stand_ins, chosen.seconds, folder / f"one-ffmpeg-{run}")
            say(f"pair {run + 1}: room {ours['cpu_s']:.2f} s, one ffmpeg {theirs['cpu_s']:.2f} s")
            sessions.append(ours)
            pairs.append((ours["cpu_s"], theirs["cpu_s"]))
        if chosen.long:
            sessions.append(session(room, chosen.long, say))
    finally:
        room.stop()
    longest = sessions[-1]
    third = max(1, len(longest["memory"]) // 3)
    ratios = [ours / theirs for ours, theirs in pairs]
    return {
        "cpu_ratio": round(statistics.median(ratios), 3) if ratios else None,
        "cpu_ratios": [round(r, 3) for r in ratios],
        "room_cpu_s": [round(a, 2) for a, _ in pairs],
        "one_ffmpeg_cpu_s": [round(b, 2) for _, b in pairs],
        "by_process_cpu_s": longest["by_process"],
        "seconds": longest["memory"] and (chosen.long or chosen.seconds),
        "missing": sum(s["missing"] for s in sessions),
        "late": sum(s["late"] for s in sessions),
        "rss_mb": round(max(r for s in sessions for r, _ in s["memory"]), 1),
        "rss_first_third_mb": round(statistics.mean(r for r, _ in longest["memory"][:third]), 1),
        "rss_last_third_mb": round(statistics.mean(r for r, _ in longest["memory"][-third:]), 1),
        "pss_mb": round(max(p for s in sessions for _, p in s["memory"]), 1),
        "start_answer_s": [s["answered_s"] for s in sessions],
        "stop_to_sealed_s": [s["stop_to_sealed_s"] for s in sessions],
        "covered": longest["covered"],
        "inset": "sub" if sub else "main",
        **where_it_goes(sessions, [b for _, b in pairs], least_cpu_s(prepare(CACHE), chosen.seconds, sub=sub), chosen.seconds),
    }


def where_it_goes(
    sessions: list[dict[str, Any]], one_ffmpeg_s: list[float], least: Mapping[str, float], seconds: int
) -> dict[str, Any]:
    """The limit and the shares. sessions: at least one; least: of least_cpu_s, for so many seconds of room."""
    room_s = statistics.median(s["cpu_s"] * seconds / s["seconds"] for s in sessions)
    composer_s = statistics.median(s["by_process"].get("composer", 0.0) * seconds / s["seconds"] for s in sessions)
    limit = sum(value for what, value in least.items() if what != "compose")
    return {
        "limit_cpu_s": round(limit, 2),
        "limit_ratio": round(limit / statistics.median(one_ffmpeg_s), 3) if one_ffmpeg_s else None,
        "where_cpu_s": {
            **least,
            "rest_of_composer": round(composer_s - sum(least.values()), 2),
            "other_processes": round(room_s - composer_s, 2),
        },
        "encode_share": round(least["encode"] / room_s, 3) if room_s else None,
        "composer_threads_cpu_s": sessions[-1]["threads"],
    }


if __name__ == "__main__":
    sys.exit(main())
