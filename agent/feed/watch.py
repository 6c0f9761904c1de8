"""Watching the feed of all rooms: a live table, or one JSON line a message."""

import json
import os
import shutil
import sys
import time
import unicodedata
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, TextIO

from agent.config.model import Config
from agent.feed.contract import ROOT, channel_of
from agent.feed.room import broker_of
from drivers.mqtt import Broker, Link, MqttMessage
from wording import Fault, Language, Shown, say, shown
from wording.border import joined, laid_out
from wording.text import listed
from wording.times import length

USER, PASSWORD = "ROOM_AGENT_WATCH_USER", "ROOM_AGENT_WATCH_PASSWORD"  # names of environment variables
RETRY_S = 1.0
REDRAW_S = 0.5
PRINT_S = 5.0  # how often the table is printed where it cannot be redrawn
QUIET_S = 15.0  # a health message is good for so long
LARGEST = 256 * 1024  # bytes of a packet: a room's longest message is below 64 KiB
NAME_CHARACTERS = 100  # of a room, a boot, a device or a state
CAUSES = 64  # shown of a room
CLEAR = "\x1b[H\x1b[2J"


@dataclass(frozen=True, slots=True)
class WatchSettings:
    """The broker to read from, and what. client_id: at a second reader of one id the broker closes the first connection."""

    broker: Broker
    client_id: str
    topics: str = f"{ROOT}/#"


def watch_settings(config: Config, *, name: str = "watch") -> WatchSettings:
    """The broker of [mqtt], read by the user that the environment names, else by the room's own, who sees little.

    Raises ConfigFault where a password cannot be read.
    """
    user = os.environ.get(USER)
    broker = broker_of(config) if user is None else broker_without_password(config)
    if user is not None:
        broker = replace(broker, user=user, password=os.environ.get(PASSWORD, ""))
    return WatchSettings(broker, f"{name}-{config.room.centre}-{config.room.id}-{os.getpid()}")


def broker_without_password(config: Config) -> Broker:
    """The address of [mqtt] alone."""
    mqtt = config.mqtt
    return Broker(mqtt.host, mqtt.port, tls=mqtt.tls, ca_file=mqtt.ca_file, keepalive_s=mqtt.keepalive_s)


@dataclass(slots=True)
class _Stream:
    """The numbers of one boot of one room: all below `next` were seen but those in `missing`."""

    next: int
    first: int
    missing: set[int] = field(default_factory=set)
    beyond: int = 0  # lost before `missing` was full


class SequenceCheck:
    """Counts messages, and by their numbers those that never came, for each (room, boot). Pure.

    Counting begins at the first message that came live: what the broker had kept (retained) is older. A repeated number is a
    repetition, a late one fills its hole.
    """

    MISSING = 100_000  # numbers remembered one by one for each boot
    STREAMS = 4096  # boots of rooms; beyond them none is counted

    def __init__(self) -> None:
        self.messages = 0
        self._streams: dict[tuple[str, str], _Stream] = {}

    def add(self, room: str, boot: str, seq: int | None, *, retained: bool = False) -> None:
        """One message. seq: None for the will, which the broker sends."""
        self.messages += 1
        stream = self._streams.get((room, boot))
        if seq is None or (stream is None and (retained or len(self._streams) >= self.STREAMS)):
            return
        if stream is None:
            self._streams[room, boot] = _Stream(seq + 1, seq)
            return
        if seq >= stream.next:
            hole = range(stream.next, seq)
            kept = max(0, min(len(hole), self.MISSING - len(stream.missing)))
            stream.missing.update(hole[:kept])
            stream.beyond += len(hole) - kept
            stream.next = seq + 1
        else:
            stream.missing.discard(seq)

    def lost(self, room: str | None = None) -> int:
        """How many numbers are missing now, in one room or in all."""
        return sum(len(s.missing) + s.beyond for (name, _), s in self._streams.items() if room in (None, name))

    def holes(self) -> dict[tuple[str, str], list[int]]:
        """The missing numbers by (room, boot)."""
        return {key: sorted(s.missing) for key, s in self._streams.items() if s.missing}


@dataclass(slots=True)
class RoomRow:
    """What the table says of one room. seen_s: monotonic time of its newest live message."""

    name: str
    online: bool | None = None
    overall: str | None = None
    room_state: str = ""
    recorded_s: float = 0.0
    not_ok: Mapping[str, str] = field(default_factory=dict)
    seen_s: float | None = None
    health_s: float | None = None


class Rooms:
    """The rooms as their messages tell them. Pure but for the time it is given. Beyond MOST rooms none is taken up."""

    MOST = 1000

    def __init__(self) -> None:
        self.check = SequenceCheck()
        self.rows: dict[str, RoomRow] = {}

    def take(self, message: MqttMessage, now_s: float) -> Mapping[str, Any] | None:
        """One message of the feed; its content, or None where it is none of the feed's."""
        data = content(message)
        try:
            return data if data is None else self._take(data, message, now_s)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):  # one message must not end the view of all rooms
            return None

    def _take(self, data: Mapping[str, Any], message: MqttMessage, now_s: float) -> Mapping[str, Any]:
        name = f"{data['centre']}/{data['room']}"
        if len(name) > NAME_CHARACTERS or (name not in self.rows and len(self.rows) >= self.MOST):
            raise ValueError("no room of a centre")
        self.check.add(name, str(data["boot"])[:NAME_CHARACTERS], data["seq"], retained=message.retained)
        row = self.rows.setdefault(name, RoomRow(name))
        if not message.retained:
            row.seen_s = now_s
        if data.get("historical"):
            return data
        if data["type"] == "state":
            row.online = bool(data.get("online"))
        elif data["type"] == "health":
            causes = list(data.get("causes", ()))[:CAUSES]
            not_ok = {str(c["device"])[:NAME_CHARACTERS]: str(c["status"])[:NAME_CHARACTERS] for c in causes}
            recorded_s = float(data.get("recorded_s", 0.0))
            int(recorded_s)  # raises for NaN and for infinity
            row.overall, row.room_state = (str(data.get(key))[:NAME_CHARACTERS] for key in ("overall", "room_state"))
            row.not_ok, row.recorded_s, row.health_s = not_ok, recorded_s, now_s
        return data

    def table(self, now_s: float, language: Language) -> Shown:
        """The rooms, one line each."""
        head = [
            say(code, language)
            for code in ("room", "online", "condition", "state", "recorded", "not-in-order", "last-heard", "lost")
        ]
        lines = [head, *(self._line(row, now_s, language) for _, row in sorted(self.rows.items()))]
        widths = [max(_width(line[i]) for line in lines) for i in range(len(head))]
        rows = [joined("  ", [_pad(cell, w) for cell, w in zip(line, widths, strict=True)]) for line in lines]
        return joined("\n", [Shown(row.rstrip()) for row in rows])

    def _line(self, row: RoomRow, now_s: float, language: Language) -> list[Shown]:
        fresh = row.online is not False and row.health_s is not None and now_s - row.health_s <= QUIET_S
        online = "?" if row.online is None else say("yes" if row.online else "no", language)
        recorded = length(int(row.recorded_s), language) if row.room_state in ("recording", "sealing") else "-"
        not_ok = listed(
            [
                laid_out("{device} {status}", device=device, status=say(WORDS.get(status, status), language))
                for device, status in row.not_ok.items()
            ],
            language,
        )
        heard = "-" if row.seen_s is None else say("seconds-ago", language, seconds=round(now_s - row.seen_s))
        told = [row.overall or "?", row.room_state or "?"]
        condition = [say(WORDS.get(word, word), language) for word in told] if fresh else ["?", "?"]
        cells = [
            row.name,
            online,
            *condition,
            recorded if fresh else "?",
            (not_ok or "-") if fresh else "?",
            heard,
            self.check.lost(row.name),
        ]
        return [shown(cell) for cell in cells]


WORDS = {  # of the feed, for people
    "ok": "ok",
    "degraded": "degraded",
    "failed": "not-passed",
    "absent": "absent",
    "unknown": "unknown",
    "idle": "idle",
    "ready": "ready",
    "recording": "recording",
    "sealing": "sealing",
}


def content(message: MqttMessage) -> Mapping[str, Any] | None:
    """The JSON of a message that a room sent, None for anything else: the topic, which the broker guards, says who speaks."""
    channel = channel_of(message.topic)
    if channel is None or not channel.from_room:
        return None
    try:
        data = json.loads(message.payload)
    except (ValueError, RecursionError):
        return None
    whole = isinstance(data, dict) and {"type", "centre", "room", "boot", "seq"} <= data.keys()
    if not whole or not (data["seq"] is None or type(data["seq"]) is int):
        return None
    said = [data["centre"], data["room"], data["type"]]
    return data if said == [*message.topic.split("/")[2:4], channel.name] else None


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _pad(text: Shown, width: int) -> Shown:
    return Shown(text + " " * (width - _width(text)))


def _cut(text: str, width: int) -> Shown:
    while _width(text) > width:
        text = text[:-1]
    return Shown(text)


def as_line(message: MqttMessage, at: datetime) -> Shown:
    """One message as a JSON line: received_at, topic, retained, qos, message (its JSON, or text where it is none)."""
    received = at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    line = {"received_at": received, "topic": message.topic, "retained": message.retained, "qos": message.qos}
    try:
        return shown(json.dumps({**line, "message": json.loads(message.payload)}, ensure_ascii=False))
    except (ValueError, RecursionError):  # what can be read may still be too deep to be written
        return shown(json.dumps({**line, "message": message.payload.decode(errors="replace")}, ensure_ascii=False))


def listen(
    settings: WatchSettings,
    on_message: Callable[[MqttMessage], None],
    stopped: Callable[[], bool],
    *,
    on_turn: Callable[[Fault | None], None] = lambda _: None,
    session_expiry_s: int = 0,
    retry_first: bool = True,
) -> None:
    """Receives until stopped, reconnecting as often as it must. on_turn: about four times a second, with why nothing comes.

    Raises FeedFault where the broker refuses the reading, and, without retry_first, where the first connection fails.
    """
    opened = retry_first
    while not stopped():
        link = Link(
            settings.broker, settings.client_id, session_expiry_s=session_expiry_s, largest=LARGEST, on_message=on_message
        )
        try:
            link.open()
            opened = True
            link.subscribe(settings.topics)
            while not stopped() and link.read_refused is None:
                link.poll(0.25)
                if link.subscribed:
                    on_turn(None)
            link.close()
        except Fault as fault:
            if not opened:
                raise
            on_turn(fault)
            deadline = time.monotonic() + RETRY_S
            while not stopped() and time.monotonic() < deadline:
                time.sleep(0.05)
                on_turn(fault)
        finally:
            link.drop()
        if link.read_refused is not None:
            raise link.read_refused


class _Screen:
    """Draws the table: in place on a terminal, now and then elsewhere."""

    def __init__(self, out: TextIO, language: Language, *, in_place: bool) -> None:
        self._out, self._language, self._in_place = out, language, in_place
        self._next_s = 0.0

    def draw(self, rooms: Rooms, fault: Fault | None, *, last: bool = False) -> None:
        """At most twice a second; last: now, for the end."""
        now_s = time.monotonic()
        if now_s < self._next_s and not last:
            return
        self._next_s = now_s + (REDRAW_S if self._in_place else PRINT_S)
        language = self._language
        text = rooms.table(now_s, language)
        if fault is not None:
            text = laid_out("{table}\n\n{fault} {mend}", table=text, fault=fault.say(language), mend=fault.say_mend(language))
        elif not rooms.rows:
            text = joined("\n\n", (text, say("no-room-heard-yet", language)))
        if self._in_place:
            size = shutil.get_terminal_size()
            self._out.write(CLEAR)
            text = joined("\n", [_cut(line, size.columns) for line in text.split("\n")[: size.lines - 1]])
        self._out.write(text + "\n")
        self._out.flush()


def watch(
    settings: WatchSettings, *, language: Language, json: bool, seconds: float | None = None, out: TextIO | None = None
) -> Rooms:
    """Shows the rooms until Ctrl-C, or for so many seconds: a table, or with json one line a message. Gives what was seen.

    Raises FeedFault where the broker does not answer at the start or refuses the reading.
    """
    out = out or sys.stdout
    rooms = Rooms()
    screen = _Screen(out, language, in_place=out.isatty())
    end_s = None if seconds is None else time.monotonic() + seconds

    def take(message: MqttMessage) -> None:
        rooms.take(message, time.monotonic())
        if json:
            out.write(as_line(message, datetime.now(UTC)) + "\n")
            out.flush()

    def turn(fault: Fault | None) -> None:
        if not json:
            screen.draw(rooms, fault)

    with suppress(KeyboardInterrupt):
        listen(settings, take, lambda: end_s is not None and time.monotonic() >= end_s, on_turn=turn, retry_first=False)
    if not json:
        screen.draw(rooms, None, last=True)
    return rooms
