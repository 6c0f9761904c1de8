"""A small recorded session, as the room leaves it: real Matroska segments, a real composite, chained journals, sealed if wanted.

Media are drawn small and encoded once a process; everything else is written by the product's own writers.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import av
import numpy as np

from recorder.clock.instants import PICTURE_NS, SECOND_NS, rfc3339
from recorder.disk.durable import encode, write_json
from recorder.disk.journal import Journal
from recorder.evidence import manifest
from recorder.session.lines import cause_fields
from recorder.transcript.comparing import compare
from recorder.transcript.document import read_transcript, times_of
from wording.sentence import Sentence

ZONE = ZoneInfo("Asia/Shanghai")
START_NS = int(datetime(2026, 11, 21, 1, 30, 5, 280_000, UTC).timestamp() * 1000) * 1_000_000
SEGMENT_S = 10
LEAD_S = 1  # the first key frame lies so long before the official start
BOOT = "3a1f7f0e-6c1b-4c9e-9a53-0d6a1f6f2b11"
VERSION = "0.1.0"
WIDTH, HEIGHT, RATE_HZ, BLOCK = 64, 48, 8000, 320


@dataclass(frozen=True, slots=True)
class Encoded:
    """One encoded packet; pts in the stream's ticks."""

    data: bytes
    pts: int
    key: bool


def _wall() -> str:
    return "2026-11-21T01:30:05.280Z"


def _picture(number: int, seed: int) -> "av.VideoFrame":
    row = np.arange(WIDTH, dtype=np.uint16)[None, :] + np.arange(HEIGHT, dtype=np.uint16)[:, None] * seed + 3 * number
    return av.VideoFrame.from_ndarray((row % 256).astype(np.uint8), format="gray").reformat(format="yuv420p")


@cache
def _video(seconds: int, seed: int) -> tuple[bytes, tuple[Encoded, ...], Any]:
    """Extradata, packets and codec context of a clip with a key frame each second; pts in 1/90000 s."""
    codec: Any = av.CodecContext.create("libx264", "w")
    codec.width, codec.height, codec.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    codec.time_base, codec.framerate = Fraction(1, 90000), Fraction(25)
    codec.options = {"preset": "ultrafast", "g": "25", "keyint_min": "25", "sc_threshold": "0", "bf": "0", "crf": "40"}
    codec.open()
    packets = []
    for number in range(25 * seconds):
        frame = _picture(number, seed)
        frame.pts, frame.time_base = number * 3600, Fraction(1, 90000)
        packets += codec.encode(frame)
    packets += codec.encode(None)
    done = tuple(Encoded(bytes(p), p.pts, p.is_keyframe) for p in packets)
    return codec.extradata, done, codec


def _write_video(path: Path, packets: list[Encoded], seconds: int, seed: int) -> None:
    _, _, codec = _video(seconds, seed)
    with av.open(str(path), "w", format="matroska") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.extradata = codec.extradata
        for packet in packets:
            out = av.Packet(packet.data)
            out.pts = out.dts = packet.pts
            out.time_base, out.is_keyframe, out.stream = Fraction(1, 90000), packet.key, stream
            container.mux(out)


def _write_sound(path: Path, first_sample: int, samples: int) -> int:
    """FLAC of a tone; the number of packets."""
    with av.open(str(path), "w", format="matroska") as container:
        stream: Any = container.add_stream("flac", rate=RATE_HZ)
        stream.layout, stream.format = "mono", "s16"
        count = 0
        for begin in range(first_sample, first_sample + samples, BLOCK):
            wave = (8000 * np.sin(np.arange(begin, begin + BLOCK) * (2 * np.pi * 440 / RATE_HZ))).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(wave.reshape(1, -1), format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, begin, Fraction(1, RATE_HZ)
            for packet in stream.encode(frame):
                container.mux(packet)
                count += 1
        for packet in stream.encode(None):
            container.mux(packet)
            count += 1
    return count


def _write_composite(path: Path, pictures: int) -> None:
    with av.open(str(path), "w", format="mp4", options={"movflags": "frag_keyframe+empty_moov+default_base_moof"}) as container:
        video: Any = container.add_stream("libx264", rate=25, options={"preset": "ultrafast", "g": "25", "bf": "0", "crf": "40"})
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        sound: Any = container.add_stream("aac", rate=48000)
        sound.layout = "mono"
        for number in range(pictures):
            frame = _picture(number, 5)
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(video.encode(frame))
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 1920), dtype=np.float32), format="fltp", layout="mono")
            silence.sample_rate, silence.pts, silence.time_base = 48000, number * 1920, Fraction(1, 48000)
            container.mux(sound.encode(silence))
        container.mux(video.encode(None))
        container.mux(sound.encode(None))


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _begin(folder: Path, track: str) -> Journal:
    folder.mkdir(parents=True)
    journal = Journal(folder / "journal.jsonl", wall=_wall)
    device = {"manufacturer": "ACME", "model": f"C-{track}", "serial": "0007"}
    fields = {"session": folder.parents[1].name, "track": track, "start_ns": START_NS, "boot_id": BOOT, "software": VERSION}
    journal.append("begin", **fields, device=device)
    return journal


def _spans(seconds: int, gap: tuple[float, float] | None) -> list[tuple[float, float]]:
    """Segments as (first, end) in seconds from the official start, on whole seconds."""
    spans: list[tuple[float, float]] = []
    first: float = -LEAD_S
    while first < seconds:
        end = min(first + SEGMENT_S, seconds)
        if gap and first < gap[1] and end > gap[0]:
            spans += [s for s in ((first, int(gap[0])), (int(gap[1]), end)) if s[1] > s[0]]
        else:
            spans.append((first, end))
        first = end
    return spans


def _write_track(folder: Path, track: str, seconds: int, gap: tuple[float, float] | None) -> None:
    journal = _begin(folder, track)
    sound, total, seed = track == "microphone", seconds + LEAD_S, 7 if track == "overview" else 11
    count = 0
    for number, (first, end) in enumerate(_spans(seconds, gap)):
        first_ns, end_ns = START_NS + int(first * SECOND_NS), START_NS + int(end * SECOND_NS)
        if gap and number and first == gap[1]:
            cause = Sentence(
                "camera-unreachable", {"name": track, "host": "192.168.1.64", "port": 554, "why": "No route to host"}
            )
            journal.append("lost", from_ns=START_NS + int(gap[0] * SECOND_NS), **cause_fields(cause))
        path = folder / f"{number:06d}.mkv"
        codec = "flac" if sound else "h264"
        journal.append("open", file=path.name, first_ns=first_ns, codec=codec)
        if gap and number and first == gap[1]:
            journal.append("back", at_ns=first_ns, cause="")
        if sound:
            first_pts, step = int((first + LEAD_S) * RATE_HZ), BLOCK
            packets = _write_sound(path, first_pts, int((end - first) * RATE_HZ))
            last_pts, time_base, interval_ns = int((end + LEAD_S) * RATE_HZ) - step, f"1/{RATE_HZ}", BLOCK * SECOND_NS // RATE_HZ
            keyframes = packets
        else:
            _, encoded, _ = _video(total, seed)
            chosen = list(encoded[int((first + LEAD_S) * 25) : int((end + LEAD_S) * 25)])
            _write_video(path, chosen, total, seed)
            first_pts, last_pts, packets, time_base = chosen[0].pts, chosen[-1].pts, len(chosen), "1/90000"
            interval_ns, keyframes = PICTURE_NS, sum(p.key for p in chosen)
        journal.append(
            "segment",
            file=path.name,
            bytes=path.stat().st_size,
            sha256=digest(path),
            packets=packets,
            keyframes=keyframes,
            first_ns=first_ns,
            last_ns=end_ns - interval_ns,
            end_ns=end_ns,
            first_pts=first_pts,
            last_pts=last_pts,
            time_base=time_base,
            ppm=0.0,
            codec=codec,
            samples=int((end - first) * RATE_HZ) if sound else 0,
            recovered=False,
        )
        count += packets
    journal.append("end", stop_ns=START_NS + seconds * SECOND_NS, segments=number + 1, packets=count, boot_id=BOOT)
    journal.close()


def _write_composer(folder: Path, seconds: int) -> None:
    folder.mkdir()
    journal = Journal(folder / "journal.jsonl", wall=_wall)
    journal.append("begin", session=folder.parent.name, start_ns=START_NS, boot_id=BOOT, software=VERSION)
    path, pictures = folder / "part-001.mp4", 25 * seconds
    journal.append("part-open", file=path.name, first_picture=0)
    _write_composite(path, pictures)
    journal.append(
        "part",
        file=path.name,
        bytes=path.stat().st_size,
        sha256=digest(path),
        first_picture=0,
        pictures=pictures,
        start_ns=START_NS,
        end_ns=START_NS + pictures * PICTURE_NS,
        samples=pictures * 1920,
        recovered=False,
    )
    journal.append("end", pictures_due=pictures, pictures_written=pictures)
    journal.close()


def rechained(data: bytes, change: Callable[[list[dict[str, Any]]], object]) -> bytes:
    """What a forger would do: a journal whose entries were changed, with a chain that fits them again."""
    entries = [json.loads(line) for line in data.splitlines()]
    change(entries)
    lines: list[bytes] = []
    for number, entry in enumerate(entries):
        prev = hashlib.sha256(lines[-1]).hexdigest() if lines else "0" * 64
        lines.append(json.dumps({**entry, "seq": number, "prev": prev}, ensure_ascii=False, separators=(",", ":")).encode())
    return b"".join(line + b"\n" for line in lines)


def transcript_text(seconds: int) -> str:
    """A transcript whose times agree with the session's, to the minute."""
    start, end = (datetime.fromtimestamp(ns // SECOND_NS, ZONE) for ns in (START_NS, START_NS + seconds * SECOND_NS))
    return (
        "调查询问笔录\n\n案由：测试\n"
        f"询问时间：{start:%Y年%m月%d日%H时%M分}至{end:%H时%M分}\n"
        "询问地点：调查询问室一\n被询问人：张三　出生日期：1980年1月2日\n\n"
        "问：我们是执法人员，请如实回答。\n答：好的。我当天9时10分到店里，10时离开。\n\n"
        "以上笔录我看过，和我说的一样。\n2026年11月22日\n"
    )


def make_session(
    parent: Path,
    seconds: int = 30,
    gap: tuple[float, float] | None = None,
    *,
    sealed: bool = True,
    matched: bool = False,
    room_name: str = "调查询问室一",
) -> Path:
    """``<parent>/sessions/<id>`` with its key in ``<parent>/keys``; the folder of the session.

    seconds: length of the interview. gap: (from, to) in whole seconds after the start that the closeup lacks. sealed: with
    manifest and signature. matched: with an attached transcript that agrees, and the journal signed after it.
    """
    session_id = "20261121T093005-room-01"
    folder = parent / "sessions" / session_id
    folder.mkdir(parents=True)
    stop_ns = START_NS + seconds * SECOND_NS
    (folder / "epochs").mkdir()
    tie = {"boot_id": BOOT, "boottime_ns": 1000, "utc_ns": START_NS - SECOND_NS, "source": "ntp", "offset_s": 0.002}
    write_json(folder / "epochs" / f"{BOOT}.json", tie)
    journal = Journal(folder / "journal.jsonl", wall=_wall)
    journal.append("started", session=session_id, official_start=rfc3339(START_NS, ZONE))
    journal.append("tie", **tie, room_ns=START_NS - SECOND_NS)
    for track in ("overview", "closeup", "microphone"):
        _write_track(folder / "tracks" / track, track, seconds, gap if track == "closeup" else None)
    _write_composer(folder / "composite", seconds)
    session: dict[str, Any] = {
        "schema": "interview-room-session/1",
        "id": session_id,
        "state": "sealing",
        "start_ns": START_NS,
        "stop_ns": stop_ns,
        "official_start": rfc3339(START_NS, ZONE),
        "official_end": rfc3339(stop_ns, ZONE),
        "timezone": ZONE.key,
        "room": {"id": "room-01", "name": room_name, "centre": "centre-01", "agency": "市场监督管理局", "class": 1},
        "case": {"number": "温市监〔2026〕17号", "cause": "测试", "handlers": ["李四", "王五"], "interviewee": "张三"},
        "planned_minutes": 120,
        "selfcheck": {"at": "2026-11-21T01:20:00.000Z", "passed": True, "override": None},
        "stop": {"by": "李四", "reason": "询问结束"},
        "coverage": None,
        "composite": None,
        "transcript": None,
        "disc": None,
    }
    journal.append("stopping", stop_ns=stop_ns, official_end=session["official_end"], **session["stop"])
    if sealed or matched:
        done = manifest.seal(folder, session, parent / "keys", software_version=VERSION)
        journal.append("sealed", manifest_sha256=done.manifest_sha256)
        session |= {"state": "sealed", "coverage": done.coverage, "composite": done.composite}
    if matched:
        session |= {"state": "matched", "transcript": _attach(folder, journal, seconds)}
    journal.close()
    (folder / "session.json").write_bytes(encode(session))
    if sealed or matched:
        manifest.sign_journal(folder, session_id, parent / "keys")
    return folder


def _attach(folder: Path, journal: Journal, seconds: int) -> dict[str, Any]:
    text = transcript_text(seconds).encode()
    path = folder / "transcript" / "笔录.txt"
    path.parent.mkdir()
    path.write_bytes(text)
    document = read_transcript(path.name, text)
    verdict = compare(times_of(document, ZONE), START_NS, START_NS + seconds * SECOND_NS, ZONE, 60)
    facts = {
        "file": f"transcript/{path.name}",
        "sha256": digest(path),
        "encoding": document.encoding,
        **verdict.as_json(),
        "tolerance_s": 60,
        "at": _wall(),
        "exception": None,
    }
    journal.append("transcript", **facts)
    return facts
