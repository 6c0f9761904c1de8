"""What bench/room and bench/soak read of processes, and what they make of it."""

import mmap
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench import rig
from bench.rig import Reading, read_process, slope, thread_cpu_s
from bench.room_cost import busiest, where_it_goes
from bench.room_limit import least_cpu_s
from bench.soak_run import Sample, account, memory_slopes
from tests.equipment.clips import SMALL, prepare


def burn(seconds: float) -> None:
    """Uses the processor for so long."""
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


def test_a_process_is_read_from_proc(tmp_path: Path) -> None:
    before = read_process(os.getpid())
    with open(tmp_path / "one", "w", encoding="utf-8"), open(tmp_path / "two", "w", encoding="utf-8"):
        held = mmap.mmap(
            -1, 40 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        )  # pages of its own, whatever memory Python has to spare
        held.write(os.urandom(1 << 20) * 40)
        burn(0.3)
        after = read_process(os.getpid())
    assert after.handles - before.handles == 2
    assert 0.2 <= after.cpu_s - before.cpu_s < 10
    for name in ("rss_mb", "anonymous_mb"):
        assert getattr(after, name) - getattr(before, name) == pytest.approx(40, abs=8), name
    freed_mb = before.rss_mb - before.pss_mb  # what others share of this process's pages counts wholly when they end
    assert 32 <= after.pss_mb - before.pss_mb <= 48 + freed_mb
    held.close()


BURNING = """
import sys, threading, time
def work():
    until = time.thread_time() + 0.3
    while time.thread_time() < until:
        pass
    sys.stdin.readline()
print("ready", flush=True)
sys.stdin.readline()
threading.Thread(target=work).start()
"""


def test_a_thread_is_told_by_its_place() -> None:
    with subprocess.Popen([sys.executable, "-c", BURNING], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None and child.stdout is not None
        child.stdout.readline()
        before = thread_cpu_s(child.pid)
        child.stdin.write("go\n")
        child.stdin.flush()
        deadline = time.monotonic() + 20
        while not (spent := {n: s for n, s in busiest(thread_cpu_s(child.pid), before, 0.25).items() if n not in before}):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        child.stdin.write("end\n")
    assert len(spent) == 1 and next(iter(spent)).split()[0] == f"{len(before):02d}"


def test_a_track_is_named_by_its_word_and_others_by_their_last() -> None:
    for words, name in ((["track", "closeup", "--x"], "closeup"), (["-", "composer"], "composer")):
        command = [sys.executable, "-c", "import sys; print(flush=True); sys.stdin.read()", *words]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
            assert child.stdout and child.stdout.readline() == b"\n"
            assert rig.process_name(child.pid) == name
            child.communicate()


def test_the_slope_does_not_mind_an_outlier() -> None:
    assert slope([(0, 1.0), (1, 3.0), (2, 5.0), (3, 90.0), (4, 9.0)]) == 2.0
    assert slope([(0, 1.0)]) == 0.0


def sample(at_s: float, pss_mb: float, *, handles: int = 10, pid: int = 7) -> Sample:
    """A room of two processes, one of which grows."""
    grows = Reading(pid, pss_mb + 5, pss_mb, pss_mb - 5, handles, 3, at_s / 2)
    stays = Reading(8, 25.0, 20.0, 15.0, 4, 1, at_s / 10)
    return Sample(at_s, {"composer": grows, "agent": stays})


def test_memory_grows_by_so_much_an_hour_after_the_warming_up() -> None:
    samples = [sample(60.0 * n, 100 + n * 0.5 + (50 if n < 3 else 0)) for n in range(20)]
    slopes = memory_slopes(samples, 180.0)
    assert slopes["memory_slope_mb_per_h"] == slopes["rss_slope_mb_per_h"] == slopes["anonymous_slope_mb_per_h"] == 30.0
    assert slopes["memory_slope_mb_per_h_by_process"] == {"agent": 0.0, "composer": 30.0}
    assert memory_slopes(samples, 60.0 * 19)["memory_slope_mb_per_h"] is None


def test_the_account_of_a_soak() -> None:
    told = account([sample(5.0, 100.0), sample(65.0, 100.0), sample(125.0, 101.0, handles=12, pid=9)], 0.0)
    assert (told["handles_first"], told["handles_last"]) == (14, 16)
    assert told["handles_by_process"] == {"composer": [10, 12], "agent": [4, 4]}
    assert told["cpu_s_by_process"] == {"composer": 60.0, "agent": 12.0}
    assert told["restarted"] == ["composer"]
    assert (told["pss_first_mb"], told["pss_last_mb"]) == (120.0, 121.0)


def test_the_limit_counts_what_the_processor_did() -> None:
    clip = prepare(rig.CACHE, SMALL)
    began = time.process_time()
    spent = least_cpu_s(clip, 1, sub=True)
    whole = time.process_time() - began
    assert set(spent) == {"decode_main", "decode_inset", "compose", "encode"}
    assert all(value > 0 for value in spent.values())
    assert 0.5 * whole < sum(spent.values()) <= whole + 0.05
    assert spent["encode"] > spent["compose"]


def test_where_the_time_goes_adds_up() -> None:
    least = {"decode_main": 4.0, "decode_inset": 1.0, "compose": 1.0, "encode": 8.0}
    runs = [
        {"cpu_s": 20.0, "by_process": {"composer": 16.0}, "seconds": 40, "threads": {}},
        {"cpu_s": 300.0, "by_process": {"composer": 240.0}, "seconds": 600, "threads": {"00 python": 3.0}},
    ]
    told = where_it_goes(runs, [26.0], least, 40)
    assert told["limit_cpu_s"] == 13.0 and told["limit_ratio"] == 0.5 and told["encode_share"] == 0.4
    assert sum(told["where_cpu_s"].values()) == pytest.approx(20.0)
    assert told["where_cpu_s"]["rest_of_composer"] == 2.0 and told["where_cpu_s"]["other_processes"] == 4.0
    assert told["composer_threads_cpu_s"] == {"00 python": 3.0}
    assert where_it_goes(runs, [], least, 40)["limit_ratio"] is None
