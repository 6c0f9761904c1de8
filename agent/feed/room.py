"""The room on the feed: takes looks at the room and events, and sees to it that the broker has them. Contract: docs/feed.md.

One thread does everything: it derives events from consecutive looks, stores them (agent.feed.outbox), keeps one connection
(drivers.mqtt) and publishes what is due on it (agent.feed.publisher). Callers only hand over and never wait for the network. The
feed can fail for ever without touching the recording (invariant 6).
"""

import json
import logging
import re
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from agent.config.model import Config
from agent.devices.kind import DeviceHealth, Limits
from agent.feed import messages
from agent.feed.contract import CHANNELS, SCHEMA, event_fields, topic_root
from agent.feed.messages import STATE, Retained
from agent.feed.outbox import Outbox, Row
from agent.feed.publisher import Publisher
from agent.health.devices import devices, not_looking
from agent.health.events import Event, clock_step, events
from agent.health.machine_load import Machine, MachineLoad
from agent.health.room_view import RoomView
from agent.version import product_version
from drivers.mqtt import Broker, FeedFault, Link, MqttMessage, Will, defect
from recorder.clock.instants import CLOCK_STEP_NS, SECOND_NS, boottime_ns
from wording import Fault
from wording.border import Given, given

log = logging.getLogger(__name__)

OPEN_S = 3.0  # for a connection to stand
BACKOFF_S = (0.5, 1.0, 2.0, 3.0)  # waits between attempts; the last one repeats
STEADY_NS = 10 * SECOND_NS  # after a connection that lasted so long the waits begin anew
TORN = 3  # so many connections in a row that did not last: something throws this client out
BLIND_NS = 3 * SECOND_NS  # without a look for so long, nothing is known of the room
STOP_S = 2.0  # for the last acknowledgements at a stop
SESSION_EXPIRY_S = 3600  # so long the broker keeps guidance for a room that is away
TRIM_NS = 3600 * SECOND_NS
LOOKS = 240  # looks kept while the thread waits for a connection: a minute's
TICK_S = 0.5
MARKER = "outbox-in-memory"
GUIDANCE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
GUIDANCE_CHARACTERS = 2000
GUIDANCE_A_MINUTE = 60  # texts that are answered; each answer is an event on the room's disk


@dataclass(frozen=True, slots=True)
class FeedSettings:
    """centre, room: identities in the topics. enabled: False makes the Feed do nothing. marker: see Outbox.mark_memory."""

    centre: str
    room: str
    broker: Broker
    version: str = "unversioned"
    limits: Limits = field(default_factory=Limits)
    enabled: bool = True
    marker: Path | None = None

    @property
    def root(self) -> str:
        """The room's own tree of topics."""
        return topic_root(self.centre, self.room)

    @property
    def client_id(self) -> str:
        """The identity at the broker. A second client of this identity makes the broker close the first one's connection."""
        return f"room-{self.centre}-{self.room}"


def broker_of(config: Config) -> Broker:
    """Where [mqtt] says the broker is. Raises ConfigFault where the password cannot be read."""
    mqtt = config.mqtt
    return Broker(mqtt.host, mqtt.port, mqtt.user, mqtt.password(), mqtt.tls, mqtt.ca_file, mqtt.keepalive_s)


def limits_of(config: Config) -> Limits:
    """What agent.health.events needs of the configuration."""
    return Limits(drives=len(config.burner.drives), clock_offset_s=config.clock.max_offset_s)


def feed_settings(config: Config) -> FeedSettings:
    """The feed's settings. Raises ConfigFault where the password cannot be read."""
    room, enabled = config.room, config.mqtt.enabled
    broker = broker_of(config) if enabled else Broker(config.mqtt.host, config.mqtt.port)
    marker = config.storage.places.run / MARKER
    return FeedSettings(room.centre, room.id, broker, product_version(), limits_of(config), enabled, marker)


@dataclass(frozen=True, slots=True)
class Guidance:
    """Text from the command room for the officer. id: names it in the acknowledging event."""

    id: Given
    text: Given


def read_guidance(payload: bytes) -> Guidance | None:
    """The text of a guidance message, None where it does not keep to the contract's guidance. Pure."""
    try:
        data = json.loads(payload)
        schema, known, text = data["schema"], given(data["id"]), given(data["text"], most=GUIDANCE_CHARACTERS)
    except (ValueError, KeyError, TypeError, RecursionError):  # NotGiven is a ValueError
        return None
    return Guidance(known, text) if schema == SCHEMA and GUIDANCE_ID.fullmatch(known) and text else None


class Feed:
    """The feed of one room. ``start`` and ``stop`` are paired; the Outbox stays the caller's."""

    def __init__(
        self,
        settings: FeedSettings,
        outbox: Outbox,
        *,
        boottime: Callable[[], int] = boottime_ns,
        wall: Callable[[], int] = time.time_ns,
        machine: Callable[[], Machine] | None = None,
        on_guidance: Callable[[Guidance], None] | None = None,
    ) -> None:
        """on_guidance: called in the feed's thread; it hands the text on and returns at once.

        ``ignored`` counts what the broker sent and nobody reads: it is no guidance for this room, or there is too much of it.
        """
        self._settings, self._outbox = settings, outbox
        if settings.enabled and settings.marker is not None:
            outbox.mark_memory(settings.marker)
        self._boottime, self._wall = boottime, wall
        self._machine = machine or MachineLoad().read
        self._on_guidance = on_guidance
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)
        self._stopping = threading.Event()
        self._waker, self._wake_end = socket.socketpair()
        for end in (self._waker, self._wake_end):
            end.setblocking(False)
        self._looks: deque[RoomView] = deque(maxlen=LOOKS)
        self._taking = threading.Lock()
        self._view: RoomView | None = None
        self._devices: tuple[DeviceHealth, ...] = ()
        self._since: dict[str, tuple[str, int | None]] = {}
        self._private: frozenset[str] = frozenset()
        self._shift_ns: int | None = None
        self._heard: deque[str] = deque(maxlen=256)
        self._answered: deque[int] = deque(maxlen=GUIDANCE_A_MINUTE)  # boot times
        self.ignored = 0
        self._trim_ns = boottime() + TRIM_NS
        self._link_up = self._stood = False
        self._lost: Fault | None = None
        self._refused: Fault | None = None

    @property
    def connected(self) -> bool:
        """Whether the broker takes what the room says: the connection stands and nothing is refused."""
        return self._link_up and self._refused is None

    @property
    def lost_reason(self) -> Fault | None:
        """Why the feed is not connected; None while it is, and before the first attempt has failed."""
        return self._refused or self._lost

    def start(self) -> None:
        """Starts the feed's thread. The broker may come later."""
        if self._settings.enabled:
            self._thread.start()

    def stop(self) -> None:
        """Publishes "offline" and ends, in at most about 5 s. Events that the broker does not have stay in the outbox.

        So do those of looks that came while the thread opened a connection, even where it does still.
        """
        self._stopping.set()
        self._wake()
        if self._thread.is_alive():
            self._thread.join(OPEN_S + STOP_S)
        if self._settings.enabled:
            self._take_looks()

    def update(self, view: RoomView) -> None:
        """The newest look at the room; about four a second are expected. Never waits."""
        if self._settings.enabled:
            self._looks.append(view)
            self._wake()

    def _wake(self) -> None:
        with suppress(OSError):  # the wake-up is pending already
            self._wake_end.send(b"\0")

    def _drain_waker(self) -> None:
        with suppress(BlockingIOError):
            while self._waker.recv(4096):
                pass

    # From looks to events.

    def _store(self, event: Event) -> None:
        allowed = event_fields().get(event.kind)
        if allowed is None:
            log.error("an event of an unknown kind was left out", extra={"kind": event.kind})
            return
        if unknown := sorted(set(event.data) - allowed):
            log.error("an event's unknown fields were left out", extra={"kind": event.kind, "fields": ",".join(unknown)})
        known = Event(event.kind, event.at_ns, {k: v for k, v in event.data.items() if k in allowed})
        self._outbox.add(messages.event_body(known, self._private), at_boottime_ns=event.at_ns)

    def _take_looks(self) -> None:
        with self._taking:
            self._derive()

    def _derive(self) -> None:
        while self._looks:
            view = self._looks.popleft()
            self._private |= messages.private_words(view.session)
            for event in events(self._view, view, self._settings.limits):
                self._store(event)
            self._view = view
            self._take_devices(devices(view, self._settings.limits))
        self._watch_clock()
        latest, now = self._view, self._boottime()
        if latest is not None and now - latest.boottime_ns > BLIND_NS:
            seconds = (now - latest.boottime_ns) / SECOND_NS
            self._take_devices(tuple(not_looking(d, seconds) for d in self._devices))
        if now >= self._trim_ns:
            self._trim_ns = now + TRIM_NS
            self._outbox.trim()

    def _take_devices(self, found: tuple[DeviceHealth, ...]) -> None:
        now = self._boottime()
        for device in found:
            known = self._since.get(device.id)
            if known is None:
                self._since[device.id] = (device.status, device.since_ns)
            elif known[0] != device.status:
                self._since[device.id] = (device.status, now)
        self._devices = found

    def _watch_clock(self) -> None:
        """Reports a step of the wall clock during a session, when room time hides it; outside a session the looks show it."""
        shift = self._wall() - self._boottime()
        before, self._shift_ns = self._shift_ns, shift
        view = self._view
        if before is None or view is None or view.state not in ("recording", "sealing"):
            return
        if abs(shift - before) > CLOCK_STEP_NS:
            self._store(clock_step(shift - before, view))

    # The connection.

    def _run(self) -> None:
        failures = torn = 0
        while not self._stopping.is_set():
            began, self._stood = self._boottime(), False
            try:
                self._attempt()
            except Fault as fault:
                torn = torn + 1 if self._stood and self._boottime() - began < STEADY_NS else 0
                self._say_lost(fault if torn < TORN else self._torn())
            except Exception as error:  # the top of the feed's thread: a defect must not end the feed
                log.exception("the feed failed")
                self._say_lost(defect(error))
            failures = 0 if self._boottime() - began > STEADY_NS else failures + 1
            pause_s = BACKOFF_S[min(failures, len(BACKOFF_S) - 1)]
            try:
                self._wait(pause_s)
            except Exception:  # the same: a look that cannot be read comes here where no broker is
                log.exception("a look at the room failed")
                self._stopping.wait(pause_s)

    def _torn(self) -> Fault:
        """The fault where connections keep breaking: a second client of this identity, since not every broker says so itself."""
        return FeedFault(
            "broker-connection-lost-repeatedly",
            "give-each-room-own-identity",
            host=self._settings.broker.host,
            port=self._settings.broker.port,
            client=self._settings.client_id,
        )

    def _say_lost(self, fault: Fault) -> None:
        if self._lost is None or self._lost.code != fault.code:
            log.warning("the feed is not connected", extra={"fault": str(fault)})
        self._lost = fault

    def _wait(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not self._stopping.is_set() and (left := deadline - time.monotonic()) > 0:
            poll = select.poll()
            poll.register(self._waker, select.POLLIN)
            poll.poll(1000 * min(left, TICK_S))
            self._drain_waker()
            self._take_looks()

    def _attempt(self) -> None:
        """One connection, from opening it until stop (returns) or its loss (raises Fault)."""
        settings = self._settings
        link = Link(
            settings.broker,
            settings.client_id,
            will=Will(f"{settings.root}/{STATE}", self._will()),
            session_expiry_s=SESSION_EXPIRY_S,
            on_message=self._hear,
        )
        publisher = Publisher(settings.centre, settings.room, link, self._outbox, boottime=self._boottime)
        link.on_ack = publisher.acknowledged
        try:
            link.open(OPEN_S)
            log.info("the feed is connected", extra={"broker": f"{settings.broker.host}:{settings.broker.port}"})
            self._link_up, self._stood, self._lost = True, True, None
            link.subscribe(f"{settings.root}/{CHANNELS['guidance'].address}")
            while not self._stopping.is_set():
                self._turn(link, publisher)
            self._say_goodbye(link, publisher)
        finally:
            self._link_up, self._refused = False, None
            self.ignored += link.ignored
            link.drop()
            publisher.settle()

    def _will(self) -> bytes:
        body = messages.state_body(False, "lost", self._settings.version)
        row = Row(0, STATE, self._outbox.boot, None, self._wall(), self._boottime(), body)
        return messages.encode(row, self._settings.centre, self._settings.room, historical=False)

    def _turn(self, link: Link, publisher: Publisher) -> None:
        self._take_looks()
        publisher.publish(self._retained())
        link.poll(TICK_S, self._waker)
        self._drain_waker()
        publisher.settle()
        publisher.check_answers()
        self._refused = publisher.refused or link.read_refused

    def _say_goodbye(self, link: Link, publisher: Publisher) -> None:
        """Sends what is due and then "offline". The connection closes in good order only when the broker has acknowledged all."""
        self._take_looks()
        deadline = self._boottime() + round(STOP_S * SECOND_NS)
        offline = messages.state_body(False, "stopped", self._settings.version)
        said = False
        while self._boottime() < deadline:
            said = said or publisher.publish_last(self._retained(), offline)
            link.poll(0.05)
            publisher.settle()
            if said and not publisher.in_flight:
                link.close()
                return

    def _retained(self) -> Iterator[Retained]:
        since_ns = {name: since for name, (_, since) in self._since.items()}
        version = self._settings.version
        return messages.retained(messages.Told(version, self._view, self._devices, since_ns, self._machine, self._private))

    def _hear(self, message: MqttMessage) -> None:
        """Guidance: acknowledged as an event, handed to the officer's side, and never a command."""
        if message.topic != f"{self._settings.root}/{CHANNELS['guidance'].address}" or message.retained:
            self._ignore("not for this room")
            return
        guidance = read_guidance(message.payload)
        if guidance is not None and guidance.id in self._heard:
            return
        if not self._may_answer():
            self._ignore("more than a room answers in a minute")
        elif guidance is None:
            log.warning("guidance that cannot be used was refused")
            self._store(Event("guidance", self._boottime(), {"guidance": "", "step": "refused"}))
        else:
            self._heard.append(guidance.id)
            self._store(Event("guidance", self._boottime(), {"guidance": guidance.id, "step": self._show(guidance)}))

    def _may_answer(self) -> bool:
        """Whether one more text may be answered within this minute; if so, it is counted."""
        now, answered = self._boottime(), self._answered
        if len(answered) == answered.maxlen and now - answered[0] < 60 * SECOND_NS:
            return False
        answered.append(now)
        return True

    def _ignore(self, why: str) -> None:
        """Counts a message; the first one, the tenth, the hundredth and so on is logged."""
        self.ignored += 1
        if str(self.ignored).strip("0") == "1":
            log.warning("a message of the broker was ignored", extra={"why": why, "count": self.ignored})

    def _show(self, guidance: Guidance) -> str:
        """Hands the text to whatever shows it in the room. Gives the step for the acknowledging event."""
        if self._on_guidance is None:  # nothing in the room shows it yet: whoever sent it must not think that it was read
            return "not-shown"
        try:
            self._on_guidance(guidance)
        except Exception:  # the officer's side is another's code: its defect must not cost the connection
            log.exception("guidance could not be handed over")
            return "not-shown"
        return "received"
