"""The lamps' flashes and the beeps that begin with them, found again in a finished composite.

All instants are nanoseconds of whatever clock the caller's ``start_ns`` of a file is on. Of the pictures only those groups are
decoded that hold an expected flash; of the sound everything is decoded, and half a second round each expected beep is looked at.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from recorder.clock.instants import PICTURE_NS, SECOND_NS
from recorder.composite.part import SOUND_HZ
from recorder.composite.picture import HEIGHT, WIDTH, Rect, plane_view
from recorder.media.resampling import Samples
from tests.equipment.microphone import BEEP_HZ, BEEP_S
from tests.equipment.scene import FLASH_RECT
from tests.equipment.scene import HEIGHT as SCENE_HEIGHT
from tests.equipment.scene import WIDTH as SCENE_WIDTH

WINDOW_NS = SECOND_NS // 2  # an event is looked for so far on either side of where it is expected
STEP = 25.0  # of luma: a flash is 225 where the lamp is 130
EDGE_S = 0.001  # a beep's fading in
LIKENESS = 0.5  # share of the sound's energy that is the beep's

Complex = npt.NDArray[np.complex128]


def lamp(rect: Rect) -> Rect:
    """Where the inner part of the lamp lies in a composite that shows a camera's whole picture in a rectangle."""
    x, y, width, height = FLASH_RECT
    across, down = rect.width / SCENE_WIDTH, rect.height / SCENE_HEIGHT
    left, top = rect.x + round((x + width * 0.15) * across), rect.y + round((y + height * 0.15) * down)
    return Rect(left, top, round(width * 0.7 * across), round(height * 0.7 * down))


def within(expected_ns: Sequence[int], start_ns: int, end_ns: int) -> list[int]:
    """The expected instants whose whole window lies in [start_ns, end_ns)."""
    return [t for t in expected_ns if start_ns <= t - WINDOW_NS and t + WINDOW_NS <= end_ns]


def flashes(path: Path, start_ns: int, expected_ns: Sequence[int], lamps: Mapping[str, Rect]) -> dict[str, list[int | None]]:
    """For each lamp and each expected instant when the first bright picture is shown; None where no flash is to be seen.

    start_ns: when the file's picture 0 is shown; picture n is shown n·40 ms later. Raises av.error.FFmpegError.
    """
    light: dict[str, dict[int, float]] = {name: {} for name in lamps}
    with av.open(str(path)) as container:
        for frame in _near(container, start_ns, expected_ns):
            shown_ns = start_ns + round(float(frame.time or 0.0) * SECOND_NS / PICTURE_NS) * PICTURE_NS
            luma = plane_view(frame.planes[0], WIDTH, HEIGHT)
            for name, rect in lamps.items():
                light[name][shown_ns] = float(luma[rect.y : rect.y + rect.height, rect.x : rect.x + rect.width].mean())
    return {name: [_first_bright(light[name], t) for t in expected_ns] for name in lamps}


def _near(container: Any, start_ns: int, expected_ns: Sequence[int]) -> Iterator[Any]:
    """Pictures of the groups that hold something of a window."""
    stream = container.streams.video[0]
    stream.codec_context.thread_count = 1
    waiting = sorted(expected_ns)
    group: list[Any] = []
    for packet in container.demux(stream):
        if packet.size == 0:
            continue
        if packet.is_keyframe and group:
            yield from _decoded(group, start_ns, waiting)
            group = []
        group.append(packet)
    yield from _decoded(group, start_ns, waiting)
    yield from stream.codec_context.decode(None)


def _decoded(group: list[Any], start_ns: int, waiting: list[int]) -> Iterator[Any]:
    """The group's pictures up to the end of the last window in it. waiting: instants still to come, cut here."""
    instants = [start_ns + int(p.pts * p.time_base * SECOND_NS) for p in group]
    while waiting and waiting[0] + WINDOW_NS < instants[0]:
        del waiting[0]
    wanted = [t for t in waiting if t - WINDOW_NS <= instants[-1]]
    if wanted:
        for packet, instant in zip(group, instants, strict=True):
            if instant <= wanted[-1] + WINDOW_NS:
                yield from packet.decode()


def _first_bright(light: Mapping[int, float], expected_ns: int) -> int | None:
    seen = sorted((t, value) for t, value in light.items() if abs(t - expected_ns) <= WINDOW_NS)
    if not seen:
        return None
    dark, bright = float(np.median([v for _, v in seen])), max(v for _, v in seen)
    if bright - dark < STEP:
        return None
    first = next(n for n, (_, value) in enumerate(seen) if value > (dark + bright) / 2)
    return seen[first][0] if first else None


def beeps(path: Path, start_ns: int, expected_ns: Sequence[int]) -> list[float | None]:
    """For each expected instant, rising, when a beep begins, ns; None where there is none. start_ns: of the file's first sample.

    The demuxer's times are taken, so the encoder's delay that the edit list names is off. Raises av.error.FFmpegError.
    """
    found: list[float | None] = []
    pieces: list[tuple[int, Samples]] = []
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        for frame in container.decode(stream):
            at = round(float((frame.pts or 0) * (frame.time_base or 0)) * SOUND_HZ)
            pieces.append((at, frame.to_ndarray()[0].astype(np.float32)))
            while len(found) < len(expected_ns):
                low, high = _window(start_ns, expected_ns[len(found)])
                if at + frame.samples < high:
                    break
                found.append(_instant(pieces, low, high, start_ns))
            if len(found) == len(expected_ns):
                return found
            low = _window(start_ns, expected_ns[len(found)])[0]
            while pieces and pieces[0][0] + pieces[0][1].size < low:
                del pieces[0]
    return found + [None] * (len(expected_ns) - len(found))


def _window(start_ns: int, expected_ns: int) -> tuple[int, int]:
    """Sample numbers of a window in the file."""
    middle, half = (expected_ns - start_ns) * SOUND_HZ // SECOND_NS, WINDOW_NS * SOUND_HZ // SECOND_NS
    return middle - half, middle + half


def _instant(pieces: Sequence[tuple[int, Samples]], low: int, high: int, start_ns: int) -> float | None:
    window = np.zeros(high - low, np.float32)
    for at, samples in pieces:
        left, right = max(low, at), min(high, at + samples.size)
        if left < right:
            window[left - low : right - low] = samples[left - at : right - at]
    onset = beep_onset(window)
    return None if onset is None else start_ns + (low + onset) * SECOND_NS / SOUND_HZ


def beep_onset(samples: Samples) -> float | None:
    """Where the beep of the stand-in microphone begins, in samples and fractions; None where the sound holds none.

    A matched filter: the envelope of the correlation with the tone names the place to a period, the correlation itself, whose
    phase is the beep's, to a fraction of a sample.
    """
    tone = _tone()
    size = samples.size + tone.size
    spectrum = np.fft.fft(samples, size)
    matched = np.fft.ifft(spectrum * np.conj(np.fft.fft(tone, size)))[: samples.size - tone.size]
    if not matched.size:
        return None
    peak = int(np.argmax(np.abs(matched)))
    energy = float(np.sum(samples[peak : peak + tone.size].astype(np.float64) ** 2))
    if energy == 0.0 or abs(matched[peak]) ** 2 < LIKENESS * energy * float(np.sum(np.abs(tone) ** 2)) / 2:
        return None
    # sin = −imaginary part of the conjugate's product: the filter for a beep that begins with the sine's zero
    real = np.asarray(-matched.imag)
    reach = round(0.6 * SOUND_HZ / BEEP_HZ)
    low, high = max(1, peak - reach), min(real.size - 1, peak + reach + 1)
    best = low + int(np.argmax(real[low:high]))
    before, here, after = real[best - 1], real[best], real[best + 1 if best + 1 < real.size else best]
    curve = before - 2 * here + after
    return best + (0.0 if curve == 0 else float(0.5 * (before - after) / curve))


def _tone() -> Complex:
    time_s = np.arange(round(BEEP_S * SOUND_HZ)) / SOUND_HZ
    edge = np.clip(np.minimum(time_s, BEEP_S - time_s) / EDGE_S, 0, 1)
    tone: Complex = np.exp(2j * np.pi * BEEP_HZ * time_s) * edge
    return tone
