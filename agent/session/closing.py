"""What a seal waits for, and when a person may end that waiting. Pure, as agent.session.rules."""

from collections.abc import Mapping, Sequence
from typing import Literal

from agent.session.rules import text_faults
from recorder.clock.instants import SECOND_NS
from recorder.process.status import ComposerStatus, Status, TrackStatus
from recorder.session.record import Session
from recorder.session.tracks import track_name
from wording import Fault
from wording.refusals import Refused, refusal

COMPOSER_WAIT_NS = 5 * SECOND_NS  # how long sealing waits for a composer that is dead or fails, once every track has finished
COMPOSER_BUSY_NS = 60 * SECOND_NS  # and for one that works: it may have to read back what a crash cut off
TRACK_WAIT_NS = 60 * SECOND_NS  # how long after the official end no track may be left behind


def unfinished(session: Session, required: Sequence[str], statuses: Mapping[str, Status]) -> list[str]:
    """The required tracks that have not journalled the end of the session yet, whether or not they were left behind."""
    alive = {name: s for name in required if isinstance(s := statuses.get(name), TrackStatus)}
    return [name for name in required if name not in alive or alive[name].finished != session.id]


def waited_for(session: Session, required: Sequence[str], statuses: Mapping[str, Status]) -> list[str]:
    """The unfinished tracks for which the seal still waits: nobody has decided to leave them behind."""
    return [name for name in unfinished(session, required, statuses) if name not in session.left_tracks]


def leave_in_s(session: Session, room_ns: int) -> float:
    """Seconds until tracks of a session that is being sealed may be left behind; 0 where they may."""
    return max(0, (session.stop_ns or 0) + TRACK_WAIT_NS - room_ns) / SECOND_NS


def check_leave(
    active: Session | None, by: str, reason: str, *, waiting: Sequence[str], statuses: Mapping[str, Status], room_ns: int
) -> Session:
    """The session whose seal goes on without the tracks it waits for. Raises Refused with every reason against it.

    waiting: those tracks. One that is alive and whose disk takes what it writes comes to its end by itself. One whose process is
    dead or silent, or says that the disk refuses (``failed``), may be left behind.
    """
    reasons = text_faults(by=by, reason=reason)
    if active is None:
        reasons.append(refusal("no-session-being-sealed", "list-sessions-of-room"))
    elif active.state != "sealing":
        text = "session-still-running"
        reasons.append(refusal(text, "stop-session-first", session=active.id))
    elif (seconds := leave_in_s(active, room_ns)) > 0:
        text = "track-abandonment-too-early"
        reasons.append(refusal(text, "wait-for-tracks-to-end", seconds=-int(-seconds // 1)))
    elif not waiting:
        text, mend = "session-waits-for-no-track", "see-what-session-waits-for"
        reasons.append(refusal(text, mend, session=active.id))
    else:
        reasons += [_ends_by_itself(name) for name in waiting if works(statuses.get(name))]
    if reasons or active is None:
        raise Refused("track-abandonment-refused", reasons)
    return active


def works(status: Status | None) -> bool:
    """Whether a track's process is alive and its disk takes what it writes."""
    return isinstance(status, TrackStatus) and status.state != "failed"


def _ends_by_itself(track: str) -> Fault:
    return refusal(
        "live-track-ends-by-itself",
        "wait-for-track-or-stop-service",
        track=track_name(track),
    )


def composer_done(
    session: Session, status: ComposerStatus | None, *, locked: bool, wanted: bool, waited_ns: int
) -> Literal["finished", "wait", "give up"]:
    """Whether the seal must wait for the composer, which closes the composite before the manifest lists it.

    status: the composer's, if it is alive; locked: a composer's process exists, and may be too busy for a status; wanted: what
    wanted.json says of the composite; waited_ns: since every track had finished.

    A composite that was given up is waited for only while a composer has it open: that composer says when it has closed it. A
    composer that starts later does not open the session.
    """
    if status is not None and status.finished == session.id:
        return "finished"
    works = locked if status is None else status.session == session.id and status.state in ("recording", "closing")
    if wanted:
        return "wait" if waited_ns < (COMPOSER_BUSY_NS if works else COMPOSER_WAIT_NS) else "give up"
    has_it = locked if status is None else status.session == session.id
    return "wait" if has_it and waited_ns < COMPOSER_BUSY_NS + COMPOSER_WAIT_NS else "finished"
