"""Writes docs/asyncapi.yaml from the table of channels: ``python -m agent.feed.contract.asyncapi > docs/asyncapi.yaml``.

It also brings the ids of devices in the schemas beside it up to agent.devices.kinds.
"""

import json
import re
import sys
from typing import Any

from agent.devices.kinds import KINDS, WITHOUT_PROCESS, id_pattern
from agent.feed.contract import CHANNELS, FOLDER, ROOT, Channel, schema

HEAD = (
    "# Made by `python -m agent.feed.contract.asyncapi` from agent/feed/contract/. Change that, not this file: a test compares.\n"
)
SCHEMAS = "../agent/feed/contract"  # from docs/

ABOUT = """The health feed of the interview rooms of a centre, seen from a room: it sends all channels but guidance.
Every message is JSON, QoS 1. Delivery is at least once and in order: (boot, seq) names a message of a room; a number that
is missing between two others is a message that has not arrived yet. Nothing personal is in the feed: no name, no case
number, nothing that was said. How to read it: docs/feed.md."""

PARAMETERS = {
    "centre": "Identity of the case-handling centre: a-z, 0-9 and -.",
    "room": "Identity of the room: a-z, 0-9 and -.",
    "device": ", ".join(
        [*(kind.id for kind in KINDS if not kind.pattern), *WITHOUT_PROCESS, "drive-1, drive-2, … as configured."]
    ),
    "probe": "will, kept.",
}


def document() -> dict[str, Any]:
    """The AsyncAPI 3.0 document."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Interview rooms: health feed",
            "version": "1.0.0",
            "description": ABOUT,
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "centre": {
                "host": "broker.centre.example:8883",
                "protocol": "secure-mqtt",
                "protocolVersion": "5.0",
                "description": "The centre's broker; docs/mqtt has its configuration and access list.",
                "security": [{"$ref": "#/components/securitySchemes/password"}],
            }
        },
        "channels": {c.name: _channel(c) for c in CHANNELS.values()},
        "operations": {("send" if c.from_room else "receive") + c.name.capitalize(): _operation(c) for c in CHANNELS.values()},
        "components": {
            "messages": {c.name: _message(c) for c in CHANNELS.values()},
            "securitySchemes": {
                "password": {"type": "userPassword", "description": "A room's user is <centre>/<room>."},
            },
        },
    }


def _channel(channel: Channel) -> dict[str, Any]:
    address = f"{ROOT}/{{centre}}/{{room}}/{channel.address}"
    return {
        "address": address,
        "description": channel.when,
        "parameters": {name: {"description": text} for name, text in PARAMETERS.items() if f"{{{name}}}" in address},
        "messages": {channel.name: {"$ref": f"#/components/messages/{channel.name}"}},
    }


def _operation(channel: Channel) -> dict[str, Any]:
    mqtt: dict[str, Any] = {"qos": 1, "retain": channel.retained}
    if channel.expiry_s is not None:
        mqtt["messageExpiryInterval"] = channel.expiry_s
    return {
        "action": "send" if channel.from_room else "receive",
        "channel": {"$ref": f"#/channels/{channel.name}"},
        "bindings": {"mqtt": {**mqtt, "bindingVersion": "0.2.0"}},
    }


def _message(channel: Channel) -> dict[str, Any]:
    return {
        "name": channel.name,
        "summary": schema(channel.name)["description"],
        "payload": {
            "schemaFormat": "application/schema+json;version=draft-07",
            "schema": {"$ref": f"{SCHEMAS}/{channel.name}.json"},
        },
    }


def to_yaml(value: object, indent: int = 0) -> str:
    """A value of dicts, lists, texts, numbers and truths as block YAML; texts are JSON strings, which YAML reads as they are."""
    pad = "  " * indent
    if isinstance(value, dict) and value:
        return "".join(f"{pad}{key}:{_inner(item, indent)}" for key, item in value.items())
    if isinstance(value, list) and value:
        return "".join(f"{pad}- {to_yaml(item, indent + 1).lstrip()}" for item in value)
    return f"{pad}{json.dumps(value, ensure_ascii=False)}\n"


def _inner(value: object, indent: int) -> str:
    if isinstance(value, (dict, list)) and value:
        return "\n" + to_yaml(value, indent + 1)
    if isinstance(value, str) and "\n" in value:
        return " |-\n" + "".join(f"{'  ' * (indent + 1)}{line}\n" for line in value.split("\n"))
    return " " + to_yaml(value)


def render() -> str:
    """The text of docs/asyncapi.yaml."""
    return HEAD + to_yaml(document())


DEVICE_IDS = re.compile(r"\^\(overview\|[^\"]*\)\$")


def with_device_ids(text: str) -> str:
    """The text of a schema with the ids of the devices as agent.devices.kinds has them."""
    return DEVICE_IDS.sub(lambda _: id_pattern().replace("\\", "\\\\"), text)


def write_device_ids() -> None:
    """Brings the schemas of this folder up to the kinds of devices."""
    for path in sorted(FOLDER.glob("*.json")):
        path.write_text(with_device_ids(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    write_device_ids()
    sys.stdout.write(render())
