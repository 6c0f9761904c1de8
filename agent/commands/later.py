"""`room-agent session complete`: the pictures that the composite lacks, composed later from the originals."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agent.commands.context import Context
from agent.session import catalogue
from recorder.later.record import FOLDER, LaterPart, clock_span, made_later
from recorder.process.wanted import WantedFile
from wording import Exit, Fault, Shown, shown
from wording.text import listed

GIB = 1 << 30
NICE = 19  # whatever records or burns goes before


def complete(context: Context) -> Exit:
    """Composes what a sealed session's composite lacks into a folder of its own, marked as made later."""
    from agent.config.settings import composer_settings
    from agent.session.capacity import composite_bps
    from recorder.later.composing import Order
    from recorder.later.make import make_later

    a = context.arguments
    folder = catalogue.find(context.places, a.session)
    config = context.config()
    context.ask("session.complete", session=folder.name, by=a.by)
    wanted = WantedFile(context.places.wanted)
    order = Order(
        by=a.by.strip(),
        keys=context.places.keys,
        lock=context.places.root / "later.lock",
        composite_bps=composite_bps(config),
        reserve_bytes=round(config.storage.reserve_gib * GIB),
        recording=lambda: wanted.read().session is not None,
    )
    os.nice(NICE)
    made = make_later(folder, composer_settings(config), order, progress=context.meter(context.say("progress-composing")))
    start_ns = catalogue.read_session(folder).start_ns
    parts = parts_made(folder, start_ns)
    spans = _spans(context, parts)
    if made is not None:
        lines = [context.say("composed-later-stored", spans=spans, path=folder / FOLDER)]
    elif parts:
        lines = [context.say("gaps-already-composed-later", spans=spans)]
    else:
        lines = [context.say("composite-has-no-gap")]
    context.answer({"session": folder.name, "made": made is not None, "made_later": parts}, lines)
    return Exit.OK


def _spans(context: Context, parts: Sequence[Mapping[str, Any]]) -> Shown:
    return listed([shown(part["span"]) for part in parts], context.language)


def parts_made(folder: Path, start_ns: int) -> list[dict[str, Any]]:
    """What was made later of a session, a part each, as --json answers it. Raises EvidenceFault, StorageFault."""
    known = made_later(folder)
    return [_shown(part, start_ns) for part in known[1]] if known else []


def _shown(part: LaterPart, start_ns: int) -> dict[str, Any]:
    return {"path": part.path, "pictures": part.pictures, "span": clock_span(part, start_ns)}


def with_made_later(answer: Mapping[str, Any]) -> dict[str, Any]:
    """A status with ``made_later``: what was made later of its session; None where that cannot be read."""
    session, path = answer.get("session"), answer.get("path")
    if not session or not path:
        return {**answer, "made_later": []}
    try:
        return {**answer, "made_later": parts_made(Path(path), int(session["start_ns"]))}
    except Fault:
        return {**answer, "made_later": None}


def made_later_lines(context: Context, answer: Mapping[str, Any]) -> list[Shown]:
    """The lines for a person, from the answer of ``with_made_later``."""
    parts = answer["made_later"]
    if parts is None:
        return [context.say("composed-later-unreadable", session=answer["session"]["id"])]
    return [context.say("composed-later-spans", spans=_spans(context, parts))] if parts else []
