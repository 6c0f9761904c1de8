"""The pickup through PortAudio: a callback that only takes the time and puts the block into a bounded queue.

PortAudio freezes its list of devices until it is terminated, which stops every stream: so the microphone is a process of its own.
"""

import contextlib
import os
import queue
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from drivers.faults import DeviceAbsent, DeviceFault, DeviceSilent

OVERFLOW = 0x2  # paInputOverflow: samples were discarded before this block
QUEUE_BLOCKS = 1500  # a minute of 40 ms blocks
BLOCKS_PER_SECOND = 25
DIRECT = "(hw:"  # in PortAudio's name of a device that it opens itself; the others take any rate, whatever their device has


@dataclass(frozen=True, slots=True)
class Block:
    """Signed 16-bit little-endian interleaved samples. arrival_ns: CLOCK_BOOTTIME when PortAudio handed them over."""

    samples: bytes
    arrival_ns: int
    overflow: bool


@contextlib.contextmanager
def _quiet_stderr() -> Iterator[None]:
    """ALSA and JACK print some hundred lines while PortAudio looks round."""
    sys.stderr.flush()
    kept = os.dup(2)
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    os.close(nothing)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def list_devices() -> list[str]:
    """Names of the devices that can record."""
    import pyaudio  # loads PortAudio, which only this process should pay for

    with _quiet_stderr():
        audio = pyaudio.PyAudio()
        try:
            infos = [audio.get_device_info_by_index(i) for i in range(audio.get_device_count())]
        finally:
            audio.terminate()
    return [str(i["name"]) for i in infos if int(i["maxInputChannels"]) > 0]


class Microphone:
    """One opened device. Blocks are 40 ms long.

    name: as PortAudio has it. alike: the names of the other devices that the configured name means as well. direct: this is the
    device itself, so that rate and samples are its own; else a sound server or an ALSA plug-in may have converted them.
    """

    def __init__(self, device: str, rate_hz: int, channels: int) -> None:
        """Opens and starts. Raises DeviceAbsent, DeviceFault."""
        import pyaudio

        self._blocks: queue.Queue[Block] = queue.Queue(QUEUE_BLOCKS)
        self._overflow = False
        self._device = device
        self.name, self.alike, self.direct = device, tuple[str, ...](), False
        with _quiet_stderr():
            self._audio = pyaudio.PyAudio()
            try:
                info, *others = self._found(device)
                self.name, self.alike = str(info["name"]), tuple(str(other["name"]) for other in others)
                self.direct = DIRECT in self.name
                self._stream = self._audio.open(
                    rate=rate_hz,
                    channels=channels,
                    format=pyaudio.paInt16,
                    input=True,
                    input_device_index=int(info["index"]),
                    frames_per_buffer=rate_hz // BLOCKS_PER_SECOND,
                    stream_callback=self._callback,
                )
            except OSError as error:
                self._audio.terminate()
                raise DeviceAbsent(
                    "microphone-cannot-open",
                    "check-microphone-cable-and-configuration",
                    device=device,
                    rate=rate_hz,
                    channels=channels,
                    why=error.strerror or str(error),
                ) from error
            except BaseException:
                self._audio.terminate()
                raise

    def _found(self, device: str) -> list[Any]:
        """Every device of this name, or else that begins with it; the first one is opened. Raises DeviceAbsent."""
        infos = [self._audio.get_device_info_by_index(i) for i in range(self._audio.get_device_count())]
        usable = [i for i in infos if int(i["maxInputChannels"]) > 0]
        exact = [i for i in usable if str(i["name"]) == device]
        beginning = [i for i in usable if str(i["name"]).startswith(device)]
        if exact or beginning:
            return exact or beginning
        raise DeviceAbsent(
            "microphone-not-found",
            "check-microphone-cable-and-device-name",
            device=device,
            names=", ".join(str(i["name"]) for i in usable) or "-",
        )

    def _callback(self, samples: bytes, _frames: int, _times: object, flags: int) -> tuple[None, int]:
        now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        try:
            self._blocks.put_nowait(Block(samples, now, bool(flags & OVERFLOW) or self._overflow))
            self._overflow = False
        except queue.Full:
            self._overflow = True
        return None, 0  # paContinue

    def read(self, timeout_s: float) -> Block:
        """The next block. Raises DeviceSilent after timeout_s without one (a frozen server still calls itself active)."""
        try:
            return self._blocks.get(timeout=timeout_s)
        except queue.Empty:
            raise DeviceSilent(
                "microphone-delivers-no-sound-data",
                "check-microphone-supply-and-sound-server",
                device=self._device,
                seconds=timeout_s,
            ) from None

    def close(self) -> None:
        """Stops the stream and PortAudio, so that the next opening sees the devices afresh."""
        with contextlib.suppress(OSError):
            self._stream.close()
        self._audio.terminate()


def check_rate(rate_hz: int) -> None:
    """Raises DeviceFault where the rate does not divide into whole 40 ms blocks."""
    if rate_hz % BLOCKS_PER_SECOND:
        raise DeviceFault(
            "microphone-rate-not-a-multiple",
            "use-native-microphone-rate",
            rate=rate_hz,
            per_second=BLOCKS_PER_SECOND,
        )
