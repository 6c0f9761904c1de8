"""Many channels into the one that is heard in the composite: their mean, or one of them where the mean would lose the voice.

A pickup with one channel wired the other way round cancels itself in the mean; a dead channel halves it. Both lose what was said,
though each original channel has it. Pure.
"""

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]
Channels = npt.NDArray[np.floating]  # (frames, channels), −1…1

MEMORY_S = 1.0  # of the powers that are compared
CANCELLED = 10.0 ** (-10 / 10)  # a mean of less power than this share of the loudest channel's has lost the voice…
WHOLE = 10.0 ** (-5 / 10)  # …and one of more than this has it again
DEAD = 10.0 ** (-40 / 10)  # a channel of less power than this share of the loudest one's is dead
AUDIBLE = 10.0 ** (-70 / 10)  # below this nothing is judged: noise need not agree


class Mixdown:
    """Takes blocks of one microphone in order. It changes between mean and channel within a block, without a click."""

    def __init__(self, channels: int, rate_hz: int) -> None:
        self._channels, self._rate_hz = channels, rate_hz
        self._powers: npt.NDArray[np.float64] | None = None  # of each channel and of the mean, without DC
        self._weights = np.full(channels, 1 / channels, np.float32)

    def mono(self, block: Channels) -> Samples:
        """What is heard of a block of shape (frames, channels); shape (frames,)."""
        if self._channels == 1 or not len(block):
            return np.ascontiguousarray(block[:, 0], np.float32)
        before, self._weights = self._weights, self._judged(block)
        if np.array_equal(before, self._weights):
            return np.asarray(block @ self._weights, np.float32)
        share = np.linspace(0, 1, len(block), dtype=np.float32)[:, np.newaxis]
        return np.asarray((block * (before + (self._weights - before) * share)).sum(axis=1), np.float32)

    def _judged(self, block: Channels) -> Samples:
        moving = block - block.mean(axis=0)
        powers = np.mean(np.square(np.column_stack((moving, moving.mean(axis=1))), dtype=np.float64), axis=0)
        kept = np.exp(-len(block) / (MEMORY_S * self._rate_hz))
        self._powers = powers if self._powers is None else kept * self._powers + (1 - kept) * powers
        each, mean = self._powers[:-1], float(self._powers[-1])
        loudest = int(np.argmax(each))
        most = float(each[loudest])
        if most < AUDIBLE:
            return self._weights
        alive = each > DEAD * most
        if alive.all() and mean >= (WHOLE if self._one else CANCELLED) * most:
            return np.full(self._channels, 1 / self._channels, np.float32)
        if self._one and alive[int(np.argmax(self._weights))] and each[int(np.argmax(self._weights))] > most / 4:
            return self._weights  # the other one is not louder by 6 dB
        weights = np.zeros(self._channels, np.float32)
        weights[loudest] = 1
        return weights

    @property
    def _one(self) -> bool:
        """Whether one channel alone is heard."""
        return bool(self._weights.max() == 1)
