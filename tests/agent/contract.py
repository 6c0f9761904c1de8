"""The feed's contract for tests: whether a message keeps to its schema, and where it stands in docs/asyncapi.yaml."""

import json
from collections.abc import Mapping
from typing import Any

from jsonschema import Draft7Validator
from referencing import Registry, Resource

from agent.feed.contract import CHANNELS, channel_of, schema

NAMES = ("common", *CHANNELS)
_resources = [(f"{name}.json", Resource.from_contents(dict(schema(name)))) for name in NAMES]
REGISTRY: Registry[Any] = Registry().with_resources(_resources)


def validator(name: str) -> Draft7Validator:
    """For one channel; its references lead into the other files."""
    return Draft7Validator({"$ref": f"{name}.json"}, registry=REGISTRY)


def complaints(topic: str, message: Mapping[str, Any]) -> list[str]:
    """What is wrong with a message on its full topic."""
    channel = channel_of(topic)
    if channel is None:
        return [f"no such channel: {topic}"]
    wrong = [f"{e.json_path}: {e.message}" for e in validator(channel.name).iter_errors(message)]
    if message.get("type") != channel.name:
        wrong.append(f"type {message.get('type')} on {topic}")
    if channel.from_room and topic.split("/")[2:4] != [message.get("centre"), message.get("room")]:
        wrong.append(f"{message.get('centre')}/{message.get('room')} on {topic}")
    if channel.name == "device" and topic.rsplit("/", 1)[1] != message.get("device"):
        wrong.append(f"device {message.get('device')} on {topic}")
    return wrong


def keeps(topic: str, payload: bytes) -> dict[str, Any]:
    """The message, after asserting that it keeps to the contract."""
    message: dict[str, Any] = json.loads(payload)
    assert complaints(topic, message) == [], message
    return message
