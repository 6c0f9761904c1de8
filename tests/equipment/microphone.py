"""The stand-in microphone: a private PulseAudio server whose one source hears speech, with a beep at each flash of the lamps.

The product opens the ALSA device "default"; ``StandInMicrophone.env`` makes that this source.
"""

import fcntl
import hashlib
import signal
import subprocess
import sys
import tempfile
import wave
from pathlib import Path
from typing import Any

import numpy as np

from tests.equipment.process import Child, EquipmentError, Peer, wait_for
from tests.equipment.scene import FLASH_PERIOD_S

FORMAT = 2  # of the cache
RATE_HZ = 48_000
LOOP_S = 30
BEEP_HZ, BEEP_S, BEEP_PEAK = 1000.0, 0.06, 0.25
QUIET_S = (0.2, 0.3)  # before and after a beep's start: no speech
SPEECH_RMS, ROOM_RMS = 0.06, 0.0012  # full scale 1
Sound = np.ndarray[Any, Any]
FEEDER = Path(__file__).with_name("feeder.py")

TEXT = {
    "zh": "你好。现在开始询问。请问你的姓名和工作单位。我叫张伟，在建筑公司工作。请你说一下当天的情况。"
    "那天上午九点，我到了工地，看见材料堆放在路边。你当时有没有通知负责人？通知了，他说下午会派人处理。"
    "还有没有要补充的？没有了，以上说的都是事实。",
    "en": "Good morning. The interview begins now. Please tell me your name and where you work. My name is David Miller, and I "
    "work for a building company. Please describe what happened on that day. I came to the site at nine in the morning and saw "
    "material lying beside the road. Did you tell the manager? I did, and he said that he would send somebody in the afternoon. "
    "Is there anything to add? No.",
}
VOICE = {"zh": "cmn", "en": "en-gb"}


def prepare_sound(cache: Path, language: str = "zh") -> Path:
    """The WAV file, 48 kHz mono, LOOP_S long: speech over a quiet room, a beep at 0 s and each 5 s. Made once."""
    key = hashlib.sha256(f"{FORMAT}|{language}|{TEXT[language]}".encode()).hexdigest()[:16]
    path = cache / f"speech-{key}.wav"
    cache.mkdir(parents=True, exist_ok=True)
    with open(path.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            sound = _mixed(_speech(language))
            unfinished = path.with_suffix(".new")
            with wave.open(str(unfinished), "wb") as file:
                file.setnchannels(1)
                file.setsampwidth(2)
                file.setframerate(RATE_HZ)
                file.writeframes(np.round(np.clip(sound, -1, 1) * 32767).astype("<i2").tobytes())
            unfinished.rename(path)
    return path


def _speech(language: str) -> Sound:
    """espeak-ng's speech at 48 kHz, full scale 1."""
    with tempfile.TemporaryDirectory() as folder:
        wav = Path(folder) / "speech.wav"
        subprocess.run(
            ["espeak-ng", "-v", VOICE[language], "-s", "150", "-w", wav, "--stdin"],
            input=TEXT[language].encode(),
            check=True,
            timeout=60,
        )
        with wave.open(str(wav)) as file:
            rate, samples = file.getframerate(), np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768
    at = np.arange(int(len(samples) * RATE_HZ / rate)) * rate / RATE_HZ
    resampled: Sound = np.interp(at, np.arange(len(samples)), samples)
    return resampled


def _mixed(speech: Sound) -> Sound:
    sound = np.zeros(LOOP_S * RATE_HZ)
    speech = speech[: len(sound) - RATE_HZ]
    sound[: len(speech)] = speech * (SPEECH_RMS / np.sqrt(np.mean(speech**2)))
    time_s = np.arange(int(BEEP_S * RATE_HZ)) / RATE_HZ
    edge = np.clip(np.minimum(time_s, BEEP_S - time_s) / 0.001, 0, 1)  # 1 ms: no click
    beep = BEEP_PEAK * np.sin(2 * np.pi * BEEP_HZ * time_s) * edge
    before, after = (round(s * RATE_HZ) for s in QUIET_S)
    for start in range(0, len(sound), FLASH_PERIOD_S * RATE_HZ):
        sound[np.arange(start - before, start + after) % len(sound)] = 0
    sound += np.random.default_rng(3).normal(0, ROOM_RMS, len(sound))
    for start in range(0, len(sound), FLASH_PERIOD_S * RATE_HZ):
        sound[start : start + len(beep)] += beep
    return sound


class StandInMicrophone:
    """The sound server and what it hears.

    run: a folder with a short path (Unix sockets allow 107 bytes). wav: mono, with the rate and the bits of the device.
    epoch_ns: CLOCK_MONOTONIC of a beep's start, each 5 s again.
    """

    FAULTS = ("back", "gone", "frozen", "asleep", "silence", "drift")

    def __init__(self, run: Path, log: Path, wav: Path, epoch_ns: int, *, ppm: float = 0.0) -> None:
        self._run, self._log, self._wav, self._epoch_ns, self._ppm = run, log, wav, epoch_ns, ppm
        self._socket, self._fifo = run / "native", run / "mic.fifo"
        self._pulse: Child | None = None
        self._feeder: Peer | None = None

    @property
    def env(self) -> dict[str, str]:
        """What a program needs to hear this microphone as ALSA's "default"."""
        return {
            "ALSA_CONFIG_PATH": str(self._run / "asound.conf"),
            "XDG_RUNTIME_DIR": str(self._run),
            "PULSE_RUNTIME_PATH": str(self._run),
            "PULSE_COOKIE": str(self._run / "cookie"),
        }

    @property
    def pids(self) -> list[int]:
        return [child.pid for child in (self._pulse, self._feeder) if child]

    def start(self) -> None:
        """Starts both processes. Raises EquipmentError."""
        self._run.mkdir(parents=True, exist_ok=True)
        self._run.chmod(0o700)
        with wave.open(str(self._wav)) as file:
            name = "s16le" if file.getsampwidth() == 2 else "s24-32le"
            form = f"format={name} rate={file.getframerate()} channels=1"
        device = f'{{ type pulse server "unix:{self._socket}" device "mic" }}\n'
        (self._run / "asound.conf").write_text(f"pcm.!default {device}ctl.!default {device}")
        (self._run / "mic.pa").write_text(
            f"load-module module-native-protocol-unix auth-anonymous=1 socket={self._socket}\n"
            f"load-module module-pipe-source source_name=mic file={self._fifo} {form}\n"
            "set-default-source mic\n"
        )
        self._start_pulse()
        self._feeder = Peer("feeder", [sys.executable, FEEDER], self._log)
        self._feeder.ask({"fifo": str(self._fifo), "wav": str(self._wav), "epoch_ns": self._epoch_ns, "ppm": self._ppm}, 15)

    def _start_pulse(self) -> None:
        for left_by_a_killed_server in (self._socket, self._fifo):
            left_by_a_killed_server.unlink(missing_ok=True)
        options = [
            "-n",
            "--daemonize=no",
            "--exit-idle-time=-1",
            "--use-pid-file=no",
            "--disable-shm=yes",
            "-F",
            str(self._run / "mic.pa"),
        ]
        env = {"HOME": str(self._run), "XDG_RUNTIME_DIR": str(self._run), "LC_ALL": "C"}
        pulse = self._pulse = Child("pulseaudio", ["pulseaudio", *options], self._log, env)
        wait_for(lambda: self._socket.exists() and self._fifo.exists(), "the sound server's socket", 15, alive=pulse)

    def stop(self) -> None:
        """Ends both."""
        for child in (self._feeder, self._pulse):
            if child:
                child.end()
        self._feeder = self._pulse = None

    def _ask(self, **values: object) -> dict[str, object]:
        if self._feeder is None:
            raise EquipmentError("the microphone was not started")
        return self._feeder.ask(values)

    def status(self) -> dict[str, object]:
        """Samples written to the sound server, and lost because it did not read."""
        return self._ask(status=True)

    # faults

    def back(self) -> None:
        """Everything as at the start; the beeps in the same phase."""
        if self._feeder:
            self._feeder.signal(signal.SIGCONT)
        self._ask(silent=False, ppm=self._ppm)
        if self._pulse is None:
            self._start_pulse()
        else:
            self._pulse.signal(signal.SIGCONT)

    def gone(self) -> None:
        """The sound server is killed: callbacks just stop."""
        pulse, self._pulse = self._pulse, None
        if pulse:
            pulse.kill()

    def frozen(self) -> None:
        """The sound server is stopped: streams stay open and deliver nothing."""
        if self._pulse:
            self._pulse.signal(signal.SIGSTOP)

    def asleep(self) -> None:
        """The device is stopped behind a sound server that runs: streams open, and deliver nothing."""
        if self._feeder:
            self._feeder.signal(signal.SIGSTOP)

    def silence(self) -> None:
        """Delivers nothing but zeros, as a pickup without power."""
        self._ask(silent=True)

    def drift(self, ppm: float = 100) -> None:
        """The card's clock runs fast (or slow, below zero) from now on."""
        self._ask(ppm=ppm)
