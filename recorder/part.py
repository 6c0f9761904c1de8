"""One part of the composite: fragmented MP4, encoded by a thread of its own, synced every second.

A part that is cut off by a crash or a power cut plays up to its last whole fragment, one second long.
"""

import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av

from recorder.durable import storage_fault
from recorder.faults import StorageFault
from recorder.picture import HEIGHT, WIDTH, Plane
from recorder.room_time import PICTURE_NS, SECOND_NS
from recorder.segments import Sink
from recorder.sound import Samples

FPS = 25
SOUND_HZ = 48000
SAMPLES_PER_PICTURE = SOUND_HZ // FPS
GOP = 50
LATE_NS = 2 * SECOND_NS
QUEUE_PICTURES = 4
# delay_moov: the header waits for the first sound packet, so that the encoder's delay gets its edit list.
FRAGMENTED = {"movflags": "delay_moov+default_base_moof", "frag_duration": "1000000", "flush_packets": "1"}

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EncoderSettings:
    """How the composite is encoded."""

    crf: int
    preset: str
    audio_kbps: int


class Part:
    """Pictures and sound in, a file out. The caller's buffers come back through ``free``."""

    def __init__(self, path: Path, settings: EncoderSettings, first_picture: int, now: Callable[[], int]) -> None:
        """Raises StorageFault."""
        self.path = path
        self.first_picture = first_picture
        self.pictures = 0
        self.late = 0
        self.lag_ns = 0
        self.fault: StorageFault | None = None
        self.last_disk_ns: int | None = None
        self.sink = Sink(path)
        self._now = now
        self._container = av.open(self.sink, "w", format="mp4", options=FRAGMENTED)
        self._video: Any = self._container.add_stream("libx264", rate=FPS, options=x264_options(settings))
        self._video.width, self._video.height, self._video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        # Two slices a picture: two processors share it, and it is not delayed as by threads of whole pictures.
        self._video.codec_context.thread_count = 2
        self._video.codec_context.thread_type = "SLICE"
        self._audio: Any = self._container.add_stream("aac", rate=SOUND_HZ)
        self._audio.layout, self._audio.bit_rate = "mono", settings.audio_kbps * 1000
        self._audio.options = {"aac_coder": "fast"}  # half the time of the default search, for speech at this rate
        self._queue: queue.Queue[tuple[Plane, Samples, int] | None] = queue.Queue(QUEUE_PICTURES)
        self.free: queue.SimpleQueue[Plane] = queue.SimpleQueue()
        self._done = threading.Event()
        self._encoder = threading.Thread(target=self._encode_all, name="encoder", daemon=True)
        self._syncer = threading.Thread(target=self._sync_all, name="syncer", daemon=True)
        self._encoder.start()
        self._syncer.start()

    def put(self, canvas: Plane, sound: Samples, due_ns: int) -> None:
        """The next picture with its 40 ms of sound; waits while the encoder is behind. Raises StorageFault."""
        while True:
            if self.fault is not None:
                raise self.fault
            try:
                self._queue.put((canvas, sound, due_ns), timeout=0.5)
                return
            except queue.Full:
                continue

    def finish(self) -> str:
        """Everything encoded, the file on stable storage; its SHA-256. Raises StorageFault."""
        self._queue.put(None)
        self._encoder.join()
        self._done.set()
        self._syncer.join()
        if self.fault is not None:
            self.abandon()
            raise self.fault
        return self.sink.close()

    def abandon(self) -> None:
        """After a failed write: the file is left as it is."""
        self.sink.error = self.sink.error or OSError(5, "Input/output error")
        self._done.set()
        try:
            self.sink.close()
        except StorageFault:
            log.debug("part abandoned", extra={"path": str(self.path)})

    def _encode_all(self) -> None:
        while (item := self._queue.get()) is not None:
            canvas, sound, due_ns = item
            self._guarded(partial(self._encode, canvas, sound))
            if self.fault is None:
                self.lag_ns = self._now() - due_ns
                self.late += self.lag_ns > LATE_NS
            self.free.put(canvas)
        self._guarded(self._flush)

    def _guarded(self, act: Callable[[], None]) -> None:
        """After a fault nothing more is written, and whoever waits for this thread is not held up."""
        if self.fault is not None:
            return
        try:
            act()
        except StorageFault as fault:
            self.fault = fault
        except Exception as error:  # the top of this thread
            log.exception("encoder failed", extra={"path": str(self.path)})
            self.fault = storage_fault(self.path, OSError(5, f"{type(error).__name__}: {error}"))

    def _encode(self, canvas: Plane, sound: Samples) -> None:
        frame = av.VideoFrame.from_numpy_buffer(canvas, format="yuv420p")
        frame.pts, frame.time_base = self.pictures, Fraction(1, FPS)
        for packet in self._video.encode(frame):
            self._container.mux(packet)
        samples = av.AudioFrame.from_ndarray(sound.reshape(1, -1), format="fltp", layout="mono")
        samples.sample_rate = SOUND_HZ
        samples.pts, samples.time_base = self.pictures * SAMPLES_PER_PICTURE, Fraction(1, SOUND_HZ)
        for packet in self._audio.encode(samples):
            self._container.mux(packet)
        self.pictures += 1
        self.sink.check()

    def _flush(self) -> None:
        for stream in (self._video, self._audio):
            for packet in stream.encode(None):
                self._container.mux(packet)
        self._container.close()
        self.sink.check()

    def _sync_all(self) -> None:
        while not self._done.wait(1.0):
            try:
                if self.sink.sync():
                    self.last_disk_ns = self._now()
            except StorageFault as fault:
                self.fault = fault
                return


def x264_options(settings: EncoderSettings) -> dict[str, str]:
    """For libx264. No adaptive quantisation: it takes bits from faces and the clock and spends them on the noise of bare walls.

    Measured by bench/encoder: face and clock better by 1.4 and 3.2 dB without it, at 0.4 of the bit rate and less CPU time.
    """
    return {"preset": settings.preset, "crf": str(settings.crf), "g": str(GOP), "bf": "0", "x264-params": "aq-mode=0"}


def count_pictures(path: Path) -> int:
    """Whole pictures in a part that was cut off."""
    count = 0
    try:
        with av.open(str(path)) as container:
            count = sum(1 for packet in container.demux(video=0) if packet.size)
    except (av.error.FFmpegError, IndexError):
        log.debug("part torn", extra={"path": str(path), "pictures": count})
    return count


def span_ns(first_picture: int, pictures: int, start_ns: int) -> tuple[int, int]:
    """Room time that a part's pictures cover."""
    return start_ns + first_picture * PICTURE_NS, start_ns + (first_picture + pictures) * PICTURE_NS
