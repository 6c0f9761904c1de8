"""``room-agent camera accept``: a person's word that a changed camera is meant."""

from agent.commands.context import Context
from agent.commands.words import Builder
from recorder.capture.camera_changes import Change
from recorder.session.tracks import CAMERAS
from wording import Exit
from wording.text import listed


def words(build: Builder) -> None:
    """``camera accept``."""
    build.group("camera", "help-camera")
    add = build.command("camera accept", accept, "help-camera-accept")
    add("name", choices=CAMERAS, value="value-camera", text="help-camera-to-accept")
    add("--by", required=True, value="value-name", text="help-camera-accepted-by")
    add("--reason", required=True, value="value-reason", text="help-camera-accept-reason")


def accept(context: Context) -> Exit:
    """Accepts all that changed of the camera, through the agent."""
    arguments = context.arguments
    answer = context.ask("camera.accept", camera=arguments.name, by=arguments.by, reason=arguments.reason)
    changes = listed((Change(**each).said.say(context.language) for each in answer["changes"]), context.language)
    context.answer(answer, [context.say("camera-accepted", name=arguments.name, changes=changes)])
    return Exit.OK
