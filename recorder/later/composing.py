"""Composes the missing pictures of one session part by part, with journal, record and signature: see recorder.later.make."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from recorder.clock.instants import PICTURE_NS, SECOND_NS, boottime_ns, rfc3339
from recorder.composite.overlay import OverlayFields
from recorder.composite.part import SAMPLES_PER_PICTURE, SOUND_HZ, Part, span_ns
from recorder.composite.picture import FULL, inset_rect, new_canvas
from recorder.composite.pictures import Pictures
from recorder.composite.settings import ComposerSettings
from recorder.disk.durable import Json, encode, fsync_folder, write_bytes, write_json
from recorder.disk.journal import Journal, utc_now
from recorder.evidence.manifest import SOFTWARE
from recorder.evidence.sealed_segments import SealedSegment, sealed_segments
from recorder.evidence.signature import device_key, sign_manifest
from recorder.later import record
from recorder.later.record import PictureSpan
from recorder.later.sources import CameraOfSegments, SoundOfSegments, begins_keyed, needed
from recorder.session.files import JOURNAL, MANIFEST, SIGNATURE

NEW = ".later.new"  # what is being made
CANVASES = 6
YIELD_S = 1.0  # how often a recording that begins is looked for


@dataclass(frozen=True, slots=True)
class Order:
    """Who wants it made, and within which limits. keys: the folder of this PC's key. lock: one run a room. composite_bps: what
    the composite is planned with; reserve_bytes stay free beside it. recording: whether a session is being recorded now.
    """

    by: str
    keys: Path
    lock: Path
    composite_bps: float
    reserve_bytes: int
    recording: Callable[[], bool]


class Making:
    """One run. Times are room time throughout: the originals' own."""

    def __init__(
        self,
        folder: Path,
        manifest: dict[str, Any],
        settings: ComposerSettings,
        order: Order,
        progress: Callable[[float], object],
    ) -> None:
        self._folder, self._work, self._manifest = folder, folder / NEW, manifest
        # By software: the recording may need the graphics processor, and crf and preset say all of how it is encoded.
        self._settings = replace(settings, encoder=replace(settings.encoder, kind="software"))
        self._order, self._progress = order, progress
        self._start_ns = int(manifest["start_ns"])
        self._zone = ZoneInfo(str(manifest["timezone"]))
        room, case = manifest.get("room") or {}, manifest.get("case") or {}
        self._fields = OverlayFields(str(room.get("name", "")), str(case.get("number", "")), None, None, made_later=True)
        self._segments = {track: sealed_segments(folder, manifest, track) for track in manifest["tracks"]}
        self._journal = Journal(self._work / JOURNAL)
        self._done = self._total = 0
        self._look_s = 0.0

    def run(self, gaps: tuple[PictureSpan, ...], sealed_sha256: str) -> Json:
        """Every gap as a part, then journal, manifest and signature. Raises Fault."""
        settings = self._settings
        about: Json = {
            "session": self._manifest["session"],
            "manifest_sha256": sealed_sha256,
            "by": self._order.by,
            "software": {"name": SOFTWARE, "version": settings.version},
            "encoder": {name: getattr(settings.encoder, name) for name in ("crf", "preset", "audio_kbps")},
            "layout": {
                "main": settings.main.name,
                "inset": settings.inset.name,
                "inset_width": settings.inset_width,
                "inset_height": settings.inset_height,
                "inset_corner": settings.inset_corner,
            },
            "language": settings.language,
        }
        try:
            self._journal.append("begin", **about)
            self._total = sum(gap.pictures for gap in gaps)
            parts = [self._part(number, gap) for number, gap in enumerate(gaps, 1)]
            head = self._journal.append("end", pictures_due=self._total, pictures_written=self._done)
        finally:
            self._journal.close()
        sums = {"entries": head.entries, "sha256": head.sha256}
        told: Json = {"schema": record.SCHEMA, "at": utc_now(), **about, "parts": parts, "journal": sums}
        data = encode(told)
        write_bytes(self._work / MANIFEST, data)
        write_json(self._work / SIGNATURE, sign_manifest(data, device_key(self._order.keys)))
        for path in self._work.iterdir():
            path.chmod(0o440)
        fsync_folder(self._work)
        return told

    def _part(self, number: int, gap: PictureSpan) -> Json:
        name = f"part-{number:03d}.mp4"
        start_ns, end_ns = span_ns(gap.first, gap.pictures, self._start_ns)
        keyed = partial(begins_keyed, self._folder)
        used = {track: needed(segments, start_ns, end_ns, keyed=keyed) for track, segments in self._segments.items()}
        self._journal.append("part-open", file=name, first_picture=gap.first)
        part = Part(self._work / name, self._settings.encoder, gap.first, boottime_ns)
        try:
            missing = self._compose(part, gap, used)
            digest = part.finish()
            assert part.pictures == gap.pictures
        except BaseException:
            part.abandon()
            raise
        facts: Json = {
            "bytes": part.sink.bytes,
            "sha256": digest,
            "first_picture": gap.first,
            "pictures": part.pictures,
            "start_ns": start_ns,
            "end_ns": end_ns,
            "samples": part.pictures * SAMPLES_PER_PICTURE,
            "samples_missing": missing,
            "sources": [segment.source for segments in used.values() for segment in segments],
        }
        self._journal.append("part", file=name, **facts)
        times = {"from": rfc3339(start_ns, self._zone), "to": rfc3339(end_ns, self._zone)}
        return {"path": f"{record.FOLDER}/{name}", **facts, **times}

    def _compose(self, part: Part, gap: PictureSpan, used: dict[str, tuple[SealedSegment, ...]]) -> int:
        """Every picture of the gap with its sound; gives the samples that no segment holds."""
        settings = self._settings
        rect = inset_rect(settings.inset_width, settings.inset_height, settings.inset_corner)
        from_ns = self._start_ns + gap.first * PICTURE_NS
        cameras = [
            CameraOfSegments(self._folder, camera.name, used.get(camera.name, ()), place, from_ns)
            for camera, place in ((settings.main, FULL), (settings.inset, rect))
        ]
        sound = SoundOfSegments(self._folder, used.get("microphone", ()), SOUND_HZ)
        pictures = Pictures(settings, cameras[0].input, cameras[1].input, rect)
        canvases = [new_canvas() for _ in range(CANVASES)]
        marked: set[str] = set()
        missing = 0
        for n in range(gap.first, gap.end):
            self._give_way()
            room_ns = self._start_ns + n * PICTURE_NS
            for camera in cameras:
                camera.advance(room_ns)
            while not part.free.empty():
                canvases.append(part.free.get())
            canvas = canvases.pop() if canvases else new_canvas()
            moment = datetime.fromtimestamp(room_ns // SECOND_NS, UTC).astimezone(self._zone)
            pictures.compose(canvas, room_ns, self._start_ns, moment, self._fields)
            samples, silent = sound.read(room_ns, SAMPLES_PER_PICTURE)
            missing += silent
            while not part.put(canvas, samples, boottime_ns()):
                continue  # nothing is due: the encoder may take its time
            lost = set(pictures.lost)
            for name in sorted(lost ^ marked):
                self._journal.append("lost" if name in lost else "back", camera=name, at_ns=room_ns)
            marked = lost
            self._done += 1
            self._progress(self._done / self._total)
        return missing

    def _give_way(self) -> None:
        """Waits while a session is recorded."""
        if time.monotonic() < self._look_s:
            return
        while self._order.recording():
            time.sleep(YIELD_S)
        self._look_s = time.monotonic() + YIELD_S
