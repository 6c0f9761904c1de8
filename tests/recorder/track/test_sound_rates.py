"""Sound devices of other rates, and one of 24 bits: from the sound server through PortAudio to the sealed FLAC and the composite.

The sound server and ALSA give 16 bits of a 24-bit device, which is what the product asks for.
"""

import os
import shutil
import subprocess
import sys
import threading
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
from tests.equipment.process import wait_for
from tests.equipment.room import _short_folder

TONE_HZ, LEVEL = 997, 0.1  # in one second a whole number of them; full scale 1
COMPOSITE_HZ = 48_000
SECONDS = 2.0
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
    """What came of a device. sound: the sealed FLAC, heard: what the composite reads of it, full scale 1."""

    rate_hz: int
    lines: list[dict[str, Any]]
    manifest: dict[str, Any]
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


def record(folder: Path, rate_hz: int, bits: int, together: threading.Barrier) -> Heard:
    """Two seconds of a device, all devices at the same time."""
    short = _short_folder()
    device = StandInMicrophone(
        short / "sound", folder / "microphone.log", write_wav(folder / "tone.wav", rate_hz, bits), time.monotonic_ns()
    )
    root, run = make_folder(folder / "data"), make_folder(folder / "run")
    make_folder(run / "status")
    session = make_folder(root / "sessions" / "s1")
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    device.start()
    env |= device.env
    hub = LiveHub(live_socket(run), ["microphone"])
    composite = SoundInput(COMPOSITE_HZ, hub)
    try:
        with subprocess.Popen(
            [sys.executable, "-c", CHILD, str(root), str(run), str(rate_hz)], env=env, stderr=subprocess.DEVNULL
        ) as child:
            try:
                return _record(session, run, rate_hz, composite, together)
            finally:
                child.terminate()
    finally:
        composite.stop()
        hub.close()
        if composite.is_alive():
            composite.join(3)
        device.stop()
        shutil.rmtree(short)


def _record(session: Path, run: Path, rate_hz: int, composite: SoundInput, together: threading.Barrier) -> Heard:
    root, file = session.parents[1], run / "status" / "microphone.json"

    def status() -> TrackStatus | None:
        found = read_status(file) if file.exists() else None
        return found if isinstance(found, TrackStatus) else None

    def state(name: str) -> bool:
        found = status()
        return found is not None and found.state == name

    wait_for(lambda: state("armed"), "a device that delivers", 20)
    composite.start()
    together.wait(30)
    epoch = session_epoch(session, read_tie_now)
    start_ns = epoch.room_ns(boottime_ns()) + SECOND_NS // 5
    stop_ns = start_ns + round(SECONDS * SECOND_NS)
    Wanted("s1", start_ns, stop_ns).write(root / "wanted.json")
    wait_for(lambda: state("finished"), "its end", 10)
    found = status()
    assert found is not None
    heard, missing = composite.read(epoch.boottime_ns(start_ns + SECOND_NS // 2), COMPOSITE_HZ)
    lines: list[dict[str, Any]] = [dict(line) for line in journal.read(session / "tracks" / "microphone" / "journal.jsonl")]
    record: dict[str, Any] = {"id": "s1", "start_ns": start_ns, "stop_ns": stop_ns, "timezone": "Asia/Shanghai"}
    sealed = seal(session, record, root / "keys", software_version="0", required=("microphone",))
    sound: list[NDArray[np.int16]] = []
    for line in lines:
        if line["kind"] == "segment":
            with av.open(str(session / "tracks" / "microphone" / line["file"])) as container:
                stream = container.streams.audio[0]
                assert (stream.codec_context.name, stream.rate, stream.channels) == ("flac", rate_hz, 1)
                frames: list[Any] = [frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)]
                assert {frame.dtype for frame in frames} == {np.dtype(np.int16)}
                sound += frames
    samples = np.concatenate(sound).astype(np.float64) / (1 << 15)
    return Heard(rate_hz, lines, sealed.manifest, found, samples, heard.astype(np.float64), missing)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Heard]]:
    together = threading.Barrier(len(DEVICES))
    with ThreadPoolExecutor(len(DEVICES)) as pool:
        waiting = {name: pool.submit(record, tmp_path_factory.mktemp("sound"), *of, together) for name, of in DEVICES.items()}
        yield {name: each.result() for name, each in waiting.items()}


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
    track = heard.manifest["tracks"]["microphone"]
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
    first = pow(TONE_HZ, -1, rate) * turns % rate  # the one sample of the second with this phase
    expected = np.resize(np.roll(second, -first), len(heard.sound))
    assert np.max(np.abs(expected - heard.sound * (1 << 15))) <= 1


@pytest.mark.parametrize("name", DEVICES)
def test_what_is_told_of_the_device(recorded: Mapping[str, Heard], name: str) -> None:
    heard = recorded[name]
    (begin,) = [line for line in heard.lines if line["kind"] == "begin"]
    assert begin["device"]["name"] == "default"
    status = heard.status
    assert (status.sample_rate_hz, status.channels, status.codec, status.fault) == (heard.rate_hz, 1, "flac", None)
