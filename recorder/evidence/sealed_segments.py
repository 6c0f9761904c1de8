"""Which segments and parts were whole at the seal. The disc and the later composition both ask here.

A journal counts only where it is the one that the manifest sealed.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from recorder.clock.fit import believed_rate
from recorder.clock.instants import SECOND_NS
from recorder.disk.durable import Json, read_fault
from recorder.evidence.inventory import JournalledFolder, read_writer
from recorder.faults import EvidenceFault
from recorder.session.files import JOURNAL
from recorder.session.lines import Line, PartLine, SegmentLine

VERIFY = "verify-session-first"
FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class SealedSegment:
    """One segment of a track. path: relative to the session; times in room time, ns; first_pts: of a sound track, the count of
    its first sample; ppm: of the source's clock; the digests of packets as in recorder.session.lines.SegmentLine.
    """

    path: str
    bytes: int
    sha256: str
    packets: int
    first_ns: int
    end_ns: int
    first_pts: int
    ppm: float
    codec: str
    recovered: bool
    last_ns: int | None = None
    packets_sha256: str = ""
    run_sha256: str = ""
    run_since: str = ""

    def room_ns(self, after: Fraction) -> int:
        """Room time of an instant. after: seconds of the source's clock since the first packet."""
        return self.first_ns + round(after.numerator * SECOND_NS / after.denominator * believed_rate(self.ppm))

    @property
    def source(self) -> Json:
        """The segment as a record names its source: path and digest."""
        return {"path": self.path, "sha256": self.sha256}


@dataclass(frozen=True, slots=True)
class SealedPart:
    """One part of the composite. path: relative to the session; times in room time, ns.

    cut: the file goes on after the official end, which no disc shows.
    """

    path: str
    bytes: int
    sha256: str
    pictures: int
    start_ns: int
    end_ns: int
    cut: bool = False


def sealed_files(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Path to SHA-256 of what was sealed. What was missing or damaged then is a gap in the manifest."""
    return {str(f["path"]): str(f["sha256"]) for f in manifest.get("files") or ()}


def sealed_segments(folder: Path, manifest: Mapping[str, Any], track: str) -> tuple[SealedSegment, ...]:
    """A track's segments that were whole at the seal, in order of time.

    Raises EvidenceFault where the track's journal is not the one that was sealed, StorageFault, KeyError (no such track).
    """
    writer = _sealed_writer(folder, f"tracks/{track}", manifest["tracks"][track]["journal"])
    if writer is None:
        return ()
    sealed = sealed_files(manifest)
    found = (s for s in segments(track, writer.lines) if sealed.get(s.path) == s.sha256)
    return tuple(sorted(found, key=lambda s: s.first_ns))


def sealed_parts(folder: Path, manifest: Mapping[str, Any]) -> tuple[SealedPart, ...]:
    """The composite's parts that were whole at the seal, in order of time. Raises as sealed_segments."""
    writer = _sealed_writer(folder, "composite", manifest["composite"]["journal"])
    if writer is None:
        return ()
    sealed = sealed_files(manifest)
    return tuple(p for p in parts(writer.lines) if sealed.get(p.path) == p.sha256)


def _sealed_writer(folder: Path, name: str, head: Mapping[str, Any]) -> JournalledFolder | None:
    """The journal of a writer as it was sealed; None where nothing was recorded."""
    path = folder / name / JOURNAL
    try:
        writer, _ = read_writer(name, path.read_bytes(), path)
    except FileNotFoundError:
        if head["entries"] == 0:
            return None
        raise EvidenceFault("not-the-sealed-journal", VERIFY, path=path) from None
    except OSError as error:
        raise read_fault(path, error) from error
    if (writer.head.entries, writer.head.sha256) != (head["entries"], head["sha256"]):
        raise EvidenceFault("not-the-sealed-journal", VERIFY, path=path)
    return writer


def segments(track: str, lines: Iterable[Line]) -> tuple[SealedSegment, ...]:
    """The segments that a track's journal lists, in its order. Raises EvidenceFault where a name is none of a file beside it."""
    return tuple(
        SealedSegment(
            path=f"tracks/{track}/{_file_name(track, line.file)}",
            bytes=line.bytes,
            sha256=line.sha256,
            packets=line.packets,
            first_ns=line.first_ns,
            end_ns=line.end_ns,
            first_pts=line.first_pts or 0,
            ppm=line.ppm or 0.0,
            codec=line.codec,
            recovered=line.recovered,
            last_ns=line.last_ns,
            packets_sha256=line.packets_sha256,
            run_sha256=line.run_sha256,
            run_since=line.run_since,
        )
        for line in lines
        if isinstance(line, SegmentLine)
    )


def parts(lines: Iterable[Line]) -> tuple[SealedPart, ...]:
    """The parts that the composer's journal lists, in the order of their times: one that was torn is listed after its followers.

    Raises EvidenceFault where a name is none of a file beside it, or a part has no times.
    """
    found = []
    for line in lines:
        if isinstance(line, PartLine):
            path = f"composite/{_file_name('composite', line.file)}"
            if line.start_ns is None or line.end_ns is None:
                raise _incomplete("composite", line.seq)
            found.append(SealedPart(path, line.bytes, line.sha256, line.pictures, line.start_ns, line.end_ns))
    return tuple(sorted(found, key=lambda part: part.start_ns))


def _file_name(writer: str, name: str) -> str:
    if not FILE_NAME.fullmatch(name):
        raise _incomplete(writer, name)
    return name


def _incomplete(writer: str, entry: object) -> EvidenceFault:
    return EvidenceFault("journal-entry-incomplete", VERIFY, writer=writer, entry=entry)
