"""What arrives, measured."""

import numpy as np
import pytest

from recorder.media.packets import Packet
from recorder.media.sound_meter import SoundMeter
from recorder.media.video_meter import VideoMeter


def test_rates_and_key_frame_distance() -> None:
    meter = VideoMeter(1e9 / 90_000)
    for n in range(200):
        meter.add(Packet(n * 3600, n % 50 == 0, bytes(20_000), 0))
    assert meter.fps == pytest.approx(25)
    assert meter.bitrate_bps == pytest.approx(4_000_000, rel=0.01)
    assert meter.keyframe_interval_s == pytest.approx(2.0)


def test_a_stretched_group_of_pictures_shows_before_its_end() -> None:
    meter = VideoMeter(1e9 / 90_000)
    for n in range(600):
        meter.add(Packet(n * 3600, n in (0, 25), b"x", 0))
    assert meter.keyframe_interval_s == pytest.approx((599 - 25) / 25)


def test_level_of_a_tone_of_silence_and_of_clipping() -> None:
    meter = SoundMeter(48000, 1)
    assert meter.level is None
    n = np.arange(48000)
    tone = (np.sin(2 * np.pi * 1000 * n / 48000) * 32767 * 0.125).astype("<i2")
    for block in np.split(tone, 25):
        meter.add(Packet(0, True, block.tobytes(), 0))
    level = meter.level
    assert level is not None
    assert level.rms_dbfs == pytest.approx(-18.06 - 3.01, abs=0.05)
    assert level.peak_dbfs == pytest.approx(-18.06, abs=0.05)
    assert level.clipped_ratio == 0
    for _ in range(25):
        meter.add(Packet(0, True, bytes(3840), 0))
    assert meter.level is not None
    assert meter.level.rms_dbfs == -120
    for _ in range(25):
        meter.add(Packet(0, True, np.full(1920, 32767, "<i2").tobytes(), 0))
    assert meter.level is not None
    assert meter.level.clipped_ratio == 1
