"""The centre's MQTT broker is reachable, accepts the room's login, and does what the health feed relies on."""

from agent.selfcheck.broker_probe import probe
from agent.selfcheck.check import Check, Outcome, Scene, failed, never, passed, skipped, warned
from agent.selfcheck.result import NOTHING, of_fault
from drivers.mqtt import Broker
from wording import Fault
from wording.sentence import sentence

IN_CLEAR = "mqtt-password-in-clear"


def look(scene: Scene, _: str) -> Outcome:
    """Two short connections under ids of their own, so that the room's client stays connected."""
    settings, room = scene.config.mqtt, scene.config.room
    if not settings.enabled:
        return skipped(sentence("health-feed-switched-off"))
    threshold = sentence("answers-and-accepts-user", user=settings.user or "-")
    here = {"host": settings.host, "port": settings.port}
    try:
        broker = Broker(
            settings.host, settings.port, settings.user, settings.password(), settings.tls, settings.ca_file, settings.keepalive_s
        )
        found = probe(broker, room.centre, room.id)
    except Fault as fault:
        return failed(NOTHING, threshold, *of_fault(fault))
    value = sentence("broker-address-and-answer-time", **here, seconds=found.answer_s)
    if found.refused:
        refused = sentence("broker-lets-nobody-probe", **here, user=settings.user or "-")
        return warned(value, threshold, refused, sentence("add-probe-line-to-access-list"))
    holds = {
        "lacks-will": found.publishes_will,
        "lacks-kept-messages": found.keeps,
        "lacks-expiry": found.lets_expire,
    }
    if lacks := tuple(sentence(code) for code, held in holds.items() if not held):
        return warned(
            value, threshold, sentence("broker-lacks", **here, lacks=lacks), sentence("use-broker-that-keeps-to-mqtt-5")
        )
    unwise = next((fault for fault in scene.config.warnings if fault.code == IN_CLEAR), None)
    return passed(value, threshold) if unwise is None else warned(value, threshold, *of_fault(unwise))


CHECK = Check("broker", "connections", "command-room-broker", ("W-6.2.2.5.3", "H-5.2.1"), look, required=never, place=4)
