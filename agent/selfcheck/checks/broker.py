"""The centre's MQTT broker is reachable and accepts the room's login."""

import time

from agent.selfcheck.check import Check, Outcome, Scene, failed, never, passed, skipped, warned
from agent.selfcheck.result import NOTHING, of_fault
from drivers.mqtt import Broker, Link
from wording import Fault
from wording.sentence import sentence

ANSWER_S = 4.0
IN_CLEAR = "mqtt-password-in-clear"


def look(scene: Scene, _: str) -> Outcome:
    """One short connection under an id of its own, so that the room's client stays connected. Publishes nothing."""
    settings = scene.config.mqtt
    if not settings.enabled:
        return skipped(sentence("health-feed-switched-off"))
    threshold = sentence("answers-and-accepts-user", user=settings.user or "-")
    began = time.monotonic()
    try:
        broker = Broker(
            settings.host, settings.port, settings.user, settings.password(), settings.tls, settings.ca_file, settings.keepalive_s
        )
        link = Link(broker, f"{scene.config.room.id}-selfcheck")
        link.open(ANSWER_S)
    except Fault as fault:
        return failed(NOTHING, threshold, *of_fault(fault))
    seconds = time.monotonic() - began
    link.close()
    answered = sentence("broker-address-and-answer-time", host=settings.host, port=settings.port, seconds=seconds)
    unwise = next((fault for fault in scene.config.warnings if fault.code == IN_CLEAR), None)
    return passed(answered, threshold) if unwise is None else warned(answered, threshold, *of_fault(unwise))


CHECK = Check("broker", "connections", "command-room-broker", ("W-6.2.2.5.3", "H-5.2.1"), look, required=never, place=4)
