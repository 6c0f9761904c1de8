"""A sealed session of six seconds as the recorder leaves it: written by the recorder's own segment writers, journal and seal."""

import hashlib
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import av
import numpy as np

from burner.disc.remux import digests
from recorder.clock.instants import SECOND_NS, rfc3339
from recorder.composite.part import FRAGMENTED
from recorder.disk.durable import write_json
from recorder.disk.journal import Journal
from recorder.evidence.manifest import seal, sign_journal
from recorder.media.packet_digest import RunDigest
from recorder.media.packets import Format, Packet
from recorder.session.lines import cause_fields
from recorder.track.segments import open_writer
from wording.sentence import Sentence

ZONE = ZoneInfo("Asia/Shanghai")
T0 = 1_795_224_605_280_000_000  # 2026-11-21T09:30:05.280+08:00
SECONDS = 6
SESSION = "20261121T093005-room-01"
TRANSCRIPT = "询问笔录 王某 2026.txt"
SOUND_HZ = 48_000
OFFSET_TICKS = 90_000 * 3600  # the camera's own clock began an hour ago
CAUSE = Sentence("camera-ended-connection", {"name": "<closeup>"})  # no markup
CUT = Sentence("last-picture-not-whole")


@dataclass(frozen=True, slots=True)
class Stretch:
    """What a track recorded without a hole: seconds from and to, relative to T0, in whole groups of pictures of one second."""

    start_s: int
    end_s: int


def video(folder: Path, codec: str, seconds: int) -> tuple[Format, list[Packet]]:
    """H.264 or H.265 at 25 pictures a second, a key frame each second."""
    path = folder / f"{codec}-{seconds}.mp4"
    options = {
        "libx264": {"preset": "ultrafast", "g": "25", "bf": "0", "sc_threshold": "0"},
        "libx265": {"preset": "ultrafast", "x265-params": "log-level=none:keyint=25:min-keyint=25:scenecut=0:bframes=0"},
    }[codec]
    rng = np.random.default_rng(1)
    with av.open(str(path), "w") as out:
        stream: Any = out.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 320, 180, "yuv420p"
        for n in range(seconds * 25):
            picture = rng.integers(0, 60, (180, 320, 3), dtype=np.uint8)
            picture[:, : n * 2 + 1] = 128
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        out.mux(stream.encode(None))
    container: Any = av.open(str(path))
    source = container.streams.video[0]
    packets = []
    for packet in container.demux(source):
        if packet.size:
            pts = OFFSET_TICKS + int(packet.pts * packet.time_base * 90_000)
            packets.append(Packet(pts, packet.is_keyframe, bytes(packet), 0))
    name = "h264" if codec == "libx264" else "hevc"
    extradata = bytes(source.codec_context.extradata)
    return Format("video", name, Fraction(1, 90_000), extradata, 320, 180, 25.0, template=source), packets


def sound(seconds: int) -> tuple[Format, list[Packet]]:
    """Blocks of 40 ms of a tone."""
    size = SOUND_HZ // 25
    tone = np.sin(2 * np.pi * 440 * np.arange(seconds * SOUND_HZ) / SOUND_HZ) * 12_000
    blocks = tone.astype("<i2").reshape(-1, size)
    packets = [Packet(n * size, True, block.tobytes(), 0) for n, block in enumerate(blocks)]
    return Format("audio", "flac", Fraction(1, SOUND_HZ), rate_hz=SOUND_HZ, channels=1), packets


def write_track(folder: Path, name: str, format_: Format, packets: list[Packet], stretches: list[Stretch]) -> None:
    """Segments of two seconds, a journal that lists them, ``lost``, ``cut`` and ``back`` at each hole."""
    folder.mkdir(parents=True)
    journal = Journal(folder / "journal.jsonl")
    journal.append("begin", session=SESSION, track=name, start_ns=T0, boot_id="test", software="test", device={})
    number = total = 0
    origin = stretches[0].start_s
    for stretch in stretches:
        run = RunDigest()
        if number:
            journal.append("back", at_ns=T0 + stretch.start_s * SECOND_NS, cause="")
        for start in range(stretch.start_s, stretch.end_s, 2):
            end = min(start + 2, stretch.end_s)
            part = packets[(start - origin) * 25 : (end - origin) * 25]
            file = f"{number:06d}.mkv"
            first_ns, end_ns = T0 + start * SECOND_NS, T0 + end * SECOND_NS
            journal.append("open", file=file, first_ns=first_ns, codec=format_.codec)
            writer = open_writer(folder / file, format_)
            for packet in part:
                writer.write(packet)
            writer.finish()
            sha256 = writer.sink.close()
            stored = sum(d.packets for d in digests([folder / file]))
            held, run_sha256 = run.add(folder / file)
            last_ns = end_ns - (SECOND_NS // 25 if format_.media == "video" else 4608 * SECOND_NS // SOUND_HZ)
            journal.append(
                "segment",
                file=file,
                bytes=writer.sink.bytes,
                sha256=sha256,
                packets=stored,
                keyframes=writer.keyframes,
                first_ns=first_ns,
                last_ns=last_ns,
                end_ns=end_ns,
                first_pts=part[0].pts,
                last_pts=part[-1].pts,
                time_base=str(format_.time_base),
                ppm=0.0,
                codec=format_.codec,
                recovered=False,
                packets_sha256=held.sha256,
                run_sha256=run_sha256,
                run_since=run.since,
            )
            number, total = number + 1, total + stored
        if stretch.end_s < SECONDS:
            lost_ns = T0 + stretch.end_s * SECOND_NS
            journal.append("lost", from_ns=lost_ns, **cause_fields(CAUSE))
            journal.append(
                "cut", file=f"{number - 1:06d}.mkv", from_ns=lost_ns - SECOND_NS // 25, to_ns=lost_ns, **cause_fields(CUT)
            )
    journal.append("end", stop_ns=T0 + SECONDS * SECOND_NS, segments=number, packets=total, samples=0)
    journal.close()


def write_composite(folder: Path) -> None:
    """One fragmented part of 25 pictures a second with AAC, as the composer writes it."""
    folder.mkdir(parents=True)
    path = folder / "part-001.mp4"
    with av.open(str(path), "w", format="mp4", options=FRAGMENTED) as out:
        picture: Any = out.add_stream("libx264", rate=25, options={"preset": "ultrafast", "g": "50", "bf": "0"})
        picture.width, picture.height, picture.pix_fmt = 320, 180, "yuv420p"
        voice: Any = out.add_stream("aac", rate=SOUND_HZ)
        voice.layout = "mono"
        for n in range(SECONDS * 25):
            frame = av.VideoFrame.from_ndarray(np.full((270, 320), n, np.uint8), format="yuv420p")
            frame.pts, frame.time_base = n, Fraction(1, 25)
            out.mux(picture.encode(frame))
            block = np.full((1, SOUND_HZ // 25), n * 100, np.int16)
            samples = av.AudioFrame.from_ndarray(block, format="s16", layout="mono")
            samples.sample_rate, samples.pts, samples.time_base = SOUND_HZ, n * SOUND_HZ // 25, Fraction(1, SOUND_HZ)
            out.mux(voice.encode(samples))
        out.mux(picture.encode(None))
        out.mux(voice.encode(None))
    data = path.read_bytes()
    journal = Journal(folder / "journal.jsonl")
    journal.append("begin", session=SESSION, track="composite", start_ns=T0, boot_id="test", software="test", device={})
    journal.append("part-open", file=path.name, first_picture=0)
    journal.append(
        "part",
        file=path.name,
        bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        first_picture=0,
        pictures=SECONDS * 25,
        start_ns=T0,
        end_ns=T0 + SECONDS * SECOND_NS,
        samples=SECONDS * SOUND_HZ,
        recovered=False,
    )
    journal.append("end", pictures_due=SECONDS * 25, pictures_written=SECONDS * 25)
    journal.close()


def build(root: Path, scratch: Path, end_s: int = SECONDS) -> Path:
    """The session's folder under root.

    overview: whole, H.264, from one second before T0. closeup: a hole from 3 s to 5 s, H.265. microphone: whole. end_s: the
    official end, s after T0; an earlier one became known late.
    """
    folder = root / "sessions" / SESSION
    (folder / "transcript").mkdir(parents=True)
    overview = video(scratch, "libx264", SECONDS + 1)
    write_track(folder / "tracks" / "overview", "overview", *overview, [Stretch(-1, SECONDS)])
    closeup = video(scratch, "libx265", SECONDS)
    write_track(folder / "tracks" / "closeup", "closeup", *closeup, [Stretch(0, 3), Stretch(5, SECONDS)])
    write_track(folder / "tracks" / "microphone", "microphone", *sound(SECONDS), [Stretch(0, SECONDS)])
    write_composite(folder / "composite")
    write_json(folder_of(folder, "epochs") / "test.json", {"boot_id": "test", "boottime_ns": 0, "utc_ns": T0, "source": "ntp"})
    journal = Journal(folder / "journal.jsonl")
    journal.append("started", start_ns=T0)
    journal.append("stopping", stop_ns=T0 + end_s * SECOND_NS)
    text = "询问时间：2026年11月21日09时30分至09时30分\n问：……\n答：……\n".encode()
    (folder / "transcript" / TRANSCRIPT).write_bytes(text)
    record: dict[str, Any] = {
        "schema": "interview-room-session/1",
        "id": SESSION,
        "state": "matched",
        "start_ns": T0,
        "stop_ns": T0 + end_s * SECOND_NS,
        "official_start": rfc3339(T0, ZONE),
        "official_end": rfc3339(T0 + end_s * SECOND_NS, ZONE),
        "timezone": "Asia/Shanghai",
        "room": {"id": "room-01", "name": "调查询问室一", "centre": "centre-01", "agency": "温州市市场监督管理局", "class": 1},
        "case": {
            "number": "温市监〔2026〕88号",
            "cause": "涉嫌虚假宣传 <广告>",
            "handlers": ["张三", "李四"],
            "interviewee": "王某",
        },
        "planned_minutes": 10,
        "selfcheck": {"at": "", "passed": True, "override": None},
        "stop": {"by": "张三", "reason": "询问结束"},
        "transcript": {
            "file": f"transcript/{TRANSCRIPT}",
            "sha256": hashlib.sha256(text).hexdigest(),
            "verdict": "match",
            "at": "2026-11-21T02:00:00Z",
        },
        "disc": None,
    }
    sealed = seal(folder, record, root / "keys", software_version="0.1.0")
    write_json(folder / "session.json", {**record, "coverage": sealed.coverage, "composite": sealed.composite})
    journal.append("sealed", manifest_sha256=sealed.manifest_sha256)
    journal.append("transcript", **record["transcript"])
    journal.close()
    sign_journal(folder, SESSION, root / "keys")
    return folder


def folder_of(parent: Path, name: str) -> Path:
    """A new folder."""
    (parent / name).mkdir()
    return parent / name
