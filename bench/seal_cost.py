"""How long the seal of four hours takes: real segments, written by the product's own recorder as fast as the disk takes them.

Cameras: two tracks of a stand-in's H.264 packets, 25 a second, at ``--mbps`` each (the bytes of four hours at a room's 4 Mbit/s
would be 14 GB; digests are kept while recording, so a seal reads none of them: give two rates and see). Microphone: the
stand-in's speech as FLAC. Segments of 10 s with their journals and digests; the composite is one part of three seconds, since a
part is one file whatever its length. ``seal_s`` is the median of three seals (recorder.evidence.manifest.seal) of
the same folder, just written, of the slowest rate; ``rates`` has each. Everything is removed at the end.
"""

import argparse
import json
import shutil
import signal
import statistics
import sys
import tempfile
import time
import wave
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from agent.session.folder import make_session_folder, track_heads
from bench.rig import CACHE, TRACK_NAMES
from recorder.clock.instants import PICTURE_NS, SECOND_NS, boot_id, rfc3339, snap_start
from recorder.composite.encoder import EncoderSettings
from recorder.composite.part import SAMPLES_PER_PICTURE
from recorder.composite.picture import new_canvas
from recorder.composite.recording import Composite
from recorder.disk.journal import Journal
from recorder.evidence.manifest import seal
from recorder.media.packets import Format, Packet
from recorder.media.parameter_sets import format_of, parameter_sets
from recorder.session.epoch import session_epoch
from recorder.session.wall_clock import read_tie_now
from recorder.track.recording import Identity, Recording
from tests.equipment.clips import ClipRecipe, prepare
from tests.equipment.microphone import RATE_HZ, prepare_sound
from tests.equipment.scene import View

SEGMENT_NS = 10 * SECOND_NS
TICKS = 90_000 * PICTURE_NS // SECOND_NS
BLOCK = RATE_HZ * PICTURE_NS // SECOND_NS
SPEECH_MBPS = 0.5  # of FLAC, at most
RESERVE_BYTES = 2 << 30
VERSION = "bench"
Said = Callable[[str], None]


def recipe_of(mbps: float) -> ClipRecipe:
    """A small, cheap clip of that rate."""
    return ClipRecipe(
        seconds=10, width=640, height=360, bits_per_s=round(mbps * 1e6), sub_width=320, sub_height=180, sub_bits_per_s=100_000
    )


def format_from(unit: bytes) -> Format:
    """What a camera that begins with this access unit delivers."""
    found = format_of(unit, parameter_sets(unit, "h264"), Format("video", "h264", Fraction(1, 90_000), fps=25.0))
    if found is None:
        raise ValueError("the clip's first access unit is no key frame with its parameter sets")
    return found


def video_packets(units: list[bytes], gop: int, seconds: int) -> Iterator[Packet]:
    """The clip again and again, one picture each 40 ms from 0 on."""
    for n in range(seconds * SECOND_NS // PICTURE_NS):
        yield Packet(n * TICKS, n % gop == 0, units[n % len(units)], n * PICTURE_NS)


def sound_packets(wav: Path, seconds: int) -> Iterator[Packet]:
    """The speech again and again, in blocks of 40 ms from 0 on."""
    with wave.open(str(wav)) as file:
        speech = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    speech = speech[: speech.size // BLOCK * BLOCK]
    for n in range(seconds * SECOND_NS // PICTURE_NS):
        at = n * BLOCK
        yield Packet(at, True, speech[at % speech.size : at % speech.size + BLOCK].tobytes(), n * PICTURE_NS)


def write_track(
    session: Path, identity: Identity, span_ns: tuple[int, int], format_: Format, packets: Iterator[Packet]
) -> Recording:
    """One whole track of [T0, T1]. Raises StorageFault."""
    start_ns, stop_ns = span_ns
    folder = session / "tracks" / identity.track
    recording = Recording(folder, identity, start_ns, SEGMENT_NS, device={"model": "stand-in"})
    for packet in packets:
        recording.write(packet, start_ns + packet.arrival_ns, format_, 0.0)
    recording.end(stop_ns, 0.0)
    recording.close()
    return recording


def write_session(root: Path, seconds: int, recipe: ClipRecipe, say: Said) -> tuple[Path, dict[str, Any], dict[str, int]]:
    """A stopped session of so many seconds: folder, content of session.json, and segments, packets, bytes of its tracks."""
    now_ns = read_tie_now().utc_ns
    start_ns = snap_start(now_ns - seconds * SECOND_NS)
    stop_ns = start_ns + seconds * SECOND_NS
    name = "20261121T093005-room-01"
    folder = root / "sessions" / name
    make_session_folder(folder, TRACK_NAMES)
    epoch = session_epoch(folder, read_tie_now)
    clip, wav = prepare(CACHE, recipe), prepare_sound(CACHE)

    def camera(view: View) -> Recording:
        units = clip.units(view, "main")
        packets = video_packets(units, clip.recipe.gop, seconds)
        return write_track(folder, Identity(view, name, boot_id(), VERSION), (start_ns, stop_ns), format_from(units[0]), packets)

    def microphone() -> Recording:
        format_ = Format("audio", "flac", Fraction(1, RATE_HZ), rate_hz=RATE_HZ, channels=1)
        identity = Identity("microphone", name, boot_id(), VERSION)
        return write_track(folder, identity, (start_ns, stop_ns), format_, sound_packets(wav, seconds))

    with ThreadPoolExecutor(3) as pool:
        writers = [pool.submit(camera, "overview"), pool.submit(camera, "closeup"), pool.submit(microphone)]
        tracks = [writer.result() for writer in writers]
    say(f"{sum(t.segments for t in tracks)} segments written")
    write_composite(folder / "composite", name, start_ns, seconds)
    session: dict[str, Any] = {
        "id": name,
        "start_ns": start_ns,
        "stop_ns": stop_ns,
        "official_start": rfc3339(start_ns),
        "official_end": rfc3339(stop_ns),
        "timezone": "Asia/Shanghai",
    }
    journal = Journal(folder / "journal.jsonl")
    journal.append("started", session=name, official_start=session["official_start"])
    for minute in range(seconds // 60 + 1):
        at_ns = start_ns + minute * 60 * SECOND_NS
        journal.append("tie", **{**asdict(epoch.tie), "utc_ns": at_ns}, room_ns=at_ns)
        journal.append("anchor", heads=track_heads(folder, TRACK_NAMES))
    journal.append("stopping", stop_ns=stop_ns, official_end=session["official_end"], by="bench", reason="bench")
    journal.close()
    totals = {key: sum(getattr(t, key) for t in tracks) for key in ("segments", "packets", "bytes")}
    return folder, session, totals


def write_composite(folder: Path, session: str, start_ns: int, seconds: int) -> None:
    """One part, of three seconds. Raises StorageFault."""
    composite = Composite(folder, session, start_ns, VERSION)
    part = composite.open(EncoderSettings(26, "superfast", 96), 0)
    for n in range(75):
        part.put(new_canvas(), np.zeros(SAMPLES_PER_PICTURE, np.float32), n * PICTURE_NS)
    while not composite.ended:
        composite.end(seconds * SECOND_NS // PICTURE_NS)
    composite.release()


def timed_seals(folder: Path, session: dict[str, Any], keys: Path, runs: int) -> tuple[list[float], dict[str, Any]]:
    """Seconds of each seal and the last manifest; the seal before is taken away each time. Raises StorageFault."""
    taken, manifest = [], {}
    for _ in range(runs):
        for name in ("manifest.json", "manifest.sig"):
            (folder / name).unlink(missing_ok=True)
        began = time.monotonic()
        manifest = seal(folder, session, keys, software_version=VERSION).manifest
        taken.append(time.monotonic() - began)
    return taken, manifest


def one_rate(parent: Path, hours: float, mbps: float, recipe: ClipRecipe, say: Said) -> dict[str, Any]:
    """Writes, seals, removes. Raises StorageFault."""
    seconds = round(hours * 3600)
    with tempfile.TemporaryDirectory(prefix="bench-seal-", dir=parent) as name:
        root = Path(name)
        prepare(CACHE, recipe)  # made once
        say(f"writing {hours:g} h at {mbps:g} Mbit/s a camera in {root}")
        began = time.monotonic()
        folder, session, totals = write_session(root, seconds, recipe, say)
        written_s = time.monotonic() - began
        runs, manifest = timed_seals(folder, session, root / "keys", 3)
        covered = {track: facts["covered"] for track, facts in manifest["tracks"].items()}
        result: dict[str, Any] = {"seal_s": round(statistics.median(runs), 3), **totals, "hours": hours, "mbps": mbps}
        result |= {"seal_runs_s": [round(s, 3) for s in runs], "written_s": round(written_s, 1)}
        result |= {"covered": covered, "problems": len(manifest["problems"])}
        say(f"sealed in {result['seal_s']} s")
    return result


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench/seal", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="only the JSON line")
    parser.add_argument("--hours", type=float, default=4.0, help="length of the session (default %(default)s)")
    parser.add_argument(
        "--mbps", type=float, nargs="+", default=[0.3], help="bit rates of a camera, one session each (default 0.3)"
    )
    parser.add_argument("--folder", type=Path, default=None, help="on the disk to measure (default: the system's temporary one)")
    chosen = parser.parse_args()
    parent = (chosen.folder or Path(tempfile.gettempdir())).resolve()
    if not parent.is_dir():
        parser.error(f"--folder {parent}: no such folder")
    needed = round(chosen.hours * 3600 * (2 * max(chosen.mbps) + SPEECH_MBPS) * 1e6 / 8) + RESERVE_BYTES
    if (free := shutil.disk_usage(parent).free) < needed:
        parser.error(f"--folder {parent}: {free >> 20} MiB free, {needed >> 20} MiB needed; use another disk, or a lower --mbps")

    def say(text: str) -> None:
        if not chosen.json:
            sys.stderr.write(text + "\n")

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    results = [one_rate(parent, chosen.hours, mbps, recipe_of(mbps), say) for mbps in chosen.mbps]
    answer = {**results[0], "seal_s": max(r["seal_s"] for r in results), "rates": results}
    sys.stdout.write(json.dumps(answer) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
