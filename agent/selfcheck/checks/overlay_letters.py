"""The overlay can show the room's name: a character that no font has would be ``?`` in every picture."""

from agent.selfcheck.check import Check, Outcome, Scene, never, passed, warned
from recorder.composite.letters import letters
from recorder.composite.overlay import code_point
from wording.sentence import sentence


def look(scene: Scene, _: str) -> Outcome:
    """The characters of the room's name in the fonts that the composer draws with."""
    lacking = letters().lacking(scene.config.room.name)
    threshold = sentence("overlay-letters-all")
    if not lacking:
        return passed(threshold)
    named = tuple(f"{character} ({code_point(character)})" for character in lacking)
    return warned(
        sentence("overlay-letters-missing", characters=named),
        threshold,
        sentence("overlay-lacks-room-characters"),
        sentence("install-font-or-rename-room"),
    )


CHECK = Check("overlay-letters", "picture", "overlay-letters-check", ("W-6.2.2.4.6",), look, required=never)
