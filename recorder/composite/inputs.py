"""What the composer looks at: two cameras and the microphone, each pumped by a thread of its own into bounded memory."""

import logging
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from drivers.faults import DeviceFault
from drivers.ports import CameraAddress, Stream
from recorder.capture.camera import StreamReader
from recorder.capture.camera_identity import remembered
from recorder.capture.latency import Latency
from recorder.clock.fit import EnvelopeFit
from recorder.clock.instants import PICTURE_NS, SECOND_NS, boottime_ns
from recorder.composite.picture import Rect, Scaled
from recorder.media.cadence import Cadence, Stamp
from recorder.media.decoding import decoded, video_decoder
from recorder.media.live import LiveKind, LiveMessage
from recorder.media.live_hub import LiveHub
from recorder.media.mixdown import Mixdown
from recorder.media.packets import Format, Jumped
from recorder.media.resampling import Samples, SoundLine
from recorder.process.runner import name_thread
from recorder.session.tracks import MICROPHONE

KEEP_NS = 8 * SECOND_NS  # packets reach back so far at least: a session's first picture is decoded late where the disk is slow
KEEP_SOUND_S = 12.0
QUEUE_PACKETS = 1500
RETRY_S = 0.5
SUB_AGAIN_NS = 30 * SECOND_NS
SUB_SOON_NS = SECOND_NS
NANOSECONDS = Fraction(1, SECOND_NS)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class VideoInputSettings:
    """One camera of the composite. sub: how to reach its sub-stream, None: main only. memory: where its description lies.

    latency_ns: taken off the sub-stream's times. calibration: the file of recorder.capture.latency, whose value then holds.
    """

    name: str
    latency_ns: int
    sub: CameraAddress | None = None
    memory: Path | None = None
    calibration: Path | None = None


class _Pump(ABC, threading.Thread):
    """A thread that tries again until it is stopped."""

    def __init__(self, name: str, hub: LiveHub | None) -> None:
        super().__init__(name=f"input-{name}", daemon=True)
        self._track, self._hub = name, hub
        self._stopping = threading.Event()
        self._lock = threading.Lock()

    @abstractmethod
    def attempt(self) -> None:
        """One connection. Raises OSError, DeviceFault."""

    def run(self) -> None:
        name_thread(self.name)
        failure = ""
        while not self._stopping.is_set():
            try:
                self.attempt()
            except (OSError, DeviceFault) as error:
                log.debug("input lost", extra={"input": self.name, "error": str(error)})
            except Exception as error:  # the top of this thread: the composite goes on without this input and tries again
                if repr(error) != failure:
                    log.exception("input failed", extra={"input": self.name})
                failure = repr(error)
            self._stopping.wait(RETRY_S)

    def stop(self) -> None:
        """Ends the thread at its next time-out."""
        self._stopping.set()

    def _from_live(self, leave: Callable[[], bool] = lambda: False) -> None:
        if self._hub is None:
            raise ConnectionRefusedError("no live streams here")
        with closing(self._hub.listen(self._track)) as queue:
            while not self._stopping.is_set() and not leave():
                with suppress(TimeoutError):
                    message = queue.take(1.0)
                    if message is None:
                        return
                    self.take(message)

    @abstractmethod
    def take(self, message: LiveMessage) -> None:
        """One message of the live stream."""


class _Opening(threading.Thread):
    """Opens a sub-stream while the main one is shown: a camera may take seconds to answer."""

    def __init__(self, camera: str, stream: Stream, address: CameraAddress) -> None:
        super().__init__(name=f"open-{camera}", daemon=True)
        self._camera, self._stream, self._address = camera, stream, address
        self._lock = threading.Lock()
        self._given_up = False
        self.reader: StreamReader | None = None  # once the thread has ended: None where the stream could not be opened
        self.start()

    def run(self) -> None:
        name_thread(self.name)
        try:
            reader = StreamReader(self._stream, self._address)
        except DeviceFault as fault:
            log.warning("sub-stream not opened, the main stream is shown", extra={"camera": self._camera, "fault": str(fault)})
            return
        except Exception:  # the top of this thread
            log.exception("sub-stream not opened", extra={"camera": self._camera})
            return
        with self._lock:
            self.reader = reader
            if self._given_up:
                reader.container.close()

    def give_up(self) -> None:
        """Nobody takes it: it is closed, at once or as soon as it is open."""
        with self._lock:
            self._given_up = True
            if self.reader is not None:
                self.reader.container.close()


class VideoInput(_Pump):
    """One camera. Packets wait undecoded until the composer asks for the picture of an instant.

    hub: whose stream its thread takes; None where the thread is never started, and whoever made it hands messages to ``take``.
    """

    def __init__(self, settings: VideoInputSettings, rect: Rect, hub: LiveHub | None = None) -> None:
        super().__init__(settings.name, hub)
        self.settings = settings
        self._rect = rect
        self._latency = Latency(settings.latency_ns, settings.calibration, settings.name)
        self._packets: deque[tuple[av.VideoCodecContext, LiveMessage]] = deque()  # each with its format's decoder
        self._decoder: av.VideoCodecContext | None = None  # of the packets that come
        self._decoded: list[av.VideoFrame] = []
        self._shown: Scaled | None = None
        self._shown_ns = 0
        self._cadence = Cadence()
        self._damaged = 0
        self._need_key = True
        self._opening: _Opening | None = None
        self._sub_at_ns = 0  # when the sub-stream is tried again

    def attempt(self) -> None:
        """The sub-stream where there is one; the main stream until it is open."""
        while True:
            if self._sub_open():
                self._show_sub()
            self._from_live(leave=self._sub_open)
            if not self._sub_open():
                return

    def run(self) -> None:
        super().run()
        if self._opening is not None:
            self._opening.give_up()

    def _sub_open(self) -> bool:
        """Whether the sub-stream is there to be shown; begins to open it when its time has come."""
        opening, address = self._opening, self.settings.sub
        if address is None or self._stopping.is_set() or (opening is not None and opening.is_alive()):
            return False
        if opening is not None and opening.reader is not None:
            return True
        if opening is not None:
            self._opening, self._sub_at_ns = None, boottime_ns() + SUB_AGAIN_NS
        elif boottime_ns() >= self._sub_at_ns:
            stream = self._sub_stream()
            self._sub_at_ns = boottime_ns() + self._main_for_ns(stream)
            self._opening = _Opening(self.settings.name, stream, address) if stream is not None else None
        return False

    def _show_sub(self) -> None:
        opening, self._opening = self._opening, None
        assert opening is not None and opening.reader is not None
        try:
            self._from_sub(opening.reader)
        except DeviceFault as fault:
            log.warning("sub-stream lost, the main stream is shown", extra={"camera": self.settings.name, "fault": str(fault)})
        finally:
            self._sub_at_ns = boottime_ns() + SUB_AGAIN_NS

    def _main_for_ns(self, sub: Stream | None) -> int:
        """How long the main stream is shown before the sub-stream is tried again: at the room's start it is not described yet."""
        described = self.settings.sub is None or bool(self.settings.sub.rtsp) or remembered(self.settings.memory) is not None
        return SUB_AGAIN_NS if sub is not None or described else SUB_SOON_NS

    def _sub_stream(self) -> Stream | None:
        address = self.settings.sub
        if address is None:
            return None
        if address.rtsp:
            return Stream(address.rtsp_sub) if address.rtsp_sub else None
        known = remembered(self.settings.memory)
        return known.sub if known else None

    def _from_sub(self, reader: StreamReader) -> None:
        scale = float(reader.format.time_base * SECOND_NS)
        fit = EnvelopeFit(scale)
        format_: Format | None = None
        try:
            for item in reader.packets():
                if self._stopping.is_set():
                    return
                if isinstance(item, Jumped):
                    fit = EnvelopeFit(scale)
                    continue
                if item.format is not format_ and item.format is not None:
                    format_ = item.format
                    self._begin(format_)
                fit.add(item.pts, item.arrival_ns)
                time_ns = fit.line.at(item.pts) - self._latency.ns
                self._add(LiveMessage(LiveKind.DATA, item.key, time_ns, item.pts, 0, item.data))
        finally:
            reader.container.close()

    def take(self, message: LiveMessage) -> None:
        if message.kind is LiveKind.FORMAT:
            self._begin(message.format)
        elif message.kind is LiveKind.DATA:
            self._add(message)

    def _begin(self, format_: Format) -> None:
        decoder = video_decoder(format_)
        decoder.flags |= 0x80000  # AV_CODEC_FLAG_LOW_DELAY: a picture comes out with its packet
        with self._lock:  # what waits is of the format before, and is shown first
            self._decoder, self._need_key = decoder, True

    def _add(self, message: LiveMessage) -> None:
        with self._lock:
            if self._decoder is None or (self._need_key and not message.key):
                return
            self._need_key = False
            self._cadence.add(Stamp(message.time_ns, message.time_ns))
            self._packets.append((self._decoder, message))
            if len(self._packets) > QUEUE_PACKETS:
                self._drop_group()

    def _drop_group(self) -> None:
        self._packets.popleft()
        while self._packets and not self._packets[0][1].key:
            self._packets.popleft()

    def damaged(self) -> int:
        """How many pictures, since this was asked last, could not be decoded, or not without making something up."""
        found, self._damaged = self._damaged, 0
        return found

    @property
    def limit_ns(self) -> int:
        """So long after a picture the next one may come."""
        return self._cadence.limit_ns

    def idle(self, now_ns: int) -> None:
        """While no session runs: keeps whole groups of pictures covering the last seconds, decodes nothing."""
        with self._lock:
            keys = [m.time_ns for _, m in self._packets if m.key]
            while len(keys) > 1 and keys[1] < now_ns - KEEP_NS:
                self._drop_group()
                del keys[0]
        self._shown = None
        self._latency.refresh()

    def picture(self, due_ns: int) -> tuple[Scaled | None, int]:
        """The picture nearest to due_ns (CLOCK_BOOTTIME), at most half an interval later, with its time; at first (None, 0).

        It is asked for rising instants; between two calls every packet due is decoded, since later ones need it; from the last
        key frame on, which needs none.
        """
        until_ns = due_ns + PICTURE_NS // 2
        with self._lock:
            count = max((n for n, (_, m) in enumerate(self._packets, 1) if m.time_ns <= until_ns), default=0)
            due = [self._packets.popleft() for _ in range(count)]  # in decoding order: some may be of later pictures
        key = max((n for n, (_, m) in enumerate(due) if m.key and m.time_ns <= until_ns), default=0)
        newest: av.VideoFrame | None = None
        for each in (*due[key:], None):  # one after the other: at a session's beginning they are seconds of pictures
            if each is not None:
                self._decoded.extend(self._decode(*each))
            for frame in [frame for frame in self._decoded if (frame.pts or 0) <= until_ns]:
                self._decoded.remove(frame)
                newest = frame if newest is None or (frame.pts or 0) > (newest.pts or 0) else newest
        if newest is not None:
            self._shown, self._shown_ns = Scaled(newest, self._rect), int(newest.pts or 0)
        return self._shown, self._shown_ns

    def _decode(self, decoder: av.VideoCodecContext, message: LiveMessage) -> list[av.VideoFrame]:
        packet = av.Packet(message.payload)
        packet.pts = packet.dts = message.time_ns
        packet.time_base = NANOSECONDS
        frames, damaged = decoded(decoder, packet)
        self._damaged += damaged
        return frames


class SoundInput(_Pump):
    """The microphone's samples on room time."""

    def __init__(self, rate_hz: int, hub: LiveHub) -> None:
        super().__init__(MICROPHONE, hub)
        self._line = SoundLine(rate_hz, keep_s=KEEP_SOUND_S)
        self._mixdown = Mixdown(1, rate_hz)
        self._channels = 1

    def attempt(self) -> None:
        """The microphone track's live stream."""
        self._from_live()

    def take(self, message: LiveMessage) -> None:
        with self._lock:
            if message.kind is LiveKind.FORMAT:
                format_ = message.format
                self._channels, self._mixdown = format_.channels, Mixdown(format_.channels, format_.rate_hz)
                self._line.begin(format_.rate_hz)
            elif message.kind is LiveKind.DATA:
                samples = np.frombuffer(message.payload, "<i2").astype(np.float32)
                samples *= 1 / 32768
                heard = self._mixdown.mono(samples.reshape(-1, self._channels))
                self._line.add(message.pts, message.time_ns, message.ppb, heard)

    def idle(self) -> None:
        """Passes ``idle`` on to the sound line, under the lock."""
        with self._lock:
            self._line.idle()

    def read(self, time_ns: int, count: int) -> tuple[Samples, int]:
        """Reads from the sound line, under the lock; see SoundLine.read for what it gives."""
        with self._lock:
            return self._line.read(time_ns, count)
