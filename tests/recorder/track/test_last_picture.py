"""Where the last picture before a loss stands, and how its verdict comes back."""

import pytest

from recorder.evidence.continuity import Span
from recorder.media.packets import Format, Packet
from recorder.track import last_picture as module
from recorder.track.last_picture import LastPicture, LastPictures, last_picture
from tests.equipment.process import wait_for
from tests.recorder.media.test_wholeness import cut, film

MS = 1_000_000


@pytest.mark.parametrize(
    ("shown", "end", "span"),
    [
        ([0, 40, 80], 120, (80, 120)),
        ([0, 40, 90], 130, (80, 130)),  # a little late: from where the one before it ends
        ([0, 1000], 1040, (40, 1040)),
        ([0], 40, (0, 40)),
        ([0, 120, 40, 80, 240], 280, (160, 280)),  # in decoding order: what was to come between is missing as well
        ([0, 120, 40, 80, 240, 160], 280, (160, 240)),  # shown before one that is whole
    ],
)
def test_the_span_of_the_last_picture(shown: list[int], end: int, span: tuple[int, int]) -> None:
    assert last_picture([ms * MS for ms in shown], 40 * MS, end * MS) == Span(span[0] * MS, span[1] * MS)


def test_without_a_picture_there_is_none() -> None:
    assert last_picture([], 40 * MS, 0) is None


@pytest.fixture(scope="module")
def pictures() -> tuple[Format, list[Packet]]:
    format_, packets = film("h264")
    return format_, packets[:5]


def at(from_ns: int, to_ns: int) -> LastPicture:
    return LastPicture("000000.mkv", Span(from_ns, to_ns))


def verdicts(looks: LastPictures) -> list[tuple[int, str]]:
    """Where each picture that does not count begins, and why, once all is known."""
    found: list[tuple[int, str]] = []

    def known() -> bool:
        found.extend((each.picture.span.from_ns, each.why.code) for each in looks.take())
        return not looks.pending

    wait_for(known, "all verdicts", 10)
    return found


def test_verdicts_come_in_the_order_of_the_losses(pictures: tuple[Format, list[Packet]]) -> None:
    format_, packets = pictures
    looks = LastPictures()
    looks.look(at(1, 2), format_, packets)
    looks.look(at(3, 4), format_, cut(packets, len(packets[-1].data) // 2))
    looks.look(at(5, 6), format_, packets[1:])
    assert looks.pending
    assert verdicts(looks) == [(3, "last-picture-not-whole"), (5, "last-picture-not-checked")]
    assert looks.take() == []


def test_one_that_takes_too_long_is_not_waited_for(
    pictures: tuple[Format, list[Packet]], monkeypatch: pytest.MonkeyPatch
) -> None:
    format_, packets = pictures
    with monkeypatch.context() as patch:
        patch.setattr(module, "LIMIT_NS", 0)
        looks = LastPictures()
        looks.look(at(1, 2), format_, packets)
        assert verdicts(looks) == [(1, "last-picture-not-checked")]
    looks = LastPictures()
    for n in range(6):
        looks.look(at(n, n + 1), format_, packets)
    assert {why for _, why in verdicts(looks)} <= {"last-picture-not-checked"}
    looks.look(at(9, 10), format_, packets)
    assert looks.take(wait_s=10.0) == []
    assert not looks.pending
