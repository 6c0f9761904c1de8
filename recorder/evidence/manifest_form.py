"""The forms of manifest.json: the present one, and the one of version 0.1.0 lifted to it. Light, and pure."""

from collections.abc import Mapping
from typing import Any

from recorder.session.lines import cause_fields, cause_of
from wording.sentence import Sentence

SCHEMA = "interview-room-manifest/2"
SCHEMA_BEFORE = "interview-room-manifest/1"  # version 0.1.0: causes and problems are English sentences


def understood(content: Mapping[str, Any]) -> dict[str, Any]:
    """A manifest's content in the present form, whichever version sealed it; of no known form: as it is.

    Version 0.1.0 told causes and problems in English; each becomes its code. Nothing else differs.
    """
    if content.get("schema") != SCHEMA_BEFORE:
        return dict(content)

    def gaps(section: Any) -> Any:
        if not isinstance(section, dict) or not isinstance(section.get("gaps"), list):
            return section
        return {**section, "gaps": [_gap_understood(gap) for gap in section["gaps"]]}

    tracks, problems = content.get("tracks"), content.get("problems")
    return {
        **content,
        "tracks": {name: gaps(track) for name, track in tracks.items()} if isinstance(tracks, dict) else tracks,
        "composite": gaps(content.get("composite")),
        "problems": [_problem_understood(p) for p in problems] if isinstance(problems, list) else problems,
    }


def _gap_understood(gap: Any) -> Any:
    if not isinstance(gap, dict):
        return gap
    return {**{k: v for k, v in gap.items() if k not in ("cause", "fault")}, **cause_fields(cause_of(gap))}


def _problem_understood(told: Any) -> Any:
    return {"path": told.get("path"), **Sentence.from_json(told).as_json()} if isinstance(told, dict) else told
