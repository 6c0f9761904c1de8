"""The status files ``status/<name>.json``, by which every process tells the agent how it is."""

import logging
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from recorder.clock.instants import SECOND_NS
from recorder.disk.durable import read_json, replace_volatile
from recorder.disk.typed import WrongField, typed
from wording import Fault

STATUS_STALE_NS = 3 * SECOND_NS  # an older status counts as dead
READING_NS = 10 * SECOND_NS  # a reading of the climate sensor is good for so long
SLOWEST_FPS, FEW_FPS = 0.5, 5.0  # pictures a second
ON_DISK_NS = 3 * SECOND_NS  # "recording" is said only where bytes reached the disk within this

log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Status:
    """What every process says of itself at least once a second.

    at_ns, since_ns: CLOCK_BOOTTIME of this status and of the last change of state. seq: of statuses written. waiting: what the
    process stands still for and cannot help, "disk" or "". fault: wording.Fault.as_dict() of what is wrong now, None where
    nothing is.
    """

    KIND: ClassVar[str] = "status"

    name: str
    pid: int
    boot_id: str
    version: str
    at_ns: int = 0
    since_ns: int = 0
    seq: int = 0
    state: str = "starting"
    session: str | None = None
    waiting: str = ""
    fault: dict[str, object] | None = None

    def write(self, folder: Path) -> None:
        """Replaces ``<folder>/<name>.json``. Raises StorageFault."""
        replace_volatile(folder / f"{self.name}.json", {"kind": self.KIND, **asdict(self)})


TrackState = Literal["connecting", "armed", "recording", "finished", "failed"]


@dataclass(slots=True, kw_only=True)
class TrackStatus(Status):
    """One track. Times are CLOCK_BOOTTIME in ns; None where it has not happened.

    state: "connecting" (no packets now), "armed" (packets arrive, none is stored), "recording" (bytes of this session reached the
    disk within 3 s: invariant 8), "finished" (the wanted session's end is journalled), "failed" (the disk refuses).
    finished: the session whose end line is in this track's journal.
    """

    KIND: ClassVar[str] = "track"

    @property
    def slow_ns(self) -> int:
        """By how much later than at once a picture may come: it is handed over, and written, when the next ones come."""
        return round(2 * SECOND_NS / max(self.fps, SLOWEST_FPS)) if 0 < self.fps < FEW_FPS else 0

    media: Literal["video", "audio"] = "video"
    finished: str | None = None
    last_packet_ns: int | None = None
    last_disk_ns: int | None = None
    bytes_session: int = 0
    packets_session: int = 0
    segments: int = 0
    gaps: int = 0
    reconnects: int = 0
    codec: str = ""
    width: int = 0
    height: int = 0
    fps: float = 0.0
    bitrate_bps: float = 0.0
    keyframe_interval_s: float | None = None
    sample_rate_hz: int = 0
    direct: bool = False  # of a microphone: rate and samples are the device's own, and no sound server's
    channels: int = 0
    level_dbfs: float | None = None  # RMS over the last second, of what is heard
    peak_dbfs: float | None = None
    clipped_ratio: float | None = None  # samples at full scale over the last second
    drift_ppm: float | None = None
    latency_ms: float | None = None  # taken off every packet's time
    clock_offset_s: float | None = None  # camera clock minus ours, read over ONVIF
    manufacturer: str = ""
    model: str = ""
    firmware: str = ""
    serial: str = ""
    hardware: str = ""  # MAC address
    address: str = ""  # host:port where the camera answers


@dataclass(slots=True, kw_only=True)
class ComposerStatus(Status):
    """The composer. pictures_*: of the current session over all parts; late: encoded more than 2 s after they were due.

    encoder: what encodes the open part, or would the next one: "software", "vaapi", "qsv".
    """

    KIND: ClassVar[str] = "composer"

    finished: str | None = None
    last_disk_ns: int | None = None
    pictures_due: int = 0
    pictures_written: int = 0
    late: int = 0
    lag_ms: float = 0.0
    parts: int = 0
    encoder: str = ""
    lost: list[str] = field(default_factory=list)  # cameras shown as lost now
    damaged: dict[str, int] = field(default_factory=dict)  # pictures of each camera that could not be decoded whole


@dataclass(slots=True, kw_only=True)
class ClimateStatus(Status):
    """The climate sensor's newest reading; reading_ns is its CLOCK_BOOTTIME. state: "ok", "silent", "absent"."""

    KIND: ClassVar[str] = "climate"

    reading_ns: int | None = None
    temperature_c: float | None = None
    humidity_pct: float | None = None

    def fresh(self, now_ns: int) -> bool:
        """Whether the reading is good at an instant of CLOCK_BOOTTIME; one that is not is shown as ``--.-``."""
        return self.reading_ns is not None and now_ns - self.reading_ns <= READING_NS


@dataclass(slots=True, kw_only=True)
class BurnerStatus(Status):
    """The burner worker. state: "idle", "preparing", "burning", "verifying", "failed"."""

    KIND: ClassVar[str] = "burner"

    job: str | None = None
    progress: float | None = None  # 0…1 of the job
    drives: list[dict[str, object]] = field(default_factory=list)  # one a drive: see burner.work.drive.DriveState
    last: dict[str, object] | None = None  # the newest finished job's result


KINDS: dict[str, type[Status]] = {c.KIND: c for c in (TrackStatus, ComposerStatus, ClimateStatus, BurnerStatus)}


def read_statuses(folder: Path, now_ns: int, boot: str) -> dict[str, Status]:
    """The statuses by name that are alive: of this boot and at most 3 s old. Unreadable files count as absent."""
    alive: dict[str, Status] = {}
    for path in sorted(folder.glob("[!.]*.json")):
        status = read_status(path)
        if status is not None and status.boot_id == boot and now_ns - status.at_ns <= STATUS_STALE_NS:
            alive[status.name] = status
    return alive


def read_status(path: Path) -> Status | None:
    """One status whatever its age, None where the file is missing or no status: it is a hint, never a reason to stop."""
    try:
        data = read_json(path)
        return typed(KINDS[str(data["kind"])], data)
    except (Fault, KeyError, WrongField):
        return None
