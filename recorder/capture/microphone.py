"""The microphone as a source: blocks numbered by samples, so that time is a line through (sample count, arrival)."""

from collections import deque
from dataclasses import dataclass
from fractions import Fraction

from drivers.faults import DeviceFault, DeviceSilent
from drivers.microphone import BLOCKS_PER_SECOND, Block, Microphone, check_rate
from recorder.capture.source import Source
from recorder.clock.instants import SECOND_NS
from recorder.media.packets import Connected, Format, Packet
from wording import Fault

FIRST_S = 5.0  # a device or a sound server that slept wakes up when it is opened
SILENT_S = 1.0  # and one that has delivered is lost after so long
BLOCK_NS = SECOND_NS // BLOCKS_PER_SECOND
STALL_NS = 400_000_000  # a block so late means that something stood still, and samples may be missing
LOSS_NS = 40_000_000  # lateness that remains after the burst is a loss…
OVERFLOW_NS = 10_000_000  # …and so little already where the card itself says that it discarded samples
SETTLE_BLOCKS = 60  # a burst is over after so many blocks at the latest…
PACE_BLOCKS = 4  # …and with so many in a row that come at the card's own pace
FLOOR_BLOCKS = 125
CREPT_BLOCKS = 25  # lateness that remains for so many blocks, one second, came without a stall: samples were lost unseen


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
        self._alike: Fault | None = None

    @property
    def description_fault(self) -> dict[str, object] | None:
        """Which of several devices of one name is recorded is not sure, Fault.as_dict()."""
        return None if self._alike is None else self._alike.as_dict()

    def attempt(self) -> None:
        """Opens the microphone and delivers its sound until it fails or the process stops. Raises DeviceFault."""
        settings = self._settings
        check_rate(settings.rate_hz)
        microphone = Microphone(settings.device, settings.rate_hz, settings.channels)
        self._alike = _alike(settings.device, microphone)
        try:
            self._deliver_from(microphone)
        except Fault as fault:
            self.announce_loss(fault)  # at once: a sound server that is stuck holds the closing up as well
            raise
        finally:
            microphone.close()

    def _deliver_from(self, microphone: Microphone) -> None:
        run = _Stream(self._settings)
        announced = False
        while not self.stopping:
            block = microphone.read(SILENT_S if announced else FIRST_S)
            if announced and (block.overflow or run.late_ns(block) > STALL_NS):
                settled, silent = self._settle(microphone)
                blocks = [block, *settled]
                missing_ns = run.missing_ns(blocks)
                if missing_ns > (OVERFLOW_NS if block.overflow else LOSS_NS):
                    run = self._anew(microphone, _hole(block, missing_ns))
            else:
                blocks, silent = [block], None
            if not announced:
                self.connected(self._connection(microphone))
                announced = True
            for each in blocks:
                self.deliver(run.take(each))
            if silent is not None:
                raise silent
            if run.crept_ns() > LOSS_NS:
                run = self._anew(microphone, _crept(run.crept_ns()))

    def _anew(self, microphone: Microphone, loss: Fault) -> "_Stream":
        """The count begins again: what is missing lies between the counts."""
        self.announce_loss(loss)
        self.connected(self._connection(microphone))
        return _Stream(self._settings)

    def _settle(self, microphone: Microphone) -> tuple[list[Block], DeviceSilent | None]:
        """What follows a stall: a burst of what was buffered, then the device's own pace again; the silence that cut it off."""
        blocks: list[Block] = []
        at_pace = 0
        while len(blocks) < SETTLE_BLOCKS and at_pace < PACE_BLOCKS and not self.stopping:
            try:
                block = microphone.read(SILENT_S)
            except DeviceSilent as silent:
                return blocks, silent
            paced = bool(blocks) and block.arrival_ns - blocks[-1].arrival_ns > BLOCK_NS // 2
            at_pace = at_pace + 1 if paced else 0
            blocks.append(block)
        return blocks, None

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
            {"name": microphone.name, "direct": microphone.direct},
        )


class _Stream:
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

    def crept_ns(self) -> int:
        """By how much the last second's blocks are later than those before: sound that went missing within it."""
        if len(self._recent) < 3 * CREPT_BLOCKS:
            return 0
        excess = list(self._recent)
        return min(excess[-CREPT_BLOCKS:]) - min(excess[:-CREPT_BLOCKS])

    def take(self, block: Block) -> Packet:
        """The block as a packet; its time is that of its first sample, so one block before it was complete."""
        frames = self._frames(block)
        self._recent.append(self._excess_ns(block, self._count))
        packet = Packet(self._count, True, block.samples, block.arrival_ns - frames * SECOND_NS // self._rate_hz)
        self._count += frames
        return packet


def _alike(device: str, microphone: Microphone) -> DeviceFault | None:
    if not microphone.alike:
        return None
    return DeviceFault(
        "several-microphones-of-one-name",
        "name-microphone-in-full",
        device=device,
        used=microphone.name,
        others=microphone.alike,
    )


def _hole(block: Block, missing_ns: int) -> DeviceFault:
    seconds = round(missing_ns / SECOND_NS, 3)
    if block.overflow:
        return DeviceFault(
            "sound-card-overflow",
            "relieve-overloaded-pc",
            seconds=seconds,
        )
    return DeviceFault(
        "microphone-stood-still",
        "check-microphone-cable-and-sound-server",
        seconds=seconds,
    )


def _crept(missing_ns: int) -> DeviceFault:
    return DeviceFault(
        "sound-lost-silently",
        "relieve-pc-and-sound-server",
        seconds=round(missing_ns / SECOND_NS, 3),
    )
