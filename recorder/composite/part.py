"""One part of the composite: fragmented MP4, encoded by a thread of its own, synced every second.

A part that is cut off by a crash or a power cut plays up to its last whole fragment, one second long.
"""

import logging
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av

from recorder.clock.instants import PICTURE_NS, SECOND_NS
from recorder.composite.encoder import FPS, EncoderFault, EncoderSettings, VideoEncoder
from recorder.composite.open_encoder import open_encoder
from recorder.composite.picture import Plane
from recorder.disk.durable import storage_fault
from recorder.disk.sink import Sink
from recorder.faults import StorageFault
from recorder.media.decoding import whole_pictures
from recorder.media.resampling import Samples
from recorder.process.runner import name_thread

SOUND_HZ = 48000
SAMPLES_PER_PICTURE = SOUND_HZ // FPS
LATE_NS = 2 * SECOND_NS
QUEUE_PICTURES = 4
PUT_S = 0.2
# delay_moov: the header waits for the first sound packet, so that the encoder's delay gets its edit list. skip_trailer: for an
# index behind the fragments the muxer would keep a record of each, 0.4 MB an hour.
FRAGMENTED = {"movflags": "delay_moov+default_base_moof+skip_trailer", "frag_duration": "1000000", "flush_packets": "1"}

log = logging.getLogger(__name__)


class Part:
    """Pictures and sound in, a file out. The caller's buffers come back through ``free``.

    pictures: those that the encoder took; after an EncoderFault, those that came out of it. lag_ns: how long after it was due the
    newest was taken. fault: why nothing more is taken. After an EncoderFault the file is finished as usual.
    """

    def __init__(self, path: Path, settings: EncoderSettings, first_picture: int, now: Callable[[], int]) -> None:
        """Raises StorageFault; a hardware encoder that cannot be started is the fault of the first ``put``."""
        self.path = path
        self.first_picture = first_picture
        self.pictures = 0
        self.late = 0
        self.lag_ns = 0
        self.fault: StorageFault | EncoderFault | None = None
        self.last_disk_ns: int | None = None
        self.sink = Sink(path)
        self._now = now
        self._container = av.open(self.sink, "w", format="mp4", options=FRAGMENTED)
        self.encoder_name = settings.kind
        self._video: VideoEncoder | None = None
        try:
            self._video = open_encoder(settings, self._container)
        except EncoderFault as fault:
            self.fault = fault
        self._audio: Any = None
        self._audio_kbps = settings.audio_kbps
        self._inside: deque[Samples] = deque()  # sound of the pictures in the encoder
        self._written = 0
        self._queue: queue.Queue[tuple[Plane, Samples, int] | None] = queue.Queue(QUEUE_PICTURES)
        self.free: queue.SimpleQueue[Plane] = queue.SimpleQueue()
        self._done = threading.Event()
        self._encoder = threading.Thread(target=self._encode_all, name="encoder", daemon=True)
        self._syncer = threading.Thread(target=self._sync_all, name="syncer", daemon=True)
        self._encoder.start()
        self._syncer.start()

    def put(self, canvas: Plane, sound: Samples, due_ns: int) -> bool:
        """The next picture with its 40 ms of sound; False where the encoder is behind by so much that it takes none for 0.2 s.

        Raises StorageFault, EncoderFault.
        """
        if self.fault is not None:
            raise self.fault
        try:
            self._queue.put((canvas, sound, due_ns), timeout=PUT_S)
        except queue.Full:
            return False
        return True

    def finish(self) -> str:
        """Everything that was encoded on stable storage; the file's SHA-256. Raises StorageFault."""
        self._queue.put(None)
        self._encoder.join()
        self._done.set()
        self._syncer.join()
        if isinstance(self.fault, StorageFault):
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
        name_thread("encoder")
        video = self._video
        while (item := self._queue.get()) is not None:
            canvas, sound, due_ns = item
            if video is not None and self.fault is None:
                self._guarded(partial(self._encode, video, canvas, sound))
            if self.fault is None:
                self.lag_ns = self._now() - due_ns
                self.late += self.lag_ns > LATE_NS
            self.free.put(canvas)
        if video is not None:
            if self.fault is None:
                self._guarded(partial(self._mux, video.flush()))
            video.close()
        if isinstance(self.fault, EncoderFault):
            self.pictures = self._written
        if not isinstance(self.fault, StorageFault):
            self._guarded(self._close)

    def _guarded(self, act: Callable[[], None]) -> None:
        """After a fault nothing more is written, and whoever waits for this thread is not held up."""
        try:
            act()
        except (StorageFault, EncoderFault) as fault:
            self.fault = fault
        except Exception as error:  # the top of this thread
            log.exception("encoder failed", extra={"path": str(self.path)})
            self.fault = storage_fault(self.path, OSError(5, f"{type(error).__name__}: {error}"))

    def _encode(self, video: VideoEncoder, canvas: Plane, sound: Samples) -> None:
        self._inside.append(sound)
        self._mux(video.encode(canvas))
        self.pictures += 1
        self.sink.check()

    def _mux(self, packets: Iterator[Any]) -> None:
        """Each picture that comes out, with the sound that went in beside it."""
        for packet in packets:
            if self._audio is None:
                self._audio = self._new_audio()
            self._container.mux(packet)
            samples = av.AudioFrame.from_ndarray(self._inside.popleft().reshape(1, -1), format="fltp", layout="mono")
            samples.sample_rate = SOUND_HZ
            samples.pts, samples.time_base = self._written * SAMPLES_PER_PICTURE, Fraction(1, SOUND_HZ)
            self._container.mux(self._audio.encode(samples))
            self._written += 1

    def _new_audio(self) -> Any:
        """After the video, which a hardware encoder describes with its first packet alone: it stands first in the file."""
        audio: Any = self._container.add_stream("aac", rate=SOUND_HZ)
        audio.layout, audio.bit_rate = "mono", self._audio_kbps * 1000
        audio.options = {"aac_coder": "fast"}  # half the time of the default search, for speech at this rate
        return audio

    def _close(self) -> None:
        if self._audio is not None:
            self._container.mux(self._audio.encode(None))
        self._container.close()
        self.sink.check()

    def _sync_all(self) -> None:
        name_thread("syncer")
        while not self._done.wait(1.0):
            try:
                if self.sink.sync():
                    self.last_disk_ns = self._now()
            except StorageFault as fault:
                self.fault = fault
                return


def count_pictures(path: Path) -> int:
    """Whole pictures in a part that was cut off. Raises StorageFault where it cannot be read."""
    try:
        return whole_pictures(path)
    except (av.error.FFmpegError, IndexError):
        log.debug("part torn before its first picture", extra={"path": str(path)})
        return 0
    except OSError as error:
        raise storage_fault(path, error) from error


def span_ns(first_picture: int, pictures: int, start_ns: int) -> tuple[int, int]:
    """Room time that a part's pictures cover."""
    return start_ns + first_picture * PICTURE_NS, start_ns + (first_picture + pictures) * PICTURE_NS
