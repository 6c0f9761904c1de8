"""The feed against a real broker with the project's own configuration: will, outages, refusals, numbers without holes."""

import json
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.config.model import parse
from agent.feed import publisher
from agent.feed import room as feed_module
from agent.feed.contract import CHANNELS, SCHEMA, topic_root
from agent.feed.outbox import Draft, Outbox
from agent.feed.publisher import Schedule
from agent.feed.room import Feed, FeedSettings, Guidance, feed_settings
from agent.feed.watch import SequenceCheck, WatchSettings, listen
from agent.health.events import Event
from agent.health.room_view import RoomView
from drivers.mqtt import REFUSED, Broker, Link, MqttMessage
from recorder.clock.instants import SECOND_NS, boot_id, boottime_ns
from tests.agent.broker_fixture import CENTRE, ROOMS, PrivateBroker
from tests.agent.contract import keeps
from tests.agent.room_samples import PERSONAL, SESSION, changed, checked, room, without
from tests.equipment.process import Child, free_port, wait_for
from wording.border import Given

Json = dict[str, Any]
_rooms = iter(ROOMS)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateBroker]:
    running = PrivateBroker(tmp_path_factory.mktemp("broker")).start()
    yield running
    running.stop()


@pytest.fixture
def name() -> str:
    """A room of this test alone."""
    return next(_rooms)


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[PrivateBroker]:
    """A broker that the test may stop."""
    running = PrivateBroker(tmp_path / "broker").start()
    yield running
    running.stop()


class Reader:
    """The command room: keeps everything it receives of one room, and holds each message against the contract."""

    def __init__(self, broker: PrivateBroker, name: str) -> None:
        self.got: list[tuple[MqttMessage, Json]] = []
        self.check = SequenceCheck()
        self._stop, self._ready = threading.Event(), threading.Event()
        settings = WatchSettings(broker.reach("command-room"), f"reader-{name}-{id(self)}", f"{topic_root(CENTRE, name)}/#")
        self._thread = threading.Thread(target=self._listen, args=(settings,), daemon=True)

    def _listen(self, settings: WatchSettings) -> None:
        def turn(fault: object) -> None:
            if fault is None:
                self._ready.set()

        listen(settings, self._take, self._stop.is_set, on_turn=turn, session_expiry_s=60)

    def _take(self, message: MqttMessage) -> None:
        if message.topic.endswith("/guidance"):
            return
        data = json.loads(message.payload)
        self.check.add(data["room"], data["boot"], data["seq"], retained=message.retained)
        self.got.append((message, data))

    def __enter__(self) -> "Reader":
        self._thread.start()
        assert self._ready.wait(5)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(5)
        for message, _data in self.got:
            keeps(message.topic, message.payload)

    def all(self, type_: str, /, **fields: object) -> list[Json]:
        """The messages of a type with these values, oldest first; copy: the reader goes on."""
        return [d for _, d in list(self.got) if d["type"] == type_ and all(d.get(k) == v for k, v in fields.items())]

    def wait(self, what: str, condition: Callable[[], object], limit_s: float = 8.0) -> None:
        wait_for(lambda: bool(condition()), what, limit_s)


class Running:
    """A feed with its outbox, and a thread that looks at the room as the agent does."""

    def __init__(self, broker: Broker, name: str, outbox: Path, *, on_guidance: Callable[[Guidance], None] | None = None) -> None:
        self.outbox = Outbox(outbox)
        self.feed = Feed(FeedSettings(CENTRE, name, broker), self.outbox, on_guidance=on_guidance)
        self.look: Callable[[], RoomView] = room
        self.looking = True
        self._lock, self._checks, self._failed = threading.Lock(), 0, "camera-light:overview"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._agent, daemon=True)

    def _agent(self) -> None:
        while not self._stop.wait(0.1):
            if self.looking:
                with self._lock:
                    self.feed.update(self._seen())

    def _seen(self) -> RoomView:
        view = self.look()
        return checked(view, self._checks, self._failed) if view is not None else view

    def check(self, failed: str) -> None:
        """A self-check ends, which is an event; it is at the feed when this returns. failed: what did not pass."""
        with self._lock:
            if self._checks == 0:
                self.feed.update(self._seen())  # events are told against the look before
            self._checks, self._failed = self._checks + 1, failed
            self.feed.update(self._seen())

    def __enter__(self) -> "Running":
        self.feed.start()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(5)
        self.feed.stop()
        self.outbox.close()

    def connect(self) -> None:
        wait_for(lambda: self.feed.connected, "the feed is connected", 8)


def numbers(messages: list[Json]) -> list[int]:
    return sorted({d["seq"] for d in messages if d["seq"] is not None})


def test_a_command_room_sees_the_whole_room(broker: PrivateBroker, name: str, tmp_path: Path) -> None:
    with Reader(broker, name) as reader:
        with Running(broker.room(name), name, tmp_path / "o") as running:
            running.look = lambda: room(state="recording", session=SESSION)
            reader.wait("session", lambda: reader.all("session"))
            reader.wait("devices", lambda: len({d["device"] for d in reader.all("device")}) == 10)
            running.check("burner")
            reader.wait("event", lambda: reader.all("event", kind="selfcheck"))
            assert running.feed.connected
            assert running.feed.lost_reason is None
        reader.wait("offline", lambda: reader.all("state", online=False))
        assert reader.all("state")[0]["reason"] == "connected"
        health = reader.all("health")[0]
        assert (health["overall"], health["room_state"], health["recorded_s"]) == ("ok", "recording", 60.0)
        assert health["cpu"]["cores"] >= 1
        assert health["memory"]["total_bytes"] > health["memory"]["available_bytes"] > 0
        assert {d["status"] for d in reader.all("device")} == {"ok"}
        assert all(m.qos == 1 for m, _ in reader.got)
        assert reader.check.lost() == 0
        assert numbers([d for _, d in reader.got]) == list(range(len(numbers([d for _, d in reader.got]))))
        assert not [word for word in PERSONAL for m, _ in reader.got if word in m.payload.decode()]


def test_what_is_kept_and_for_how_long(broker: PrivateBroker, name: str, tmp_path: Path) -> None:
    with Running(broker.room(name), name, tmp_path / "o") as running:
        with Reader(broker, name) as reader:
            running.check("burner")
            reader.wait("everything", lambda: all(reader.all(kind) for kind in ("state", "health", "device", "session", "event")))
        with Reader(broker, name) as late:
            late.wait("health and session", lambda: late.all("health") and late.all("session"))
            kept = {m.topic.removeprefix(topic_root(CENTRE, name) + "/") for m, _ in late.got if m.retained}
            assert {"state", "health", "session", "device/overview", "device/clock"} <= kept
            assert "event" not in kept
            assert 10 <= (late_expiry(broker, name) or 0) <= CHANNELS["health"].expiry_s  # type: ignore[operator]


def late_expiry(broker: PrivateBroker, name: str) -> int | None:
    """What is left of the retained health message's life, s, as the broker tells a late subscriber."""
    left: list[int | None] = []
    link = Link(broker.reach("collector"), f"late-{name}")
    link._client.on_message = lambda _c, _u, m: left.append(getattr(m.properties, "MessageExpiryInterval", None))
    link.open()
    link.subscribe(f"{topic_root(CENTRE, name)}/health")
    deadline = time.monotonic() + 5
    while not left and time.monotonic() < deadline:
        link.poll(0.1)
    link.close()
    return left[0]


def test_a_late_subscriber_sees_no_old_health(
    broker: PrivateBroker, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = {**CHANNELS, "health": replace(CHANNELS["health"], expiry_s=1)}
    monkeypatch.setattr(publisher, "CHANNELS", short)
    with Running(broker.room(name), name, tmp_path / "o") as running, Reader(broker, name) as reader:
        reader.wait("health and session", lambda: reader.all("health") and reader.all("session"))
        running.connect()
    expired = time.monotonic() + 2.5
    wait_for(lambda: time.monotonic() > expired, "the broker's clock of seconds went past the expiry", 4)
    with Reader(broker, name) as late:
        late.wait("what is kept", lambda: late.all("state") and late.all("session"))
        assert late.all("state")[-1]["online"] is False
        assert late.all("health") == []


def test_a_failing_device_is_there_within_two_seconds(broker: PrivateBroker, name: str, tmp_path: Path) -> None:
    with Running(broker.room(name), name, tmp_path / "o") as running, Reader(broker, name) as reader:
        reader.wait("health", lambda: reader.all("health", overall="ok"))
        failed_at = time.monotonic()
        running.look = lambda: without(room(), "closeup")
        reader.wait("the device's topic", lambda: reader.all("device", device="closeup", status="failed"), 2)
        reader.wait("health", lambda: reader.all("health", overall="failed"), 2)
        reader.wait("event", lambda: reader.all("event", kind="device-lost"), 2)
        assert time.monotonic() - failed_at < 2
        lost = reader.all("event", kind="device-lost")[0]
        assert lost["data"]["cause"] == {"en": "The process does not answer.", "zh": "程序没有响应。"}
        assert lost["historical"] is False
        assert reader.all("health", overall="failed")[0]["causes"][0]["device"] == "closeup"
        running.look = room
        reader.wait("back", lambda: reader.all("event", kind="device-back"), 2)
        reader.wait("ok", lambda: reader.all("health")[-1]["overall"] == "ok", 2)


def test_a_room_that_nobody_looks_at_is_not_called_ok(broker: PrivateBroker, name: str, tmp_path: Path) -> None:
    with Running(broker.room(name), name, tmp_path / "o") as running, Reader(broker, name) as reader:
        reader.wait("ok", lambda: reader.all("health", overall="ok"))
        running.looking = False
        reader.wait("not ok", lambda: reader.all("health")[-1]["overall"] != "ok", 6)
        assert set(reader.all("health")[-1]["devices"].values()) == {"unknown"}
        reader.wait("devices", lambda: {d["device"] for d in reader.all("device", status="unknown")} >= {"overview", "disk"})


def test_the_will_speaks_for_a_killed_agent_and_its_successor_leaves_no_hole(
    broker: PrivateBroker, name: str, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "tests.agent.feed_process", str(broker.port), str(broker.ca_file)]
    command += [f"{CENTRE}/{name}", name, str(tmp_path / "outbox.sqlite")]
    with Reader(broker, name) as reader:
        for _run in range(3):
            before = len(reader.all("event"))
            agent = Child("agent", command, tmp_path / "agent.log")
            wait_for(lambda n=before: len(reader.all("event")) > n + 5, "events of this agent", 10, alive=agent)  # type: ignore[misc]
            agent.kill()
            reader.wait("the will", lambda: reader.all("state")[-1]["online"] is False, 2)
            assert reader.all("state")[-1]["reason"] == "lost"
            assert reader.all("state")[-1]["seq"] is None
        with Running(broker.room(name), name, tmp_path / "outbox.sqlite"):
            reader.wait("online", lambda: reader.all("state")[-1]["online"] is True)
            reader.wait("health", lambda: not reader.all("health")[-1]["historical"])
        everything = [d for _, d in reader.got]
        assert reader.check.lost() == 0, reader.check.holes()
        assert numbers(everything) == list(range(numbers(everything)[-1] + 1))
        events = [d["seq"] for d in reader.all("event", kind="selfcheck")]
        first_seen = list(dict.fromkeys(events))
        assert first_seen == sorted(first_seen)


def test_the_broker_may_come_later(own_broker: PrivateBroker, name: str, tmp_path: Path) -> None:
    own_broker.stop()
    with Running(own_broker.room(name), name, tmp_path / "o") as running:
        wait_for(lambda: running.feed.lost_reason is not None, "the feed says why it is not connected", 5)
        assert not running.feed.connected
        assert "does not answer" in str(running.feed.lost_reason)
        began = time.monotonic()
        running.check("burner")
        assert time.monotonic() - began < 0.5
        own_broker.start()
        with Reader(own_broker, name) as reader:
            reader.wait("health", lambda: reader.all("health"))
            running.connect()


@pytest.mark.parametrize("hangs", ["as long as is waited for it", "longer"])
def test_what_was_seen_while_connecting_is_kept_at_a_stop(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hangs: str
) -> None:
    if hangs == "longer":
        monkeypatch.setattr(feed_module, "STOP_S", 0.2 - feed_module.OPEN_S)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        outbox = Outbox(tmp_path / "o")
        feed = Feed(FeedSettings(CENTRE, name, Broker("127.0.0.1", mute.getsockname()[1], tls=False)), outbox)
        feed.start()
        mute.settimeout(5)
        with mute.accept()[0]:
            feed.update(room())
            feed.update(without(room(), "overview"))
            feed.stop()
            assert [row.body["data"]["device"] for row in outbox.unsent(9)] == ["overview"]  # type: ignore[index]
            feed._thread.join(8)
        outbox.close()


def test_numbers_go_on_beyond_those_that_a_killed_agent_gave_from_memory(name: str, tmp_path: Path) -> None:
    (tmp_path / "marker").touch()
    outbox = Outbox(tmp_path / "o")
    least = boottime_ns() // 1_000_000
    Feed(FeedSettings(CENTRE, name, Broker("127.0.0.1", 1), marker=tmp_path / "marker"), outbox)
    assert not (tmp_path / "marker").exists()
    assert (outbox.issue([], [Draft("state", {})])[0].seq or 0) >= least
    outbox.close()


def test_an_outage_loses_no_event_and_no_number(own_broker: PrivateBroker, name: str, tmp_path: Path) -> None:
    with Running(own_broker.room(name), name, tmp_path / "o") as running, Reader(own_broker, name) as reader:
        reader.wait("health", lambda: reader.all("health"))
        own_broker.stop()
        wait_for(lambda: not running.feed.connected, "the outage is noticed", 5)
        noticed_ms = boottime_ns() // 1_000_000
        for step in range(30):
            running.check(f"button-{step}")
        running.look = lambda: without(room(), "overview")
        wait_for(lambda: len(running.outbox.unsent(99)) == 31, "the lost device is stored too", 5)
        aged = time.monotonic() + 2.1
        wait_for(lambda: time.monotonic() > aged, "two seconds pass: what is older is historical", 4)
        back_ms = boottime_ns() // 1_000_000
        own_broker.start()
        reader.wait("all events", lambda: len(reader.all("event")) >= 31)
        reader.wait("health", lambda: reader.all("health", historical=False)[-1]["overall"] == "failed")
        checks = reader.all("event", kind="selfcheck")
        assert [d["data"]["failed_checks"][0] for d in checks] == [f"button-{step}" for step in range(30)]
        assert all(d["historical"] for d in reader.all("event"))
        assert [d["data"]["device"] for d in reader.all("event", kind="device-lost")] == ["overview"]
        assert not [d for d in reader.all("health") if noticed_ms < d["monotonic_ms"] < back_ms]
        assert reader.check.lost() == 0
        assert checks[0]["time"] < reader.all("health", historical=False)[-1]["time"]


def test_a_frozen_broker_holds_nobody_up(own_broker: PrivateBroker, name: str, tmp_path: Path) -> None:
    with Running(own_broker.room(name, keepalive_s=2), name, tmp_path / "o") as running, Reader(own_broker, name) as reader:
        reader.wait("health", lambda: reader.all("health"))
        own_broker.signal(signal.SIGSTOP)
        began = time.monotonic()
        for step in range(40):
            running.check(f"button-{step}")
        assert time.monotonic() - began < 2
        wait_for(lambda: not running.feed.connected, "the freeze is noticed", 8)
        own_broker.signal(signal.SIGCONT)
        reader.wait("all events", lambda: len({d["seq"] for d in reader.all("event", kind="selfcheck")}) == 40, 10)
        first_seen = list(dict.fromkeys(d["data"]["failed_checks"][0] for d in reader.all("event", kind="selfcheck")))
        assert first_seen == [f"button-{step}" for step in range(40)]
        assert reader.check.lost() == 0


CONNECTION_S = 1.0  # within this a connection that the broker ends is made anew


def test_a_broker_of_small_packets_gets_what_it_takes(tmp_path: Path, name: str) -> None:
    """The message that is too large is left out and named; the connection stands, and the others go on."""
    small = PrivateBroker(tmp_path / "broker")
    small.config.write_text(small.config.read_text().replace("max_packet_size 65536", "max_packet_size 700"))
    small.start()
    try:
        with Running(small.room(name), name, tmp_path / "o") as running, Reader(small, name) as reader:
            reader.wait("a device", lambda: reader.all("device"))
            wait_for(lambda: running.feed.lost_reason is not None, "the limit is noticed", 8)
            assert "700 bytes" in str(running.feed.lost_reason)
            reader.wait("the others", lambda: len({d["device"] for d in reader.all("device")}) >= 5)
            time.sleep(2 * CONNECTION_S)
            assert not reader.all("health")
            assert len(reader.all("state", online=False)) == 0, "it was never thrown out"
    finally:
        small.stop()


def test_a_refused_topic_is_noticed_and_made_up_for(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher, "REFUSED_RETRY_NS", SECOND_NS // 2)
    shipped = PrivateBroker(tmp_path / "broker")
    whole = shipped.acl.read_text()
    narrow = "\n".join(line for line in whole.split("\n") if not line.endswith(("/event", "/session")))
    shipped.acl.write_text(narrow)
    shipped.start()
    try:
        with Running(shipped.room(name), name, tmp_path / "o") as running, Reader(shipped, name) as reader:
            reader.wait("health", lambda: reader.all("health"))
            running.check("button")
            wait_for(lambda: running.feed.lost_reason is not None, "the refusal is noticed", 5)
            assert not running.feed.connected
            assert "reason code 135" in str(running.feed.lost_reason)
            assert topic_root(CENTRE, name) in str(running.feed.lost_reason)
            running.look = lambda: changed(room(), "climate", state="silent")
            reader.wait("other topics go on", lambda: reader.all("device", device="climate", status="failed"))
            shipped.acl.write_text(whole)
            shipped.signal(signal.SIGHUP)
            reader.wait("the event", lambda: reader.all("event", kind="selfcheck"))
            wait_for(lambda: running.feed.connected, "nothing is refused any more", 5)
            reader.wait("later events", lambda: reader.all("event", kind="device-lost"))
            reader.wait("the session as it is", lambda: reader.all("session", historical=False))
            assert reader.check.lost() == 0
            with Reader(shipped, name) as late:
                late.wait("the session is kept", lambda: late.all("session"))
    finally:
        shipped.stop()


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"password": "wrong"}, "refuses the connection"),
        ({"user": f"{CENTRE}/{ROOMS[0]}"}, "reason code 135"),
        ({"ca_file": ""}, "is not trusted"),
        ({"ca_file": "/nowhere/ca.pem"}, "mqtt.ca_file /nowhere/ca.pem"),
        ({"tls": False}, "127.0.0.1"),
        ({"host": "256.0.0.1"}, "does not answer"),
        ({"port": 0}, "does not answer"),
    ],
)
def test_a_wrong_setting_is_named(broker: PrivateBroker, name: str, tmp_path: Path, wrong: dict[str, Any], text: str) -> None:
    wrong = {"port": free_port()} if wrong.get("port") == 0 else wrong
    with Running(replace(broker.room(name), **wrong), name, tmp_path / "o") as running:
        wait_for(lambda: running.feed.lost_reason is not None, "a reason", 8)
        assert text in str(running.feed.lost_reason)
        assert not running.feed.connected


def test_another_client_of_the_same_room_is_named(
    broker: PrivateBroker, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "BACKOFF_S", (0.2,))
    told: list[str] = []

    def named() -> bool:
        told[:] = [str(r.feed.lost_reason) for r in (first, second)]
        return any("another client may use" in text for text in told)

    with (
        Running(broker.room(name), name, tmp_path / "one") as first,
        Running(broker.room(name), name, tmp_path / "two") as second,
    ):
        wait_for(named, "the reason is named", 15)
        assert any(f"room-{CENTRE}-{name}" in text for text in told)


def say_guidance(broker: PrivateBroker, name: str, *payloads: object, retain: bool = False) -> None:
    link = Link(broker.reach("command-room"), f"command-{name}")
    answers: list[int] = []
    link.on_ack = lambda _mid, reason: answers.append(reason)
    link.open()
    for payload in payloads:
        text = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        link.publish(f"{topic_root(CENTRE, name)}/guidance", text, retain=retain)
    deadline = time.monotonic() + 5
    while len(answers) < len(payloads) and time.monotonic() < deadline:
        link.poll(0.1)
    link.close()
    assert len(answers) == len(payloads)
    assert max(answers) < REFUSED


def guidance(known: str, text: str = "请出示证件") -> Json:
    return {"schema": SCHEMA, "type": "guidance", "id": known, "time": "2026-11-21T01:30:00.000Z", "text": text}


def test_guidance_is_handed_over_and_acknowledged(broker: PrivateBroker, name: str, tmp_path: Path) -> None:
    heard: list[Guidance] = []
    say_guidance(broker, name, guidance("old", "retained by mistake"), retain=True)
    with Reader(broker, name) as reader:
        with Running(broker.room(name), name, tmp_path / "o", on_guidance=heard.append) as running:
            running.connect()
            reader.wait("health", lambda: reader.all("health"))
            wrong: list[object] = [b"no json", b"\xff", [], {"id": "x"}, guidance("a b"), guidance("long", "x" * 2001)]
            say_guidance(broker, name, guidance("g-1"), guidance("g-1"), *wrong)
            reader.wait("answers", lambda: len(reader.all("event", kind="guidance")) == 7)
            steps = [d["data"]["step"] for d in reader.all("event", kind="guidance")]
            assert steps == ["received"] + 6 * ["refused"]
            assert heard == [Guidance(Given("g-1"), Given("请出示证件"))]
            assert not [d for m, d in reader.got if "请出示证件" in m.payload.decode()]
        say_guidance(broker, name, guidance("g-2"))
        with Running(broker.room(name), name, tmp_path / "o", on_guidance=heard.append):
            wait_for(lambda: len(heard) == 2, "guidance said while the room was away", 8)


def test_a_callback_that_fails_does_not_end_the_feed(broker: PrivateBroker, name: str, tmp_path: Path) -> None:
    def fail(_: Guidance) -> None:
        raise RuntimeError("the console is broken")

    with Reader(broker, name) as reader, Running(broker.room(name), name, tmp_path / "o", on_guidance=fail) as running:
        running.connect()
        reader.wait("health", lambda: reader.all("health"))
        say_guidance(broker, name, guidance("g-1"))
        reader.wait("acknowledged", lambda: reader.all("event", kind="guidance"))
        running.check("button")
        reader.wait("the feed goes on", lambda: reader.all("event", kind="selfcheck"))
        assert not reader.all("state", online=False)


def test_a_look_that_cannot_be_read_does_not_end_the_feed(
    own_broker: PrivateBroker, name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own_broker.stop()  # so that the feed looks while it waits for its next attempt
    with Running(own_broker.room(name), name, tmp_path / "o") as running:
        wait_for(lambda: running.feed.lost_reason is not None, "the first attempt has failed", 5)
        running.look = lambda: None  # type: ignore[assignment, return-value]
        wait_for(lambda: "a look at the room failed" in caplog.messages, "it met one such look", 5)
        running.look = room
        own_broker.start()
        with Reader(own_broker, name) as reader:
            reader.wait("health", lambda: reader.all("health"), 20)


def test_what_is_no_event_of_the_contract_stays_in_the_room(
    broker: PrivateBroker, name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The feed's last guard: were the room's health ever to tell more than the contract has, it would go no further."""
    with Reader(broker, name) as reader, Running(broker.room(name), name, tmp_path / "o") as running:
        running.look = lambda: room(session=SESSION)
        reader.wait("session", lambda: reader.all("session"))
        told = [
            Event("clock-step", boottime_ns(), {"step_s": 1.0, "state": "ready", "interviewee": "王五"}),
            Event("arrest", boottime_ns(), {"who": "王五"}),
        ]
        monkeypatch.setattr(feed_module, "events", lambda *_: [told.pop(0)] if told else [])
        reader.wait("the known one", lambda: reader.all("event", kind="clock-step"))
        wait_for(lambda: not told, "both were told")
        monkeypatch.undo()
        running.check("王五 is not in the picture")
        reader.wait("the check", lambda: reader.all("event", kind="selfcheck"))
        assert reader.all("event", kind="clock-step")[0]["data"] == {"step_s": 1.0, "state": "ready"}
        assert reader.all("event", kind="selfcheck")[0]["data"]["failed_checks"] == ["*** is not in the picture"]
        assert not reader.all("event", kind="arrest")
    assert {r.message for r in caplog.records} >= {
        "an event of an unknown kind was left out",
        "an event's unknown fields were left out",
    }


def test_a_stepped_wall_clock_in_a_session_is_an_event(broker: PrivateBroker, name: str, tmp_path: Path) -> None:
    shift = 0
    outbox = Outbox(tmp_path / "o")
    feed = Feed(FeedSettings(CENTRE, name, broker.room(name)), outbox, wall=lambda: time.time_ns() + shift)
    with Reader(broker, name) as reader:
        feed.start()
        feed.update(room(state="recording", session=SESSION))
        reader.wait("health", lambda: reader.all("health"))
        shift = 90 * SECOND_NS
        reader.wait("the step", lambda: reader.all("event", kind="clock-step"))
        feed.stop()
        outbox.close()
        (step,) = reader.all("event", kind="clock-step")
        assert step["data"]["step_s"] == pytest.approx(90, abs=0.1)
        assert step["boot"] == boot_id()


def test_a_disabled_feed_does_nothing(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "o")
    feed = Feed(FeedSettings(CENTRE, ROOMS[0], Broker("127.0.0.1", 1), enabled=False), outbox)
    feed.start()
    feed.update(room())
    feed.update(checked(room(), 1, "button"))
    feed.stop()
    assert (feed.connected, feed.lost_reason, outbox.unsent(9)) == (False, None, [])
    outbox.close()


def test_settings_come_from_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("secret\n")
    config = parse(
        f'[storage]\nrun = "/run/r"\n[mqtt]\nhost = "b"\nuser = "centre-01/room-01"\npassword_file = "{tmp_path}/password"\n'
    )
    settings = feed_settings(config)
    assert settings.broker == Broker("b", 8883, "centre-01/room-01", "secret", True, "", 5)
    assert (settings.root, settings.client_id) == ("interview-room/v1/centre-01/room-01", "room-centre-01-room-01")
    assert settings.marker == Path("/run/r/outbox-in-memory")
    assert settings.limits.drives == len(config.burner.drives)
    assert "secret" not in repr(settings)


def test_the_schedule_says_what_is_due() -> None:
    schedule = Schedule()
    assert schedule.due("health", "ok", 5.0, 0)
    schedule.sent("health", "ok", 0)
    assert not schedule.due("health", "ok", 5.0, 5 * SECOND_NS - 1)
    assert schedule.due("health", "ok", 5.0, 5 * SECOND_NS)
    assert schedule.due("health", "failed", 5.0, 1)
    assert not schedule.due("health", "ok", None, 10**15)
    schedule.forget("health")
    assert schedule.due("health", "ok", None, 1)
