"""What the microphone really heard, to compare with what was stored of it.

The stand-in plays a known film of sound, 30 s long and nowhere equal to itself, bit for bit at 0 ppm: so each stored sample tells
its true place, and every missing one is known. At other rates the beeps tell: 1 kHz at the epoch and each 5 s from then on.
"""

import wave
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np

from recorder.disk import journal
from recorder.evidence.continuity import Span
from tests.equipment.microphone import BEEP_HZ, BEEP_PEAK, BEEP_S, LOOP_S, RATE_HZ, prepare_sound
from tests.equipment.scene import FLASH_PERIOD_S
from tests.live_room import SECOND, LiveRoom, monotonic_to_boottime_ns

Sound = np.ndarray[Any, Any]
LOOP_NS, PERIOD_NS = LOOP_S * SECOND, FLASH_PERIOD_S * SECOND
SEARCH_S = 0.17  # around a beep there is no speech for 0.2 s
SAMPLE_NS = SECOND // RATE_HZ
KNOWN = 64  # samples that place a piece
CRUMB_NS = SECOND // 25  # a loss of sound is counted right to this, and one that is shorter need not show
LOUD = 0.3  # of a beep's level: below it there is none


@dataclass(frozen=True, slots=True)
class Piece:
    """Samples that are stored in a row in one segment and were heard in a row. Times are room time, ns.

    room_ns: of the first by the journal. heard_ns: when it truly sounded.
    """

    file: str
    room_ns: int
    heard_ns: int
    samples: int

    @property
    def end_ns(self) -> int:
        """When what follows its last sample sounded."""
        return self.heard_ns + self.samples * SECOND // RATE_HZ

    @property
    def error_ms(self) -> float:
        """Its stored time minus the true one."""
        return (self.room_ns - self.heard_ns) / 1e6


def epoch_ns(room: LiveRoom, answer: dict[str, Any]) -> int:
    """Room time at which the film of sound began."""
    return room.room_ns(answer, room.stand_ins.epoch_ns + monotonic_to_boottime_ns())


def lost_by_the_card(room: LiveRoom) -> int:
    """Samples that sounded and that the sound server did not take, since the room began."""
    return int(str(room.stand_ins.microphone.status()["lost"]))


def played(room: LiveRoom) -> Sound:
    """The film of sound."""
    with wave.open(str(prepare_sound(room.stand_ins.cache))) as file:
        return np.frombuffer(file.readframes(file.getnframes()), "<i2")


def samples_of(path: Path) -> Sound:
    """A segment's samples."""
    with av.open(f"file:{path}") as container:
        return np.concatenate([frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)])


def pieces(room: LiveRoom, answer: dict[str, Any]) -> list[Piece]:
    """The microphone's segments, each cut wherever a sample is missing. Fails on a sample that was never heard."""
    film, zero = played(room), epoch_ns(room, answer)
    folder = room.session_folder(answer) / "tracks" / "microphone"
    found: list[Piece] = []
    for entry in room.journal(answer, "microphone"):
        if entry["kind"] != "segment":
            continue
        samples, at = samples_of(folder / entry["file"]), 0
        while at < len(samples):
            place = _place(film, samples[at : at + KNOWN])
            count = _equal(film, place, samples[at:])
            room_ns = entry["first_ns"] + round(at * SECOND / RATE_HZ * (1 + entry["ppm"] * 1e-6))
            heard_ns = zero + place * SECOND // RATE_HZ
            heard_ns += round((room_ns - heard_ns) / LOOP_NS) * LOOP_NS
            found.append(Piece(entry["file"], room_ns, heard_ns, count))
            at += count
    return found


def _place(film: Sound, samples: Sound) -> int:
    """Where in the film these samples are."""
    looped = np.concatenate([film, film[: len(samples)]])
    candidates = np.flatnonzero(film == samples[0])
    for n in range(1, len(samples)):
        candidates = candidates[looped[candidates + n] == samples[n]]
    assert len(candidates) == 1, f"{len(samples)} samples in a row were never heard: {samples[:8]}…"
    return int(candidates[0])


def _equal(film: Sound, place: int, samples: Sound) -> int:
    """How many of the samples are the film's from the place on."""
    expected = np.resize(np.roll(film, -place), len(samples))
    different = np.flatnonzero(expected != samples)
    return int(different[0]) if len(different) else len(samples)


def heard(found: list[Piece]) -> list[Span]:
    """When what is stored sounded, without a hole. Fails on a sample stored twice."""
    spans: list[Span] = []
    for piece in found:
        missing_ns = piece.heard_ns - spans[-1].to_ns if spans else 0
        assert missing_ns > -SAMPLE_NS, f"{piece.file} holds {-missing_ns / 1e6:.1f} ms of sound a second time"
        if spans and missing_ns <= SAMPLE_NS:
            spans[-1] = Span(spans[-1].from_ns, piece.end_ns)
        else:
            spans.append(Span(piece.heard_ns, piece.end_ns))
    return spans


def heard_holes(found: list[Piece]) -> list[Span]:
    """When what is missing sounded."""
    return [Span(one.to_ns, following.from_ns) for one, following in pairwise(heard(found))]


def losses(found: list[Piece]) -> list[Span]:
    """The holes, as the ledger can know them: with less sound between them than CRUMB_NS, two are one loss."""
    spans: list[Span] = []
    for hole in heard_holes(found):
        if spans and hole.from_ns - spans[-1].to_ns < CRUMB_NS:
            spans[-1] = Span(spans[-1].from_ns, hole.to_ns)
        else:
            spans.append(hole)
    return spans


def beeps(from_ns: int, to_ns: int, zero_ns: int) -> range:
    """Numbers of the beeps that sounded in [from_ns, to_ns). zero_ns: when the film of sound began, with beep 0."""
    return range(-(-(from_ns - zero_ns) // PERIOD_NS), -(-(to_ns - zero_ns) // PERIOD_NS))


def beep_errors_ms(sound: Sound, first_ns: int, ppm: float, zero_ns: int) -> dict[int, float]:
    """How much later than they sounded the beeps stand in samples (full scale 1) that begin at a room time: number to ms.

    ppm: by which the true length of a sample is longer than 1/48000 s. A beep that is not there, or too near an end, is left out.
    """
    step_ns = SECOND / RATE_HZ * (1 + ppm * 1e-6)
    tone = sound * np.exp(-2j * np.pi * BEEP_HZ * np.arange(len(sound)) / RATE_HZ)
    sums = np.concatenate([[0], np.cumsum(tone)])
    length = round(BEEP_S * RATE_HZ)
    level = np.abs(sums[length:] - sums[:-length]) / length * 2 / BEEP_PEAK
    errors = {}
    for beep in beeps(first_ns, first_ns + round(len(sound) * step_ns), zero_ns):
        expected = (zero_ns + beep * PERIOD_NS - first_ns) / step_ns
        low, high = round(expected - SEARCH_S * RATE_HZ), round(expected + SEARCH_S * RATE_HZ)
        if low < 0 or high > len(level):
            continue
        at = low + int(np.argmax(level[low:high]))
        if level[at] > LOUD:
            errors[beep] = (at - expected) * step_ns / 1e6
    return errors


def stored_beeps_ms(room: LiveRoom, answer: dict[str, Any]) -> dict[int, float]:
    """See beep_errors_ms: of the microphone's segments."""
    folder, zero = room.session_folder(answer) / "tracks" / "microphone", epoch_ns(room, answer)
    errors: dict[int, float] = {}
    for entry in room.journal(answer, "microphone"):
        if entry["kind"] == "segment":
            sound = samples_of(folder / entry["file"]).astype(np.float64) / 32768
            errors |= beep_errors_ms(sound, entry["first_ns"], entry["ppm"], zero)
    return errors


def composite_beeps_ms(room: LiveRoom, answer: dict[str, Any]) -> dict[int, float]:
    """See beep_errors_ms: of the composite's parts."""
    folder, zero = room.session_folder(answer), epoch_ns(room, answer)
    errors: dict[int, float] = {}
    for part in journal.read(folder / "composite" / "journal.jsonl"):
        if part["kind"] == "part":
            with av.open(f"file:{folder / 'composite' / str(part['file'])}") as container:
                frames = list(container.decode(audio=0))
            sound = np.concatenate([frame.to_ndarray().mean(axis=0) for frame in frames])
            into_ns = round(float((frames[0].pts or 0) * (frames[0].time_base or 0)) * SECOND)
            errors |= beep_errors_ms(sound, int(str(part["start_ns"])) + into_ns, 0.0, zero)
    return errors
