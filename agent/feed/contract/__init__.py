"""The contract of the health feed: its topics, and a JSON Schema (draft-07) for each message beside this file.

``docs/asyncapi.yaml`` is made from this table (``python -m agent.feed.contract.asyncapi``) and from nothing else; the feed
publishes by it, so that the document and the messages cannot part.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

SCHEMA = "interview-room-feed/1"
ROOT = "interview-room/v1"
FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Channel:
    """One topic below ``interview-room/v1/{centre}/{room}/``. All are QoS 1.

    name: of the schema file and of the message's ``type``. address: below the room. retained: the broker keeps the newest.
    when: for people. expiry_s: the broker drops it after so long, None never. period_s: repeated so often without a change,
    None never. from_room: the room publishes it; else it reads it.
    """

    name: str
    address: str
    retained: bool
    when: str
    expiry_s: int | None = None
    period_s: float | None = None
    from_room: bool = True


CHANNELS: Mapping[str, Channel] = MappingProxyType(
    {
        c.name: c
        for c in (
            Channel("state", "state", True, "At every connection, at a stop in good order, and as the will."),
            Channel("health", "health", True, "Every 5 s, and at once on a change.", expiry_s=15, period_s=5.0),
            Channel("device", "device/{device}", True, "On a change, and every 60 s.", expiry_s=150, period_s=60.0),
            Channel("session", "session", True, "On a change."),
            Channel("event", "event", False, "As it happens; kept on the room's disk until the broker has it, 30 days at most."),
            Channel("probe", "probe/{probe}", True, "During a self-check, to find out what the broker can.", expiry_s=1),
            Channel("guidance", "guidance", False, "From the command room, for the officer. Never a command.", from_room=False),
        )
    }
)


def topic_root(centre: str, room: str) -> str:
    """The room's own tree, without a slash at its end."""
    return f"{ROOT}/{centre}/{room}"


def channel_of(topic: str) -> Channel | None:
    """The channel of a full topic, None where it is none of the feed's."""
    parts = topic.split("/")
    if parts[:2] != ROOT.split("/") or len(parts) < 5:
        return None
    channel = CHANNELS.get(parts[4])
    return channel if channel is not None and len(parts) - 4 == channel.address.count("/") + 1 else None


@cache
def schema(name: str) -> Mapping[str, Any]:
    """The JSON Schema of a channel, or "common". Raises FileNotFoundError where there is none."""
    return MappingProxyType(json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8")))


@cache
def event_fields() -> Mapping[str, frozenset[str]]:
    """The kinds of events and the fields each may carry: an event holds nothing else (personal data stays out, G-59)."""
    kinds = schema("event")["oneOf"]
    return MappingProxyType({k["properties"]["kind"]["const"]: frozenset(k["properties"]["data"]["properties"]) for k in kinds})
