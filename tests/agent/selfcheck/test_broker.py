"""What the self-check finds out of a broker, from brokers that can do it and from some that cannot."""

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from agent.config.model import Config, parse
from agent.feed.contract import CHANNELS, SCHEMA, topic_root
from agent.selfcheck import broker_probe
from agent.selfcheck.broker_probe import TOPICS
from agent.selfcheck.check import Outcome, Scene
from agent.selfcheck.checks import broker as check
from drivers.mqtt import Link, MqttMessage
from tests.agent.broker_fixture import CENTRE, DOCS, PASSWORD, PrivateBroker
from tests.agent.contract import keeps
from tests.equipment.lacking_broker import LackingBroker
from tests.equipment.process import HOST

LIMIT_S = 4.0
WITHOUT_PROBES = "".join(line for line in (DOCS / "acl").read_text().splitlines(keepends=True) if "/probe/" not in line)


def room(folder: Path, port: int, more: str) -> Config:
    password = folder / "password"
    password.write_text(PASSWORD)
    password.chmod(0o600)
    login = f'user = "{CENTRE}/room-01"\npassword_file = "{password}"\n'
    mqtt = f'[mqtt]\nhost = "{HOST}"\nport = {port}\n{login}{more}'
    return parse(f'[room]\nid = "room-01"\ncentre = "{CENTRE}"\n[storage]\nroot = "{folder / "data"}"\n{mqtt}')


def of(broker: PrivateBroker, folder: Path) -> Config:
    return room(folder, broker.port, f'ca_file = "{broker.ca_file}"\n')


@pytest.fixture(scope="module")
def looked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, tuple[Outcome, float]]]:
    """What each broker's check came to, and how long it took; all at once, since each of them waits for an expiry."""
    folder = tmp_path_factory.mktemp("brokers")
    lacking = {"no-will": {"wills": False}, "no-expiry": {"expires": False}, "keeps-nothing": {"keeps": False, "wills": False}}
    with ExitStack() as stack:
        shipped = PrivateBroker(folder / "shipped").start()
        stack.callback(shipped.stop)
        older = PrivateBroker(folder / "older", acl=WITHOUT_PROBES).start()
        stack.callback(older.stop)
        heard = Overhearing(shipped)
        stack.callback(heard.stop)
        configs = {"shipped": of(shipped, folder), "older-access-list": of(older, folder)}
        servers = {name: stack.enter_context(LackingBroker(**lacks)) for name, lacks in lacking.items()}
        configs |= {name: room(folder, server.port, "tls = false\n") for name, server in servers.items()}

        def look(name: str) -> tuple[str, tuple[Outcome, float]]:
            began = time.monotonic()
            return name, (check.look(Scene(configs[name]), ""), time.monotonic() - began)

        with ThreadPoolExecutor(len(configs)) as pool:
            found = dict(pool.map(look, configs))
        assert not any(server.kept for server in servers.values()), "nothing of a probe stays at a broker"
        heard.check()
        yield found


class Overhearing:
    """The command room, which reads everything."""

    def __init__(self, broker: PrivateBroker) -> None:
        self._messages: list[MqttMessage] = []
        self._link = Link(broker.reach("command-room"), "command-room", on_message=self._messages.append)
        self._link.open()
        self._link.subscribe("interview-room/v1/#")
        while not self._link.subscribed:
            self._link.poll(1.0)

    def check(self) -> None:
        """It met probes by the contract, and nothing that it could take for a room."""
        end = time.monotonic() + 0.2
        while (left := end - time.monotonic()) > 0:
            self._link.poll(left)
        assert {message.topic.rsplit("/", 1)[1] for message in self._messages} == {"will", "kept"}
        assert {keeps(message.topic, message.payload)["type"] for message in self._messages} == {"probe"}

    def stop(self) -> None:
        self._link.drop()


LACKS = {"no-will": ["lacks-will"], "no-expiry": ["lacks-expiry"], "keeps-nothing": ["lacks-will", "lacks-kept-messages"]}


@pytest.mark.parametrize("name", LACKS)
def test_a_broker_that_lacks_something_is_named(looked: Mapping[str, tuple[Outcome, float]], name: str) -> None:
    outcome, seconds = looked[name]
    assert outcome.status == "warning" and seconds < LIMIT_S
    assert outcome.what.code == "broker-lacks"
    lacks = outcome.what.values["lacks"]
    assert isinstance(lacks, tuple) and [each.code for each in lacks] == LACKS[name]
    assert "mosquitto" in outcome.mend.say("en") and outcome.what.say("zh").startswith("消息服务器")


def test_a_centre_s_broker_passes(looked: Mapping[str, tuple[Outcome, float]]) -> None:
    outcome, seconds = looked["shipped"]
    assert (outcome.status, outcome.what.say("en")) == ("passed", "")
    assert seconds < LIMIT_S
    assert outcome.value.say("en").endswith(" s")


def test_an_access_list_without_probes_is_named(looked: Mapping[str, tuple[Outcome, float]]) -> None:
    outcome, _ = looked["older-access-list"]
    assert (outcome.status, outcome.what.code, outcome.mend.code) == (
        "warning",
        "broker-lets-nobody-probe",
        "add-probe-line-to-access-list",
    )


def test_a_broker_that_is_not_there_fails_with_its_cause(tmp_path: Path) -> None:
    with LackingBroker() as gone:
        pass
    outcome = check.look(Scene(room(tmp_path, gone.port, "tls = false\n")), "")
    assert (outcome.status, outcome.what.code) == ("failed", "mqtt-broker-unreachable")


def test_the_probe_s_topics_are_those_of_the_contract() -> None:
    root = topic_root("c", "r") + "/" + CHANNELS["probe"].address.removesuffix("{probe}")
    assert (root, SCHEMA) == (TOPICS.format(centre="c", room="r"), broker_probe.SCHEMA)
    assert CHANNELS["probe"].expiry_s == broker_probe.EXPIRY_S
