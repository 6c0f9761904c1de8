"""A session's disc label: given once, kept, and never given to another session, whatever becomes of the folders.

``EV``, the local date of the start command (as the session's folder has it), and the session's number of that day. It is kept as
``<root>/burn/labels/<label>.json`` with the session's id, created exclusively: a disc that is burned months later, when other
sessions' folders were removed, has the label of its first copy.
"""

import re
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

from burner.disc.sealed_session import Evidence
from recorder.disk.durable import create_json, make_folder, read_fault, read_json
from recorder.faults import EvidenceFault, NotFound

_LABEL = re.compile(r"EV\d{8}_\d{3,}")


def label(evidence: Evidence, *, draft: bool) -> str:
    """The volume identifier: the session's label, or what a draft has instead. The caller holds the session's disc folder.

    Raises StorageFault where the label cannot be kept.
    """
    given = _given(evidence)
    return f"DRAFT{given[2:10]}_{int(given[11:]):02d}" if draft else given


def _given(evidence: Evidence) -> str:
    session, root = evidence.folder.name, evidence.folder.parent.parent
    folder = root / "burn" / "labels"
    kept = {path.stem: _session(path) for path in folder.glob("[!.]*.json")}
    if mine := [name for name, owner in kept.items() if owner == session]:
        return mine[0]
    make_folder(folder)
    burned = _of_results(root / "burn" / "jobs")
    for name in _candidates(evidence, [name for name, owner in burned.items() if owner == session]):
        free = name not in kept and burned.get(name, session) == session
        if free and create_json(folder / f"{name}.json", {"session": session}):
            return name
    raise AssertionError("numbers do not end")


def _candidates(evidence: Evidence, before: list[str]) -> Iterator[str]:
    """What the session may be called, in the order of preference. before: what an earlier version called it."""
    yield from before
    date = _date(evidence)
    yield from (f"EV{date}_{number:03d}" for number in count(_place(evidence.folder, date)))


def _session(path: Path) -> str:
    """Whose a label is; "" where its file is damaged: then nobody's, and nobody else's."""
    try:
        return str(read_json(path).get("session") or "")
    except (NotFound, EvidenceFault):
        return ""


def _of_results(folder: Path) -> dict[str, str]:
    """Labels of finished jobs, and whose: of versions that kept no labels. The oldest job's counts."""
    given: dict[str, str] = {}
    for path in sorted(folder.glob("[!.]*.json")):
        try:
            found: dict[str, Any] = read_json(path)
        except (NotFound, EvidenceFault):
            continue
        if _LABEL.fullmatch(str(found.get("label"))):
            given.setdefault(str(found["label"]), str(found.get("session")))
    return given


def _date(evidence: Evidence) -> str:
    """The date in the folder's name: around midnight the official start may be on another day."""
    start = re.sub(r"\D", "", str(evidence.record.get("official_start", ""))[:10])
    found = re.match(r"\d{8}", evidence.folder.name) or re.fullmatch(r"\d{8}", start)
    return found[0] if found else "00000000"


def _place(folder: Path, date: str) -> int:
    """The session's place among those of its day whose folders are here, from 1. Raises StorageFault."""
    try:
        siblings = sorted(p.name for p in folder.parent.iterdir() if p.name.startswith(date) and (p / "session.json").exists())
    except OSError as error:
        raise read_fault(folder.parent, error) from error
    return siblings.index(folder.name) + 1 if folder.name in siblings else 1
