"""The two cameras and the microphone: a track's process each."""

from typing import TYPE_CHECKING

from agent.devices.kind import (
    BEHIND_S,
    FIRST_NS,
    OK,
    DeviceKind,
    Judgement,
    Look,
    Measurement,
    age_s,
    nothing_on_disk,
    older,
    told_fault,
)
from recorder.clock.instants import SECOND_NS
from recorder.process.status import ON_DISK_NS, Status, TrackStatus
from recorder.session.tracks import DEVICES, MICROPHONE, TRACKS
from wording import Fault

if TYPE_CHECKING:
    from agent.config.model import Config
    from recorder.track.process import TrackSettings

PACKET_NS = 3 * SECOND_NS  # a track without a packet for so long delivers nothing
GIVEN_UP_NS = SECOND_NS  # and for so long already where it names a fault: the connection is lost

CAMERA_CHECKS = (
    "camera_login",
    "camera_identity",
    "camera_encryption",
    "camera_clock",
    "camera_stream",
    "camera_keyframes",
    "camera_light",
    "camera_frozen",
    "camera_latency",
)
MICROPHONE_CHECKS = ("microphone_delivers", "microphone_level", "microphone_clipped")


def judge(look: Look, status: Status) -> Judgement:
    """A track delivers, and what it stores while a session runs reaches the disk."""
    fault = told_fault(status)
    if not isinstance(status, TrackStatus) or status.state == "failed":
        return "failed", fault
    if fault is not None and older(look, status.last_packet_ns, GIVEN_UP_NS):
        return "failed", fault
    if older(look, status.last_packet_ns, PACKET_NS + status.slow_ns):
        if status.last_packet_ns is None and not older(look, status.since_ns, FIRST_NS):
            return "unknown", None
        since = status.since_ns if status.last_packet_ns is None else status.last_packet_ns
        seconds = round(max(0, look.boottime_ns - since) / SECOND_NS)
        return "failed", Fault("device-delivers-nothing", "check-power-cable-and-network", seconds=seconds)
    if status.state not in ("armed", "recording", "finished"):
        return ("failed", fault) if fault is not None else ("unknown", None)
    if look.state == "recording" and look.recorded_s > BEHIND_S and older(look, status.last_disk_ns, ON_DISK_NS + status.slow_ns):
        return "failed", fault or nothing_on_disk(look, status.last_disk_ns)
    fault = look.changed_cameras.get(status.name, fault)
    return ("degraded", fault) if fault is not None else OK


def measure(look: Look, status: Status) -> tuple[Measurement, ...]:
    """What a track's status measures, by its medium."""
    if not isinstance(status, TrackStatus):
        return ()
    common = (
        Measurement("last_packet_age", age_s(look, status.last_packet_ns), "s"),
        Measurement("bitrate", round(status.bitrate_bps), "bit/s"),
        Measurement("reconnects", status.reconnects),
        Measurement("codec", status.codec),
    )
    if status.media == "audio":
        return (
            *common,
            Measurement("level", status.level_dbfs, "dBFS"),
            Measurement("peak", status.peak_dbfs, "dBFS"),
            Measurement("clipped", status.clipped_ratio),
            Measurement("sample_rate", status.sample_rate_hz, "Hz"),
            Measurement("drift", status.drift_ppm, "ppm"),
        )
    return (
        *common,
        Measurement("width", status.width, "px"),
        Measurement("height", status.height, "px"),
        Measurement("picture_rate", round(status.fps, 2), "1/s"),
        Measurement("keyframe_interval", status.keyframe_interval_s, "s"),
        Measurement("clock_offset", status.clock_offset_s, "s"),
        Measurement("drift", status.drift_ppm, "ppm"),
    )


def _work(settings: "TrackSettings") -> None:
    from recorder.track.process import run

    run(settings)


def _kind(track: str) -> DeviceKind:
    def settings(config: "Config") -> object:
        from agent.config.settings import track_settings

        return track_settings(config, track)

    return DeviceKind(
        id=track,
        title=DEVICES[track],
        help="help-run-track",
        unit=f"room-agent-track@{track}.service",
        command=("track", track),
        settings=settings,
        work=_work,
        program="recorder.track.process",
        judge=judge,
        measure=measure,
        records=True,
        checks=MICROPHONE_CHECKS if track == MICROPHONE else CAMERA_CHECKS,
    )


KINDS = tuple(_kind(track) for track in TRACKS)
