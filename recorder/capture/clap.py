"""How much later a camera's picture comes than the microphone's sound, from claps that both caught. Pure: arrays in, numbers out.

A clap is a sharp onset in the sound and, in the picture, motion that grows and stops at once: the hands meet. A lamp that lights
up with a beep does as well: a step of brightness. Nothing is known of where in the picture it happens, so every block of a grid
is asked at every delay how many of the onsets it answers. The blocks that answer more than chance would have it decide together
on the delay, and in them each clap's instant is found between two pictures. A passer-by moves without regard to the onsets, and
to a voice no picture answers: both drop out.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from recorder.clock.instants import SECOND_NS
from wording import Exit, Fault

WIDTH, HEIGHT = 160, 90  # of the pictures that are looked at
BLOCK = 10  # pixels
LEAST_CLAPS = 3
LARGEST_SPREAD_MS = 20.0  # claps at random instants between pictures of 40 ms spread by 10 ms
SEARCH_S = 0.6  # a picture so much earlier or later than the sound is looked for

HOP_S = 0.001
APART_S = 0.4  # between two claps
QUIET_S = 0.15  # before a clap
LOUDER = 4.0  # the clap than that, in amplitude
RISE_S = 0.005
SWELL = 1.5  # what grows louder than its onset by this is no clap
CLEARLY = 3.0

STEP_S = 0.005  # of the delays that are tried
DELAYS_S = np.arange(-SEARCH_S, SEARCH_S + STEP_S / 2, STEP_S)
BEFORE_S, AFTER_S = 0.12, 0.08
STANDS_OUT = 4.0  # deviations of a block's own unrest
LEAST_CHANGE = 0.25  # grey levels, for a block that has no unrest
NEAR_S = 0.1  # of the common delay: where each clap's own instant is looked for
AGREES_S = 0.045
EDGE_S = 0.3  # of the film, where a clap cannot be judged

Array = NDArray[np.float64]
Grey = NDArray[np.uint8]
Signal = Literal["clap", "flash"]
Value = TypeVar("Value", np.float64, np.bool_)


class NotMeasured(Fault):
    """The claps do not tell the camera's delay."""

    exit_code = Exit.NO


@dataclass(frozen=True, slots=True)
class Film:
    """Pictures of shape (n, HEIGHT, WIDTH), 0 black to 255 white, and the instant of each in ns, rising."""

    times_ns: NDArray[np.int64]
    pictures: Grey


@dataclass(frozen=True, slots=True)
class Measured:
    """difference_ms: picture's time minus sound's time, the median over the claps. spread_ms: median distance from it."""

    difference_ms: float
    spread_ms: float
    claps: int
    kind: Signal


def onsets(samples: Array, rate_hz: int) -> Array:
    """Where claps begin in the sound, as sample numbers, rising. samples: one channel.

    An onset is LOUDER than anything in the QUIET_S before it, rises within RISE_S, and nothing right after it is SWELL times as
    loud; what follows less than APART_S after it counts only if it is CLEARLY louder, and then in its place. Judged on the first
    difference, which favours a clap over a voice; its place is where the wave first has 30 % of its height.
    """
    hop, edge = max(1, round(rate_hz * HOP_S)), np.diff(samples, prepend=samples[:1])
    count = len(edge) // hop
    quiet, rise = round(QUIET_S / HOP_S), round(RISE_S / HOP_S)
    if count <= 2 * quiet:
        return np.empty(0)
    level = np.sqrt(np.mean(np.square(edge[: count * hop].reshape(count, hop)), axis=1))
    highest = sliding_window_view(level, quiet).max(axis=1)  # [k]: over level[k : k + quiet]
    peak = sliding_window_view(level, rise).max(axis=1)
    at = np.arange(quiet + 1, count - quiet)
    before = np.maximum(highest[at - quiet - 1], 1e-7)  # up to the hop before the last
    found = at[(peak[at] >= LOUDER * before) & (level[at] >= peak[at] / 4) & (highest[at] <= SWELL * peak[at])]
    kept: list[int] = []
    for place in found.tolist():
        if not kept or (place - kept[-1]) * HOP_S >= APART_S:
            kept.append(place)
        elif peak[place] > CLEARLY * peak[kept[-1]]:
            kept[-1] = place
    return np.array([_front(samples, (place - 1) * hop, (place + rise) * hop) for place in kept])


def _front(samples: Array, first: int, last: int) -> float:
    wave = np.abs(samples[first:last])
    return float(first + int(np.argmax(wave >= 0.3 * wave.max())))


def difference(film: Film, onsets_ns: NDArray[np.int64]) -> Measured:
    """The camera's delay against the microphone. onsets_ns: instants of the sound's onsets, not all of which need be claps.

    Raises NotMeasured where fewer than LEAST_CLAPS, or fewer than two thirds of those within the film, have their instant in the
    picture, or where these do not agree.
    """
    if len(onsets_ns) < LEAST_CLAPS:
        raise too_few(len(onsets_ns))
    if len(film.times_ns) < 50 or len(film.times_ns) != len(film.pictures):
        raise _unseen(0)
    origin = int(film.times_ns[0])
    times, sounds = (film.times_ns - origin) / SECOND_NS, (onsets_ns - origin) / SECOND_NS
    changes = _Changes(times, film.pictures)
    for kind in ("clap", "flash"):
        lags, asked = changes.lags_s(kind, sounds)
        if len(
            lags
        ):  # a lamp is no motion that grows; hands, though, are steps of brightness as well: not to be taken for a lamp
            return _agreed(lags, asked, kind)
    raise _unseen(len(onsets_ns))


def _agreed(lags: Array, asked: int, kind: Signal) -> Measured:
    """The median of the lags (s) that lie together. asked: how many sounds could have one. Raises NotMeasured."""
    lags = lags[np.abs(lags - np.median(lags)) <= AGREES_S]
    if len(lags) < LEAST_CLAPS or 3 * len(lags) < 2 * asked:
        raise _unseen(asked)
    middle = float(np.median(lags))
    found = Measured(1000 * middle, 1000 * float(np.median(np.abs(lags - middle))), len(lags), kind)
    if found.spread_ms > LARGEST_SPREAD_MS:
        raise NotMeasured(
            "claps-disagree",
            "clap-again-others-still",
            spread=round(found.spread_ms),
        )
    return found


def too_few(heard: int) -> NotMeasured:
    """Too few claps in the sound."""
    return NotMeasured(
        "too-few-claps-heard",
        "clap-louder-and-closer",
        heard=heard,
        least=LEAST_CLAPS,
    )


def _unseen(heard: int) -> NotMeasured:
    return NotMeasured(
        "claps-not-seen-in-picture",
        "clap-again-hands-visible",
        heard=heard,
    )


class _Changes:
    """What changes in each block of the pictures. times: s. motion[k] happens between pictures k and k + 1."""

    def __init__(self, times: Array, pictures: Grey) -> None:
        self.times = times
        self.interval = float(np.median(np.diff(times)))
        rows, columns = HEIGHT // BLOCK, WIDTH // BLOCK
        self.grid = (rows, columns)
        blocks = pictures.reshape(len(pictures), rows, BLOCK, columns, BLOCK)
        self.light = blocks.mean(axis=(2, 4)).reshape(len(pictures), -1)
        motion = np.empty((len(pictures) - 1, rows * columns))
        for k in range(len(motion)):
            step = np.abs(pictures[k + 1].astype(np.int16) - pictures[k])
            motion[k] = step.reshape(rows, BLOCK, columns, BLOCK).mean(axis=(1, 3)).ravel()
        self.motion = np.maximum(motion - np.median(motion, axis=0), 0)

    def lags_s(self, kind: Signal, sounds: Array) -> tuple[Array, int]:
        """Picture's instant minus sound's, for each sound that has one near their common delay; how many could have one."""
        evidence = self._stops if kind == "clap" else self._steps
        chosen = self._answering(evidence(self.motion if kind == "clap" else self.light), sounds)
        if not chosen.any():
            return np.empty(0), 0
        find: Callable[[Array, float], float | None]
        if kind == "clap":
            find, signal = self._contact, self.motion[:, self._widened(chosen)].sum(axis=1)
        else:
            find, signal = self._lit, self.light[:, chosen].mean(axis=1)
        delay = self._common(evidence(signal[:, None])[:, 0], sounds)
        asked = [s for s in sounds if self.times[0] + EDGE_S <= s + delay <= self.times[-1] - EDGE_S]
        return np.array([at - s for s in asked if (at := find(signal, s + delay)) is not None]), len(asked)

    def _integral(self, values: Array, starts: Array) -> Callable[[Array], Array]:
        """The integral over time of values that hold from each of starts to the next, as a function of time."""
        total = np.vstack([np.zeros(values.shape[1]), np.cumsum(values * np.diff(starts)[:, None], axis=0)])

        def at(when: Array) -> Array:
            right = np.clip(np.searchsorted(starts, when), 1, len(starts) - 1)
            share = np.clip((when - starts[right - 1]) / (starts[right] - starts[right - 1]), 0, 1)[:, None]
            found: Array = total[right - 1] * (1 - share) + total[right] * share
            return found

        return at

    @property
    def _grid_s(self) -> Array:
        """The instants at which evidence is computed."""
        return np.arange(self.times[0], self.times[-1], STEP_S)

    def _stops(self, motion: Array) -> Array:
        """How much more motion lies before an instant than after it; shape (instants, blocks)."""
        total, at = self._integral(motion, self.times), self._grid_s
        here = total(at)
        found: Array = (here - total(at - BEFORE_S)) / BEFORE_S - (total(at + AFTER_S) - here) / AFTER_S
        return found

    def _steps(self, light: Array) -> Array:
        """How much brighter it is after an instant than before it; shape (instants, blocks)."""
        middles = np.concatenate([self.times - self.interval / 2, self.times[-1:] + self.interval / 2])
        total, at = self._integral(light, middles), self._grid_s
        here = total(at)
        found: Array = (total(at + AFTER_S) - here) / AFTER_S - (here - total(at - BEFORE_S)) / BEFORE_S
        return found

    def _at_delays(self, values: NDArray[Value], sounds: Array) -> tuple[NDArray[Value], NDArray[np.bool_]]:
        """Values over instants as they are at each delay after each sound, (delays, sounds, …); and which the film has."""
        places = np.round((sounds[None, :] + DELAYS_S[:, None] - self.times[0]) / STEP_S).astype(int)
        inside = (places >= 0) & (places < len(values))
        return values[np.where(inside, places, 0)], inside

    def _answering(self, evidence: Array, sounds: Array) -> NDArray[np.bool_]:
        """The blocks that answer, at one delay or another, more of the sounds than chance would have it."""
        rest = np.median(evidence, axis=0)
        unrest = 1.4826 * np.median(np.abs(evidence - rest), axis=0)
        answers = evidence - rest >= STANDS_OUT * np.maximum(unrest, LEAST_CHANGE)
        found, inside = self._at_delays(answers, sounds)
        votes = (found & inside[..., None]).sum(axis=1)  # (delays, blocks)
        expected = len(sounds) * answers.mean(axis=0)
        more = votes - expected - 3 * np.sqrt(expected)
        return np.asarray(((votes >= LEAST_CLAPS) & (more >= LEAST_CLAPS / 2)).any(axis=0), np.bool_)

    def _common(self, evidence: Array, sounds: Array) -> float:
        """The delay at which the sounds are answered best by all these blocks together."""
        found, inside = self._at_delays(evidence, sounds)
        return float(DELAYS_S[np.argmax(np.median(found * inside, axis=1))])

    def _widened(self, chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """The blocks and those beside them: where the hands come from."""
        padded = np.pad(chosen.reshape(self.grid), 1)
        rows, columns = self.grid
        near = [padded[y : y + rows, x : x + columns] for y in range(3) for x in range(3)]
        return np.asarray(np.any(near, axis=0).ravel(), np.bool_)

    def _contact(self, motion: Array, expected: float) -> float | None:
        """When the hands met, near the expected instant; None where motion did not grow over two pictures and then stop.

        The last whole interval of motion tells the speed; what moved after it, at that speed grown as it grew before, the rest.
        """
        ends = self.times[1:]
        near = np.flatnonzero(np.abs(ends - expected) <= NEAR_S)
        if not len(near) or near[0] < 3 or near[-1] + 4 >= len(motion):
            return None
        peak = int(near[np.argmax(motion[near])])
        top = motion[peak]
        last = peak
        while last < near[-1] and motion[last + 1] >= top / 2:
            last += 1
        whole, rest = last - 1, float(motion[last + 1 : last + 4].min())
        if motion[whole] < top / 4 or rest > 0.35 * top or top < 4 * (np.median(motion) + LEAST_CHANGE):
            return None
        speed = float(np.clip(2 * motion[whole] - motion[whole - 1], motion[whole], 1.6 * motion[whole]))
        moved = float(np.maximum(motion[last : last + 2] - rest, 0).sum())
        return float(ends[whole] + self.interval * min(moved / speed, 2.0))

    def _lit(self, light: Array, expected: float) -> float | None:
        """When the lamp went on, near the expected instant: half an interval before the first picture that shows half of it."""
        near = np.flatnonzero(np.abs(self.times - self.interval / 2 - expected) <= NEAR_S)
        if not len(near) or near[0] < 3 or near[-1] + 2 >= len(light):
            return None
        k = int(near[np.argmax(light[near + 1] - light[near - 1])])
        low, high = float(np.median(light[k - 3 : k])), float(light[k : k + 2].max())
        unrest = 1.4826 * float(np.median(np.abs(np.diff(light))))
        if high - low < max(6 * unrest, 4 * LEAST_CHANGE) or np.ptp(light[k - 3 : k - 1]) > (high - low) / 4:
            return None  # what grows is no lamp
        first = next(n for n in range(k - 1, k + 2) if light[n] - low >= (high - low) / 2)
        return float(self.times[first] - self.interval / 2)
