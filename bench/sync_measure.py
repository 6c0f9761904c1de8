"""Lip sync of one recorded session: what its composite and its journals say, against the instants of the stand-ins."""

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.flash_beep import beeps, flashes, lamp, within
from bench.sync_model import change_ms
from recorder.clock.instants import PICTURE_NS, SECOND_NS, boot_id, boottime_ns
from recorder.composite.picture import FULL, inset_rect
from recorder.disk import journal
from recorder.disk.durable import read_json
from recorder.session.epoch import Epoch, read_tie
from tests.equipment.scene import FLASH_PERIOD_S

MS = 1_000_000
KEY_NS = SECOND_NS  # the stand-in cameras send a key frame on each whole second of theirs
LAMPS = {"main": lamp(FULL), "inset": lamp(inset_rect(640, 360, "bottom-right"))}


@dataclass(frozen=True, slots=True)
class Event:
    """A flash with its beep. at_ns: its true room time; the others are what is found minus that, ms; None: not found."""

    at_ns: int
    picture_ms: float | None
    inset_ms: float | None
    sound_ms: float | None

    @property
    def offset_ms(self) -> float | None:
        """Picture minus sound."""
        return None if self.picture_ms is None or self.sound_ms is None else self.picture_ms - self.sound_ms


@dataclass(frozen=True, slots=True)
class Session:
    """What was measured. track_ms: (room time, error in ms) of the main camera's key frames, one a segment, from its journal."""

    start_ns: int
    stop_ns: int
    events: tuple[Event, ...]
    track_ms: tuple[tuple[int, float], ...]


def monotonic_to_boottime_ns() -> int:
    """CLOCK_BOOTTIME minus CLOCK_MONOTONIC: constant as long as the PC does not sleep. The tightest of some readings."""
    readings = []
    for _ in range(9):
        before = time.monotonic_ns()
        boot = boottime_ns()
        after = time.monotonic_ns()
        readings.append((after - before, boot - (before + after) // 2))
    return min(readings)[1]


def measure(folder: Path, epoch_boottime_ns: int) -> Session:
    """Reads a finished session. epoch_boottime_ns: CLOCK_BOOTTIME of one true flash; there is one each five seconds.

    Raises EvidenceFault, NotFound, av.error.FFmpegError.
    """
    session: Mapping[str, Any] = read_json(folder / "session.json")
    start_ns, stop_ns = int(session["start_ns"]), int(session["stop_ns"])
    epoch = Epoch(read_tie(folder / "epochs" / f"{boot_id()}.json"))
    lamp_ns = epoch.room_ns(epoch_boottime_ns)
    events: list[Event] = []
    for part in journal.read(folder / "composite" / "journal.jsonl"):
        if part["kind"] == "part":
            path = folder / "composite" / str(part["file"])
            events += events_of(path, int(str(part["start_ns"])), int(str(part["end_ns"])), lamp_ns)
    track = tuple(track_errors(journal.read(folder / "tracks" / "overview" / "journal.jsonl"), lamp_ns))
    return Session(start_ns, stop_ns, tuple(events), track)


def events_of(path: Path, start_ns: int, end_ns: int, lamp_ns: int) -> list[Event]:
    """Every flash of one part of the composite, shown from start_ns to end_ns. lamp_ns: the true instant of any flash."""
    period_ns = FLASH_PERIOD_S * SECOND_NS
    first = lamp_ns + -(-(start_ns - lamp_ns) // period_ns) * period_ns
    expected = within(range(first, end_ns, period_ns), start_ns, end_ns)
    seen, heard = flashes(path, start_ns, expected, LAMPS), beeps(path, start_ns, expected)

    def error(found: float | None, at_ns: int) -> float | None:
        return None if found is None else (found - at_ns) / MS

    rows = zip(expected, seen["main"], seen["inset"], heard, strict=True)
    return [Event(at, error(main, at), error(inset, at), error(sound, at)) for at, main, inset, sound in rows]


def track_errors(entries: Any, lamp_ns: int) -> list[tuple[int, float]]:
    """Of each segment's first packet: its room time, and how far it lies from the true instant of a key frame, ms.

    Unlike the composite's pictures, which stand on a grid of 40 ms, these are not rounded.
    """
    errors = []
    for entry in entries:
        if entry["kind"] == "segment":
            first_ns = int(str(entry["first_ns"]))
            off_ns = (first_ns - lamp_ns + KEY_NS // 2) % KEY_NS - KEY_NS // 2
            errors.append((first_ns, off_ns / MS))
    return errors


def by_minute(points: Sequence[tuple[int, float | None]], start_ns: int) -> list[float | None]:
    """Medians of (room time, value) by minute from start_ns on; None where a minute has no value."""
    minutes: dict[int, list[float]] = {}
    for at_ns, value in points:
        if value is not None:
            minutes.setdefault((at_ns - start_ns) // (60 * SECOND_NS), []).append(value)
    return [statistics.median(minutes[n]) if n in minutes else None for n in range(max(minutes, default=-1) + 1)]


def spread(values: Sequence[float | None]) -> dict[str, float] | None:
    """Median, lowest and highest of what there is; None of nothing."""
    known = [v for v in values if v is not None]
    if not known:
        return None
    return {name: round(f(known), 2) for name, f in (("median", statistics.median), ("min", min), ("max", max))}


def summary(session: Session, calibration_ms: float | None) -> dict[str, Any]:
    """One condition's part of the JSON. calibration_ms: the constant to take off; None: this session's first minute's median."""
    events = session.events
    offsets = [(e.at_ns, e.offset_ms) for e in events]
    minutes = by_minute(offsets, session.start_ns)
    sound = by_minute([(e.at_ns, e.sound_ms) for e in events], session.start_ns)
    track = by_minute([point for point in session.track_ms if point[0] >= session.start_ns], session.start_ns)
    fine = [a - b if a is not None and b is not None else None for a, b in zip(track, sound, strict=False)]
    constant = calibration_ms if calibration_ms is not None else next((m for m in minutes if m is not None), 0.0)
    known = [value for _, value in offsets if value is not None]
    return {
        "offsets_ms": [None if m is None else round(m, 2) for m in minutes],
        "calibration_ms": round(constant, 2),
        "max_abs_offset_ms": round(max((abs(v - constant) for v in known), default=0.0), 2) if known else None,
        "max_abs_raw_offset_ms": round(max(map(abs, known)), 2) if known else None,
        "drift_ms": round(change_ms([m for m in minutes if m is not None]), 2),
        "fine_offsets_ms": [None if m is None else round(m, 2) for m in fine],
        "fine_drift_ms": round(change_ms([m for m in fine if m is not None]), 2),
        "picture_vs_truth_ms": spread([e.picture_ms for e in events]),
        "inset_vs_truth_ms": spread([e.inset_ms for e in events]),
        "sound_vs_truth_ms": spread([e.sound_ms for e in events]),
        "track_vs_truth_ms": spread([error for _, error in session.track_ms]),
        "events": len(events),
        "not_found": sum(e.offset_ms is None for e in events),
    }


def aligned_epoch_ns(now_monotonic_ns: int, now_utc_ns: int, phase_ns: int) -> int:
    """An instant of CLOCK_MONOTONIC, now or up to 40 ms earlier, that lies phase_ns after a slot of the composite's grid.

    The grid is that of UTC in steps of 40 ms (recorder.clock.instants.snap_start).
    """
    return now_monotonic_ns - (now_utc_ns - phase_ns) % PICTURE_NS
