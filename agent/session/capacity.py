"""How many bytes a recording takes on the disk, from the bit rates of its tracks and of the composite."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from recorder.process.status import TrackStatus
from recorder.session.tracks import MICROPHONE

if TYPE_CHECKING:
    from agent.config.model import Config

# A track that has not told its bit rate yet is planned with these.
VIDEO_BPS, AUDIO_BPS = 8e6, 0.8e6


def needed_bytes(tracks: Mapping[str, TrackStatus | None], composite_bps: float, seconds: float) -> int:
    """Bytes that so many seconds of every track and the composite will take."""
    rates = [
        status.bitrate_bps if status and status.bitrate_bps > 0 else AUDIO_BPS if name == MICROPHONE else VIDEO_BPS
        for name, status in tracks.items()
    ]
    return round((sum(rates) + composite_bps) * seconds / 8)


def gigabytes(count: float) -> str:
    """Bytes as GB with one digit."""
    return f"{count / 1e9:.1f}"


def composite_bps(config: "Config") -> float:
    """What the composite is planned with, bit/s: x264's rate at crf 26 in a room, doubled for every 6 below, and the sound."""
    return float(5e6 * 2 ** ((26 - config.composite.crf) / 6) + config.composite.audio_kbps * 1000)
