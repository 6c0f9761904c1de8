"""The outbox: numbers without holes whatever dies, order, bounds, and a disk that refuses."""

import resource
import sqlite3
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.feed.outbox import DAY_NS, RETRY_NS, Draft, Outbox, Row, dropped
from recorder.clock.instants import SECOND_NS
from tests.agent.contract import validator
from tests.equipment.process import Child, wait_for

BOOT, LATER_BOOT = "0b2f5c1a-0000-4000-8000-000000000001", "0b2f5c1a-0000-4000-8000-000000000002"


class Clocks:
    """Both clocks, moved by hand."""

    def __init__(self) -> None:
        self.wall, self.boottime = 1_795_000_000 * SECOND_NS, 1000 * SECOND_NS

    def move(self, ns: int) -> None:
        self.wall += ns
        self.boottime += ns

    def open(self, path: Path, boot: str = BOOT, **bounds: int) -> Outbox:
        return Outbox(path, boot=boot, wall=lambda: self.wall, boottime=lambda: self.boottime, **bounds)


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


def event(n: int) -> dict[str, object]:
    return {"kind": "selfcheck", "data": {"passed": False, "failed_checks": [f"button-{n}"]}}


def seqs(rows: list[Row]) -> list[int | None]:
    return [row.seq for row in rows]


def test_events_wait_in_order_and_take_their_numbers_when_they_are_sent(tmp_path: Path, clocks: Clocks) -> None:
    outbox = clocks.open(tmp_path / "o")
    for n in range(5):
        outbox.add(event(n))
    waiting = outbox.unsent(3)
    assert [row.body for row in waiting] == [event(0), event(1), event(2)]
    assert seqs(waiting) == [None, None, None]
    sent = outbox.issue(waiting, [Draft("health", {"overall": "ok"})])
    assert seqs(sent) == [0, 1, 2, 3]
    assert [row.topic for row in sent] == ["event", "event", "event", "health"]
    assert [row.body for row in outbox.unsent(9)] == [event(3), event(4)]
    outbox.acknowledge([sent[0].id, sent[3].id])
    assert seqs(outbox.unacknowledged()) == [1, 2]
    outbox.close()


def test_numbers_go_on_after_a_restart_in_the_same_boot(tmp_path: Path, clocks: Clocks) -> None:
    for start in (0, 3, 6):
        outbox = clocks.open(tmp_path / "o")
        assert seqs(outbox.issue([], [Draft("health", {})] * 3)) == [start, start + 1, start + 2]
        outbox.close()
    outbox = clocks.open(tmp_path / "o")
    assert seqs(outbox.unacknowledged()) == list(range(9))
    outbox.close()


def test_an_event_of_an_earlier_boot_takes_a_number_of_that_boot(tmp_path: Path, clocks: Clocks) -> None:
    first = clocks.open(tmp_path / "o")
    first.add(event(0))
    first.issue(first.unsent(9), [])
    first.add(event(1), at_boottime_ns=clocks.boottime - 2 * SECOND_NS)
    first.close()
    happened = clocks.wall - 2 * SECOND_NS
    clocks.boottime = 5 * SECOND_NS
    second = clocks.open(tmp_path / "o", LATER_BOOT)
    second.issue([], [Draft("health", {})])
    (old,) = second.issue(second.unsent(9), [])
    assert (old.boot, old.seq, old.wall_ns) == (BOOT, 1, happened)
    assert [(row.boot, row.seq) for row in second.unacknowledged()] == [(BOOT, 0), (BOOT, 1), (LATER_BOOT, 0)]
    second.close()


def test_a_death_at_any_moment_leaves_no_hole(tmp_path: Path) -> None:
    """The child writes to a pipe-like log what it has sent; every number is either there or still in the file."""
    code = """
import sys
from pathlib import Path
from agent.feed.outbox import Draft, Outbox
outbox = Outbox(Path(sys.argv[1]))
while True:
    outbox.add({"kind": "selfcheck", "data": {}})
    rows = outbox.issue(outbox.unsent(9), [Draft("health", {})])
    print(*(row.seq for row in rows), flush=True)
    outbox.acknowledge(row.id for row in rows)
"""
    log = tmp_path / "log"
    for _run in range(3):
        had = log.stat().st_size if log.exists() else 0
        child = Child("outbox", [sys.executable, "-c", code, str(tmp_path / "o")], log)
        wait_for(lambda n=had: log.exists() and log.stat().st_size > n + 200, "the child works", 10, alive=child)  # type: ignore[misc]
        child.kill()
    told = {int(n) for line in log.read_text().splitlines() for n in line.split()}
    outbox = Outbox(tmp_path / "o")
    kept = {row.seq for row in outbox.unacknowledged()}
    following = outbox.issue([], [Draft("health", {})])[0].seq
    outbox.close()
    assert following is not None
    assert following > 20
    assert told | kept == set(range(following))


def test_what_is_older_than_the_bound_is_given_up_and_said(tmp_path: Path, clocks: Clocks) -> None:
    outbox = clocks.open(tmp_path / "o")
    began = clocks.wall
    outbox.add(event(0))
    clocks.move(DAY_NS)
    outbox.add(event(1))
    clocks.move(29 * DAY_NS + 1)
    outbox.trim()
    kept = [row.body for row in outbox.unsent(9)]
    assert kept[0] == event(1)
    assert kept[1]["data"]["count"] == 1  # type: ignore[index]
    assert kept[1]["data"]["reason"] == "age"  # type: ignore[index]
    assert kept[1]["data"]["oldest"] == kept[1]["data"]["newest"]  # type: ignore[index]
    assert began == 1_795_000_000 * SECOND_NS
    assert kept[1]["data"]["oldest"] == "2026-11-18T11:06:40.000Z"  # type: ignore[index]
    outbox.close()


def test_a_clock_that_was_set_forward_gives_nothing_up(tmp_path: Path, clocks: Clocks) -> None:
    outbox = clocks.open(tmp_path / "o")
    outbox.add(event(0))
    clocks.wall += 10_000 * DAY_NS
    outbox.trim()
    assert [row.body for row in outbox.unsent(9)] == [event(0)]
    outbox.close()


def test_the_number_of_events_is_bounded(tmp_path: Path, clocks: Clocks) -> None:
    outbox = clocks.open(tmp_path / "o", max_events=10)
    for n in range(25):
        outbox.add(event(n))
    outbox.trim()
    rows = outbox.unsent(99)
    assert [row.body for row in rows[:-1]] == [event(n) for n in range(15, 25)]
    said = rows[-1].body
    assert said["kind"] == "dropped"
    assert (said["data"]["count"], said["data"]["reason"]) == (15, "count")  # type: ignore[index]
    whole = {"schema": "interview-room-feed/1", "type": "event", "centre": "c", "room": "r", "boot": BOOT, "seq": 0}
    whole |= {"time": "2026-11-21T01:30:00.000Z", "monotonic_ms": 1, "historical": False}
    validator("event").validate({**whole, **said})
    outbox.close()


def test_a_damaged_file_is_put_aside_and_said(tmp_path: Path, clocks: Clocks) -> None:
    path = tmp_path / "o"
    path.write_bytes(b"this is no database" * 1000)
    outbox = clocks.open(path)
    assert outbox.fault is None
    (row,) = outbox.unsent(9)
    assert row.body == {"kind": "dropped", "data": {"count": None, "oldest": None, "newest": None, "reason": "damaged"}}
    (numbered,) = outbox.issue([row], [])
    assert numbered.seq == clocks.boottime // 1_000_000  # beyond any number that this boot can have used
    assert [p.name for p in tmp_path.iterdir() if ".damaged-" in p.name]
    outbox.close()


@contextmanager
def full_disk(path: Path) -> Iterator[None]:
    """The kernel lets this process write no file beyond what the outbox has now, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_stops_nothing(tmp_path: Path, clocks: Clocks) -> None:
    path = tmp_path / "o"
    outbox = clocks.open(path)
    outbox.add(event(0))
    waiting = outbox.unsent(9)
    early = outbox.issue([], [Draft("state", {})])
    with full_disk(path):
        outbox.add(event(1))
        assert outbox.fault is not None
        assert str(path) in str(outbox.fault)
        assert seqs(outbox.issue(waiting, [Draft("health", {})])) == [1, 2]
        assert [row.body for row in outbox.unsent(9)] == [event(1)]
        outbox.acknowledge([early[0].id, waiting[0].id])
        outbox.trim()
    clocks.move(RETRY_NS + 1)
    outbox.add(event(2))
    assert outbox.fault is None
    assert [row.body for row in outbox.unsent(9)] == [event(1), event(2)]
    assert seqs(outbox.unacknowledged()) == [2]
    outbox.close()
    again = clocks.open(path)
    assert seqs(again.issue(again.unsent(9), [])) == [3, 4]
    again.close()


def test_a_full_disk_at_the_start_stops_nothing(tmp_path: Path, clocks: Clocks) -> None:
    with full_disk(tmp_path / "o"):
        outbox = clocks.open(tmp_path / "o")
        outbox.add(event(0))
        assert outbox.fault is not None
        assert [row.body for row in outbox.unsent(9)] == [event(0)]
    outbox.close()
    again = clocks.open(tmp_path / "o")
    assert [row.body for row in again.unsent(9)] == [event(0)]
    again.close()


def killed(outbox: Outbox) -> None:
    """What a killed process leaves: its file as it is, and nothing of its memory."""
    for db in (outbox._file, outbox._in_memory):
        if db is not None:
            db.close()


@pytest.mark.parametrize("full", ["later", "at the start"])
def test_numbers_that_memory_gave_are_given_once(tmp_path: Path, clocks: Clocks, full: str) -> None:
    path, marker = tmp_path / "o", tmp_path / "marker"
    outbox = clocks.open(path)
    outbox.mark_memory(marker)
    assert seqs(outbox.issue([], [Draft("state", {})])) == [0]
    if full == "at the start":
        outbox.close()
    with full_disk(path):
        if full == "at the start":
            outbox = clocks.open(path)
            outbox.trim()
            outbox.add(event(0))
            outbox.mark_memory(marker)
        given = {0, *seqs(outbox.issue([], [Draft("health", {})] * 3))}
        assert outbox.fault is not None
        assert marker.exists()
    killed(outbox)
    for _start in range(2):
        clocks.move(SECOND_NS)
        again = clocks.open(path)
        again.mark_memory(marker)
        assert not marker.exists(), "the file knows the numbers again"
        killed(again)  # before it gave one
    again = clocks.open(path)
    again.mark_memory(marker)
    fresh = again.issue([], [Draft("health", {})] * 3)
    assert given.isdisjoint(seqs(fresh))
    again.close()
    last = clocks.open(path)
    last.mark_memory(marker)
    assert last.issue([], [Draft("health", {})])[0].seq == (fresh[-1].seq or 0) + 1, "only once beyond"
    last.close()


def test_a_disk_that_comes_back_leaves_no_marker_and_no_hole(tmp_path: Path, clocks: Clocks) -> None:
    path, marker = tmp_path / "o", tmp_path / "marker"
    outbox = clocks.open(path)
    outbox.mark_memory(marker)
    with full_disk(path):
        assert seqs(outbox.issue([], [Draft("health", {})])) == [0]
        assert marker.exists()
    clocks.move(RETRY_NS + 1)
    assert seqs(outbox.issue([], [Draft("health", {})])) == [1]
    assert not marker.exists()
    outbox.close()


def test_without_a_marker_a_hole_is_taken_for_a_number_given_twice(tmp_path: Path, clocks: Clocks) -> None:
    outbox = clocks.open(tmp_path / "o")
    outbox.mark_memory(tmp_path / "nowhere" / "marker")
    assert seqs(outbox.issue([], [Draft("state", {})])) == [0]
    with full_disk(tmp_path / "o"):
        assert seqs(outbox.issue([], [Draft("health", {})])) == [clocks.boottime // 1_000_000]
    killed(outbox)
    again = clocks.open(tmp_path / "o")
    assert seqs(again.issue([], [Draft("health", {})])) == [1]
    again.close()


def test_what_a_file_holds_that_could_not_be_opened_stays(tmp_path: Path, clocks: Clocks) -> None:
    path = tmp_path / "o"
    outbox = clocks.open(path)
    outbox.add(event(0))
    outbox.close()
    path.rename(tmp_path / "away")
    path.mkdir()
    outbox = clocks.open(path)
    outbox.add(event(1))
    path.rmdir()
    (tmp_path / "away").rename(path)
    clocks.move(RETRY_NS + 1)
    assert [row.body for row in outbox.unsent(9)] == [event(0), event(1)]
    outbox.close()


def damage(path: Path) -> None:
    """Every page but the first becomes what it never was, as a failing disk gives it back."""
    pages = path.stat().st_size // 4096
    assert pages > 1
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 4096 * (pages - 1))


DAMAGED = dropped("damaged", None, None, None)


def asides(folder: Path) -> list[Path]:
    return [p for p in folder.iterdir() if ".damaged-" in p.name]


@pytest.mark.parametrize("when", ["at the start", "while it runs", "while memory takes its place"])
def test_a_damaged_page_puts_the_file_aside_once(tmp_path: Path, clocks: Clocks, when: str) -> None:
    path = tmp_path / "o"
    outbox = clocks.open(path)
    for n in range(50):
        outbox.add(event(n))
    early = outbox.issue(outbox.unsent(1), [])
    outbox.close()
    if when == "at the start":
        damage(path)
    outbox = clocks.open(path)
    if when == "while it runs":
        damage(path)
        assert outbox._file is not None
        outbox._file.execute("PRAGMA shrink_memory")  # what it read before is read again
    elif when == "while memory takes its place":
        with full_disk(path):
            outbox.add(event(98))
            assert outbox.fault is not None
        damage(path)
        clocks.move(RETRY_NS + 1)
    outbox.add(event(99))
    assert outbox.fault is None, "it is written to a file"
    bodies = [row.body for row in outbox.unsent(999)]
    assert bodies.count(DAMAGED) == 1
    assert bodies[-1] == event(99)
    assert (event(98) in bodies) == (when == "while memory takes its place")
    assert len(asides(tmp_path)) == 1
    if when != "at the start":  # an answer to a message of the damaged file takes nothing of the new one
        outbox.acknowledge([early[0].id])
        assert len(outbox.unsent(999)) == len(bodies)
    killed(outbox)
    again = clocks.open(path)
    assert [row.body for row in again.unsent(999)] == bodies
    (following,) = again.issue([], [Draft("health", {})])
    assert following.seq is not None
    assert following.seq > (early[0].seq or 0)
    assert len(asides(tmp_path)) == 1
    again.close()


def test_an_unwritable_place_stops_nothing(tmp_path: Path, clocks: Clocks) -> None:
    outbox = clocks.open(tmp_path / "nowhere" / "o")
    assert outbox.fault is not None
    outbox.add(event(0))
    assert len(outbox.unsent(9)) == 1
    outbox.close()


def test_it_is_on_stable_storage_before_it_counts(tmp_path: Path, clocks: Clocks) -> None:
    outbox = clocks.open(tmp_path / "o")
    outbox.add(event(0))
    other = sqlite3.connect(tmp_path / "o")
    assert other.execute("SELECT COUNT(*) FROM message").fetchone() == (1,)
    other.close()
    assert outbox._file is not None
    assert outbox._file.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    assert outbox._file.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    outbox.close()


def test_many_threads_may_add(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "o")
    threads = [threading.Thread(target=lambda: [outbox.add(event(n)) for n in range(20)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    sent: list[Row] = []
    while any(t.is_alive() for t in threads) or outbox.unsent(1):
        sent += outbox.issue(outbox.unsent(7), [])
    for thread in threads:
        thread.join(10)
    assert seqs(sent) == list(range(80))
    outbox.close()
