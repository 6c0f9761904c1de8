"""A PyAudio listener for the tests, a process of its own as PortAudio wants it: ``python listen.py``.

Each tenth of a second one JSON line: ``at_ns`` (CLOCK_MONOTONIC), ``active``, ``blocks`` so far, ``rms`` of the last tenth
(full scale 1), ``samples`` so far, ``start_ns`` (the earliest-arrival estimate of sample 0's time at the nominal rate),
``beeps``: sample numbers at which a 1 kHz tone began. Ends with its standard input.
"""

import json
import sys
import threading
import time
from typing import Any

import numpy as np
import pyaudio

RATE = 48_000
BLOCK = 480


def beeps(sound: "np.ndarray[Any, Any]") -> list[int]:
    """Sample numbers where, after 0.1 s of near silence, a tone of 1 kHz begins."""
    tone = sound * np.exp(-2j * np.pi * 1000 * np.arange(len(sound)) / RATE)
    level = np.abs(np.convolve(tone, np.ones(96) / 96, "same"))
    total = np.abs(np.cumsum(np.concatenate([[0.0], sound**2])))
    found = np.flatnonzero((level[1:] > 0.0625) & (level[:-1] <= 0.0625))
    return [int(at) for at in found if at > 5000 and (total[at - 100] - total[at - 4900]) / 4800 < 1e-5]


def main() -> None:
    audio = pyaudio.PyAudio()
    names = [audio.get_device_info_by_index(n)["name"] for n in range(audio.get_device_count())]
    arrived: list[tuple[int, bytes]] = []

    def take(data: bytes | None, _frames: int, _times: Any, _status: int) -> tuple[None, int]:
        arrived.append((time.monotonic_ns(), data or b""))
        return None, pyaudio.paContinue

    stream = audio.open(
        RATE,
        1,
        pyaudio.paInt16,
        input=True,
        input_device_index=names.index("default"),
        frames_per_buffer=BLOCK,
        stream_callback=take,
    )
    ended = threading.Event()

    def wait_for_the_end() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    while not ended.wait(0.1):
        blocks = list(arrived)
        sound = np.frombuffer(b"".join(data for _, data in blocks), "<i2").astype(float) / 32768
        counts = np.cumsum([len(data) // 2 for _, data in blocks])
        starts = [at - count / RATE * 1e9 for (at, _), count in zip(blocks, counts, strict=True)]
        print(
            json.dumps(
                {
                    "at_ns": time.monotonic_ns(),
                    "active": stream.is_active(),
                    "blocks": len(blocks),
                    "samples": len(sound),
                    "rms": float(np.sqrt(np.mean(sound[-RATE // 10 :] ** 2))) if len(sound) else 0.0,
                    "start_ns": int(min(starts, default=0)),
                    "beeps": beeps(sound),
                }
            ),
            flush=True,
        )


if __name__ == "__main__":
    main()
