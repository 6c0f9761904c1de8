"""Statuses as they lie in the folder: a file that is none is none, whatever stands in it."""

import json
from pathlib import Path

import pytest

from recorder.clock.instants import SECOND_NS
from recorder.faults import EvidenceFault
from recorder.process.status import BurnerStatus, ComposerStatus, TrackStatus, read_status, read_statuses
from recorder.process.wanted import Wanted, WantedFile

NOW = 1000 * SECOND_NS
STATUS = TrackStatus(
    name="overview", pid=7, boot_id="b", version="1", at_ns=NOW, level_dbfs=-20.0, fault={"code": "x"}, finished="s"
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


def unreadable(path: Path, how: str) -> None:
    path.unlink()
    if how == "error of the disk":
        path.mkdir()  # reading it fails in the system call
    else:
        path.write_text("{", encoding="utf-8")


@pytest.mark.parametrize("how", ["torn", "error of the disk"])
def test_a_wanted_session_stays_wanted_while_its_file_cannot_be_read(
    tmp_path: Path, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "wanted.json"
    wanted = Wanted("s", 5, None, "案1")
    wanted.write(path)
    file = WantedFile(path)
    assert file.read() == wanted
    unreadable(path, how)
    assert [file.read() for _ in range(3)] == [wanted] * 3
    assert [r.message for r in caplog.records] == ["wanted state unreadable, the last one holds"]
    path.unlink() if how == "torn" else path.rmdir()
    assert file.read() == Wanted(), "a file that is not there wants nothing"
    stopping = Wanted("s", 5, 7, "案1")
    stopping.write(path)
    assert file.read() == stopping


@pytest.mark.parametrize("before", [None, Wanted()], ids=["none", "nothing wanted"])
def test_where_nothing_was_wanted_a_file_that_cannot_be_read_is_a_fault(tmp_path: Path, before: Wanted | None) -> None:
    """It may want a session that is not recorded: that must be seen."""
    path = tmp_path / "wanted.json"
    (before or Wanted("s")).write(path)
    file = WantedFile(path)
    if before is not None:
        assert file.read() == before
    path.write_text("{", encoding="utf-8")
    for _ in range(2):
        with pytest.raises(EvidenceFault):
            file.read()
