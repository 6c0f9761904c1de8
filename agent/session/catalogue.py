"""The sessions of this room, as their session.json files tell them. Light: `room-agent session list` needs no agent."""

import os
from pathlib import Path

from agent.config.places import Places
from recorder.disk.durable import read_fault, read_json
from recorder.faults import BadInput, EvidenceFault, NotFound, StorageFault
from recorder.session.record import Session
from wording import Exit, Fault


def read_session(folder: Path) -> Session:
    """The session of a folder. Raises NotFound, EvidenceFault, StorageFault."""
    path = folder / "session.json"
    return Session.from_dict(read_json(path), path)


def folders(places: Places) -> list[Path]:
    """The folders that hold a session, oldest official start first (their names sort so). Raises StorageFault."""
    try:
        with os.scandir(places.sessions) as entries:
            return sorted(path for path in map(Path, entries) if (path / "session.json").exists())
    except FileNotFoundError:
        return []
    except OSError as error:  # a user without the right to look must not read that there are no sessions
        raise read_fault(places.sessions, error) from error


def sessions(places: Places) -> tuple[list[Session], list[EvidenceFault | StorageFault]]:
    """Every session, oldest first, and a fault for each session.json, or for the folder of them all, that cannot be read."""
    found: list[Session] = []
    broken: list[EvidenceFault | StorageFault] = []
    try:
        known = folders(places)
    except StorageFault as fault:
        return [], [fault]
    for folder in known:
        try:
            found.append(read_session(folder))
        except (EvidenceFault, StorageFault) as fault:
            broken.append(fault)
        except NotFound:
            continue  # it was there a moment ago
    return found, broken


def why_unreadable(places: Places, session: str | None) -> Fault | None:
    """Why the agent cannot take up the session that wanted.json names; None where it can."""
    if session is None:
        return None
    folder = places.session(str(session))
    try:
        read_session(folder)
    except NotFound:
        return None
    except (EvidenceFault, StorageFault):
        return Fault(
            "unfinished-session-file-unreadable",
            "restore-session-file-or-end-recording",
            exit_code=Exit.EVIDENCE,
            session=folder.name,
            path=folder / "session.json",
            wanted=places.wanted,
        )
    return None


def find(places: Places, name: str) -> Path:
    """The folder of a session: its id, a beginning of it that fits only one, its path, or ``last``.

    Raises NotFound, BadInput, StorageFault.
    """
    known = folders(places)
    if name == "last" and known:
        return known[-1]
    path = Path(name)
    fits = [f for f in known if f.name == name or f == path] or [f for f in known if name and f.name.startswith(name)]
    if len(fits) > 1:
        text, mend = "session-name-ambiguous", "give-longer-session-id"
        raise BadInput(text, mend, name=name, found=", ".join(f.name for f in fits[:5]))
    if not fits:
        raise NotFound("session-unknown", "list-sessions-of-room-for-id", name=name)
    return fits[0]
