"""One track's process: it compares what is wanted with what it does, and goes on recording whatever happens to the others."""

import logging
import queue
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recorder.camera_source import CameraSettings, CameraSource
from recorder.faults import EvidenceFault, StorageFault
from recorder.media import Connected, Format, Item, Lost, Packet
from recorder.meter import VideoMeter
from recorder.microphone_source import MicrophoneSettings, MicrophoneSource
from recorder.packets import FeedServer, Kind, Message, data_message, format_message
from recorder.preroll import Preroll
from recorder.process import Reporter, process
from recorder.recording import Identity, Recording
from recorder.room_time import SECOND_NS, EnvelopeFit, Epoch, boot_id, boottime_ns, session_epoch
from recorder.source import Source
from recorder.ties import read_tie_now
from recorder.wanted import ON_DISK_NS, TrackStatus, Wanted, WantedFile
from wording import Fault

if TYPE_CHECKING:
    from recorder.sound_meter import SoundMeter

SYNC_NS = SECOND_NS
WANTED_NS = SECOND_NS // 10
SETTLE_NS = 700_000_000  # a new connection begins with a burst; its time line stands when that has passed
STOP_GRACE_NS = 1_200_000_000  # how long after T1 a packet at or past T1 is waited for
RETRY_DISK_NS = SECOND_NS

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TrackSettings:
    """One track. source: the camera or the microphone. latency_ns is taken off every packet's time."""

    name: str
    root: Path
    run: Path
    source: CameraSettings | MicrophoneSettings
    segment_ns: int
    preroll_ns: int
    latency_ns: int
    version: str


class Track:
    """The process's state. One thread; the source has its own."""

    def __init__(self, settings: TrackSettings, *, now: Callable[[], int] = boottime_ns) -> None:
        self._settings = settings
        self._now = now
        video = isinstance(settings.source, CameraSettings)
        self._status = TrackStatus(
            name=settings.name, pid=0, boot_id="", version=settings.version, media="video" if video else "audio"
        )
        self._reporter = Reporter(self._status, settings.run)
        self._source: Source = (
            CameraSource(settings.source) if isinstance(settings.source, CameraSettings) else MicrophoneSource(settings.source)
        )
        self._feed = FeedServer(settings.run / f"feed-{settings.name}.sock")
        self._preroll = Preroll(settings.preroll_ns)
        self._wanted = Wanted()
        self._wanted_file = WantedFile(settings.root / "wanted.json")
        self._wanted_at_ns = 0
        self._connection: Connected | None = None
        self._fit = EnvelopeFit(1.0)
        self._settled_at_ns: int | None = None
        self._meter: VideoMeter | SoundMeter | None = None
        self._recording: Recording | None = None
        self._epoch: Epoch | None = None
        self._flowing = False  # packets go from the source straight into the recording
        self._source_fault: dict[str, Any] | None = None
        self._disk_fault: dict[str, Any] | None = None
        self._disk_retry_ns = 0
        self._sync_at_ns = 0

    def run(self, stopping: Callable[[], bool]) -> None:
        """Until asked to stop. A disk that fails is tried again each second; nothing else ends the loop."""
        self._source.start()
        try:
            while not stopping():
                self._take()
                self._guarded(self._reconcile)
                self._guarded(self._sync)
                self._report()
        finally:
            self._source.stop()
            self._guarded(self._stopped)
            self._feed.close()
            self._source.join(3.0)
            self._reporter.remove()

    def _take(self) -> None:
        try:
            item: Item = self._source.items.get(timeout=0.05)
            for _ in range(200):
                self._handle(item)
                item = self._source.items.get_nowait()
        except queue.Empty:
            pass

    def _handle(self, item: Item) -> None:
        if isinstance(item, Packet):
            self._packet(item)
        elif isinstance(item, Connected):
            self._connected(item)
        else:
            self._lost(item)

    def _connected(self, item: Connected) -> None:
        format_ = item.format
        ns_per_tick = float(format_.time_base * SECOND_NS)
        self._connection, self._source_fault = item, None
        self._fit = EnvelopeFit(ns_per_tick)
        self._preroll.clear()
        self._settled_at_ns, self._flowing = None, False
        self._meter = VideoMeter(ns_per_tick) if format_.media == "video" else _sound_meter(format_)
        status = self._status
        status.codec, status.width, status.height = format_.codec, format_.width, format_.height
        status.sample_rate_hz, status.channels = format_.rate_hz, format_.channels
        status.reconnects = max(0, self._source.reconnects)
        device = item.device
        status.manufacturer, status.model = (
            str(device.get("manufacturer", "")),
            str(device.get("model") or device.get("name", "")),
        )
        status.firmware, status.serial = str(device.get("firmware", "")), str(device.get("serial", ""))
        status.clock_offset_s = device.get("clock_offset_s")
        self._feed.publish(format_message(format_))
        log.info(
            "source connected",
            extra={"track": self._settings.name, "codec": format_.codec, "width": format_.width, "height": format_.height},
        )

    def _lost(self, item: Lost) -> None:
        connection, self._connection = self._connection, None
        fault = Fault.from_dict(item.fault)
        if self._source_fault is None or self._source_fault["text"] != item.fault["text"]:
            log.warning("source lost", extra={"track": self._settings.name, "fault": str(fault)})
        self._source_fault, self._flowing = item.fault, False
        self._feed.publish(Message(Kind.LOST))
        if self._recording is not None:
            recording = self._recording
            self._guarded(lambda: recording.lost(fault, self._fit.line.ppm))
        if connection is not None:
            connection.release()

    def _time_of(self, packet: Packet) -> int:
        """CLOCK_BOOTTIME of a packet of this connection by its fitted line."""
        return self._fit.line.at(packet.pts) - self._settings.latency_ns

    def _packet(self, packet: Packet) -> None:
        connection = self._connection
        if connection is None or self._meter is None:
            return
        self._fit.add(packet.pts, packet.arrival_ns)
        if self._settled_at_ns is None:
            self._settled_at_ns = packet.arrival_ns + SETTLE_NS
        self._meter.add(packet)
        self._preroll.add(packet)
        self._status.last_packet_ns = self._now()
        self._feed.publish(data_message(packet, self._time_of(packet), self._fit.line.ppm))
        if self._flowing:
            self._guarded(lambda: self._store(packet))

    def _store(self, packet: Packet) -> None:
        recording, connection, epoch = self._recording, self._connection, self._epoch
        if recording is None or connection is None or epoch is None:
            return
        room_ns = epoch.room_ns(self._time_of(packet))
        stop_ns = self._wanted.stop_ns
        if stop_ns is not None and room_ns >= stop_ns:
            recording.end(stop_ns, self._fit.line.ppm)
            return
        if not recording.ended:
            recording.write(packet, room_ns, connection.format, self._fit.line.ppm)

    def _guarded(self, act: Callable[[], None]) -> None:
        """A disk that refuses stops storing, not the process: what is in memory is stored when it is back."""
        try:
            act()
        except (StorageFault, EvidenceFault) as fault:
            if self._disk_fault is None:
                log.error("disk refuses", extra={"track": self._settings.name, "fault": str(fault)})
            self._disk_fault, self._flowing = fault.as_dict(), False
            self._disk_retry_ns = self._now() + RETRY_DISK_NS
            if self._recording is not None:
                self._recording.give_up(fault)

    def _reconcile(self) -> None:
        now = self._now()
        if now < self._wanted_at_ns or now < self._disk_retry_ns:
            return
        self._wanted_at_ns = now + WANTED_NS
        self._wanted = wanted = self._wanted_file.read()
        if wanted.session is None:
            self._leave()
            return
        if self._recording is None or self._recording.identity.session != wanted.session:
            self._leave()
            self._enter(wanted, wanted.session)
        recording, epoch = self._recording, self._epoch
        if recording is None or epoch is None or recording.ended:
            return
        recording.flush()
        if wanted.stop_ns is not None and epoch.room_ns(now) > wanted.stop_ns + STOP_GRACE_NS:
            recording.end(wanted.stop_ns, self._fit.line.ppm)
        elif (
            not self._flowing and self._connection is not None and self._settled_at_ns is not None and now >= self._settled_at_ns
        ):
            self._disk_fault = None
            self._flow(recording, epoch, wanted)

    def _enter(self, wanted: Wanted, session: str) -> None:
        folder = self._settings.root / "sessions" / session
        if not folder.is_dir():
            raise StorageFault(
                "The folder of session {session} is missing below {root}.",
                "Mount the data disk; the session goes on by itself when it is back.",
                session=session,
                root=self._settings.root,
            )
        identity = Identity(self._settings.name, session, boot_id(), self._settings.version)
        device = self._connection.device if self._connection else {}
        self._recording = Recording(
            folder / "tracks" / self._settings.name, identity, wanted.start_ns, self._settings.segment_ns, device=device
        )
        self._epoch = session_epoch(folder, read_tie_now, floor_ns=self._recording.end_ns or wanted.start_ns)
        self._status.session = session
        self._status.last_disk_ns = None
        self._disk_fault = None
        if self._connection is None and self._source_fault is not None:
            self._recording.lost(Fault.from_dict(self._source_fault), 0.0)

    def _flow(self, recording: Recording, epoch: Epoch, wanted: Wanted) -> None:
        """From memory into the recording, then straight on: no packet between the two is lost or written twice."""
        self._flowing = True
        if recording.last_ns is None:
            start = wanted.start_ns
            packets = list(self._preroll.since(epoch.boottime_ns(start), self._time_of))
        else:
            start = recording.last_ns + recording.hole_ns() // 10
            packets = [
                p for p in self._preroll.since(epoch.boottime_ns(start), self._time_of) if epoch.room_ns(self._time_of(p)) > start
            ]
        for packet in packets:
            self._store(packet)

    def _leave(self) -> None:
        if self._recording is not None:
            if not self._recording.ended:
                log.warning(
                    "session no longer wanted before its end",
                    extra={"track": self._settings.name, "session": self._status.session},
                )
                self._recording.lost(_stopped(), self._fit.line.ppm)
            self._recording.close()
        self._recording, self._epoch, self._flowing = None, None, False
        self._status.session = None

    def _stopped(self) -> None:
        recording = self._recording
        if recording is not None:
            recording.lost(_stopped(), self._fit.line.ppm)
            recording.close()

    def _sync(self) -> None:
        now = self._now()
        if self._recording is None or now < self._sync_at_ns:
            return
        self._sync_at_ns = now + SYNC_NS
        if self._recording.sync():
            self._status.last_disk_ns = self._now()

    def _report(self) -> None:
        self._reporter.state(self._state())
        self._status.fault = self._disk_fault or self._source_fault
        if not self._reporter.due():
            return
        status, recording = self._status, self._recording
        if isinstance(self._source, CameraSource) and status.fault is None:
            status.fault = self._source.description_fault
        if recording is not None:
            status.bytes_session, status.packets_session = recording.bytes_now, recording.packets_now
            status.segments, status.gaps = recording.segments, recording.gaps
            status.finished = status.session if recording.ended else None
        else:
            status.bytes_session = status.packets_session = status.segments = status.gaps = 0
            status.finished = None
        status.drift_ppm = round(self._fit.line.ppm, 2)
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

    def _state(self) -> str:
        """Derived from what reached the disk, never from what was asked (invariant 8)."""
        recording = self._recording
        if self._disk_fault is not None:
            return "failed"
        if recording is not None and recording.ended:
            return "finished"
        if (
            recording is not None
            and self._status.last_disk_ns is not None
            and self._now() - self._status.last_disk_ns <= ON_DISK_NS
        ):
            return "recording"
        return "armed" if self._ready() else "connecting"

    def _ready(self) -> bool:
        """A session could begin now: packets arrive, their time is known, and a key frame is in memory."""
        settled = self._settled_at_ns is not None and self._now() >= self._settled_at_ns
        return self._connection is not None and settled and len(self._preroll) > 0


def _sound_meter(format_: Format) -> "SoundMeter":
    from recorder.sound_meter import SoundMeter  # numpy, which only the microphone's process needs

    return SoundMeter(format_.rate_hz, format_.channels)


def _stopped() -> Fault:
    return Fault("The recording process was asked to stop.", "Start the service again; the session goes on by itself.")


def run(settings: TrackSettings) -> None:
    """The process: until SIGTERM. Raises AlreadyRunning, StorageFault."""
    with process(settings.name, settings.run) as stop:
        Track(settings).run(stop.is_set)
