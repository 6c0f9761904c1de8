"""Coverage and gaps from a journal's lines."""

import random
from itertools import pairwise

import pytest

from recorder.clock.instants import GAP_FLOOR_NS, PICTURE_NS, SECOND_NS
from recorder.disk.durable import Json
from recorder.evidence.continuity import (
    DAMAGED,
    DIED,
    GIVEN_UP,
    LATE,
    NEVER,
    REBOOTED,
    STOPPED,
    UNKNOWN,
    Span,
    composite_coverage,
    coverage,
    cut_pictures,
    holes,
    interruptions,
    pictures_due,
)
from recorder.session.lines import cause_of, read_lines
from wording.sentence import Sentence

T0 = 1_795_224_605_280_000_000
MS = 1_000_000


def at(seconds: float) -> int:
    return T0 + round(seconds * SECOND_NS)


def begin(boot: str = "boot-1") -> Json:
    return {"kind": "begin", "boot_id": boot}


SEALED: Json = {"bytes": 1, "sha256": "00", "packets": 1, "codec": "h264"}  # what a closed segment's line has besides


def segment(number: int, first: float, end: float, *, recovered: bool = False) -> list[Json]:
    file = f"{number:06d}.mkv"
    return [
        {"kind": "open", "file": file, "first_ns": at(first), "codec": "h264"},
        {"kind": "segment", "file": file, "first_ns": at(first), "end_ns": at(end), "recovered": recovered, **SEALED},
    ]


def numbered(*groups: list[Json] | Json) -> list[Json]:
    flat = [entry for group in groups for entry in (group if isinstance(group, list) else [group])]
    return [{"seq": n, **entry} for n, entry in enumerate(flat)]


def gaps(entries: list[Json], seconds: float = 30) -> list[tuple[float, float, str]]:
    found = coverage(read_lines(entries), T0, at(seconds))
    assert found.covered_ns == found.wanted_ns - sum(g.to_ns - g.from_ns for g in found.gaps)
    return [((g.from_ns - T0) / SECOND_NS, (g.to_ns - T0) / SECOND_NS, code(g.cause)) for g in found.gaps]


def code(cause: Sentence) -> str:
    """Of a cause that has no values."""
    assert cause.values == {}
    return cause.code


END: Json = {"kind": "end", "stop_ns": at(30)}


def test_a_whole_track() -> None:
    entries = numbered(begin(), segment(0, -0.4, 10), segment(1, 10, 20), segment(2, 20, 30.02), END)
    found = coverage(read_lines(entries), T0, at(30))
    assert (found.covered, found.covered_s, found.gaps) == (1.0, 30.0, ())


def test_a_hole_with_the_cause_that_was_journalled() -> None:
    values = {"name": "overview"}
    lost = {"kind": "lost", "from_ns": at(10), "cause": "camera-ended-connection", "values": values}
    older = {"kind": "lost", "from_ns": at(-20), "cause": "before", "values": {}}
    entries = numbered(older, begin(), segment(0, -0.4, 10), lost, segment(1, 15.5, 30), END)
    found = coverage(read_lines(entries), T0, at(30))
    assert [(g.from_ns, g.to_ns, g.cause) for g in found.gaps] == [
        (at(10), at(15.5), Sentence("camera-ended-connection", {"name": "overview"}))
    ]
    assert (found.covered, found.covered_s) == (0.816666, 24.5)
    told = found.gaps[0].as_json()
    assert cause_of(told).say("en") == "The camera overview ended the connection."
    assert cause_of(told).say("zh") == "摄像机 overview 断开了连接。"
    assert told == {
        "from_ns": at(10),
        "to_ns": at(15.5),
        "from": "2026-11-21T01:30:15.280Z",
        "to": "2026-11-21T01:30:20.780Z",
        "seconds": 5.5,
        "cause": "camera-ended-connection",
        "values": values,
    }


def cut(first: float, end: float) -> Json:
    return {"kind": "cut", "file": "000000.mkv", "from_ns": at(first), "to_ns": at(end), "cause": "last-picture-not-whole"}


@pytest.mark.parametrize("back", [9.98, 10.0, 15.5])
def test_a_gap_begins_before_a_picture_that_does_not_count(back: float) -> None:
    """However soon the next connection began."""
    lost = {"kind": "lost", "from_ns": at(10), "cause": "the-loss"}
    entries = numbered(begin(), segment(0, -0.4, 10), lost, segment(1, back, 20), cut(9.88, 10), segment(2, 20, 30), END)
    assert gaps(entries) == [(9.88, back, "the-loss" if back > 10 else "last-picture-not-whole")]
    lines = list(read_lines(entries))
    assert [(p.from_ns, p.to_ns) for p in cut_pictures(lines, T0, at(30))] == [(at(9.88), at(10))]
    assert cut_pictures(lines, at(10), at(30)) == []
    assert cut_pictures(lines, T0, at(9.88)) == []


def test_a_picture_that_is_shown_before_whole_ones_is_a_gap_of_its_own() -> None:
    lost = {"kind": "lost", "from_ns": at(10), "cause": "the-loss"}
    entries = numbered(begin(), segment(0, -0.4, 10), lost, cut(9.88, 9.96), segment(1, 15, 30), END)
    assert gaps(entries) == [(9.88, 9.96, "last-picture-not-whole"), (10, 15, "the-loss")]


def test_an_interruption_that_is_running_begins_where_it_will_in_the_seal() -> None:
    lost = {"kind": "lost", "from_ns": at(10), "cause": "the-loss", "values": {}}
    lines = list(read_lines(numbered(begin(), segment(0, -0.4, 10), lost, cut(9.96, 10))))
    assert [(each.from_ns, each.to_ns) for each in interruptions(lines)] == [(at(9.96), None)]
    back = list(read_lines([{"kind": "back", "at_ns": at(12)}]))
    assert [(each.from_ns, each.to_ns) for each in interruptions([*lines, *back])] == [(at(9.96), at(12))]


def test_each_hole_gets_its_own_cause() -> None:
    entries = numbered(
        begin(),
        segment(0, -0.4, 5),
        {"kind": "lost", "from_ns": at(5.01), "cause": "first"},
        segment(1, 10, 15),
        {"kind": "lost", "from_ns": at(14.99), "cause": "second"},
        segment(2, 20, 30),
        END,
    )
    assert gaps(entries) == [(5, 10, "first"), (15, 20, "second")]


def test_a_loss_long_ago_explains_nothing() -> None:
    lost = {"kind": "lost", "from_ns": at(3), "cause": "first"}
    assert gaps(numbered(begin(), segment(0, -1, 3), lost, segment(1, 6, 10), segment(2, 20, 30), END)) == [
        (3, 6, "first"),
        (10, 20, UNKNOWN),
    ]


@pytest.mark.parametrize(("boot", "cause"), [("boot-1", DIED), ("boot-2", REBOOTED)])
def test_a_crash_is_seen_by_the_second_begin(boot: str, cause: str) -> None:
    torn = segment(1, 10, 13.5, recovered=True)
    entries = numbered(begin(), segment(0, -0.4, 10), torn[0], begin(boot), torn[1], segment(2, 16, 30), END)
    assert gaps(entries) == [(13.5, 16, cause)]
    unrecovered = numbered(begin(), segment(0, -0.4, 10), torn[0], begin(boot), segment(2, 16, 30), END)
    assert gaps(unrecovered) == [(10, 16, cause)]


def test_a_begin_elsewhere_does_not_blame_a_crash() -> None:
    entries = numbered(begin(), segment(0, -1, 5), segment(1, 8, 12), begin(), segment(2, 12.1, 30), END)
    assert gaps(entries) == [(5, 8, UNKNOWN)]


def test_nothing_late_and_cut_off() -> None:
    assert gaps(numbered(begin())) == [(0, 30, NEVER)]
    assert gaps([]) == [(0, 30, NEVER)]
    assert gaps(numbered(begin(), {"kind": "lost", "from_ns": None, "cause": "absent"})) == [(0, 30, "absent")]
    assert gaps(numbered(begin(), segment(0, 4, 30), END)) == [(0, 4, LATE)]
    assert gaps(numbered(begin(), segment(0, -1, 25), END)) == [(25, 30, STOPPED)]
    assert gaps(numbered(begin(), segment(0, -1, 25))) == [(25, 30, DIED)]


def test_a_file_that_cannot_be_counted() -> None:
    entries = numbered(begin(), segment(0, -0.4, 10), segment(1, 10, 20), segment(2, 20, 30), END)
    found = coverage(read_lines(entries), T0, at(30), without={"000001.mkv"})
    assert [(g.from_ns, g.to_ns, code(g.cause)) for g in found.gaps] == [(at(10), at(20), DAMAGED)]


@pytest.mark.parametrize(("hole_ns", "gap"), [(GAP_FLOOR_NS, False), (GAP_FLOOR_NS + 1, True)])
def test_the_limit_between_rounding_and_a_gap(hole_ns: int, gap: bool) -> None:
    end = 10 * SECOND_NS
    at_the_start = [Span(hole_ns, end)]
    between = [Span(0, SECOND_NS), Span(SECOND_NS + hole_ns, end)]
    at_the_end = [Span(0, end - hole_ns)]
    for spans in (at_the_start, between, at_the_end):
        assert bool(holes(spans, 0, end, GAP_FLOOR_NS)) == gap


def test_holes_against_a_count_of_every_tick() -> None:
    rng = random.Random(5)
    for _ in range(500):
        spans = [Span(a, a + rng.randrange(-2, 12)) for a in (rng.randrange(-5, 45) for _ in range(rng.randrange(6)))]
        covered = {t for s in spans for t in range(s.from_ns, s.to_ns)}
        found = holes(spans, 0, 40, 0)
        assert [t for h in found for t in range(h.from_ns, h.to_ns)] == [t for t in range(40) if t not in covered]
        assert all(a.to_ns < b.from_ns for a, b in pairwise(found))


def test_the_covered_share_is_never_rounded_up() -> None:
    found = coverage(read_lines(numbered(begin(), segment(0, -1, 14_399.79), END)), T0, at(14_400))
    assert found.covered < 1.0
    assert len(found.gaps) == 1


def part(number: int, first: int, pictures: int, *, opened: bool = True) -> list[Json]:
    file = f"part-{number:03d}.mp4"
    line = {"kind": "part", "file": file, "first_picture": first, "pictures": pictures, "bytes": 1, "sha256": "00"}
    return [{"kind": "part-open", "file": file, "first_picture": first}, line] if opened else [line]


def missing(entries: list[Json], seconds: int = 4) -> tuple[int, int, list[tuple[int, int, str]]]:
    found = composite_coverage(read_lines(entries), T0, at(seconds))
    pictures = [((g.from_ns - T0) // PICTURE_NS, (g.to_ns - T0) // PICTURE_NS, code(g.cause)) for g in found.gaps]
    return found.pictures_due, found.pictures_written, pictures


def test_the_composite() -> None:
    assert missing(numbered(begin(), part(1, 0, 100))) == (100, 100, [])
    assert missing(numbered(begin(), part(1, 0, 99), END)) == (100, 99, [(99, 100, STOPPED)])
    assert missing(numbered(begin(), part(1, 0, 40), begin(), part(2, 60, 40))) == (100, 80, [(40, 60, DIED)])
    assert missing(numbered(begin(), part(1, 0, 40), begin("boot-2"), part(2, 60, 40))) == (100, 80, [(40, 60, REBOOTED)])
    assert missing(numbered(begin(), part(1, 0, 40), {"kind": "given-up", "at_ns": 0}, END)) == (100, 40, [(40, 100, GIVEN_UP)])
    assert missing(numbered(begin(), part(1, 5, 95))) == (100, 95, [(0, 5, LATE)])
    assert missing([]) == (100, 0, [(0, 100, NEVER)])
    found = composite_coverage(
        read_lines(numbered(begin(), part(1, 0, 50), part(2, 50, 50))), T0, at(4), without={"part-001.mp4"}
    )
    assert (found.pictures_written, [code(g.cause) for g in found.gaps]) == (50, [DAMAGED])


def test_the_composite_s_pictures_after_the_end_are_counted_apart() -> None:
    for listed, after in (([part(1, 0, 100)], 0), ([part(1, 0, 120)], 20), ([part(1, 0, 120), part(2, 130, 5)], 25)):
        entries = numbered(begin(), *listed)
        assert missing(entries) == (100, 100, [])
        assert composite_coverage(read_lines(entries), T0, at(4)).pictures_after_end == after
    damaged = composite_coverage(read_lines(numbered(begin(), part(1, 0, 120))), T0, at(4), without={"part-001.mp4"})
    assert (damaged.pictures_written, damaged.pictures_after_end) == (0, 0)


def test_pictures_due() -> None:
    assert [pictures_due(0, n) for n in (0, 1, PICTURE_NS, PICTURE_NS + 1, 60 * SECOND_NS)] == [0, 1, 1, 2, 1500]
