"""The broker is away, refuses, or drops its clients: the recording does not notice, and every event comes when it is back."""

import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime

import pytest

from agent.feed.outbox import Outbox
from recorder.clock.instants import boottime_ns
from tests.demo.subscriber import Subscriber
from tests.equipment.process import HOST, free_port
from tests.failing_world.account import Json, came_at, events, happened_ns, lost, said, unique, whole
from tests.failing_world.conftest import MakeRoom
from tests.live_room import CHEAP, SECOND, LiveRoom, wait_for
from wording import Fault

pytestmark = [pytest.mark.timeout(180), pytest.mark.whole]

BACK_S = 20.0  # an attempt every 3 s, each of 3 s at most; a refused topic is tried again every 10 s
PRESENT_S = 4.0  # what is 2 s old when it is sent is marked; the rest is for the way
MANY = 600  # events of an hour; the connection itself holds 40 messages
HOUR_NS = 3600 * SECOND
MANY_KIND = "guidance"


@pytest.fixture
def room(standing_room: LiveRoom) -> Iterator[LiveRoom]:
    """The standing room, armed; afterwards its broker is well, and its agent runs."""
    standing_room.armed()
    broker, stand_in = Broker(standing_room), standing_room.stand_ins.broker
    allowed = broker.acl()
    try:
        yield standing_room
    finally:
        stand_in.back()
        stand_in.gone()
        broker.password(stand_in.passwords[stand_in.room_user])
        broker.acl(allowed)
        stand_in.back()
        standing_room.settle()


def session_states(feed: Subscriber, started: Json) -> list[Json]:
    return events(feed, "session", session=started["session"])


def told_everything(feed: Subscriber, started: Json) -> None:
    """The session's whole story has come, and no number is missing."""
    wait_for(
        lambda: session_states(feed, started)[-1:] and session_states(feed, started)[-1]["data"]["state"] == "sealed",
        "the feed tells of the seal",
        BACK_S,
    )
    wait_for(lambda: not lost(feed), "every number of the feed came")
    states = [event["data"]["state"] for event in session_states(feed, started)]
    assert states == ["recording", "sealing", "sealed"], "each change once, in order"
    in_order(feed)


def in_order(feed: Subscriber) -> None:
    """Events come with growing numbers, each under one number, and those that are not of now are marked as the past."""
    for boot in {event["boot"] for event in said(feed, "event")}:
        numbers = list(dict.fromkeys(event["seq"] for event in said(feed, "event", boot=boot)))
        assert numbers == sorted(numbers)
    bodies = [(event["kind"], str(event["data"]), event["monotonic_ms"]) for event in unique(said(feed, "event"))]
    assert len(set(bodies)) == len(bodies), "no event under two numbers"
    for line in feed.lines():
        event = line["payload"]
        if line["topic"].endswith("/event") and not event["historical"]:
            late_s = (came_at(line) - datetime.fromisoformat(event["time"])).total_seconds()
            assert late_s < PRESENT_S, f"{event['kind']} came {late_s} s after it happened and is not marked"


def heard(feed: Subscriber) -> None:
    wait_for(lambda: said(feed, "health"), "the room is heard", BACK_S)


def connected(feed: Subscriber) -> Callable[[], bool]:
    """Whether the room has said that it is online after this was called."""
    before = len(said(feed, "state", online=True))
    return lambda: len(said(feed, "state", online=True)) > before


def past(feed: Subscriber, kind: str, until_ns: int, **data: object) -> list[Json]:
    """Events of a kind that happened before an instant of CLOCK_BOOTTIME."""
    return [event for event in events(feed, kind, **data) if happened_ns(event) < until_ns]


class Broker:
    """The stand-in's files: what the centre's people would change at the broker."""

    def __init__(self, room: LiveRoom) -> None:
        self._room = room
        self._folder = room.stand_ins.folder / "broker"

    def password(self, password: str) -> None:
        """Of the room's user, from the broker's next start on."""
        broker = self._room.stand_ins.broker
        path = str(self._folder / "passwords")
        subprocess.run(["mosquitto_passwd", "-b", path, broker.room_user, password], check=True, timeout=10, capture_output=True)

    def acl(self, text: str | None = None) -> str:
        """The access list as it was; another one is at once in force."""
        path = self._folder / "acl"
        before = path.read_text(encoding="utf-8")
        if text is not None:
            path.write_text(text, encoding="utf-8")
            for pid in self._room.stand_ins.broker.pids:
                os.kill(pid, signal.SIGHUP)
        return before


def record_meanwhile(room: LiveRoom) -> Json:
    """A whole session, with an event of its own: one track is killed in the middle."""
    started = room.start()
    room.record_for(2.0)
    pid = room.pid("closeup")
    room.signal("closeup", signal.SIGKILL)
    room.replaced("closeup", pid)
    wait_for(room.recording, "every track recording again")
    room.record_on(1.5)
    room.stop()
    return started


def test_the_broker_is_away_for_an_hour(room: LiveRoom, feed: Subscriber) -> None:
    """No broker, and an hour's events: a session is whole meanwhile, and every event comes afterwards, in order, as past."""
    heard(feed)
    room.stand_ins.broker.gone()
    gone_ns = boottime_ns()
    an_hour_s_events(room, gone_ns)
    started = record_meanwhile(room)
    room.kill_agent()  # what waits is on the disk
    room.start_agent()
    room.armed()
    online = connected(feed)
    back_ns = boottime_ns()
    room.stand_ins.broker.back()
    wait_for(online, "the room is online again", BACK_S)
    wait_for(lambda: len(events(feed, MANY_KIND)) >= MANY, "an hour's events", 30.0)
    told_everything(feed, started)
    hour = events(feed, MANY_KIND)
    assert all(event["historical"] for event in (*hour, session_states(feed, started)[0]))
    assert [event["data"]["guidance"] for event in hour] == [f"g-{n:04}" for n in range(MANY)]
    assert len(past(feed, "gap", back_ns, device="closeup", gaps=1)) == 1
    for event in session_states(feed, started):
        assert gone_ns < happened_ns(event) < back_ns, "the time is that of the happening"
    whole(room, started, but=("closeup",))
    room.verified(started)


def an_hour_s_events(room: LiveRoom, until_ns: int) -> None:
    """MANY events of the hour before an instant, put where the feed puts its own."""
    outbox = Outbox(room.root / "outbox.sqlite")
    try:
        for n in range(MANY):
            body: Json = {"kind": MANY_KIND, "data": {"guidance": f"g-{n:04}", "step": "received"}}
            outbox.add(body, at_boottime_ns=until_ns - HOUR_NS * (MANY - n) // MANY)
        assert outbox.fault is None
    finally:
        outbox.close()


def test_the_broker_refuses_the_password(room: LiveRoom, feed: Subscriber) -> None:
    """A broker that does not know the room: nothing of the recording is lost, and the feed goes on when it does again."""
    heard(feed)
    broker, stand_in = Broker(room), room.stand_ins.broker
    stand_in.gone()
    broker.password("another one")
    stand_in.back()
    started = record_meanwhile(room)
    assert not session_states(feed, started), "nothing came: the room was refused"
    log = "".join(path.read_text(encoding="utf-8") for path in room.folder.glob("agent-*.log"))
    assert "refuses the connection" in log
    assert "refuses the connection" in feed_fault(room)
    stand_in.gone()
    broker.password(stand_in.passwords[stand_in.room_user])
    online = connected(feed)
    stand_in.back()
    wait_for(online, "the room is online again", BACK_S)
    told_everything(feed, started)
    whole(room, started, but=("closeup",))
    room.verified(started)


def test_the_broker_refuses_the_events(room: LiveRoom, feed: Subscriber) -> None:
    """An access list without the room's events: health goes on, events wait, and come once, in order, when they may."""
    heard(feed)
    tree = f"interview-room/v1/{room.stand_ins.centre}/{room.stand_ins.room}"
    broker = Broker(room)
    before = broker.acl(
        f"user {room.stand_ins.broker.room_user}\n"
        + "".join(f"topic write {tree}/{topic}\n" for topic in ("state", "health", "session", "device/+"))
        + f"topic read {tree}/guidance\n\nuser {room.stand_ins.broker.command_user}\ntopic read interview-room/v1/#\n"
    )
    started = record_meanwhile(room)
    wait_for(
        lambda: said(feed, "health", room_state="sealed") or said(feed, "health", session=started["session"]), "health goes on"
    )
    assert not session_states(feed, started), "events are refused"
    assert "refuses the topic" in feed_fault(room)
    broker.acl(before)
    told_everything(feed, started)
    assert feed_fault(room) == ""
    whole(room, started, but=("closeup",))
    room.verified(started)


def feed_fault(room: LiveRoom) -> str:
    """What keeps the feed from the command room, as `session status` tells it; "" where nothing does."""
    feed = room.command.ask("session", "status")["feed"]
    assert feed["connected"] is (feed["fault"] is None)
    return Fault.from_dict(feed["fault"]).say() if feed["fault"] else ""


class Dropper:
    """A relay in front of the broker that cuts each connection when so many bytes went up, or at once. Both ends are reset.

    ``after`` None passes everything.
    """

    def __init__(self) -> None:
        self.port, self.to_port = free_port(), 0
        self.after: int | None = None
        self.cut = 0
        self._listener = socket.create_server((HOST, self.port))
        self._stopping = threading.Event()
        self._open: set[socket.socket] = set()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stopping.is_set():
            with suppress(OSError):
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        if self.after == 0:
            self.cut += 1
            client.close()
            return
        with client, socket.socket() as server:
            with suppress(OSError):
                server.connect((HOST, self.to_port))
                self._open |= {client, server}
                down = threading.Thread(target=self._pass, args=(server, client, False), daemon=True)
                down.start()
                self._pass(client, server, True)
                down.join()
            self._open -= {client, server}

    def _pass(self, source: socket.socket, sink: socket.socket, up: bool) -> None:
        passed = 0
        with suppress(OSError):
            while piece := source.recv(2048):
                passed += len(piece)
                if up and self.after is not None and passed > self.after:
                    self.cut += 1
                    break
                sink.sendall(piece)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def end_connections(self) -> None:
        """Cuts those that stand."""
        for end in list(self._open):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._stopping.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.end_connections()


@pytest.fixture
def dropper() -> Iterator[Dropper]:
    found = Dropper()
    try:
        yield found
    finally:
        found.close()


@pytest.mark.parametrize(
    "after",
    [
        pytest.param(0, id="at-once"),
        pytest.param(6000, id="in-mid-sentence"),
    ],
)
def test_the_broker_accepts_and_drops(make_room: MakeRoom, dropper: Dropper, after: int) -> None:
    """Connections that break at once or in mid-sentence: every event comes, once by its number, in order, with no number lost."""
    room = make_room(overrides={**CHEAP, "mqtt": {"port": dropper.port}}, armed=False)
    dropper.to_port = room.stand_ins.broker.port
    room.armed()
    feed = room.subscribe()
    try:
        heard(feed)
        dropper.after = after
        dropper.end_connections()
        started = record_meanwhile(room)
        assert dropper.cut >= 2, "the feed was dropped again and again"
        dropper.after = None
        dropper.end_connections()
        told_everything(feed, started)
        assert len(events(feed, "gap", device="closeup", gaps=1)) == 1
        whole(room, started, but=("closeup",))
        room.verified(started)
    finally:
        feed.stop()


def test_the_broker_freezes(room: LiveRoom, feed: Subscriber) -> None:
    """A broker that keeps the connection and answers nothing: found out, and every event comes when it answers again."""
    heard(feed)
    room.stand_ins.broker.frozen()
    frozen_ns = boottime_ns()
    try:
        started = record_meanwhile(room)
        wait_for(lambda: boottime_ns() - frozen_ns > 12 * SECOND, "longer than an answer is waited for", 15.0)
    finally:
        room.stand_ins.broker.back()
    told_everything(feed, started)
    whole(room, started, but=("closeup",))
    room.verified(started)
