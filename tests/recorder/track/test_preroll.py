"""The last seconds in memory."""

from recorder.media.packets import Packet
from recorder.track.preroll import Preroll

PICTURE = 40_000_000


def feed(preroll: Preroll[Packet], pictures: int, gop: int, first: int = 0) -> None:
    for n in range(first, first + pictures):
        preroll.add(Packet(n, n % gop == 0, b"x", n * PICTURE))


def time_of(packet: Packet) -> int:
    return packet.pts * PICTURE


def test_keeps_whole_groups_covering_the_span() -> None:
    preroll = Preroll[Packet](10 * 1_000_000_000)
    feed(preroll, 1000, 50)
    kept = [p.pts for p in preroll.since(0, time_of)]
    assert kept[0] % 50 == 0
    assert kept == list(range(kept[0], 1000))
    assert 250 <= len(kept) <= 300


def test_a_session_begins_with_the_key_frame_at_or_before_its_start() -> None:
    preroll = Preroll[Packet](10 * 1_000_000_000)
    feed(preroll, 200, 50)
    assert next(preroll.since(149 * PICTURE, time_of)).pts == 100
    assert next(preroll.since(150 * PICTURE, time_of)).pts == 150
    assert next(preroll.since(151 * PICTURE, time_of)).pts == 150


def test_a_start_before_everything_begins_with_the_oldest_key_frame() -> None:
    preroll = Preroll[Packet](10 * 1_000_000_000)
    feed(preroll, 60, 25, first=10)
    assert [p.pts for p in preroll.since(0, time_of)] == list(range(25, 70))


def test_long_groups_are_kept_whole() -> None:
    preroll = Preroll[Packet](4 * 1_000_000_000)
    feed(preroll, 600, 1000)
    assert len(preroll) == 600


def test_memory_is_bounded_where_no_key_frame_comes_again() -> None:
    preroll = Preroll[Packet](10 * 1_000_000_000)
    feed(preroll, 100_000, 1_000_000)
    assert len(preroll) <= 71 * 25
    assert [p.pts for p in preroll.since(99_900 * PICTURE, time_of)] == list(range(99_900, 100_000)), "what is wanted is there"
    feed(preroll, 300, 50, first=100_000)
    assert [p.pts for p in preroll.since(100_120 * PICTURE, time_of)] == list(range(100_100, 100_300)), "and keys count again"
    assert len(preroll) == 300


def test_nothing_of_an_earlier_connection_is_left() -> None:
    preroll = Preroll[Packet](10 * 1_000_000_000)
    feed(preroll, 100, 25)
    preroll.clear()
    assert list(preroll.since(0, time_of)) == []
    assert len(preroll) == 0
