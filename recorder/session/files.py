"""The names of the files in a session's folder, and what can be told from these files alone."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from recorder.disk.journal import legible
from recorder.session.lines import EmptyLine, SegmentLine, SegmentOpenLine, TieLine, usable

MANIFEST, SIGNATURE = "manifest.json", "manifest.sig"
JOURNAL, JOURNAL_SIGNATURE = "journal.jsonl", "journal.sig"
SEGMENT_MOST_NS = 60_000_000_000  # the longest ``recording.segment_s``


def is_sealed(folder: Path) -> bool:
    """Whether the seal is complete. From then on nothing may be written below tracks/, composite/ and epochs/."""
    return (folder / MANIFEST).exists() and (folder / SIGNATURE).exists()


def stored_until_ns(session: Path, this_boot: str) -> int:
    """Room time up to which data of any track may exist, 0 where there is none. For a bound: damaged journals count as they are.

    A segment that was not closed reaches as far as its file's time of change says, by the wall clock of its boot; where that
    cannot be, as far as a segment can.
    """
    ahead = ahead_ns(session, this_boot, synchronised=False)
    return max((end_ns for path in session.glob(f"tracks/*/{JOURNAL}") for end_ns in _ends_ns(path, ahead)), default=0)


def ahead_ns(session: Path, this_boot: str, *, synchronised: bool) -> int:
    """By how much room time was ahead of the wall clock in the session's earlier boots, by the last ``tie``; 0 without one.

    A session whose first clock was wrong keeps its room time when that clock is set. synchronised: ties to a clock that was so
    alone. The journal's lines count as they are.
    """
    ahead = 0
    with suppress(OSError):
        for line in usable(legible((session / JOURNAL).read_bytes())):
            if isinstance(line, TieLine) and line.boot_id != this_boot and (not synchronised or line.source == "ntp"):
                ahead = line.room_ns - line.utc_ns
    return ahead


def _ends_ns(path: Path, ahead: int) -> Iterator[int]:
    opened: dict[str, int] = {}
    with suppress(OSError):
        for line in usable(legible(path.read_bytes())):
            match line:
                case SegmentOpenLine():
                    opened[line.file] = line.first_ns
                case SegmentLine():
                    opened.pop(line.file, None)
                    yield line.end_ns
                case EmptyLine():
                    opened.pop(line.file, None)
    for name, first_ns in opened.items():
        yield _changed_ns(path.parent / name, first_ns, ahead)


def _changed_ns(path: Path, first_ns: int, ahead: int) -> int:
    try:
        changed_ns = path.stat().st_mtime_ns + ahead
    except OSError:
        return first_ns
    return changed_ns if first_ns <= changed_ns <= first_ns + SEGMENT_MOST_NS else first_ns + SEGMENT_MOST_NS
