"""A sealed session of four seconds whose composite has a gap, written by the recorder's own writers, from given packets."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from recorder.clock.instants import PICTURE_NS, SECOND_NS, boottime_ns, rfc3339
from recorder.composite.encoder import EncoderSettings
from recorder.composite.inputs import VideoInputSettings
from recorder.composite.part import SAMPLES_PER_PICTURE
from recorder.composite.picture import new_canvas
from recorder.composite.recording import Composite
from recorder.composite.settings import ComposerSettings
from recorder.disk.durable import encode, make_folder, write_json
from recorder.disk.journal import Journal
from recorder.evidence import manifest
from recorder.later.composing import Order
from recorder.media.packets import Format, Packet
from recorder.track.segments import open_writer
from tests.equipment.process import wait_for
from tests.recorder import media_samples

SECONDS = 4
GAP = (30, 90)  # pictures
SESSION = "20261121T093005-room-01"
START_NS = 1_795_224_605_280_000_000  # 2026-11-21T09:30:05.280+08:00
ZONE = ZoneInfo("Asia/Shanghai")
ENCODER = EncoderSettings(18, "ultrafast", 160)
SOUND_HZ = 48_000
SOUND_PPM = 150.0  # the card runs slow
BLOCK = SOUND_HZ // 25
CLOSEUP_PICTURES = 62  # the close-up stops 1½ s after the official start
LEAD_NS = SECOND_NS + 10_000_000


@dataclass(frozen=True, slots=True)
class Original:
    """What a track holds: packets with their room times, cut into segments before the given ones."""

    format: Format
    packets: Sequence[tuple[int, Packet]]
    cuts: Sequence[int]
    ppm: float = 0.0


def noise(seconds: float) -> tuple[Format, list[Packet]]:
    """Blocks of 40 ms of noise up to some 4 kHz: it is like itself at one place only."""
    rng = np.random.default_rng(5)
    rough = np.convolve(rng.standard_normal(round(seconds * SOUND_HZ)), np.ones(6) / 6, "same")
    samples = (rough / np.abs(rough).max() * 12_000).astype("<i2").reshape(-1, BLOCK)
    format_ = Format("audio", "flac", Fraction(1, SOUND_HZ), rate_hz=SOUND_HZ, channels=1)
    return format_, [_packet(n * BLOCK, block.tobytes()) for n, block in enumerate(samples)]


def _packet(count: int, data: bytes) -> Packet:
    known = {"pts": count, "dts": count, "key": True, "data": data, "arrival_ns": 0}
    return Packet(**{name: value for name, value in known.items() if name in Packet.__dataclass_fields__})  # type: ignore[arg-type]


def timed(packets: Sequence[Packet], first_ns: int, interval_ns: float = PICTURE_NS) -> list[tuple[int, Packet]]:
    """Packets at a steady pace."""
    return [(first_ns + round(n * interval_ns), packet) for n, packet in enumerate(packets)]


def sound_interval_ns() -> float:
    """The room time of one block of a card that runs slow."""
    return PICTURE_NS * (1 + SOUND_PPM * 1e-6)


def originals(samples: Path, start_ns: int) -> dict[str, Original]:
    """From a second before the official start on: the overview and the sound whole, the close-up up to 1½ s after it."""
    format_, packets = media_samples.video(samples, seconds=6)
    pictures = timed(packets[:125], start_ns - LEAD_NS)
    sound_format, blocks = noise(6)
    heard = timed(blocks, start_ns - SECOND_NS, sound_interval_ns())
    return {
        "overview": Original(format_, pictures, (50, 75)),
        "closeup": Original(format_, pictures[:CLOSEUP_PICTURES], (50,)),
        "microphone": Original(sound_format, heard, (60, 90), SOUND_PPM),
    }


def write_track(folder: Path, name: str, start_ns: int, original: Original) -> None:
    """Segments and their journal; every track lacks an end that is its own affair."""
    journal = Journal(make_folder(folder) / "journal.jsonl")
    journal.append("begin", session=SESSION, track=name, start_ns=start_ns, boot_id="test", software="test", device={})
    edges = [0, *original.cuts, len(original.packets)]
    sound = original.format.media == "audio"
    interval_ns = round(sound_interval_ns()) if sound else PICTURE_NS
    for number, (first, end) in enumerate(pairwise(edges)):
        part = original.packets[first:end]
        if not part:
            continue
        file, first_ns = f"{number:06d}.mkv", part[0][0]
        journal.append("open", file=file, first_ns=first_ns, codec=original.format.codec)
        writer = open_writer(folder / file, original.format)
        for _, packet in part:
            writer.write(packet)
        writer.finish()
        digest = writer.sink.close()
        journal.append(
            "segment",
            file=file,
            bytes=writer.sink.bytes,
            sha256=digest,
            packets=writer.packets,
            keyframes=writer.keyframes,
            first_ns=first_ns,
            last_ns=part[-1][0],
            end_ns=part[-1][0] + interval_ns,
            first_pts=part[0][1].pts,
            last_pts=part[-1][1].pts,
            time_base=str(original.format.time_base),
            ppm=original.ppm,
            codec=original.format.codec,
            samples=len(part) * BLOCK if sound else 0,
            recovered=False,
        )
    journal.close()


def write_composite(folder: Path, start_ns: int, gap: tuple[int, int]) -> None:
    """Two grey parts around the gap; none before it where it begins at 0."""
    composite = Composite(folder, SESSION, start_ns, "test")
    due = SECONDS * 25
    for first, end in ((0, gap[0]), (gap[1], due)):
        if first == end:
            continue
        part = composite.open(ENCODER, first)
        for _ in range(end - first):
            while not part.put(new_canvas(), np.zeros(SAMPLES_PER_PICTURE, np.float32), boottime_ns()):
                continue
        composite.close()

    def ended() -> bool:
        composite.end(due)
        return composite.ended

    wait_for(ended, "the composite's end")
    composite.release()


def seal(root: Path, originals: dict[str, Original], start_ns: int = START_NS, gap: tuple[int, int] = GAP) -> Path:
    """The sealed session's folder below root; its key in ``keys``."""
    folder = make_folder(root / "sessions" / SESSION)
    for name in ("overview", "closeup", "microphone"):
        write_track(folder / "tracks" / name, name, start_ns, originals[name])
    write_composite(folder / "composite", start_ns, gap)
    write_json(make_folder(folder / "epochs") / "test.json", {"boot_id": "test", "boottime_ns": 0, "utc_ns": 0, "source": "ntp"})
    stop_ns = start_ns + SECONDS * SECOND_NS
    session: dict[str, Any] = {
        "schema": "interview-room-session/1",
        "id": SESSION,
        "state": "sealed",
        "start_ns": start_ns,
        "stop_ns": stop_ns,
        "official_start": rfc3339(start_ns, ZONE),
        "official_end": rfc3339(stop_ns, ZONE),
        "timezone": ZONE.key,
        "room": {"id": "room-01", "name": "调查询问室一", "centre": "centre-01", "agency": "", "class": 1},
        "case": {"number": "温综执〔2026〕1号", "cause": "测试", "handlers": ["张三", "李四"], "interviewee": "王五"},
        "planned_minutes": 10,
        "selfcheck": {"at": None, "passed": True, "override": None},
        "stop": {"by": "张三", "reason": "询问结束"},
        "coverage": None,
        "composite": None,
        "transcript": None,
        "disc": None,
    }
    journal = Journal(folder / "journal.jsonl")
    journal.append("started", session=SESSION, start_ns=start_ns)
    sealed = manifest.seal(folder, session, root / "keys", software_version="test")
    journal.append("sealed", manifest_sha256=sealed.manifest_sha256)
    journal.close()
    session |= {"coverage": sealed.coverage, "composite": sealed.composite}
    (folder / "session.json").write_bytes(encode(session))
    manifest.sign_journal(folder, SESSION, root / "keys")
    return folder


def settings(root: Path) -> ComposerSettings:
    """Of the composer that composes later."""
    return ComposerSettings(
        root=root,
        run=root / "run",
        main=VideoInputSettings("overview", 0),
        inset=VideoInputSettings("closeup", 0),
        inset_width=480,
        inset_height=270,
        inset_corner="bottom-right",
        encoder=ENCODER,
        delay_ns=300_000_000,
        room="another name by now",
        zone=ZONE,
        language="zh",
        version="0",
    )


def order(root: Path, **changes: Any) -> Order:
    """By 赵六, on an idle room."""
    plain = Order("赵六", root / "keys", root / "later.lock", composite_bps=5e6, reserve_bytes=0, recording=lambda: False)
    return replace(plain, **changes)
