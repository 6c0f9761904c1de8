"""A session's label is given once, and to no other session."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from burner.disc.author import author
from burner.disc.label import label
from burner.disc.sealed_session import Evidence
from recorder.disk.durable import make_folder, read_json, write_json
from tests.burner.sessions import SESSION

OTHER = "20261121T080000-room-01"


def session_of(root: Path, name: str, official_start: str = "2026-11-21T08:00:00+08:00") -> Evidence:
    folder = make_folder(root / "sessions" / name)
    write_json(folder / "session.json", {})
    return Evidence(folder, name, {"official_start": official_start}, {}, {}, {}, ())


def finished(root: Path, session: str, name: str) -> None:
    """The result of a burn by a version that kept no labels."""
    about: dict[str, Any] = {"session": session, "label": name}
    write_json(make_folder(root / "burn" / "jobs") / f"{session}-001.json", about)


def test_the_days_second_session_has_the_second_label(root: Path, session: Path, tmp_path: Path) -> None:
    session_of(root, OTHER)
    assert author(session, tmp_path / "d.iso", language="en").label == "EV20261121_002"
    assert read_json(root / "burn" / "labels" / "EV20261121_002.json") == {"session": SESSION}


def test_a_label_stays_and_is_unique_when_folders_were_removed(tmp_path: Path) -> None:
    first, second, third = (session_of(tmp_path, f"20261121T0{hour}0000-room-01") for hour in (7, 8, 9))
    assert [label(e, draft=False) for e in (first, second)] == ["EV20261121_001", "EV20261121_002"]
    (first.folder / "session.json").unlink()
    first.folder.rmdir()
    assert label(third, draft=False) == "EV20261121_003"
    assert label(second, draft=False) == "EV20261121_002"
    assert label(second, draft=True) == "DRAFT20261121_02"


def test_a_draft_has_the_number_of_the_disc(tmp_path: Path) -> None:
    first = session_of(tmp_path, OTHER)
    assert label(first, draft=True) == "DRAFT20261121_01"
    session_of(tmp_path, "20261121T070000-room-01")
    assert label(first, draft=False) == "EV20261121_001"


def test_around_midnight_the_folder_s_day_counts(tmp_path: Path) -> None:
    earlier, late = session_of(tmp_path, OTHER), session_of(tmp_path, "20261121T235959-room-01", "2026-11-22T00:00:00.100+08:00")
    next_day = session_of(tmp_path, "20261122T090000-room-01", "2026-11-22T09:00:00+08:00")
    assert label(late, draft=False) == "EV20261121_002"
    assert label(earlier, draft=False) == "EV20261121_001"
    assert label(next_day, draft=False) == "EV20261122_001"


def test_labels_on_discs_of_earlier_versions_count(tmp_path: Path) -> None:
    first, second = session_of(tmp_path, "20261121T070000-room-01"), session_of(tmp_path, OTHER)
    finished(tmp_path, first.id, "EV20261121_002")
    finished(tmp_path, "20261121T060000-gone", "EV20261121_003")
    assert label(second, draft=False) == "EV20261121_004"
    assert label(first, draft=False) == "EV20261121_002"


def test_a_damaged_label_is_nobody_s(tmp_path: Path) -> None:
    first = session_of(tmp_path, OTHER)
    (make_folder(tmp_path / "burn" / "labels") / "EV20261121_001.json").write_text("{torn")
    assert label(first, draft=False) == "EV20261121_002"
    assert label(first, draft=False) == "EV20261121_002"


def test_a_folder_without_a_date_takes_the_official_start_s(tmp_path: Path) -> None:
    plain = session_of(tmp_path, "room-01")
    assert label(plain, draft=False) == "EV20261121_001"
    nameless = session_of(tmp_path, "room-02")
    assert label(replace(nameless, record={}), draft=False) == "EV00000000_001"
