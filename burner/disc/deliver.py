"""The MP4s of a disc: every original track and the composite, remuxed into ``<session>/disc/`` until the discs are verified.

One file a run without a hole, named ``<track>-NN.mp4``; no packet is decoded, changed, left out or added, and each file is read
back and compared with its sources before it counts. What a part of the composite shows after the official end is left out: the
recorder goes on where it learns of that end late. ``disc/delivery.json`` is written last and says so.
A source that was damaged after the seal is left out and listed: what is whole gets its disc, which says what it lacks.
"""

import logging
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path

from burner.disc import damage, remux
from burner.disc.damage import Damaged
from burner.disc.remux import StreamDigest
from burner.disc.sealed_session import Evidence, runs
from burner.faults import BurnFault, DoesNotFit
from recorder.clock.instants import SECOND_NS
from recorder.disk.digest import file_sha256
from recorder.disk.durable import make_folder, read_fault, read_json, storage_fault, write_json
from recorder.disk.locks import exclusive
from recorder.disk.typed import WrongField, typed
from recorder.evidence.sealed_segments import SealedSegment
from recorder.faults import EvidenceFault, NotFound, StorageFault
from recorder.later.record import SourceFile
from recorder.session.tracks import COMPOSITE, MADE_LATER

FOLDER = "disc"
INDEX = "delivery.json"
SLOWEST_BYTES_PER_S = 2_000_000  # a remux slower than this hangs

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Delivered:
    """One MP4. name: in the disc folder. first_ns, end_ns: what it shows, room time; its own time 0 is first_ns."""

    name: str
    track: str
    codec: str
    bytes: int
    sha256: str
    first_ns: int
    end_ns: int
    streams: tuple[StreamDigest, ...]
    sources: tuple[SourceFile, ...]


@dataclass(frozen=True, slots=True)
class Delivery:
    """What goes on a disc, and what is missing there since it was damaged after the seal."""

    files: tuple[Delivered, ...]
    damaged: tuple[Damaged, ...] = ()


@dataclass(frozen=True, slots=True)
class _Order:
    """One MP4 to be made."""

    name: str
    track: str
    codec: str
    first_ns: int
    end_ns: int
    bytes: int
    sources: tuple[SourceFile, ...]
    segments: tuple[SealedSegment, ...]  # empty for a part of the composite, live or made later
    cut: bool = False  # such a part goes on after end_ns
    mixed: bool = False  # parameter sets change between the segments

    @property
    def within(self) -> Fraction | None:
        """How many seconds of the source, from its own time 0 on; None: all."""
        return Fraction(self.end_ns - self.first_ns, SECOND_NS) if self.cut else None


@contextmanager
def disc_folder(evidence: Evidence) -> Iterator[Path]:
    """The session's disc folder, held for one process. Raises AlreadyRunning, StorageFault."""
    folder = make_folder(evidence.folder / FOLDER)
    with exclusive(folder / ".lock", "burner"):
        yield folder


def deliver(
    evidence: Evidence,
    folder: Path,
    *,
    progress: Callable[[float], object] = lambda _: None,
    stopped: Callable[[], bool] = lambda: False,
    reserve_bytes: int = 0,
) -> Delivery:
    """Makes the MP4s, or finds those of an earlier run whole. The caller holds ``disc_folder``.

    What was damaged after the seal is left out, and listed. progress: 0…1. reserve_bytes: what stays free on the folder's disk,
    for the next recording. Raises EvidenceFault (nothing is whole, or a source cannot be used though it is what its journal
    says), DoesNotFit, BurnFault, StorageFault, Stopped.
    """
    if kept := _kept(evidence, folder, stopped):
        return kept
    clear(folder)
    whole, lost = evidence, tuple[Damaged, ...]()
    made: dict[str, Delivered] = {}
    while True:
        try:
            _make_all(whole, folder, made, progress, stopped, reserve_bytes=reserve_bytes)
            break
        except (EvidenceFault, StorageFault):
            found = damage.find(whole, stopped=stopped)
            whole, lost = damage.without(whole, found), (*lost, *found)
            if not found or not (whole.parts or any(whole.segments.values())):
                raise
            log.error("damaged after the seal", extra={"session": evidence.id, "files": [each.path for each in found]})
    write_json(folder / INDEX, {"files": [asdict(d) for d in made.values()], "damaged": [asdict(d) for d in lost]})
    return Delivery(tuple(made.values()), lost)


def _make_all(
    evidence: Evidence,
    folder: Path,
    made: dict[str, Delivered],
    progress: Callable[[float], object],
    stopped: Callable[[], bool],
    *,
    reserve_bytes: int,
) -> None:
    """Brings made, by name and in the order of the orders, up to what evidence asks for. Raises as deliver does."""
    orders = _orders(evidence)
    reused = {o.name: made[o.name] for o in orders if o.name in made and made[o.name].sources == o.sources}
    made.clear()
    _remove(folder, keep=reused)
    total = sum(o.bytes for o in orders)
    before = sum(o.bytes for o in orders if o.name in reused)
    free, needed = shutil.disk_usage(folder).free, (total - before) * 1.02
    if free < needed:
        raise DoesNotFit(
            "no-space-for-disc-files",
            "free-data-disk-then-burn",
            folder=folder,
            free_mb=free // 1_000_000,
            needed_mb=int(needed) // 1_000_000 + 1,
        )
    if free < needed + reserve_bytes:
        raise reserve_fault(folder, free, needed, reserve_bytes)
    for order in orders:
        if order.name in reused:
            made[order.name] = reused[order.name]
            continue

        def done(count: int, before: int = before) -> None:
            progress((before + count) / max(1, total))

        made[order.name] = _make(evidence, folder, order, done, stopped)
        before += order.bytes
        progress(before / max(1, total))


def reserve_fault(folder: Path, free: float, needed: float, reserve: float) -> DoesNotFit:
    """The fault where files for a disc would take what is kept free for the next recording. All in bytes."""
    return DoesNotFit(
        "disc-files-would-take-reserve",
        "free-data-disk-then-burn",
        folder=folder,
        free_mb=int(free) // 1_000_000,
        needed_mb=int(needed) // 1_000_000 + 1,
        reserve_mb=int(reserve) // 1_000_000,
    )


def _orders(evidence: Evidence) -> list[_Order]:
    orders = []
    for number, part in enumerate(evidence.parts, 1):
        source = (SourceFile(part.path, part.sha256),)
        orders.append(
            _Order(
                f"{COMPOSITE}-{number:02d}.mp4", COMPOSITE, "h264", part.start_ns, part.end_ns, part.bytes, source, (), part.cut
            )
        )
    for number, part in enumerate(evidence.later, 1):
        source = (SourceFile(part.path, part.sha256),)
        name = f"{MADE_LATER}-{number:02d}.mp4"
        orders.append(_Order(name, MADE_LATER, "h264", part.start_ns, part.end_ns, part.bytes, source, ()))
    for track, found in evidence.segments.items():
        number = 0
        for run in runs(found):
            for part_run, mixed in of_one_file(evidence.folder, run):
                number += 1
                orders.append(
                    _Order(
                        f"{track}-{number:02d}.mp4",
                        track,
                        part_run[0].codec,
                        part_run[0].first_ns,
                        max(s.end_ns for s in part_run),
                        sum(s.bytes for s in part_run),
                        tuple(SourceFile(s.path, s.sha256) for s in part_run),
                        part_run,
                        mixed=mixed,
                    )
                )
    return orders


def of_one_file(folder: Path, run: Sequence[SealedSegment]) -> Iterator[tuple[tuple[SealedSegment, ...], bool]]:
    """A run cut where what follows needs another MP4, and whether a part's parameter sets change on the way.

    Segments share one where they have one set of parameters, or where each brings its own: a camera that alternates them costs no
    file a second.
    """
    group: list[SealedSegment] = []
    first, same, own = remux.SegmentFormat(()), True, True
    for segment in run:
        found = remux.segment_format(folder / segment.path)
        fits = found.kind == first.kind and ((same and found.sets == first.sets) or (own and found.own_sets))
        if group and not fits:
            yield tuple(group), not same
            group = []
        if not group:
            first, same, own = found, True, True
        same, own = same and found.sets == first.sets, own and found.own_sets
        group.append(segment)
    yield tuple(group), not same


def _kept(evidence: Evidence, folder: Path, stopped: Callable[[], bool]) -> Delivery | None:
    """What an earlier run left, where all of it is whole and from the same sources, and what it lacks is damaged still.

    Raises Stopped.
    """
    try:
        kept = typed(Delivery, read_json(folder / INDEX))
    except (NotFound, EvidenceFault, WrongField):
        return None
    files, lost = kept.files, kept.damaged
    try:
        same = [(d.name, d.sources) for d in files] == [(o.name, o.sources) for o in _orders(damage.without(evidence, lost))]
        whole = same and all(file_sha256(folder / d.name) == d.sha256 for d in files)
    except (EvidenceFault, OSError):  # something more is damaged, or an MP4 is away
        return None
    return Delivery(files, lost) if whole and all(damage.still(evidence, each, stopped) for each in lost) else None


def _make(
    evidence: Evidence, folder: Path, order: _Order, done: Callable[[int], object], stopped: Callable[[], bool]
) -> Delivered:
    target = folder / order.name
    if order.segments:
        read = 0

        def finished(count: int) -> None:
            nonlocal read
            read += count
            done(read)

        before: tuple[StreamDigest, ...] = (
            remux.segments_to_mp4(evidence.folder, order.segments, target, stopped=stopped, done=finished, mixed=order.mixed),
        )
    else:
        source = evidence.folder / order.sources[0].path
        try:
            if file_sha256(source) != order.sources[0].sha256:
                raise EvidenceFault("file-differs-from-its-journal", "verify-session-first", path=source)
        except OSError as error:
            raise read_fault(source, error) from error
        timeout_s = 60 + order.bytes / SLOWEST_BYTES_PER_S
        remux.part_to_mp4(source, target, stopped=stopped, timeout_s=timeout_s, within=order.within)
        before = remux.digests([source], stopped=stopped, within=order.within)
    after = remux.digests([target], stopped=stopped)
    if before != after:
        raise BurnFault(
            "delivered-packets-differ-from-sources",
            "report-session-id-recording-intact",
            path=target,
        )
    size = target.stat().st_size
    return Delivered(
        order.name, order.track, order.codec, size, file_sha256(target), order.first_ns, order.end_ns, after, order.sources
    )


def clear(folder: Path) -> None:
    """Removes the MP4s; they can be made again from the session at any time (the originals are not here). Raises StorageFault."""
    try:
        (folder / INDEX).unlink(missing_ok=True)
    except OSError as error:
        raise storage_fault(folder, error) from error
    _remove(folder, keep=())


def _remove(folder: Path, *, keep: Collection[str]) -> None:
    """Removes the MP4s but for some names. Raises StorageFault."""
    try:
        for path in folder.glob("*.mp4"):
            if path.name not in keep:
                path.unlink()
    except OSError as error:
        raise storage_fault(folder, error) from error
