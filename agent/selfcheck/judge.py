"""Judging pictures and sound. Pure: arrays in, numbers out."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from recorder.media.mixdown import Mixdown

Luma = NDArray[np.uint8]
BLOCK = 32  # pixels; a clock that the camera itself draws changes a few blocks, a live sensor's noise nearly all of them
STEP = 4  # brightness is judged on every fourth pixel of every fourth line
WINDOW_S = 0.5
BLOCKS_PER_S = 25  # as the microphone delivers them
DEAD_SHARE = 0.001  # −60 dB of the loudest channel
OPPOSED = -0.5  # the correlation with the first channel of one that is wired the other way round


@dataclass(frozen=True, slots=True)
class Light:
    """Luma percentiles of a picture, the tenth and the ninetieth, 0 black to 255 white; the median over several pictures."""

    low: float
    high: float


def light(lumas: Sequence[Luma], *, full_range: bool = False) -> Light:
    """Brightness of the pictures; one flash or one passing shadow does not decide. full_range: see PictureSample."""
    percentiles = [np.percentile(luma[::STEP, ::STEP], (10, 90)) for luma in lumas]
    low, high = (float(value) for value in np.median(percentiles, axis=0))
    return Light(low, high) if full_range else Light(stretched(low), stretched(high))


def stretched(luma: float) -> float:
    """Limited range (16 black, 235 white) as 0–255."""
    return min(max((luma - 16) * 255 / 219, 0.0), 255.0)


def moving_share(lumas: Sequence[Luma]) -> float | None:
    """The share of blocks, 0…1, in which any pixel differs between any two of the pictures; None below two pictures.

    A live sensor has noise, so its pictures differ nearly everywhere even in a still room; 0.0 means equal pictures: frozen.
    """
    if len(lumas) < 2:
        return None
    first = lumas[0]
    most: NDArray[np.uint8] = np.zeros_like(first)
    for luma in lumas[1:]:
        if luma.shape != first.shape:
            return 1.0
        most = np.maximum(most, cv2.absdiff(first, luma)).astype(np.uint8)
    height, width = most.shape
    blocks = np.zeros((-(-height // BLOCK) * BLOCK, -(-width // BLOCK) * BLOCK), np.uint8)
    blocks[:height, :width] = most
    changed = blocks.reshape(blocks.shape[0] // BLOCK, BLOCK, blocks.shape[1] // BLOCK, BLOCK).any(axis=(1, 3))
    return float(changed.mean())


@dataclass(frozen=True, slots=True)
class Loudness:
    """loudest_dbfs: RMS, without DC, of the loudest half second of what the composite makes heard; −120 for silence.

    0 dBFS is a full-scale square wave. clipped_pct: samples at full scale, %. dead_channels: numbers, from 1, of channels without
    any signal while another has one. inverted_channels: of those that cancel the first one.
    """

    loudest_dbfs: float
    peak_dbfs: float
    clipped_pct: float
    dead_channels: tuple[int, ...]
    inverted_channels: tuple[int, ...] = ()


def loudness(samples: NDArray[np.int16], rate_hz: int) -> Loudness:
    """Level and clipping of samples of shape (frames, channels)."""
    frames = samples.astype(np.float64) / 32768
    window = max(1, round(rate_hz * WINDOW_S))
    mixdown = Mixdown(samples.shape[1], rate_hz)
    block = max(1, rate_hz // BLOCKS_PER_S)
    heard = np.concatenate([mixdown.mono(frames[n : n + block]) for n in range(0, len(frames), block)])
    starts = range(0, max(1, len(heard) - window + 1), window)
    power = max(float(np.var(heard[n : n + window])) for n in starts)
    at_full_scale = (samples >= 32767) | (samples == -32768)
    moving = frames - frames.mean(axis=0)
    strengths = np.sqrt(np.mean(np.square(moving), axis=0))
    silent = strengths <= DEAD_SHARE * strengths.max()
    dead = tuple(int(n) + 1 for n in np.flatnonzero(silent)) if not silent.all() else ()
    agreement = moving.T @ moving[:, 0] / len(moving) / np.maximum(strengths * strengths[0], np.finfo(float).tiny)
    inverted = tuple(int(n) + 1 for n in np.flatnonzero((agreement < OPPOSED) & ~silent) if not silent[0])
    peak = decibel(float(np.abs(frames).max()))
    return Loudness(decibel(np.sqrt(power)), peak, 100 * float(at_full_scale.mean()), dead, inverted)


def decibel(amplitude: float) -> float:
    """dB of full scale, −120 at least."""
    return max(-120.0, 20 * float(np.log10(amplitude))) if amplitude > 0 else -120.0
