"""What was damaged of a session after its seal (a bad sector, a missing file): left out of the discs, and named on them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from burner.disc.sealed_session import Evidence
from burner.faults import Stopped
from recorder.disk.digest import file_sha256
from recorder.session.tracks import COMPOSITE, MADE_LATER


@dataclass(frozen=True, slots=True)
class Damaged:
    """A segment or part that is not what its journal says. path: relative to the session; sha256: as it was sealed. Room time."""

    path: str
    track: str
    sha256: str
    first_ns: int
    end_ns: int


def find(evidence: Evidence, *, stopped: Callable[[], bool] = lambda: False) -> tuple[Damaged, ...]:
    """Reads every segment and part. Raises Stopped."""
    return tuple(each for each in _listed(evidence) if still(evidence, each, stopped))


def still(evidence: Evidence, listed: Damaged, stopped: Callable[[], bool] = lambda: False) -> bool:
    """Whether its file cannot be read, or its digest is another. A file that may not be read is not damaged. Raises Stopped."""
    if stopped():
        raise Stopped
    try:
        return file_sha256(evidence.folder / listed.path) != listed.sha256
    except PermissionError:
        return False
    except OSError:
        return True


def without(evidence: Evidence, damaged: Sequence[Damaged]) -> Evidence:
    """Pure: the session as if the damaged files had never been listed; each leaves a hole."""
    gone = {each.path for each in damaged}
    return replace(
        evidence,
        segments={track: tuple(s for s in found if s.path not in gone) for track, found in evidence.segments.items()},
        parts=tuple(p for p in evidence.parts if p.path not in gone),
        later=tuple(p for p in evidence.later if p.path not in gone),
    )


def _listed(evidence: Evidence) -> Iterable[Damaged]:
    for track, parts in ((COMPOSITE, evidence.parts), (MADE_LATER, evidence.later)):
        yield from (Damaged(p.path, track, p.sha256, p.start_ns, p.end_ns) for p in parts)
    for track, segments in evidence.segments.items():
        yield from (Damaged(s.path, track, s.sha256, s.first_ns, s.end_ns) for s in segments)
