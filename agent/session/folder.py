"""A session's own two files, session.json and journal.jsonl, written by the agent alone (invariant 2)."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Self

from agent.session.catalogue import read_session
from recorder.disk import journal
from recorder.disk.durable import fsync_folder, make_folder, storage_fault, write_json
from recorder.disk.journal import Head, Journal, open_or_set_aside
from recorder.faults import StorageFault
from recorder.session.epoch import Epoch, Tie
from recorder.session.record import STARTED, Session

TAIL_BYTES = 1 << 16


class SessionFolder:
    """An opened session: ``session`` is what session.json says, ``note`` adds a line to the journal."""

    def __init__(self, path: Path, session: Session) -> None:
        """Opens the journal. Raises StorageFault, EvidenceFault."""
        self.path = path
        self.session = session
        self._journal = Journal(path / "journal.jsonl")

    @classmethod
    def taken_up(cls, path: Path, session: Session) -> Self:
        """Opens an active session.

        Its journal may be damaged. Then a new one begins and names the damaged one, because the session must come to its end.

        Raises StorageFault.
        """
        opened, damaged = open_or_set_aside(path / "journal.jsonl")
        opened.close()
        folder = cls(path, session)
        try:
            if damaged is not None:
                folder.note("event", event="journal-damaged", **damaged.as_json())
        except StorageFault:
            folder.close()
            raise
        return folder

    @classmethod
    @contextmanager
    def opened(cls, path: Path) -> Iterator[Self]:
        """Opens a session to make one change. Raises NotFound, StorageFault, EvidenceFault."""
        folder = cls(path, read_session(path))
        try:
            yield folder
        finally:
            folder.close()

    def put(self, session: Session) -> None:
        """Replaces session.json durably. Raises StorageFault; ``session`` is then as it was."""
        write_json(self.path / "session.json", session.as_dict())
        self.session = session

    def note(self, kind: str, /, **fields: object) -> Head:
        """One line of the journal, durable. Raises StorageFault."""
        return self._journal.append(kind, **fields)

    def kinds(self) -> Counter[str]:
        """How many lines of each kind the journal holds. Raises EvidenceFault."""
        return Counter(str(entry["kind"]) for entry in journal.read(self.path / "journal.jsonl"))

    def close(self) -> None:
        """Closes the journal's file."""
        self._journal.close()


def free_path(path: Path) -> Path:
    """The path, or where it is taken (the wall clock was set back) the first free one of ``<path>-2`` and so on."""
    free, number = path, 2
    while free.exists():
        free, number = path.with_name(f"{path.name}-{number}"), number + 1
    return free


def make_session_folder(path: Path, tracks: Iterable[str]) -> None:
    """Creates the session's folder durably, with the folder of each writer inside and an empty journal. Raises StorageFault."""
    make_folder(path.parent)
    try:
        path.mkdir()
        for name in ("tracks", "composite", "transcript", "disc", *(f"tracks/{track}" for track in tracks)):
            (path / name).mkdir()
        (path / "journal.jsonl").touch(0o640, exist_ok=False)
        fsync_folder(path / "tracks")
        fsync_folder(path)
        fsync_folder(path.parent)
    except OSError as error:
        raise storage_fault(path, error) from error


def unlink_session(path: Path) -> None:
    """Removes session.json durably; a folder without it counts as no session. Raises StorageFault."""
    try:
        (path / "session.json").unlink(missing_ok=True)
        fsync_folder(path)
    except FileNotFoundError:
        return  # the folder itself is gone
    except OSError as error:
        raise storage_fault(path, error) from error


def track_heads(path: Path, tracks: Sequence[str]) -> dict[str, dict[str, object]]:
    """The head of each track's journal, from its last whole line: cheap, and checked in full at the seal."""
    heads: dict[str, dict[str, object]] = {}
    for track in tracks:
        with suppress(OSError, ValueError, KeyError, TypeError):
            line = _last_line(path / "tracks" / track / "journal.jsonl")
            heads[track] = {"entries": int(json.loads(line)["seq"]) + 1, "sha256": sha256(line).hexdigest()}
    return heads


def _last_line(path: Path) -> bytes:
    """The last whole line without its newline, b"" where there is none within the last 64 KiB. Raises OSError."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - TAIL_BYTES))
        lines = file.read().split(b"\n")[:-1]
    return lines[-1] if lines else b""


def start_fields(session: Session) -> dict[str, object]:
    """The fields of the journal's line ``started``."""
    facts = session.as_dict()
    return {"session": session.id, **{name: facts[name] for name in STARTED}}


def stop_fields(session: Session) -> dict[str, object]:
    """The fields of the journal's line ``stopping``."""
    return {"stop_ns": session.stop_ns, "official_end": session.official_end, **dict(session.stop or {})}


def missing_lines(session: Session, kinds: Mapping[str, int]) -> list[tuple[str, Mapping[str, object]]]:
    """The lines that session.json calls for and the journal lacks, because the agent died between the two writes.

    kinds: how many lines of each kind the journal holds.
    """
    lines: list[tuple[str, Mapping[str, object]]] = []
    if not kinds.get("started"):
        lines.append(("started", start_fields(session)))
    if session.stop_ns is not None and not kinds.get("stopping"):
        lines.append(("stopping", stop_fields(session)))
    return lines + [("left", entry) for entry in (session.left or ())[kinds.get("left", 0) :]]


def tie_fields(tie: Tie, epoch: Epoch) -> dict[str, object]:
    """The fields of a journal's line ``tie``."""
    fields = asdict(tie)
    del fields["ahead_ns"]  # the wall clock that the epoch was made from had nothing added to it
    return {**fields, "room_ns": epoch.room_ns(tie.boottime_ns)}
