"""What lies in a session's folder: the names that every process knows, and what can be told from the files at once."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from recorder.disk.journal import legible

MANIFEST, SIGNATURE = "manifest.json", "manifest.sig"
JOURNAL, JOURNAL_SIGNATURE = "journal.jsonl", "journal.sig"
SEGMENT_MOST_NS = 60_000_000_000  # the longest ``recording.segment_s``


def is_sealed(folder: Path) -> bool:
    """The seal is whole: nothing may be written below tracks/, composite/ and epochs/ any more."""
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
    with suppress(OSError, KeyError, ValueError):
        for entry in legible((session / JOURNAL).read_bytes()):
            if entry["kind"] == "tie" and entry["boot_id"] != this_boot and (not synchronised or entry["source"] == "ntp"):
                ahead = int(str(entry["room_ns"])) - int(str(entry["utc_ns"]))
    return ahead


def _ends_ns(path: Path, ahead: int) -> Iterator[int]:
    opened: dict[str, int] = {}
    with suppress(OSError, KeyError, ValueError):
        for entry in legible(path.read_bytes()):
            match entry["kind"]:
                case "open":
                    opened[str(entry["file"])] = int(str(entry["first_ns"]))
                case "segment":
                    opened.pop(str(entry["file"]), None)
                    yield int(str(entry["end_ns"]))
                case "empty":
                    opened.pop(str(entry["file"]), None)
    for name, first_ns in opened.items():
        yield _changed_ns(path.parent / name, first_ns, ahead)


def _changed_ns(path: Path, first_ns: int, ahead: int) -> int:
    try:
        changed_ns = path.stat().st_mtime_ns + ahead
    except OSError:
        return first_ns
    return changed_ns if first_ns <= changed_ns <= first_ns + SEGMENT_MOST_NS else first_ns + SEGMENT_MOST_NS
