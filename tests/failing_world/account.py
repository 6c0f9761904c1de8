"""Nothing is lost of a session, or only what is named: the ledger against the stand-ins' truth; and what the feed told of it."""

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import av

from agent.feed.watch import SequenceCheck
from recorder.evidence.continuity import Span
from tests.demo.subscriber import Subscriber
from tests.failing_world.sound_truth import CRUMB_NS, heard_holes, losses, pieces
from tests.failing_world.truth import PICTURE_NS, check_ledger, check_whole, pictures_in, truth_of
from tests.live_room import SECOND, TRACKS, LiveRoom, gap_spans

NEAR_NS = SECOND // 5
Json = dict[str, Any]
Spans = list[tuple[int, int]]


def whole(room: LiveRoom, started: Json, *, but: tuple[str, ...] = (), late_end: bool = False) -> Json:
    """Nothing of a sealed session is lost, by the ledger and by what the stand-ins sent; its manifest. but: these were hurt.

    late_end: see composite_missing.
    """
    check_whole(room, started, *(track for track in TRACKS if track not in but))
    manifest = room.manifest(started)
    if "microphone" not in but:
        assert heard_holes(pieces(room, started)) == [], "each sample is stored once"
    if "composite" not in but:
        assert manifest["composite"]["gaps"] == []
        assert composite_missing(room, started, late_end=late_end) == []
        assert manifest["composite"]["pictures_written"] == manifest["composite"]["pictures_due"]
    return manifest


def as_the_truth(room: LiveRoom, started: Json, name: str, damaged: int = 0) -> Spans:
    """The gaps of a track or the "composite" as the manifest has them. Fails where stand-ins and files tell of others.

    damaged: see truth_of.
    """
    manifest = room.manifest(started)
    told = gap_spans(manifest, name)
    if name == "composite":
        assert told == composite_missing(room, started), "the ledger names exactly the pictures that are in no file"
        missing = sum(to_ns - from_ns for from_ns, to_ns in told) // PICTURE_NS
        assert manifest["composite"]["pictures_due"] - manifest["composite"]["pictures_written"] == missing
        return told
    if name != "microphone":
        check_ledger(truth_of(room, started, name, damaged), manifest, name)
        return told
    true = losses(pieces(room, started))
    untold = list(true)
    for span in told:
        near = [hole for hole in untold if _near(Span(*span), hole)]
        assert near, f"{name}: the ledger has {told}, the truth is {true}"
        untold.remove(near[0])
    assert all(hole.ns < CRUMB_NS for hole in untold), f"{name}: the ledger has {told}, the truth is {true}"
    return told


def _near(one: Span, other: Span) -> bool:
    """A short loss without the card's word is counted right, and placed within the second after which it shows."""
    crept = other.ns < SECOND and abs(one.ns - other.ns) <= CRUMB_NS
    within_ns = SECOND if crept else NEAR_NS
    return abs(one.from_ns - other.from_ns) <= within_ns and abs(one.to_ns - other.to_ns) <= within_ns


def composite_missing(room: LiveRoom, started: Json, *, late_end: bool = False) -> Spans:
    """Room time of the pictures of [T0, T1) that no part of the composite has, counted in the files themselves.

    Fails where a picture outside [T0, T1) is there. late_end: those after T1 may be there, and the manifest counts them.
    """
    manifest, folder = room.manifest(started), room.session_folder(started) / "composite"
    have: Counter[int] = Counter()
    entries = room.composite_journal(started)
    empty = {entry["file"] for entry in entries if entry["kind"] == "empty"}  # torn before its first whole picture
    for entry in entries:
        if entry["kind"] == "part-open" and (folder / entry["file"]).exists():
            if entry["file"] in empty:
                assert not _pictures_left(folder / entry["file"]), f"{entry['file']} is called empty, and has pictures"
                continue
            have.update(range(entry["first_picture"], entry["first_picture"] + pictures_in(folder / entry["file"])))
    due = (manifest["end_ns"] - manifest["start_ns"]) // PICTURE_NS
    after = sum(1 for number in have if number >= due)
    assert late_end or after == 0, "no picture after T1"
    assert min(have, default=0) >= 0, "no picture before T0"
    assert after == manifest["composite"].get("pictures_after_end", 0), "the ledger counts the pictures after T1"
    assert max(have.values()) == 1, "no picture twice"
    spans: Spans = []
    for number in (n for n in range(due) if n not in have):
        at_ns = manifest["start_ns"] + number * PICTURE_NS
        if spans and spans[-1][1] == at_ns:
            spans[-1] = spans[-1][0], at_ns + PICTURE_NS
        else:
            spans.append((at_ns, at_ns + PICTURE_NS))
    return spans


def _pictures_left(path: Path) -> int:
    """Pictures of a file that decode, where it may be torn before its header is whole."""
    try:
        return pictures_in(path)
    except (av.error.FFmpegError, IndexError):  # nothing that can be opened; no video stream
        return 0


# -- the feed --


def said(feed: Subscriber, topic_end: str, **values: object) -> list[Json]:
    """What came live on a topic and holds these values, in the order of its coming."""
    return [
        line["payload"]
        for line in feed.lines()
        if line["topic"].endswith("/" + topic_end)
        and not line["retain"]
        and isinstance(line["payload"], dict)
        and values.items() <= line["payload"].items()
    ]


def events(feed: Subscriber, kind: str, **data: object) -> list[Json]:
    """The events of a kind with these data, repetitions of a number left out, in the order of their coming."""
    return [event for event in unique(said(feed, "event", kind=kind)) if data.items() <= event["data"].items()]


def unique(messages: list[Json]) -> list[Json]:
    """Repetitions of a number left out."""
    found: dict[tuple[str, int], Json] = {}
    for message in messages:
        found.setdefault((message["boot"], message["seq"]), message)
    return list(found.values())


def lost(feed: Subscriber) -> dict[tuple[str, str], list[int]]:
    """The numbers that never came, by room and boot."""
    check = SequenceCheck()
    for line in feed.lines():
        payload = line["payload"]
        if isinstance(payload, dict) and "seq" in payload:
            check.add(payload["room"], payload["boot"], payload["seq"], retained=bool(line["retain"]))
    return check.holes()


def happened_ns(message: Json) -> int:
    """CLOCK_BOOTTIME of a message of this boot."""
    return int(message["monotonic_ms"]) * 1_000_000


def came_at(line: Json) -> datetime:
    """When ``mosquitto_sub`` received it."""
    return datetime.fromisoformat(str(line["tst"])[:26]).replace(tzinfo=UTC)  # 2026-11-22T01:29:15.489072Z+0000
