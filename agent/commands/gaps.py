"""The interruptions of a session, for the person who asks: with start, end, length and cause."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from agent.commands.context import Context
from recorder.clock.instants import SECOND_NS, rfc3339
from recorder.disk import journal
from recorder.disk.durable import read_json
from recorder.evidence.continuity import interruptions
from recorder.evidence.manifest_form import understood
from recorder.session.files import JOURNAL, MANIFEST, is_sealed
from recorder.session.lines import cause_fields, cause_of, usable
from recorder.session.record import Session
from recorder.session.tracks import COMPOSITE, track_name
from wording import Fault, Shown

Json = dict[str, Any]


def gaps_of(folder: Path) -> list[Json]:
    """Every interruption of each track and of a sealed composite: track, from_ns, to_ns (None: it lasts), cause, values.

    A sealed session's are the manifest's; a running one's are what its tracks have journalled. Raises Fault.
    """
    if is_sealed(folder):
        manifest = understood(read_json(folder / MANIFEST))
        sections = {**manifest["tracks"], COMPOSITE: manifest["composite"]}
        return [{"track": name, **_gap(gap)} for name, section in sections.items() for gap in section["gaps"]]
    found: list[Json] = []
    for path in sorted(folder.glob(f"tracks/*/{JOURNAL}")):
        for span in interruptions(usable(journal.read(path))):
            times = {"track": path.parent.name, "from_ns": span.from_ns, "to_ns": span.to_ns}
            found.append({**times, **cause_fields(span.cause)})
    return found


def _gap(gap: Mapping[str, Any]) -> Json:
    return {"from_ns": gap["from_ns"], "to_ns": gap["to_ns"], **cause_fields(cause_of(gap))}


def with_gaps(answer: Mapping[str, Any]) -> Json:
    """A status with ``gaps``: those of its session; None where they cannot be read."""
    session, path = answer.get("session"), answer.get("path")
    if not session or not path:
        return {**answer, "gaps": []}
    try:
        return {**answer, "gaps": gaps_of(Path(path))}
    except (Fault, OSError, KeyError, TypeError, ValueError):
        return {**answer, "gaps": None}


def gap_lines(context: Context, session: Session, gaps: list[Json] | None) -> list[Shown]:
    """A line for each, for ``with_gaps``."""
    if gaps is None:
        return [context.say("interruptions-unreadable", session=session.id)]
    zone = ZoneInfo(session.timezone)

    def at(room_ns: int) -> str:
        return rfc3339(room_ns, zone)

    lines = []
    for gap in gaps:
        told = {"track": track_name(gap["track"]).say(context.language), "start": at(gap["from_ns"])}
        cause = cause_of(gap).say(context.language)
        if gap["to_ns"] is None:
            lines.append(context.say("interruption-lasts", **told, cause=cause))
            continue
        seconds = (gap["to_ns"] - gap["from_ns"]) / SECOND_NS
        lines.append(context.say("interruption", **told, end=at(gap["to_ns"]), length=seconds, cause=cause))
    return lines
