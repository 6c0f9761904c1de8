"""Listens and looks while somebody claps: from the tracks' live streams to what recorder.capture.clap judges."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from agent.config.model import Config
from agent.config.settings import camera
from agent.version import product_version
from drivers.faults import DeviceSilent
from recorder.capture.clap import HEIGHT, WIDTH, Film, Measured, NotMeasured, difference, onsets
from recorder.capture.latency import LARGEST_MS, CalibratedDevice, Calibration, latency_ns
from recorder.clock.instants import MS_NS, SECOND_NS, boot_id, boottime_ns
from recorder.media.decoding import video_decoder
from recorder.media.live import LiveKind, LiveMessage, LiveReader
from recorder.media.packets import Format
from recorder.process.status import Status, TrackStatus, read_statuses
from recorder.session.tracks import MICROPHONE
from wording import Fault

SILENCE_S = 1.6  # a track gives its device up after 1.5 s of silence
FOLLOWS_S = 4.0  # a track reads the file, and says so, once a second
NEGLIGIBLE_MS = 20.0  # a picture that seems to come so much before its light: half a picture, the measurement's own limit


NOTHING = Film(np.empty(0, np.int64), np.empty((0, HEIGHT, WIDTH), np.uint8))


class Collector(threading.Thread):
    """Takes one track's live stream until it is stopped. ``take`` gives what came so far, or says why nothing comes."""

    def __init__(self, name: str, live: Path) -> None:
        super().__init__(name=f"calibrate-{name}", daemon=True)
        self._track, self._live = name, live
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._format: Format | None = None
        self._data: list[LiveMessage] = []
        self._fault: Fault | None = None

    def run(self) -> None:
        """The thread: until ``stop``, or until the live stream ends."""
        try:
            with LiveReader(self._live, self._track, timeout_s=SILENCE_S) as reader:
                while not self._stopping.is_set():
                    self._add(reader.read())
        except OSError:  # no track listens, or it is silent
            self._lose()

    def _add(self, message: LiveMessage | None) -> None:
        if message is None or message.kind is LiveKind.LOST:
            raise ConnectionError
        with self._lock:
            if message.kind is LiveKind.FORMAT:
                self._format, self._data = message.format, []
            elif self._data or message.key:
                self._data.append(message)

    def _lose(self) -> None:
        with self._lock:
            self._fault = DeviceSilent(
                "track-gives-no-calibration-signal",
                "check-room-status-and-recalibrate",
                name=self._track,
            )

    def take(self) -> tuple[Format | None, list[LiveMessage]]:
        """The newest format, None before it comes, and everything in it, from the first key packet on. Raises DeviceSilent."""
        with self._lock:
            if self._fault is not None:
                raise self._fault
            return self._format, list(self._data)

    def stop(self) -> None:
        """Ends the thread; within SILENCE_S."""
        self._stopping.set()
        self.join(SILENCE_S + 1)


@dataclass(frozen=True, slots=True)
class Take:
    """What came while somebody clapped. onsets_ns: instants in the microphone's live stream; films: of each camera's."""

    onsets_ns: NDArray[np.int64]
    films: dict[str, Film]


def heard(format_: Format | None, blocks: Sequence[LiveMessage]) -> NDArray[np.int64]:
    """Instants (ns) at which claps begin in the microphone's live stream."""
    if format_ is None or not blocks:
        return np.empty(0, np.int64)
    samples = np.frombuffer(b"".join(m.payload for m in blocks), "<i2").reshape(-1, format_.channels).mean(axis=1) / 32768
    sizes = [len(m.payload) // (2 * format_.channels) for m in blocks]
    firsts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    found = onsets(samples, format_.rate_hz)
    block = np.searchsorted(firsts, found, side="right") - 1
    starts = np.array([m.time_ns for m in blocks], np.int64)
    after = np.round((found - firsts[block]) * (SECOND_NS / format_.rate_hz)).astype(np.int64)
    return np.asarray(starts[block] + after, np.int64)


def film(format_: Format, units: Sequence[LiveMessage]) -> Film:
    """The pictures of a camera's live stream, small and grey. Damaged ones are left out."""
    codec = video_decoder(format_)
    times = {unit.pts: unit.time_ns for unit in units}
    found: list[tuple[int, NDArray[np.uint8]]] = []
    for unit in (*units, None):
        packet = None
        if unit is not None:
            packet = av.Packet(unit.payload)
            packet.pts = unit.pts
        try:
            frames = codec.decode(packet)
        except av.error.InvalidDataError:
            continue
        for frame in frames:
            if frame.pts in times:
                grey = frame.reformat(WIDTH, HEIGHT, "gray", interpolation="AREA")
                found.append((times[frame.pts], grey.to_ndarray().astype(np.uint8)))
    found.sort(key=lambda one: one[0])
    pictures = np.array([picture for _, picture in found], np.uint8).reshape(-1, HEIGHT, WIDTH)
    return Film(np.array([at for at, _ in found], np.int64), pictures)


class Listening:
    """The time in which somebody claps: use it as a context manager, ``wait``, then ``take``."""

    def __init__(self, config: Config, cameras: Sequence[str]) -> None:
        places = config.storage.places
        self._microphone = Collector(MICROPHONE, places.live)
        self._cameras = {name: Collector(name, places.live) for name in cameras}

    def __enter__(self) -> "Listening":
        for one in (self._microphone, *self._cameras.values()):
            one.start()
        return self

    def __exit__(self, *_: object) -> None:
        for one in (self._microphone, *self._cameras.values()):
            one.stop()

    def claps(self) -> int:
        """How many were heard so far. Raises DeviceSilent where a track gives nothing away."""
        for one in self._cameras.values():
            one.take()
        return len(heard(*self._microphone.take()))

    def take(self) -> Take:
        """Everything that came. Raises DeviceSilent."""
        onsets_ns, films = heard(*self._microphone.take()), {}
        for name, one in self._cameras.items():
            format_, units = one.take()
            films[name] = film(format_, units) if format_ is not None else NOTHING
        return Take(onsets_ns, films)


def told_ms(status: Status | None) -> float | None:
    """The delay that a track's process says it takes off; None where it says nothing."""
    return status.latency_ms if isinstance(status, TrackStatus) else None


def in_force_ms(config: Config, name: str, status: Status | None) -> float:
    """What a track takes off its times now: as its process says, else as the files say."""
    told = told_ms(status)
    if told is not None:
        return told
    if name == MICROPHONE:
        return config.microphone.latency_ms
    return latency_ns(config.storage.places.calibration, name, camera(config, name).latency_ms) / MS_NS


def followed(config: Config, stored: Mapping[str, Calibration], *, within_s: float = FOLLOWS_S) -> list[str]:
    """The cameras whose tracks have taken what was stored; it waits for them so long."""
    until = time.monotonic() + within_s
    while True:
        statuses = read_statuses(config.storage.places.status, boottime_ns(), boot_id())
        there = [
            name
            for name, entry in stored.items()
            if (told := told_ms(statuses.get(name))) is not None and abs(told - entry.latency_ms) < 0.1
        ]
        if len(there) == len(stored) or time.monotonic() >= until:
            return there
        time.sleep(0.1)


@dataclass(frozen=True, slots=True)
class CameraDelay:
    """One camera's measurement. latency_ms: its delay from light to arrival; before_ms: what was in force."""

    measured: Measured
    latency_ms: float
    before_ms: float


def judge(take: Take, name: str, *, before_ms: float, microphone_ms: float) -> CameraDelay:
    """A camera's delay. before_ms, microphone_ms: what its track and the microphone's took off. Raises NotMeasured.

    The live streams' times have these delays taken off already, so picture and sound agree where before_ms is right.
    """
    measured = difference(take.films[name], take.onsets_ns)
    latency_ms = before_ms + measured.difference_ms
    if latency_ms < -NEGLIGIBLE_MS:
        raise NotMeasured(
            "claps-seen-early-microphone-delay-larger",
            "raise-microphone-latency-and-recalibrate",
            name=name,
            early=round(-latency_ms),
            least=int(-(-(microphone_ms - latency_ms) // 5) * 5),
        )
    return CameraDelay(measured, min(max(round(latency_ms, 1), 0.0), LARGEST_MS), before_ms)


def calibration(result: CameraDelay, status: Status | None, *, microphone_ms: float, at: str, by: str) -> Calibration:
    """A result as it is stored. status: of the camera's track, which says what camera it is."""
    measured = result.measured
    device = (
        CalibratedDevice(status.manufacturer, status.model, status.serial)
        if isinstance(status, TrackStatus)
        else CalibratedDevice()
    )
    return Calibration(
        latency_ms=result.latency_ms,
        spread_ms=round(measured.spread_ms, 1),
        claps=measured.claps,
        kind=measured.kind,
        microphone_ms=microphone_ms,
        at=at,
        by=by,
        version=product_version(),
        device=device,
    )


def clap_for(session: Listening, seconds: float, tell: Callable[[int], None]) -> Take:
    """Waits for so long, telling each clap that is heard. Raises DeviceSilent."""
    until, told = time.monotonic() + seconds, 0
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(left, 1.0))
        count = session.claps()
        if count > told:
            told = count
            tell(count)
    return session.take()
