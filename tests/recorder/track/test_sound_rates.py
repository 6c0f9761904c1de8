"""Sound devices of other rates, and one of 24 bits: from the sound server through PortAudio to the sealed FLAC and the composite.

The sound server and ALSA give 16 bits of a 24-bit device, which is what the product asks for.
"""

import os
import shutil
import sys
import time
import wave
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from recorder.clock.instants import SECOND_NS, boottime_ns
from recorder.composite.inputs import SoundInput
from recorder.disk import journal
from recorder.disk.durable import make_folder
from recorder.evidence.manifest import seal
from recorder.media.live_hub import LiveHub
from recorder.process.local_socket import live_socket
from recorder.process.status import TrackStatus, read_status
from recorder.process.wanted import Wanted
from recorder.session.epoch import session_epoch
from recorder.session.wall_clock import read_tie_now
from tests.equipment.microphone import StandInMicrophone
from tests.equipment.process import Child, wait_for
from tests.equipment.room import _short_folder

TONE_HZ, LEVEL = 997, 0.1  # in one second a whole number of them; full scale 1
COMPOSITE_HZ = 48_000
SECONDS = 1.5
LENGTH_NS = 40_000_000  # a block
CHILD = """
import sys
from pathlib import Path
from recorder.capture.microphone import MicrophoneSettings
from recorder.track import process
root, run, rate = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
microphone = MicrophoneSettings("default", rate, 1)
process.run(process.TrackSettings("microphone", root, run, microphone, 10**9 // 2, 4 * 10**9, 0, "0"))
"""
DEVICES = {
    "16 kHz": (16_000, 16),
    "44.1 kHz": (44_100, 16),
    "48 kHz": (48_000, 16),
    "96 kHz": (96_000, 16),
    "24 bit": (48_000, 24),
}
Sound = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Heard:
    """What came of a device. sealed: its section of the manifest. sound: that of the sealed FLAC, and heard: a second of what the
    composite reads, full scale 1. missing: samples of that which are silence for want of others."""

    rate_hz: int
    lines: list[dict[str, Any]]
    sealed: dict[str, Any]
    status: TrackStatus
    sound: Sound
    heard: Sound
    missing: int


def tone(rate_hz: int, bits: int) -> NDArray[np.int32]:
    """A second of it, which follows itself without a step."""
    wave_ = LEVEL * np.sin(2 * np.pi * TONE_HZ * np.arange(rate_hz) / rate_hz)
    return np.round(wave_ * (1 << bits - 1)).astype("<i4")


def write_wav(path: Path, rate_hz: int, bits: int) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(bits // 8)
        file.setframerate(rate_hz)
        file.writeframes(tone(rate_hz, bits).view(np.uint8).reshape(-1, 4)[:, : bits // 8].tobytes())
    return path


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Heard]]:
    """All devices at the same time."""
    folders = {name: tmp_path_factory.mktemp("sound") for name in DEVICES}
    with ThreadPoolExecutor(len(DEVICES)) as pool:
        tracks = list(pool.map(lambda name: Recording(folders[name], *DEVICES[name]), DEVICES))
        try:
            list(pool.map(Recording.begin, tracks))
            yield dict(zip(DEVICES, pool.map(Recording.heard, tracks), strict=True))
        finally:
            list(pool.map(Recording.close, tracks))


class Recording:
    """A device and its track's process."""

    def __init__(self, folder: Path, rate_hz: int, bits: int) -> None:
        self._rate_hz, self._short = rate_hz, _short_folder()
        wav = write_wav(folder / "tone.wav", rate_hz, bits)
        self._device = StandInMicrophone(self._short / "sound", folder / "microphone.log", wav, time.monotonic_ns())
        self._device.start()
        self._root, self._run = make_folder(folder / "data"), make_folder(folder / "run")
        make_folder(self._run / "status")
        self._session = make_folder(self._root / "sessions" / "s1")
        self._hub = LiveHub(live_socket(self._run), ["microphone"])
        self._composite = SoundInput(COMPOSITE_HZ, self._hub)
        command = [sys.executable, "-c", CHILD, str(self._root), str(self._run), str(rate_hz)]
        env = {**os.environ, **self._device.env, "PYTHONPATH": str(Path(__file__).parents[3])}
        self._child = Child("microphone", command, folder / "track.log", env)

    @property
    def _status(self) -> TrackStatus | None:
        file = self._run / "status" / "microphone.json"
        found = read_status(file) if file.exists() else None
        return found if isinstance(found, TrackStatus) else None

    def _until(self, state: str, limit_s: float) -> TrackStatus:
        def reached() -> TrackStatus | None:
            found = self._status
            return found if found is not None and found.state == state else None

        found = wait_for(reached, f"a track that is {state}", limit_s, alive=self._child, every_s=0.05)
        assert isinstance(found, TrackStatus)
        return found

    def begin(self) -> None:
        """Waits until a session can begin."""
        self._until("armed", 30)
        self._composite.start()

    def heard(self) -> Heard:
        """A session, sealed."""
        epoch = session_epoch(self._session, read_tie_now)
        start_ns = epoch.room_ns(boottime_ns()) + SECOND_NS // 5
        stop_ns = start_ns + round(SECONDS * SECOND_NS)
        Wanted("s1", start_ns, stop_ns).write(self._root / "wanted.json")
        status, track = self._until("finished", 15), self._session / "tracks" / "microphone"
        heard, missing = self._composite.read(epoch.boottime_ns(start_ns + SECOND_NS // 4), COMPOSITE_HZ)
        record: dict[str, Any] = {"id": "s1", "start_ns": start_ns, "stop_ns": stop_ns, "timezone": "Asia/Shanghai"}
        sealed = seal(self._session, record, self._root / "keys", software_version="0", required=("microphone",))
        lines: list[dict[str, Any]] = [dict(line) for line in journal.read(track / "journal.jsonl")]
        sound = decoded(track, lines, self._rate_hz)
        told = sealed.manifest["tracks"]["microphone"]
        return Heard(self._rate_hz, lines, told, status, sound, heard.astype(np.float64), missing)

    def close(self) -> None:
        self._composite.stop()
        self._hub.close()
        self._child.end()
        self._device.stop()
        shutil.rmtree(self._short)


def decoded(track: Path, lines: list[dict[str, Any]], rate_hz: int) -> Sound:
    """The samples of a track's segments, one after the other."""
    sound: list[NDArray[np.int16]] = []
    for line in lines:
        if line["kind"] == "segment":
            with av.open(str(track / line["file"])) as container:
                stream = container.streams.audio[0]
                assert (stream.codec_context.name, stream.rate, stream.channels) == ("flac", rate_hz, 1)
                frames: list[Any] = [frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)]
                assert {frame.dtype for frame in frames} == {np.dtype(np.int16)}
                sound += frames
    return np.concatenate(sound).astype(np.float64) / (1 << 15)


@dataclass(frozen=True, slots=True)
class Tone:
    """A sine in a sound. phase: at its first sample. rest: RMS of what remains without it."""

    frequency_hz: float
    amplitude: float
    phase: float
    rest: float


def measured(sound: Sound, rate_hz: int) -> Tone:
    """The tone near TONE_HZ, by the turning of its phase from one hundredth of a second to the next."""
    seconds = np.arange(len(sound)) / rate_hz
    size = rate_hz // 100
    turned = sound * np.exp(-2j * np.pi * TONE_HZ * seconds)
    phases = np.unwrap(np.angle(turned[: len(turned) // size * size].reshape(-1, size).mean(axis=1)))
    frequency = TONE_HZ + np.polyfit(np.arange(len(phases)) / 100, phases, 1)[0] / (2 * np.pi)
    angle = 2 * np.pi * frequency * seconds
    parts = np.column_stack((np.sin(angle), np.cos(angle)))
    (sine, cosine), *_ = np.linalg.lstsq(parts, sound, rcond=None)
    rest = sound - parts @ np.array((sine, cosine))
    return Tone(
        float(frequency), float(np.hypot(sine, cosine)), float(np.arctan2(cosine, sine)), float(np.sqrt(np.mean(rest**2)))
    )


@pytest.mark.parametrize("name", DEVICES)
def test_sound_is_stored_at_its_rate_and_length_without_a_gap(recorded: Mapping[str, Heard], name: str) -> None:
    heard = recorded[name]
    track = heard.sealed
    assert (track["codec"], track["covered"], track["gaps"]) == ("flac", 1.0, [])
    kinds = {line["kind"] for line in heard.lines}
    assert kinds == {"begin", "open", "segment", "end"}, "one count from the beginning to the end"
    segments = [line for line in heard.lines if line["kind"] == "segment"]
    assert len(segments) >= 3
    assert {line["time_base"] for line in segments} == {f"1/{heard.rate_hz}"}
    assert sum(line["samples"] for line in segments) == len(heard.sound)
    span_ns = segments[-1]["end_ns"] - segments[0]["first_ns"]
    assert abs(len(heard.sound) * SECOND_NS / heard.rate_hz - span_ns) < LENGTH_NS
    assert span_ns >= SECONDS * SECOND_NS


@pytest.mark.parametrize("name", DEVICES)
def test_the_tone_is_the_tone_that_sounded(recorded: Mapping[str, Heard], name: str) -> None:
    """At its frequency and level, and in one phase over all segments: no sample is missing, none is there twice."""
    heard = recorded[name]
    found = measured(heard.sound, heard.rate_hz)
    assert found.frequency_hz == pytest.approx(TONE_HZ, abs=0.01)
    assert found.amplitude == pytest.approx(LEVEL, rel=0.001)
    assert found.rest < 2 / (1 << 15)
    assert heard.status.level_dbfs == pytest.approx(20 * np.log10(LEVEL / np.sqrt(2)), abs=0.2)


@pytest.mark.parametrize("name", DEVICES)
def test_the_composite_hears_the_same(recorded: Mapping[str, Heard], name: str) -> None:
    heard = recorded[name]
    assert (len(heard.heard), heard.missing) == (COMPOSITE_HZ, 0)
    found = measured(heard.heard, COMPOSITE_HZ)
    assert found.frequency_hz == pytest.approx(TONE_HZ, rel=0.001), "as near as the card's clock is known after so short a time"
    assert found.amplitude == pytest.approx(LEVEL, rel=0.01)
    assert found.rest < LEVEL / 300


def test_a_device_of_24_bits_gives_the_upper_16(recorded: Mapping[str, Heard]) -> None:
    heard = recorded["24 bit"]
    rate, second = heard.rate_hz, tone(heard.rate_hz, 24) / (1 << 8)
    turns = round(measured(heard.sound, rate).phase / (2 * np.pi) * rate)
    off = []
    for near in range(turns - 3, turns + 4):
        first = pow(TONE_HZ, -1, rate) * near % rate  # the one sample of the second with this phase
        expected = np.resize(np.roll(second, -first), len(heard.sound))
        off.append(float(np.max(np.abs(expected - heard.sound * (1 << 15)))))
    assert min(off) <= 1


@pytest.mark.parametrize("name", DEVICES)
def test_what_is_told_of_the_device(recorded: Mapping[str, Heard], name: str) -> None:
    heard = recorded[name]
    (begin,) = [line for line in heard.lines if line["kind"] == "begin"]
    assert begin["device"] == {"name": "default", "direct": False}, "a sound server may have converted what comes"
    status = heard.status
    assert (status.sample_rate_hz, status.channels, status.codec, status.fault) == (heard.rate_hz, 1, "flac", None)
