"""Silences by the pictures' stamps alone, against streams whose truth is known."""

import random
from collections.abc import Iterable, Sequence

import pytest

from recorder.clock.instants import MS_NS
from recorder.media.cadence import Cadence, Silence, Stamp

RATES = (60, 30, 25, 15, 12, 8, 5, 4, 3, 2, 1, 0.5)


def judged(stamps_ms: Iterable[float], cadence: Cadence | None = None) -> list[Silence]:
    """The silences of stamps in the order in which they come; room time is the stamp."""
    cadence = cadence or Cadence()
    found = [each for ms in stamps_ms for each in cadence.add(Stamp(round(ms * MS_NS), round(ms * MS_NS)))]
    return found + cadence.interrupted()


def told(silences: Sequence[Silence]) -> list[tuple[int, int]]:
    """From the last picture before to the first one after, ms."""
    return [(round(s.last_ns / MS_NS), round(s.next_ns / MS_NS)) for s in silences]


def stamps(*distances_ms: float) -> list[float]:
    """Stamps from 0 on at these distances."""
    found = [0.0]
    for distance in distances_ms:
        found.append(found[-1] + distance)
    return found


@pytest.mark.parametrize("rate", RATES)
def test_a_steady_rate_has_no_silence(rate: float) -> None:
    assert judged(n * 1000 / rate for n in range(30)) == []


@pytest.mark.parametrize("before", RATES)
@pytest.mark.parametrize("after", RATES)
def test_a_change_of_rate_is_no_silence(before: float, after: float) -> None:
    assert judged(stamps(*[1000 / before] * 20, *[1000 / after] * 20)) == []


@pytest.mark.parametrize("rate", RATES)
def test_a_silence_of_three_distances_is_told_with_its_true_length(rate: float) -> None:
    usual = 1000 / rate
    length = max(3 * usual, 300)
    whole = stamps(*[usual] * 12, length, *[usual] * 12)
    [silence] = judged(whole)
    assert told([silence]) == [(round(12 * usual), round(12 * usual + length))]
    assert silence.length_ns == pytest.approx(usual * MS_NS, rel=0.01)
    assert silence.next_ns - silence.from_ns == pytest.approx((length - usual) * MS_NS, rel=0.01)


@pytest.mark.parametrize("rate", [25, 4, 1])
def test_a_silence_right_at_a_beginning_is_told(rate: float) -> None:
    usual = 1000 / rate
    assert told(judged(stamps(8000, *[usual] * 5))) == [(0, 8000)]


@pytest.mark.parametrize(("before", "after"), [(25, 1), (25, 4), (4, 1), (1, 25), (12, 0.5)])
def test_a_silence_between_two_rates_is_told(before: float, after: float) -> None:
    at = round(20 * 1000 / before)
    length = 20_000
    assert told(judged(stamps(*[1000 / before] * 20, length, *[1000 / after] * 20))) == [(at, at + length)]


def test_two_silences_with_one_picture_between_them_are_both_told() -> None:
    assert told(judged(stamps(*[40] * 20, 1000, 1200, *[40] * 20))) == [(800, 1800), (1800, 3000)]


def test_a_silence_while_a_slow_rate_is_learnt_is_told() -> None:
    [silence] = judged(stamps(*[40] * 20, 1000, 5000, 1000, 1000, 1000))
    assert (told([silence]), silence.length_ns) == ([(1800, 6800)], 1000 * MS_NS), "the picture before it stood for a second"
    [silence] = judged(stamps(*[40] * 20, 5000, 1000, 1000, 1000))
    assert (told([silence]), silence.length_ns) == ([(800, 5800)], 40 * MS_NS), "the picture before it was of the former rate"


def test_a_night() -> None:
    """25, 12, 4, 1, 25 pictures a second; in each stretch one real silence, and stamps that tremble by a tenth."""
    chance = random.Random(14)
    distances: list[float] = []
    truth: list[tuple[int, int]] = []
    for rate in (25, 12, 4, 1, 25):
        usual = 1000 / rate
        distances += [usual * chance.uniform(0.9, 1.1) for _ in range(60)]
        at, length = sum(distances), max(300.0, 3 * usual)
        truth.append((round(at), round(at + length)))
        distances += [length, *(usual * chance.uniform(0.9, 1.1) for _ in range(60))]
    assert told(judged(stamps(*distances))) == truth


PYRAMID = (0, 4, 2, 1, 3)  # the order in which pictures of a B pyramid come, from one key frame to the next


@pytest.mark.parametrize("rate", [25, 12, 6, 4, 1])
def test_pictures_in_decoding_order(rate: float) -> None:
    usual = 1000 / rate
    shown = [usual * (4 * group + n) for group in range(10) for n in ((0,) if group == 0 else ()) + PYRAMID[1:]]
    assert judged(shown) == []
    late = [at + (max(3 * usual, 300) if at > 20 * usual else 0) for at in shown]
    assert told(judged(late)) == [(round(20 * usual), round(21 * usual + max(3 * usual, 300)))]


def test_a_rate_stays_known_when_the_connection_is_made_anew() -> None:
    cadence = Cadence()
    assert judged(stamps(*[1000] * 12), cadence) == []
    assert (cadence.usual_ns, cadence.limit_ns) == (1000 * MS_NS, 2500 * MS_NS)
    assert judged(stamps(*[1000] * 2), cadence) == []


def test_the_end_in_the_middle_of_a_change() -> None:
    assert judged(stamps(*[40] * 20, 1000, 1000)) == []
    assert told(judged(stamps(*[40] * 20, 1000))) == [(800, 1800)]


def test_random_streams_against_their_truth() -> None:
    """Many rates, each for 20 pictures and more, with silences at least three pictures away from a change of rate."""
    for seed in range(300):
        chance = random.Random(seed)
        distances: list[float] = []
        truth: list[tuple[int, int]] = []
        for _ in range(6):
            usual = 1000 / chance.uniform(0.5, 60)
            for _ in range(3):
                distances += [usual] * chance.randint(11, 40)
                if chance.random() < 0.5:
                    at, length = sum(distances), max(300.0, usual * chance.uniform(3, 30))
                    truth.append((round(at), round(at + length)))
                    distances.append(length)
            distances += [usual] * 11
        assert told(judged(stamps(*distances))) == truth, seed
