"""What really left the cameras, from the stand-ins' own log, to compare with what was stored and with what the ledger says.

A camera logs each access unit as it leaves (tests/equipment/rtsp_server.py). A stored packet is found again in that log by its
digest, so its true time is known whatever its timestamps say, and so is every unit that is missing.
"""

import json
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import av

from burner.disc import sealed_session
from burner.disc.deliver import deliver, disc_folder
from recorder.clock.instants import GAP_FLOOR_NS
from recorder.evidence.continuity import Span, holes
from tests.demo.subscriber import Subscriber
from tests.live_room import SECOND, LiveRoom, gap_spans, monotonic_to_boottime_ns, wait_for

PICTURE_NS = SECOND // 25
START_CODE = b"\0\0\0\1"
SAME_LOOP_NS = 4 * SECOND  # a clip repeats after 10 s at least: a unit is looked for so near its time
LOSS_EVENTS = ("device-lost", "device-degraded", "gap")


def nal_units(packet: bytes) -> list[bytes]:
    """The NAL units of a packet as Matroska and MP4 frame them: four bytes of length before each."""
    nals, at = [], 0
    while at < len(packet):
        size = int.from_bytes(packet[at : at + 4])
        nals.append(packet[at + 4 : at + 4 + size])
        at += 4 + size
    return nals


def digest(packet: bytes) -> str:
    """Of a stored packet as the camera framed it, so as its log has it: a start code of four bytes before each NAL unit."""
    return sha256(b"".join(START_CODE + nal.rstrip(b"\0") for nal in nal_units(packet))).hexdigest()


@dataclass(frozen=True, slots=True)
class Sent:
    """One access unit that left the camera's main stream. at_ns: room time when it was due. clients: how many listened."""

    index: int
    at_ns: int
    digest: str
    clients: int
    variant: str
    garbage: bool


def units_sent(room: LiveRoom, answer: dict[str, Any], camera: str) -> list[Sent]:
    """Every access unit of the camera's main stream so far, in order."""
    log: Path = getattr(room.stand_ins, camera).units_log
    text = log.read_text(encoding="utf-8")
    lines = [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
    shift = room.room_ns(answer, monotonic_to_boottime_ns())
    return [
        Sent(line["index"], line["due_ns"] + shift, line["sha256"], line["clients"], line["variant"], line["garbage"])
        for line in lines
        if line["mount"] == "/main"
    ]


@dataclass(frozen=True, slots=True)
class Stored:
    """One packet of a video track. room_ns: by its segment's line in the journal and its timestamp in the file."""

    file: str
    room_ns: int
    digest: str


def packets_of(path: Path) -> list[tuple[int, str]]:
    """Nanoseconds after the file's first packet, and digest, of each video packet of a file, in its order."""
    with av.open(f"file:{path}") as container:
        packets = [p for p in container.demux(container.streams.video[0]) if p.size]
    zero = packets[0].pts or 0
    return [(round(((p.pts or 0) - zero) * p.time_base * SECOND), digest(bytes(p))) for p in packets]


def packets_stored(room: LiveRoom, answer: dict[str, Any], camera: str) -> list[Stored]:
    """Every packet of a video track that its journal lists, in order."""
    folder = room.session_folder(answer) / "tracks" / camera
    return [
        Stored(entry["file"], entry["first_ns"] + after_ns, found)
        for entry in room.journal(answer, camera)
        if entry["kind"] == "segment"
        for after_ns, found in packets_of(folder / entry["file"])
    ]


def places(sent: Sequence[Sent], stored: Sequence[Stored]) -> list[int]:
    """Where in ``sent`` each stored packet is. Fails on a packet that nobody sent, or not then."""
    by_digest: dict[str, list[int]] = defaultdict(list)
    for place, unit in enumerate(sent):
        by_digest[unit.digest].append(place)
    found = []
    for packet in stored:
        candidates = by_digest.get(packet.digest, [])
        assert candidates, f"{packet.file} holds a packet that the camera never sent"
        at = bisect_left(candidates, packet.room_ns, key=lambda place: sent[place].at_ns)
        nearest = min(candidates[max(0, at - 1) : at + 1], key=lambda place: abs(sent[place].at_ns - packet.room_ns))
        late_ns = packet.room_ns - sent[nearest].at_ns
        assert abs(late_ns) < SAME_LOOP_NS, f"{packet.file} says {late_ns / SECOND:.3f} s off the time at which it was sent"
        found.append(nearest)
    return found


@dataclass(frozen=True, slots=True)
class Truth:
    """A camera's track compared with what the camera sent. Times are room time, ns.

    places: where in sent each stored packet is. gaps: the spans of the session that no stored packet covers, holes: the same
    where a few pictures that a connected camera left out count too. errors_ns: the time of each stored packet minus that at
    which it was due at the camera.
    """

    sent: list[Sent]
    places: list[int]
    gaps: list[Span]
    holes: list[Span]
    errors_ns: list[int]

    def missing(self, from_ns: int, to_ns: int) -> list[Span]:
        """Units that left in the span for somebody who listened, and are not stored."""
        stored = set(self.places)
        lost = [unit for n, unit in enumerate(self.sent) if from_ns <= unit.at_ns < to_ns and unit.clients and n not in stored]
        return [Span(unit.at_ns, unit.at_ns + PICTURE_NS) for unit in lost]

    def first_sent(self, room_ns: int) -> int:
        """When, from an instant on, the camera first sent anything, whoever listened."""
        return next(unit.at_ns for unit in self.sent if unit.at_ns >= room_ns)

    @property
    def error_ms(self) -> float:
        """The largest error of a packet's time."""
        return max(abs(e) for e in self.errors_ns) / 1e6


def truth_of(room: LiveRoom, answer: dict[str, Any], camera: str, damaged: int = 0) -> Truth:
    """The truth about one camera of a sealed session. Fails where a packet is stored twice, out of order, or never was sent.

    damaged: so many may be torn, where a connection broke or the camera's own queue overflowed in the middle of a picture: each
    beside a hole, so that whole pictures are missing there as well.
    """
    manifest = room.manifest(answer)
    sent = units_sent(room, answer, camera)
    every, known = packets_stored(room, answer, camera), {unit.digest for unit in sent}
    torn = [packet.digest not in known for packet in every]
    assert sum(torn) <= damaged, f"{camera}: {sum(torn)} packets that the camera never sent"
    stored = [packet for packet, is_torn in zip(every, torn, strict=True) if not is_torn]
    found = places(sent, stored)
    check_torn_beside_holes(every, torn, found)
    for (a, b), packet in zip(pairwise(found), stored[1:], strict=True):
        assert b > a, f"{packet.file} holds a packet {'twice' if b == a else 'out of order'}"
    covered = [Span(sent[place].at_ns, sent[place].at_ns + PICTURE_NS) for place in found]
    errors = [packet.room_ns - sent[place].at_ns for packet, place in zip(stored, found, strict=True)]
    gaps, each = (
        holes(covered, manifest["start_ns"], manifest["end_ns"], join_ns) for join_ns in (GAP_FLOOR_NS, PICTURE_NS // 2)
    )
    return Truth(sent, found, gaps, each, errors)


def check_torn_beside_holes(every: Sequence[Stored], torn: Sequence[bool], found: Sequence[int]) -> None:
    """Packets that the camera never sent stand between two that it sent, with more units missing between these than came torn.

    every: the track's packets; torn: whether the camera never sent it; found: where among the camera's units each other one is.
    """
    whole = 0  # of found, before the run of torn packets
    for is_torn, run in groupby(zip(every, torn, strict=True), key=lambda each: each[1]):
        packets = [packet for packet, _ in run]
        if not is_torn:
            whole += len(packets)
            continue
        where = f"{packets[0].file}, {packets[0].room_ns / SECOND:.3f}"
        assert 0 < whole < len(found), f"{where}: never sent by the camera, before the first or after the last that was"
        missing = found[whole] - found[whole - 1] - 1
        assert missing > len(packets), f"{where}: {len(packets)} never sent by the camera, where {missing} that were are missing"


def check_ledger(truth: Truth, manifest: dict[str, Any], camera: str, within_s: float = 0.2) -> None:
    """Each true gap is in the manifest, both ends right; whatever else is there is a true hole, if a short one."""
    told = [Span(*span) for span in gap_spans(manifest, camera)]
    said = f"{camera}: true gaps {relative(truth.gaps, manifest)}, in the manifest {relative(told, manifest)}"

    def near(one: Span, true: Span) -> bool:
        ends = (one.from_ns - true.from_ns, one.to_ns - true.to_ns)
        return one.from_ns < true.to_ns and true.from_ns < one.to_ns and all(abs(ns) <= within_s * SECOND for ns in ends)

    assert all(any(near(one, true) for one in told) for true in truth.gaps), said
    assert all(any(near(one, true) for true in truth.holes) for one in told), said


def relative(spans: Iterable[Span], manifest: dict[str, Any]) -> list[tuple[float, float]]:
    """Spans in seconds after the official start, for messages."""
    start = manifest["start_ns"]
    return [(round((s.from_ns - start) / SECOND, 3), round((s.to_ns - start) / SECOND, 3)) for s in spans]


def session_s(manifest: dict[str, Any]) -> float:
    """The session's length, for messages."""
    return round(int(manifest["end_ns"] - manifest["start_ns"]) / SECOND, 3)


def check_whole(room: LiveRoom, answer: dict[str, Any], *tracks: str) -> None:
    """These tracks cover the session: by the ledger, and of a camera each unit that left is stored."""
    manifest = room.manifest(answer)
    for track in tracks:
        assert (manifest["tracks"][track]["covered"], gap_spans(manifest, track)) == (1.0, []), track
        if track != "microphone":
            truth = truth_of(room, answer, track)
            assert truth.gaps == [], f"{track}: {relative(truth.gaps, manifest)}"
            missing = truth.missing(manifest["start_ns"], manifest["end_ns"] - 5 * PICTURE_NS)
            assert missing == [], f"{track}: sent and not stored: {relative(missing, manifest)}, of {session_s(manifest)} s"


def check_composite_whole(manifest: dict[str, Any]) -> None:
    """Whatever happened to the devices, the composite has every picture."""
    composite = manifest["composite"]
    assert composite["gaps"] == []
    assert composite["pictures_written"] == composite["pictures_due"]
    assert "pictures_after_end" not in composite


def check_playable(room: LiveRoom, answer: dict[str, Any], camera: str, undecodable: int = 0) -> int:
    """Every segment decodes, to as many pictures as it has packets, but for so many in all. Returns the pictures."""
    folder = room.session_folder(answer) / "tracks" / camera
    segments = {e["file"]: e["packets"] for e in room.journal(answer, camera) if e["kind"] == "segment"}
    pictures = {file: pictures_in(folder / file) for file in segments}
    assert segments
    assert all(pictures.values()), f"a segment without a picture: {pictures}"
    lost = sum(segments.values()) - sum(pictures.values())
    assert 0 <= lost <= undecodable, f"packets {segments}, pictures {pictures}"
    return sum(pictures.values())


def delivered(room: LiveRoom, answer: dict[str, Any]) -> dict[str, list[Path]]:
    """Makes the MP4s of a disc; each track's, and the composite's, in order."""
    found = sealed_session.read(room.session_folder(answer))
    files: dict[str, list[Path]] = defaultdict(list)
    with disc_folder(found) as folder:
        for each in deliver(found, folder).files:
            files[each.track].append(folder / each.name)
    return files


def check_delivered(room: LiveRoom, answer: dict[str, Any], camera: str, pictures: int) -> None:
    """A camera's MP4s hold the packets of its segments, none changed, and as many pictures as those decode."""
    files = delivered(room, answer)[camera]
    packets = [found for file in files for _, found in packets_of(file)]
    assert packets == [packet.digest for packet in packets_stored(room, answer, camera)], f"{camera}: other packets in the MP4"
    assert sum(pictures_in(file) for file in files) == pictures


def pictures_in(path: Path) -> int:
    """Pictures of a file that decode. A packet that no decoder takes costs itself alone, as in a player."""
    with av.open(f"file:{path}") as container:
        stream, count = container.streams.video[0], 0
        for packet in container.demux(stream):
            try:
                count += len(packet.decode())
            except av.error.InvalidDataError:
                continue
    return count


def came_s(line: dict[str, Any]) -> float:
    """When the command room's subscriber received a message, seconds since 1970."""
    return datetime.strptime(line["tst"], "%Y-%m-%dT%H:%M:%S.%fZ%z").timestamp()


def event_after(feed: Subscriber, device: str, kinds: Sequence[str], wall_s: float, limit_s: float = 10.0) -> float:
    """Seconds from an instant of the wall clock until the first of these events about the device came. Fails after limit_s."""

    def told() -> float | None:
        for line in feed.lines():
            payload = line["payload"]
            if line["topic"].endswith("/event") and payload["kind"] in kinds and payload["data"].get("device") == device:
                after_s = came_s(line) - wall_s
                if after_s > 0:
                    return after_s
        return None

    return float(wait_for(told, f"an event {' or '.join(kinds)} of {device}", limit_s))
