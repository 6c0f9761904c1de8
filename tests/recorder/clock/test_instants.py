"""Room time: epochs, official times on the picture grid, and the line through packets' arrivals."""

import os
import random
from dataclasses import asdict
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from recorder.clock.fit import EnvelopeFit, FittedLine, lower_hull
from recorder.clock.instants import PICTURE_NS, SECOND_NS, boot_id, rfc3339, snap_end, snap_start
from recorder.disk.durable import make_folder, read_json, write_json
from recorder.disk.journal import Journal
from recorder.faults import EvidenceFault
from recorder.session.epoch import Epoch, Tie, read_tie, session_epoch

NOW_NS = 1_795_224_605_291_234_567
MS = 1_000_000


def tie(utc_ns: int = NOW_NS) -> Tie:
    return Tie(boot_id(), 5 * SECOND_NS, utc_ns, "ntp", 0.001)


def test_an_epoch_turns_boot_time_into_room_time_and_back() -> None:
    epoch = Epoch(tie())
    assert epoch.room_ns(5 * SECOND_NS) == NOW_NS
    assert epoch.room_ns(6 * SECOND_NS) == NOW_NS + SECOND_NS
    assert epoch.boottime_ns(epoch.room_ns(123)) == 123


def test_whoever_comes_first_makes_the_epoch_of_a_boot(tmp_path: Path) -> None:
    first = session_epoch(tmp_path, tie)
    again = session_epoch(tmp_path, lambda: tie(NOW_NS + 999 * SECOND_NS))
    assert first == again == Epoch(tie())
    path = tmp_path / "epochs" / f"{boot_id()}.json"
    assert read_json(path) == asdict(tie()) and read_tie(path) == tie()


def test_a_wall_clock_behind_recorded_data_is_not_believed(tmp_path: Path) -> None:
    floor_ns = NOW_NS + 3600 * SECOND_NS
    epoch = session_epoch(tmp_path, tie, floor_ns=floor_ns)
    assert epoch.room_ns(5 * SECOND_NS) > floor_ns
    assert epoch.tie.source == "floor"


SEGMENT = {"bytes": 1, "sha256": "", "packets": 1, "codec": "h264"}  # what a segment's line has besides


def test_a_wall_clock_behind_any_track_is_not_believed_whoever_makes_the_epoch(tmp_path: Path) -> None:
    for track, until_s in (("overview", 90), ("closeup", 10)):
        writer = Journal(make_folder(tmp_path / "tracks" / track) / "journal.jsonl")
        writer.append("segment", file="000000.mkv", first_ns=NOW_NS, end_ns=NOW_NS + until_s * SECOND_NS, **SEGMENT)
        writer.close()
    assert session_epoch(tmp_path, tie, floor_ns=NOW_NS - SECOND_NS).tie.utc_ns == NOW_NS + 91 * SECOND_NS


def told(folder: Path, boot: str, source: str, ahead_s: int) -> None:
    """A line ``tie`` of a boot in which room time was so far ahead of the wall clock."""
    writer = Journal(folder / "journal.jsonl")
    writer.append("tie", boot_id=boot, boottime_ns=0, utc_ns=NOW_NS, source=source, room_ns=NOW_NS + ahead_s * SECOND_NS)
    writer.close()


@pytest.mark.parametrize("ahead_s", [40, -40])
def test_room_time_goes_on_after_a_boot_as_far_from_the_wall_clock_as_it_was(tmp_path: Path, ahead_s: int) -> None:
    """T0 was tied to a clock that was wrong; it was set during the session, and the next boot begins with the right one."""
    told(tmp_path, "boot-0", "unsynchronised", 0)
    told(tmp_path, "boot-1", "ntp", ahead_s)
    told(tmp_path, "boot-1", "unsynchronised", 3600)  # of such a clock nothing is known
    told(tmp_path, boot_id(), "ntp", 7200)  # this boot's own: of another process, in the same moment
    epoch = session_epoch(tmp_path, tie, floor_ns=NOW_NS - 3600 * SECOND_NS)
    assert epoch.room_ns(5 * SECOND_NS) == NOW_NS + ahead_s * SECOND_NS
    assert (epoch.tie.source, epoch.tie.ahead_ns) == ("ntp", ahead_s * SECOND_NS)
    assert session_epoch(tmp_path, tie) == epoch


@pytest.mark.parametrize(("changed_s", "until_s"), [(104, 104), (3600, 160), (-3600, 160)])
def test_a_segment_that_was_cut_off_reaches_as_far_as_it_was_written(tmp_path: Path, changed_s: int, until_s: int) -> None:
    folder = make_folder(tmp_path / "tracks" / "overview")
    writer = Journal(folder / "journal.jsonl")
    writer.append("open", file="000009.mkv", first_ns=NOW_NS + 100 * SECOND_NS, codec="h264")
    writer.close()
    (folder / "000009.mkv").write_bytes(b"")
    os.utime(folder / "000009.mkv", ns=(0, NOW_NS + changed_s * SECOND_NS))
    assert session_epoch(tmp_path, tie).tie.utc_ns == NOW_NS + (until_s + 1) * SECOND_NS


@pytest.mark.parametrize("content", [{}, {"boot_id": "x"}, {**asdict(tie()), "utc_ns": "now"}])
def test_a_damaged_epoch_is_a_clear_fault(tmp_path: Path, content: dict[str, object]) -> None:
    write_json(tmp_path / "epoch.json", content)
    with pytest.raises(EvidenceFault, match="epoch"):
        read_tie(tmp_path / "epoch.json")


def test_official_times_lie_on_the_grid_and_whole_seconds_apart() -> None:
    rng = random.Random(1)
    for _ in range(2000):
        now = NOW_NS + rng.randrange(10**12)
        start = snap_start(now)
        assert 0 <= now - start < 2 * PICTURE_NS
        assert start % SECOND_NS % PICTURE_NS == 0 and start % SECOND_NS != 0
        stop = now + rng.randrange(10**13)
        end = snap_end(start, stop)
        assert (end - start) % SECOND_NS == 0 and end - start >= SECOND_NS
        assert end >= stop or end - start == SECOND_NS
        assert end - stop < SECOND_NS or end - start == SECOND_NS
        # The last picture, 40 ms before the end, shows the second of the official end.
        assert (end - PICTURE_NS) // SECOND_NS == end // SECOND_NS
    assert snap_end(snap_start(NOW_NS), NOW_NS) - snap_start(NOW_NS) == SECOND_NS


def test_rfc3339() -> None:
    assert rfc3339(NOW_NS) == "2026-11-21T01:30:05.291Z"
    text = rfc3339(NOW_NS, ZoneInfo("Asia/Shanghai"))
    assert text == "2026-11-21T09:30:05.291+08:00"
    assert datetime.fromisoformat(text).timestamp() == pytest.approx(NOW_NS / 1e9, abs=0.001)
    assert rfc3339(0) == "1970-01-01T00:00:00.000Z"


def fitted(seconds: int, ppm: float, jitter_ms: float, *, seed: int = 1, order: tuple[int, ...] = (0,)) -> list[float]:
    """Errors in ms of the fit against the truth, at each packet of the last half: a camera of 90 kHz whose clock is off."""
    rng = random.Random(seed)
    fit = EnvelopeFit(1e9 / 90_000)
    errors = []
    count = 25 * seconds
    for base in range(0, count, len(order)):
        for step in order:
            number = base + step
            sent = 7_000 * SECOND_NS + round(number * PICTURE_NS * (1 + ppm * 1e-6))
            ticks = 1_234_567 + number * 3600
            fit.add(ticks, sent + round(rng.expovariate(1 / jitter_ms) * MS))
            if number > count // 2:
                errors.append((fit.line.at(ticks) - sent) / MS)
    return errors


@pytest.mark.parametrize("ppm", [-500, -100, 0, 100, 500])
def test_jitter_only_delays_so_the_line_lies_under_it(ppm: float) -> None:
    errors = fitted(600, ppm, 10)
    assert min(errors) > -2 and max(errors) < 6


def test_reordered_pictures_do_not_disturb_the_line() -> None:
    """B-frames: packets come as 3 1 0 2…, so a time steps back over the border of a bucket now and then."""
    assert max(abs(error) for error in fitted(300, 100, 5, order=(3, 1, 0, 2))) < 2


def test_equal_times_at_a_border_do_not_stop_the_fit() -> None:
    fit = EnvelopeFit(1.0)
    step = EnvelopeFit.BUCKET_NS
    for number in range(200):
        border = (number // 2 + 1) * step
        for ticks in (border, border - 1000, border, border):
            fit.add(ticks, ticks + number % 3 * MS)
    assert abs(fit.line.ppm) < 5


def test_a_line() -> None:
    assert FittedLine(1000.0, 2.0).at(5) == 1010
    assert FittedLine(0.0, 1.0, 1000.0).at(1_000_000) == 1_001_000


def test_the_lower_hull_lies_under_every_point() -> None:
    rng = random.Random(4)
    points = [(float(x), rng.random()) for x in range(50)]
    hull = lower_hull(points)
    assert hull[0] == points[0] and hull[-1] == points[-1]
    for (x0, y0), (x1, y1) in pairwise(hull):
        for x, y in points:
            if x0 <= x <= x1:
                assert y >= y0 + (y1 - y0) * (x - x0) / (x1 - x0) - 1e-9
