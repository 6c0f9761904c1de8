"""Statuses as they lie in the folder: a file that is none is none, whatever stands in it."""

import json
from pathlib import Path

import pytest

from recorder.room_time import SECOND_NS
from recorder.wanted import BurnerStatus, ComposerStatus, TrackStatus, read_status, read_statuses

NOW = 1000 * SECOND_NS
STATUS = TrackStatus(
    name="overview", pid=7, boot_id="b", version="1", at_ns=NOW, level_dbfs=-20.0, fault={"text": "x"}, finished="s"
)


def test_a_status_comes_back_as_it_was_written(tmp_path: Path) -> None:
    composer = ComposerStatus(name="composer", pid=8, boot_id="b", version="1", at_ns=NOW, lost=["closeup"])
    burner = BurnerStatus(name="burner", pid=9, boot_id="b", version="1", at_ns=NOW, drives=[{"name": "sr0"}], progress=0.5)
    for status in (STATUS, composer, burner):
        status.write(tmp_path)
    assert read_statuses(tmp_path, NOW, "b") == {"overview": STATUS, "composer": composer, "burner": burner}
    assert read_statuses(tmp_path, NOW + 4 * SECOND_NS, "b") == {}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("at_ns", None),
        ("at_ns", "now"),
        ("at_ns", True),
        ("name", 5),
        ("gaps", 1.5),
        ("level_dbfs", "loud"),
        ("fault", "broken"),
        ("media", "smell"),
    ],
)
def test_a_value_of_another_type_makes_it_no_status(tmp_path: Path, field: str, value: object) -> None:
    STATUS.write(tmp_path)
    path = tmp_path / "overview.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
    assert read_status(path) is None
    assert read_statuses(tmp_path, NOW, "b") == {}


def test_a_whole_number_stands_for_a_measurement(tmp_path: Path) -> None:
    STATUS.write(tmp_path)
    path = tmp_path / "overview.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"level_dbfs": -20, "of_a_later_version": []}))
    assert read_status(path) == STATUS
