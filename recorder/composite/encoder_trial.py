"""Whether an encoder works: pictures through it into an MP4 and back. And so which encoder the composite's next part gets."""

import io
import logging
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

import av
import numpy as np

from recorder.clock.instants import SECOND_NS, boottime_ns
from recorder.composite.encoder import FPS, EncoderFault, EncoderKind, EncoderSettings
from recorder.composite.open_encoder import open_encoder
from recorder.composite.part import FRAGMENTED
from recorder.composite.picture import HEIGHT, WIDTH, Plane, new_canvas, plane_view, planes

PSNR_DB = 30.0  # of the test pictures, luma and chroma together; a good encoder gives above 40
PICTURES = 10
LIMIT_S = 3.0
AGAIN_NS = 60 * SECOND_NS  # an encoder that failed is tried again after so long, between sessions

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of it. psnr_db: the worst picture's. speed: times real time, the start left out. settings: those that worked."""

    settings: EncoderSettings
    pictures: int
    psnr_db: float
    speed: float


def try_encoder(
    settings: EncoderSettings, pictures: int = PICTURES, *, limit_s: float = LIMIT_S, now: Callable[[], int] = boottime_ns
) -> Trial:
    """Encodes test pictures, muxes them as a part is, decodes and compares them. Hardware is tried with low_power too.

    Raises EncoderFault where the pictures do not come back, not the same, or not within limit_s.
    """
    canvases = [trial_picture(n) for n in range(min(pictures, PICTURES))]
    canvases = [canvases[n % PICTURES] for n in range(pictures)]
    deadline = now() + round(limit_s * SECOND_NS)
    try:
        return _try(settings, canvases, deadline, limit_s, now)
    except EncoderFault as fault:
        if settings.kind == "software" or settings.low_power:
            raise
        try:
            return _try(replace(settings, low_power=True), canvases, deadline, limit_s, now)
        except EncoderFault:
            raise fault from None


def trial_picture(number: int) -> Plane:
    """A canvas with soft shades in all three planes, which move from picture to picture."""
    canvas = new_canvas()
    luma, blue, red = planes(canvas)
    x, y = np.arange(WIDTH), np.arange(HEIGHT)[:, None]
    luma[:] = 128 + 70 * np.sin((x + 8 * number) / 97) * np.cos(y / 61)
    blue[:] = 128 + 60 * np.sin((x[: WIDTH // 2] + 4 * number) / 153)
    red[:] = 128 + 60 * np.cos(y[: HEIGHT // 2] / 117)
    return canvas


def _try(settings: EncoderSettings, canvases: list[Plane], deadline: int, limit_s: float, now: Callable[[], int]) -> Trial:
    file = io.BytesIO()
    times: list[int] = []
    with av.open(file, "w", format="mp4", options=FRAGMENTED) as container:
        encoder = open_encoder(settings, container)
        try:
            for canvas in canvases:
                for packet in encoder.encode(canvas):
                    times.append(now())
                    container.mux(packet)
                if now() > deadline:
                    raise EncoderFault(
                        "encoder-trial-too-slow",
                        "reduce-gpu-load-or-encode-software",
                        encoder=settings.kind,
                        pictures=len(canvases),
                        seconds=limit_s,
                    )
            for packet in encoder.flush():
                times.append(now())
                container.mux(packet)
        finally:
            encoder.close()
    worst = _compare(settings.kind, canvases, file)
    span_s = (times[-1] - times[0]) / SECOND_NS if len(times) > 1 else 0.0
    return Trial(settings, len(canvases), worst, (len(times) - 1) / FPS / span_s if span_s > 0 else math.inf)


def _compare(kind: EncoderKind, canvases: list[Plane], file: io.BytesIO) -> float:
    """The worst picture's PSNR, dB."""
    file.seek(0)
    worst, count = math.inf, 0
    try:
        with av.open(file, "r") as container:
            for canvas, frame in zip(canvases, container.decode(video=0), strict=False):
                count += (frame.width, frame.height, frame.format.name) == (WIDTH, HEIGHT, "yuv420p")
                worst = min(worst, _psnr_db(canvas, frame)) if count else 0.0
    except (av.error.FFmpegError, IndexError) as error:
        log.warning("trial cannot be decoded", extra={"encoder": kind, "error": str(error)})
    if count < len(canvases) or worst < PSNR_DB:
        raise EncoderFault(
            "encoder-spoils-pictures",
            "replace-graphics-driver-or-use-software",
            encoder=kind,
            count=count,
            all=len(canvases),
            psnr=worst if count else 0.0,
        )
    return worst


def _psnr_db(canvas: Plane, frame: av.VideoFrame) -> float:
    """Over all samples of the three planes; 99 where they are equal."""
    squares = 0.0
    for plane, source in zip(frame.planes, planes(canvas), strict=True):
        height, width = source.shape
        difference = plane_view(plane, width, height).astype(np.float32) - source
        squares += float(np.sum(difference**2))
    return 99.0 if squares == 0 else 10 * math.log10(255**2 * canvas.size / squares)


class EncoderChoice:
    """Which encoder the next part gets: the configured one once a trial of this process proved it, software otherwise.

    The trial runs in a thread, begun with the process, and again between sessions a minute after a failure.
    """

    def __init__(self, settings: EncoderSettings, *, now: Callable[[], int] = boottime_ns) -> None:
        self._wanted = settings
        self._software = replace(settings, kind="software")
        self._now = now
        self._proven: EncoderSettings | None = None
        self._trial: threading.Thread | None = None
        self._failed_ns = 0
        self.fault: EncoderFault | None = None  # why software encodes although hardware is configured
        if settings.kind != "software":
            self._begin()

    def settings(self) -> EncoderSettings:
        """The settings for the next part. Waits for a running trial, at most LIMIT_S."""
        if self._trial is not None:
            self._trial.join(LIMIT_S)
        return self._proven or self._software

    @property
    def kind(self) -> EncoderKind:
        """What would encode now."""
        return (self._proven or self._software).kind

    def refuse(self, fault: EncoderFault) -> None:
        """The hardware failed in a part: software from now on, until it is proven again between sessions."""
        log.error("hardware encoder failed", extra={"encoder": self._wanted.kind, "fault": str(fault)})
        self._proven, self._failed_ns, self.fault = None, self._now(), fault

    def idle(self) -> None:
        """No session runs: hardware that failed is tried again when its time has come."""
        if self.fault is not None and self._now() - self._failed_ns >= AGAIN_NS:
            self._begin()

    def _begin(self) -> None:
        if self._trial is None or not self._trial.is_alive():
            self._trial = threading.Thread(target=self._try, name="encoder-trial", daemon=True)
            self._trial.start()

    def _try(self) -> None:
        try:
            trial = try_encoder(self._wanted, now=self._now)
        except EncoderFault as fault:
            self.refuse(fault)
        except Exception as error:  # the top of this thread
            log.exception("trial of the encoder failed", extra={"encoder": self._wanted.kind})
            self.refuse(
                EncoderFault(
                    "encoder-trial-failed",
                    "report-program-defect-with-log",
                    encoder=self._wanted.kind,
                    why=f"{type(error).__name__}: {error}",
                )
            )
        else:
            log.info("hardware encoder works", extra={"encoder": self._wanted.kind, "psnr_db": round(trial.psnr_db, 1)})
            self._proven, self.fault = trial.settings, None
