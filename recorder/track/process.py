"""One track's process: it takes what its device delivers, times it, and passes it on to the disk and to whoever looks on."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drivers.faults import DeviceFault
from recorder.capture.camera import CameraSource
from recorder.capture.camera_identity import CameraSettings
from recorder.capture.latency import Latency
from recorder.capture.microphone import MicrophoneSettings, MicrophoneSource
from recorder.capture.source import STUCK_NS, Source, SourceWatchdog
from recorder.clock.fit import EnvelopeFit
from recorder.clock.instants import MS_NS, SECOND_NS, boottime_ns
from recorder.media.live import LiveKind, LiveMessage, data_message, format_message
from recorder.media.live_publisher import LivePublisher
from recorder.media.packets import Changed, Connected, Format, Item, Jumped, Lost, Packet, waiting
from recorder.media.video_meter import VideoMeter
from recorder.process.local_socket import live_socket
from recorder.process.runner import Reporter, process
from recorder.process.status import ON_DISK_NS, TrackStatus
from recorder.track.storing import SETTLE_NS, DiskWriter, StoringSettings, Timed, Timing
from wording import Fault

if TYPE_CHECKING:
    from recorder.media.sound_meter import SoundMeter

TAKE_ITEMS = 200  # between two looks at everything else

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TrackSettings:
    """One track. source: the camera or the microphone. latency_ns is taken off every packet's time; or, where calibration is the
    file of recorder.capture.latency, what stands there."""

    name: str
    root: Path
    run: Path
    source: CameraSettings | MicrophoneSettings
    segment_ns: int
    preroll_ns: int
    latency_ns: int
    version: str
    calibration: Path | None = None


class Track:
    """The process's state. This thread never waits for the disk; the source and the disk writer have threads of their own."""

    def __init__(
        self,
        settings: TrackSettings,
        *,
        source: Source | None = None,
        writer: DiskWriter | None = None,
        now: Callable[[], int] = boottime_ns,
    ) -> None:
        """source, writer: in place of those that the settings name. now: CLOCK_BOOTTIME, ns."""
        self._settings = settings
        self._now = now
        video = isinstance(settings.source, CameraSettings)
        self._status = TrackStatus(
            name=settings.name, pid=0, boot_id="", version=settings.version, media="video" if video else "audio"
        )
        self._reporter = Reporter(self._status, settings.run)
        self._source = source or _source(settings)
        self._writer = writer or DiskWriter(
            StoringSettings(settings.name, settings.root, settings.segment_ns, settings.preroll_ns, settings.version), now=now
        )
        self._live = LivePublisher(live_socket(settings.run), settings.name)
        self._connection: Connected | None = None
        self._format: Format | None = None  # as the live stream knows it
        self._latency = Latency(settings.latency_ns, settings.calibration, settings.name)
        self._timing = Timing(EnvelopeFit(1.0), self._latency)
        self._settled_at_ns: int | None = None
        self._meter: VideoMeter | SoundMeter | None = None
        self._source_fault: dict[str, Any] | None = None
        self._stillness = SourceWatchdog(now)
        self._stuck = False

    def run(self, stopping: Callable[[], bool]) -> None:
        """Until asked to stop. Neither the device's nor the disk's failures end it.

        Raises DeviceFault where the source's thread is stuck in its driver, RuntimeError where the storing thread has ended: what
        was delivered is stored, and the supervisor starts another process.
        """
        self._source.start()
        self._writer.start()
        try:
            while not stopping():
                self._take()
                self.report()
                if not self._writer.is_alive():
                    raise RuntimeError("the storing thread has ended; its supervisor starts this process anew")
                self.check_source()
        finally:
            self._source.stop()
            while not self._writer.full and not self._source.items.empty():
                self._take()
            with self._reporter.waiting_for_disk():
                self._writer.end()
            self._live.close()
            if not self._stuck:
                self._source.join(3.0)
            self._reporter.remove()

    def check_source(self) -> None:
        """A call into a driver may never return (a wedged USB device), and its thread cannot be ended. Raises DeviceFault."""
        waits_for_disk = self._writer.full or self._writer.stuck is not None
        still_ns = self._stillness.look(self._source.beats, excused=waits_for_disk)
        if still_ns <= STUCK_NS:
            return
        fault = DeviceFault(
            "device-driver-hangs",
            "replug-device-or-restart-pc",
            name=self._settings.name,
            seconds=still_ns // SECOND_NS,
        )
        log.error("source is stuck, the process ends", extra={"track": self._settings.name, "fault": str(fault)})
        self._stuck = True
        self.handle(Lost(fault.as_dict()))
        raise fault

    def _take(self) -> None:
        if self._writer.full:
            time.sleep(0.05)
            return
        for item in waiting(self._source.items, 0.05, TAKE_ITEMS):
            self.handle(item)

    def handle(self, item: Item) -> None:
        """Takes what the source delivered: measures it, shows it in the live stream, gives it to the disk writer."""
        if isinstance(item, Connected):
            self._connected(item)
        elif isinstance(item, Jumped):
            self._timing = Timing(EnvelopeFit(self._ns_per_tick), self._latency)
        elif isinstance(item, Packet):
            self._packet(item)
        elif isinstance(item, Changed):
            self._who(item.device)
            log.warning("the device is another than before", extra={"track": self._settings.name, "changes": list(item.changes)})
        else:
            self._lost(item)
        self._writer.put(Timed(item, self._timing))

    @property
    def _ns_per_tick(self) -> float:
        return float(self._connection.format.time_base * SECOND_NS) if self._connection else 1.0

    def _connected(self, item: Connected) -> None:
        format_ = item.format
        self._connection, self._format, self._source_fault = item, None, None
        self._timing = Timing(EnvelopeFit(self._ns_per_tick), self._latency)
        self._settled_at_ns = None
        self._meter = VideoMeter(self._ns_per_tick) if format_.media == "video" else _sound_meter(format_)
        status = self._status
        status.sample_rate_hz, status.channels = format_.rate_hz, format_.channels
        status.reconnects = max(0, self._source.reconnects)
        self._who(item.device)
        status.direct = bool(item.device.get("direct"))
        self._announce(format_)

    def _who(self, device: dict[str, Any]) -> None:
        """What the device says of itself, as the status tells it."""
        status = self._status
        status.manufacturer = str(device.get("manufacturer", ""))
        status.model = str(device.get("model") or device.get("name", ""))
        status.firmware, status.serial = str(device.get("firmware", "")), str(device.get("serial", ""))
        status.hardware, place = str(device.get("hardware", "")), device.get("address")
        status.address = f"{place['host']}:{place['port']}" if place else ""
        status.clock_offset_s = device.get("clock_offset_s")

    def _announce(self, format_: Format) -> None:
        """To whoever looks on: what follows is encoded like this."""
        self._format = format_
        status = self._status
        status.codec, status.width, status.height = format_.codec, format_.width, format_.height
        self._live.publish(format_message(format_))
        log.info(
            "source delivers",
            extra={"track": self._settings.name, "codec": format_.codec, "width": format_.width, "height": format_.height},
        )

    def _lost(self, item: Lost) -> None:
        self._connection = None
        if self._source_fault is None or self._source_fault["code"] != item.fault["code"]:
            log.warning("source lost", extra={"track": self._settings.name, "fault": str(Fault.from_dict(item.fault))})
        self._source_fault = item.fault
        self._live.publish(LiveMessage(LiveKind.LOST))

    def _packet(self, packet: Packet) -> None:
        if self._connection is None or self._meter is None:
            return
        if packet.format is not None and packet.format is not self._format:
            self._announce(packet.format)
        self._timing.fit.add(packet.pts, packet.arrival_ns)
        if self._settled_at_ns is None:
            self._settled_at_ns = packet.arrival_ns + SETTLE_NS
        self._meter.add(packet)
        self._status.last_packet_ns = self._now()
        self._live.publish(data_message(packet, self._timing.at(packet.pts), self._timing.ppm))

    def report(self) -> None:
        """Writes the status where the Reporter says that it is due."""
        status, stored = self._status, self._writer.stored
        status.session, status.last_disk_ns = stored.session, stored.last_disk_ns
        self._reporter.state(self.state)
        status.fault = self._disk_fault() or self._source_fault
        if not self._reporter.due():
            return
        if status.fault is None:
            status.fault = self._source.quiet_fault or self._source.description_fault
        status.bytes_session, status.packets_session = stored.bytes, stored.packets
        status.segments, status.gaps = stored.segments, stored.gaps
        status.finished = stored.session if stored.ended else None
        if stored.session is None:
            self._latency.refresh()
        status.latency_ms = round(self._latency.ns / MS_NS, 1)
        status.drift_ppm = round(self._timing.ppm, 2)
        self._measure()
        self._reporter.report()

    def _measure(self) -> None:
        status, meter = self._status, self._meter
        silent = self._connection is None
        if isinstance(meter, VideoMeter):
            status.fps = 0.0 if silent else round(meter.fps, 2)
            status.bitrate_bps = 0.0 if silent else round(meter.bitrate_bps)
            status.keyframe_interval_s = None if meter.keyframe_interval_s is None else round(meter.keyframe_interval_s, 3)
        elif meter is not None:
            level = None if silent else meter.level
            status.level_dbfs = None if level is None else round(level.rms_dbfs, 1)
            status.peak_dbfs = None if level is None else round(level.peak_dbfs, 1)
            status.clipped_ratio = None if level is None else round(level.clipped_ratio, 6)
            status.bitrate_bps = 8.0 * 2 * status.sample_rate_hz * status.channels * 0.5  # FLAC of speech halves it at least

    def _disk_fault(self) -> dict[str, Any] | None:
        stuck = self._writer.stuck
        return self._writer.stored.fault or (stuck.as_dict() if stuck else None)

    @property
    def state(self) -> str:
        """The track's state as its status tells it: derived from what reached the disk, never from what was asked."""
        stored = self._writer.stored
        if self._disk_fault() is not None:
            return "failed"
        if stored.session is not None and stored.ended:
            return "finished"
        if stored.last_disk_ns is not None and self._now() - stored.last_disk_ns <= ON_DISK_NS + self._status.slow_ns:
            return "recording"
        return "armed" if self._ready() else "connecting"

    def _ready(self) -> bool:
        """A session could begin now: packets arrive, and their time is known. A connection begins with its first key frame."""
        return self._connection is not None and self._settled_at_ns is not None and self._now() >= self._settled_at_ns


def _source(settings: TrackSettings) -> Source:
    source = settings.source
    return CameraSource(source) if isinstance(source, CameraSettings) else MicrophoneSource(source)


def _sound_meter(format_: Format) -> "SoundMeter":
    from recorder.media.sound_meter import SoundMeter

    return SoundMeter(format_.rate_hz, format_.channels)


def run(settings: TrackSettings) -> None:
    """The process: until SIGTERM. Raises AlreadyRunning, StorageFault."""
    with process(settings.name, settings.run) as stop:
        Track(settings).run(stop.is_set)
