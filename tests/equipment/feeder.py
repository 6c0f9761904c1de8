"""Plays a WAV file (mono, 16 or 24 bits) into a FIFO in real time for ever: what the stand-in microphone hears. A process apart.

Sample *k* of the file sounds at ``epoch + k/rate`` of CLOCK_MONOTONIC and again each file's length later, whatever the sound
card's clock does: at ``ppm`` the card takes rate·(1 + ppm·10⁻⁶) samples each true second, interpolated; the beeps stay where
they are in time. A reader that does not read makes samples get lost, never late by more than the FIFO's size (170 ms) and TRIES
ticks. What is due after this process itself stood still for up to STOOD_S is written as fast as it is read: no card stops with
the PC.

First line on standard input: ``{"fifo": …, "wav": …, "epoch_ns": …, "ppm": 0}``; then commands, each answered: ``{"silent":
true}``, ``{"ppm": 100}``, ``{"status": true}`` → ``{"ok": true, "written": …, "lost": …}``. Ends with its standard input.
"""

import fcntl
import json
import os
import sys
import threading
import time
import wave
from typing import Any

import numpy as np

TICK_S = 0.01
FIFO_BYTES = 16384  # of 48,000 samples a second of 16 bits; of others as much as lasts as long
ATOMIC_BYTES = 4096  # so many are written whole or not at all
TRIES = 5  # ticks in which a full FIFO is tried again: after a stall of the whole machine the reader needs its turn
STOOD_S = 0.5


class Feeder:
    """The sound, the card's clock and the FIFO."""

    def __init__(self, fifo: str, wav: str, epoch_ns: int, ppm: float = 0.0) -> None:
        with wave.open(wav) as file:
            self._rate, width = file.getframerate(), file.getsampwidth()
            raw = np.frombuffer(file.readframes(file.getnframes()), np.uint8).reshape(-1, width)
        high = np.zeros((len(raw), 4), np.uint8)
        high[:, 4 - width :] = raw
        self._sound = (high.view("<i4").reshape(-1) >> 8 * (4 - width)).astype(np.float64)
        self._width = 2 if width == 2 else 4  # bytes of a sample in the FIFO: 24 bits lie in 32
        self._fifo, self._fd = fifo, -1
        self._epoch_ns = epoch_ns
        self._ppm = ppm
        self._silent = False
        self._next = 0.0  # position of the next sample of the card, in samples of the file since the epoch
        self._refused = 0  # writes in a row that did not fit
        self.written = self.lost = 0
        self._next = float(int(self._now()))

    def _now(self) -> float:
        return (time.monotonic_ns() - self._epoch_ns) * 1e-9 * float(self._rate)

    def command(self, values: dict[str, Any]) -> None:
        self._silent = bool(values.get("silent", self._silent))
        self._ppm = float(values.get("ppm", self._ppm))

    def run(self) -> None:
        while True:
            time.sleep(TICK_S)
            step = 1 / (1 + self._ppm * 1e-6)  # file samples for each sample of the card
            count = int((self._now() - self._next) / step)
            patient = self._refused < TRIES and count <= STOOD_S * self._rate
            while count > 0:
                part = min(count, ATOMIC_BYTES // self._width)
                written = self._write(self._samples(self._next + np.arange(part) * step))
                if not written and patient:
                    break
                self.lost += 0 if written else part
                self._next += part * step
                count -= part

    def _samples(self, at: "np.ndarray[Any, Any]") -> bytes:
        if self._silent:
            return bytes(self._width * len(at))
        whole = np.floor(at).astype(np.int64)
        share, size = at - whole, len(self._sound)
        mixed = self._sound[whole % size] * (1 - share) + self._sound[(whole + 1) % size] * share
        return bytes(np.round(mixed).astype("<i4").view(np.uint8).reshape(-1, 4)[:, : self._width].tobytes())

    def _write(self, data: bytes) -> bool:
        """Whether the FIFO took them, all or none."""
        try:
            if self._fd < 0:
                self._fd = os.open(self._fifo, os.O_WRONLY | os.O_NONBLOCK)
                fcntl.fcntl(self._fd, fcntl.F_SETPIPE_SZ, max(1, self._rate * self._width // 96_000) * FIFO_BYTES)
            os.write(self._fd, data)
        except BlockingIOError:
            self._refused += 1
            return False
        except OSError:  # nobody reads: the sound server is not there
            self._refused = TRIES
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1
            return False
        self._refused = 0
        self.written += len(data) // self._width
        return True


def main() -> None:
    """Feeds until standard input ends."""
    feeder = Feeder(**json.loads(sys.stdin.readline()))
    threading.Thread(target=feeder.run, daemon=True).start()
    print(json.dumps({"ok": True}), flush=True)
    for line in sys.stdin:
        feeder.command(json.loads(line))
        print(json.dumps({"ok": True, "written": feeder.written, "lost": feeder.lost}), flush=True)


if __name__ == "__main__":
    main()
