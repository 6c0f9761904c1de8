"""The contract's own soundness: schemas, AsyncAPI document, examples in the documents."""

import json
import re
from pathlib import Path

import pytest
from jsonschema import Draft7Validator

from agent.feed.contract import CHANNELS, ROOT, channel_of, event_fields, schema
from agent.feed.contract.asyncapi import document, render
from tests.agent.contract import NAMES, complaints

DOCS = Path(__file__).parents[3] / "docs"


@pytest.mark.parametrize("name", NAMES)
def test_every_schema_is_one(name: str) -> None:
    Draft7Validator.check_schema(dict(schema(name)))


@pytest.mark.parametrize("name", [n for n, c in CHANNELS.items() if c.from_room])
def test_a_message_of_a_room_has_exactly_its_fields(name: str) -> None:
    told = schema(name)
    assert told["additionalProperties"] is False
    assert set(told["required"]) == set(told["properties"])


def test_the_asyncapi_document_is_the_table_of_channels() -> None:
    assert (DOCS / "asyncapi.yaml").read_text(encoding="utf-8") == render()


def test_every_reference_of_the_asyncapi_document_leads_somewhere() -> None:
    whole = document()
    references = re.findall(r'"\$ref": "([^"]+)"', json.dumps(whole))
    assert len(references) > 2 * len(CHANNELS)
    for reference in references:
        file, _, pointer = reference.partition("#")
        if file:
            assert (DOCS / file).is_file(), reference
            continue
        place = whole
        for part in pointer.strip("/").split("/"):
            place = place[part]


def test_topics_lead_to_their_channels() -> None:
    assert channel_of(f"{ROOT}/c/r/device/drive-1") == CHANNELS["device"]
    assert channel_of(f"{ROOT}/c/r/health") == CHANNELS["health"]
    for stranger in (f"{ROOT}/c/r/health/x", f"{ROOT}/c/r/device", f"{ROOT}/c/r", "other/v1/c/r/health", f"{ROOT}/c/r/x"):
        assert channel_of(stranger) is None


def test_every_kind_of_event_is_known_with_its_fields() -> None:
    assert set(event_fields()) == set(schema("event")["properties"]["kind"]["enum"])
    assert event_fields()["gap"] == {"device", "session", "gaps"}


def test_the_examples_in_the_documents_keep_to_the_contract() -> None:
    text = (DOCS / "feed.md").read_text(encoding="utf-8")
    examples = re.findall(r"^`(interview-room/\S+)`\n\n```json\n(.*?)```", text, re.M | re.S)
    assert {channel_of(topic) for topic, _ in examples} >= {
        CHANNELS[n] for n in ("state", "health", "device", "session", "event", "guidance")
    }
    for topic, example in examples:
        assert complaints(topic, json.loads(example)) == [], topic
