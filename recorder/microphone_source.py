"""The microphone as a source: blocks numbered by samples, so that time is a line through (sample count, arrival)."""

from collections import deque
from dataclasses import dataclass
from fractions import Fraction

from drivers.faults import DeviceFault
from drivers.microphone import Block, Microphone, check_rate
from recorder.media import Connected, Format, Packet
from recorder.room_time import SECOND_NS
from recorder.source import Source
from wording import Fault

SILENT_S = 1.0
STALL_NS = 400_000_000  # a block so late means that something stood still, and samples may be missing
LOSS_NS = 40_000_000  # lateness that remains after the burst is a loss
SETTLE_BLOCKS = 20
FLOOR_BLOCKS = 125


@dataclass(frozen=True, slots=True)
class MicrophoneSettings:
    """Which device, and how it is opened."""

    device: str
    rate_hz: int
    channels: int


class MicrophoneSource(Source):
    """Opens the device again and again. After a loss a new count begins, and the hole between the counts is a gap."""

    def __init__(self, settings: MicrophoneSettings) -> None:
        super().__init__("microphone")
        self._settings = settings

    def attempt(self) -> None:
        """Raises DeviceFault."""
        settings = self._settings
        check_rate(settings.rate_hz)
        microphone = Microphone(settings.device, settings.rate_hz, settings.channels)
        try:
            self._deliver_from(microphone)
        except Fault as fault:
            self.announce_loss(fault)  # at once: a sound server that is stuck holds the closing up as well
            raise
        finally:
            microphone.close()

    def _deliver_from(self, microphone: Microphone) -> None:
        run = _Run(self._settings)
        announced = False
        while not self.stopping:
            block = microphone.read(SILENT_S)
            if announced and (block.overflow or run.late_ns(block) > STALL_NS):
                blocks = [block, *self._settle(microphone)]
                missing_ns = run.missing_ns(blocks)
                if missing_ns > LOSS_NS:
                    self.announce_loss(_hole(block, missing_ns))
                    run = _Run(self._settings)
                    self.connected(self._connection(microphone))
            else:
                blocks = [block]
            if not announced:
                self.connected(self._connection(microphone))
                announced = True
            for each in blocks:
                self.deliver(run.take(each))

    def _settle(self, microphone: Microphone) -> list[Block]:
        """What follows a stall: a burst of what was buffered, then the device's own pace again."""
        blocks = []
        for _ in range(SETTLE_BLOCKS):
            if self.stopping:
                break
            blocks.append(microphone.read(SILENT_S))
        return blocks

    def _connection(self, microphone: Microphone) -> Connected:
        settings = self._settings
        return Connected(
            Format(
                media="audio",
                codec="flac",
                time_base=Fraction(1, settings.rate_hz),
                rate_hz=settings.rate_hz,
                channels=settings.channels,
            ),
            {"name": microphone.name},
        )


class _Run:
    """Samples counted without a hole. Excess is arrival minus what the count says; its floor moves only by loss and drift."""

    def __init__(self, settings: MicrophoneSettings) -> None:
        self._frame_bytes = 2 * settings.channels
        self._rate_hz = settings.rate_hz
        self._count = 0
        self._recent: deque[int] = deque(maxlen=FLOOR_BLOCKS)

    def _excess_ns(self, block: Block, count: int) -> int:
        return block.arrival_ns - (count + self._frames(block)) * SECOND_NS // self._rate_hz

    def _frames(self, block: Block) -> int:
        return len(block.samples) // self._frame_bytes

    def late_ns(self, block: Block) -> int:
        """How much later than the recent floor the block came."""
        return self._excess_ns(block, self._count) - min(self._recent) if self._recent else 0

    def missing_ns(self, blocks: list[Block]) -> int:
        """Length of the sound that is missing before these blocks: what lateness remains once a burst has passed."""
        count, lowest = self._count, None
        for block in blocks:
            excess = self._excess_ns(block, count)
            lowest = excess if lowest is None else min(lowest, excess)
            count += self._frames(block)
        return (lowest or 0) - min(self._recent, default=lowest or 0)

    def take(self, block: Block) -> Packet:
        """The block as a packet; its time is that of its first sample, so one block before it was complete."""
        frames = self._frames(block)
        self._recent.append(self._excess_ns(block, self._count))
        packet = Packet(self._count, self._count, True, block.samples, block.arrival_ns - frames * SECOND_NS // self._rate_hz)
        self._count += frames
        return packet


def _hole(block: Block, missing_ns: int) -> DeviceFault:
    seconds = round(missing_ns / SECOND_NS, 3)
    if block.overflow:
        return DeviceFault(
            "The sound card discarded {seconds} s of samples (overflow).",
            "The PC is overloaded: close other programs.",
            seconds=seconds,
        )
    return DeviceFault(
        "The microphone stood still; {seconds} s of sound are missing.",
        "Check its cable; is the sound server overloaded?",
        seconds=seconds,
    )
