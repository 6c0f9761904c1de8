"""The contract's ids of devices are those of the device kinds, and the generated files are as generated."""

import re
from pathlib import Path

import pytest

from agent.config.model import parse
from agent.devices.kinds import KINDS, WITHOUT_PROCESS, id_pattern
from agent.feed.contract import FOLDER, schema
from agent.feed.contract.asyncapi import render, with_device_ids
from agent.health.devices import devices
from agent.health.look import ViewBuilder

ROOT = Path(__file__).parents[3]
SCHEMAS = sorted(FOLDER.glob("*.json"))


def test_the_schema_has_the_pattern_of_the_device_kinds() -> None:
    assert schema("common")["definitions"]["device"]["pattern"] == id_pattern()


@pytest.mark.parametrize("path", SCHEMAS, ids=[path.name for path in SCHEMAS])
def test_each_schema_is_as_generated(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert with_device_ids(text) == text
    assert len(SCHEMAS) >= 7


def test_a_schema_of_fewer_kinds_would_be_brought_up_to_date() -> None:
    text = (FOLDER / "common.json").read_text(encoding="utf-8")
    older = text.replace("|climate|", "|")
    assert older != text and with_device_ids(older) == text


def test_the_asyncapi_document_is_as_generated() -> None:
    assert (ROOT / "docs" / "asyncapi.yaml").read_text(encoding="utf-8") == render()


def test_the_pattern_takes_what_the_kinds_are_called_and_nothing_else() -> None:
    pattern = re.compile(id_pattern())
    for name in (*WITHOUT_PROCESS, *(kind.id for kind in KINDS if not kind.pattern), "drive-1", "drive-12"):
        assert pattern.search(name), name
    for name in ("", "drive-", "drive-0", "drive-123", "overview2", "x-overview", "disk\n", "over view", "burner"):
        assert not pattern.fullmatch(name), name


def test_every_device_of_a_room_keeps_to_the_pattern(tmp_path: Path) -> None:
    """A room with everything, as it is looked at."""
    config = parse(f'[storage]\nroot = "{tmp_path}"\nrun = "{tmp_path / "run"}"\n')
    view = ViewBuilder(config).look(None, 0, 0, None)
    found = [device.id for device in devices(view)]
    assert len(found) >= 6 and len(set(found)) == len(found)
    assert all(re.fullmatch(id_pattern(), name) for name in found), found
