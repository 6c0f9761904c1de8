"""A graphics processor's H.264 encoder, through an ffmpeg of its own: raw pictures in, packets in NUT out.

A child, because a driver that crashes must not take the composer with it, and because PyAV's libraries have no VAAPI encoder.
Options: ffmpeg-codecs(1) (h264_vaapi, h264_qsv), ffmpeg(1) (-vaapi_device, -qsv_device).
"""

import contextlib
import fcntl
import logging
import os
import queue
import select
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import IO, Any

import av
import ffmpeg

from recorder.composite.encoder import FPS, GOP, EncodedPacket, EncoderFault, EncoderKind, EncoderSettings
from recorder.composite.picture import HEIGHT, WIDTH, Plane

CANVAS_BYTES = WIDTH * HEIGHT * 3 // 2
AHEAD = 4  # pictures that may be inside; measured 1 to 2 with libx264 in place of the hardware
SLICE_S = 0.1
START_S = 3.0  # for the first packet: drivers are loaded
STALL_S = 2.0  # for each later one
PIPE_BYTES = 1 << 20
LINES, LINE_BYTES = 20, 300

log = logging.getLogger(__name__)


def command(settings: EncoderSettings) -> list[str]:
    """Pure: the child's arguments. A constant quantiser, no B-frames, no more pictures inside than the hardware needs."""
    before: dict[str, str] = {}
    after = {"g": str(GOP), "bf": "0", "async_depth": "1", "profile:v": "high", "flags:v": "+global_header"}
    if settings.kind == "vaapi":
        before["vaapi_device"] = settings.device
        after |= {"c:v": "h264_vaapi", "vf": "format=nv12,hwupload", "rc_mode": "CQP", "qp": str(settings.crf)}
    else:
        before["qsv_device"] = settings.device
        after |= {"c:v": "h264_qsv", "vf": "format=nv12", "q:v": str(settings.crf)}
    if settings.low_power:
        after["low_power"] = "1"
    pictures = ffmpeg.input(
        "pipe:0",
        format="rawvideo",
        pixel_format="yuv420p",
        s=f"{WIDTH}x{HEIGHT}",
        framerate=str(FPS),
        probesize="32",
        analyzeduration="0",
        **before,
    )
    out = ffmpeg.output(pictures, "pipe:1", format="nut", fps_mode="passthrough", flush_packets="1", **after)
    program, *rest = ffmpeg.compile(out)
    return [program, "-hide_banner", "-loglevel", "error", *rest]


def check_device(settings: EncoderSettings) -> None:
    """Raises EncoderFault where the render node is missing or closed to this user."""
    device = Path(settings.device)
    if not device.exists():
        raise EncoderFault(
            "graphics-processor-missing",
            "correct-encoder-device",
            device=device,
        )
    if not os.access(device, os.R_OK | os.W_OK):
        raise EncoderFault(
            "graphics-processor-access-denied",
            "add-user-to-render-group",
            device=device,
        )


class _Pipe:
    """A pipe as PyAV reads it: what is there, without a position."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, size: int) -> bytes:
        return self._file.read(size)


class ChildEncoder:
    """A VideoEncoder that runs ffmpeg as a child. The caller's thread writes pictures; two threads read packets and messages."""

    def __init__(self, settings: EncoderSettings, container: av.container.OutputContainer) -> None:
        """Raises EncoderFault where the device is missing or ffmpeg cannot be started."""
        check_device(settings)
        self.name: EncoderKind = settings.kind
        self._container = container
        self._stream: Any = None
        self._source: Any = None
        self._sent = self._received = self._given = 0
        self._packets: queue.SimpleQueue[EncodedPacket] = queue.SimpleQueue()
        self._arrival = threading.Condition()
        self._ended = False
        self._messages: list[str] = []  # the first ones: what comes later follows from them
        try:
            self._process = subprocess.Popen(
                command(settings),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,  # Ctrl-C is for the composer, which ends it in order
            )
        except OSError as error:
            raise EncoderFault("ffmpeg-cannot-start", "install-ffmpeg", why=error.strerror) from error
        assert self._process.stdin
        self._pictures = self._process.stdin
        os.set_blocking(self._pictures.fileno(), False)
        with contextlib.suppress(OSError):  # fewer bytes at once where the user's share of pipes is used up
            fcntl.fcntl(self._pictures, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._threads = [threading.Thread(target=work, name=name, daemon=True) for work, name in self._work()]
        for thread in self._threads:
            thread.start()

    @property
    def pid(self) -> int:
        """Process id of the encoding child."""
        return self._process.pid

    def _work(self) -> tuple[tuple[Callable[[], None], str], ...]:
        return (self._read_packets, "encoder-packets"), (self._read_messages, "encoder-messages")

    def encode(self, canvas: Plane) -> Iterator[EncodedPacket]:
        picture = memoryview(canvas.data).cast("B")
        if len(picture) != CANVAS_BYTES:
            raise ValueError(f"a canvas has {CANVAS_BYTES} bytes, not {len(picture)}")
        try:
            self._write(picture)
            self._sent += 1
            self._wait(self._few_inside)
        except EncoderFault:
            self.close()
            yield from self._arrived()
            raise
        yield from self._arrived()

    def flush(self) -> Iterator[EncodedPacket]:
        with contextlib.suppress(OSError):
            self._pictures.close()
        fault = None
        try:
            self._wait(self._at_end)
            if self._received != self._sent or self._exit_code() != 0:
                fault = self._gone()
        except EncoderFault as found:
            fault = found
        self.close()
        yield from self._arrived()
        if fault is not None:
            raise fault

    def close(self) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for thread in self._threads:
            thread.join()
        for pipe in (self._pictures, self._process.stdout, self._process.stderr):
            with contextlib.suppress(OSError):
                assert pipe
                pipe.close()

    def _write(self, data: memoryview) -> None:
        fd = self._pictures.fileno()

        def writable(seconds: float) -> bool:
            return bool(select.select([], [fd], [], seconds)[1])

        while data:
            self._wait(writable)
            try:
                data = data[os.write(fd, data) :]
            except BlockingIOError:
                continue
            except OSError as error:
                self._wait(self._at_end)
                raise self._gone() from error

    def _wait(self, ready: Callable[[float], bool]) -> None:
        """Until ready. Raises EncoderFault where the child ends, or where nothing comes out.

        Counted in slices, not by a clock: a composer that was itself frozen for a while does not blame the encoder.
        """
        received, idle = self._received, 0
        while not ready(SLICE_S):
            if self._ended:
                raise self._gone()
            idle = idle + 1 if received == self._received else 0
            received = self._received
            limit_s = STALL_S if received else START_S
            if idle * SLICE_S >= limit_s:
                raise EncoderFault(
                    "encoder-gives-no-picture",
                    "restart-pc-after-interview",
                    encoder=self.name,
                    seconds=limit_s,
                )

    def _few_inside(self, seconds: float) -> bool:
        with self._arrival:
            return self._arrival.wait_for(lambda: self._sent - self._received <= AHEAD, seconds)

    def _at_end(self, seconds: float) -> bool:
        with self._arrival:
            return self._arrival.wait_for(lambda: self._ended, seconds)

    def _exit_code(self) -> int:
        try:
            return self._process.wait(STALL_S)
        except subprocess.TimeoutExpired:
            return -signal.SIGKILL

    def _gone(self) -> EncoderFault:
        code = self._exit_code()
        self._threads[1].join(SLICE_S)
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        log.warning("encoder ended", extra={"encoder": self.name, "how": how, "said": list(self._messages)})
        return EncoderFault(
            "encoder-ended-unexpectedly",
            "install-graphics-driver-or-use-software",
            encoder=self.name,
            why=": ".join([how, *self._messages[:1]]),
        )

    def _arrived(self) -> Iterator[EncodedPacket]:
        while not self._packets.empty():
            yield self._own(self._packets.get())

    def _own(self, packet: EncodedPacket) -> EncodedPacket:
        """The packet as one of the container's, its time the picture's number. Raises EncoderFault where it is another's."""
        time = None if packet.pts is None else packet.pts * packet.time_base * FPS
        if time is None or round(time) != self._given or self._given >= self._sent:
            raise EncoderFault(
                "encoder-picture-out-of-order",
                "replace-graphics-driver-or-use-software",
                encoder=self.name,
                found="-" if time is None else round(time),
                expected=self._given,
            )
        if self._stream is None:
            self._stream = self._container.add_stream_from_template(packet.stream)
        own = av.Packet(bytes(packet))
        own.pts = own.dts = self._given
        own.duration, own.time_base, own.is_keyframe, own.stream = 1, Fraction(1, FPS), packet.is_keyframe, self._stream
        self._given += 1
        return own

    def _read_packets(self) -> None:
        assert self._process.stdout
        try:
            # Kept open until the child is closed: the container's stream is made after the source's.
            self._source = av.open(_Pipe(self._process.stdout), format="nut", options={"probesize": "32", "analyzeduration": "0"})
            for packet in self._source.demux(video=0):
                if packet.size:
                    self._packets.put(packet)
                    with self._arrival:
                        self._received += 1
                        self._arrival.notify_all()
        except Exception as error:  # noqa: BLE001  (the top of this thread; whoever waits is told that it ended)
            log.debug("encoder's packets end", extra={"encoder": self.name, "error": str(error)})
        with self._arrival:
            self._ended = True
            self._arrival.notify_all()

    def _read_messages(self) -> None:
        assert self._process.stderr
        while line := self._process.stderr.readline(LINE_BYTES):
            text = line.decode(errors="replace").strip(" .\n")
            if text and len(self._messages) < LINES:
                self._messages.append(text)
