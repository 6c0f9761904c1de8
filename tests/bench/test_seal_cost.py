"""The session that bench/seal writes is a whole one, and its seal is a seal."""

from pathlib import Path

from bench.seal_cost import one_rate, timed_seals, write_session
from recorder.disk.digest import file_sha256
from tests.equipment.clips import SMALL

HALF_MINUTE = 30


def test_the_session_that_is_sealed_is_a_whole_one(tmp_path: Path) -> None:
    folder, session, totals = write_session(tmp_path, HALF_MINUTE, SMALL, lambda _: None)
    taken, manifest = timed_seals(folder, session, tmp_path / "keys", 2)
    assert len(taken) == 2 and all(0 < seconds < 5 for seconds in taken)
    assert totals["segments"] == 9 == sum(t["segments"] for t in manifest["tracks"].values())
    assert {track["covered"] for track in manifest["tracks"].values()} == {1.0}
    assert manifest["problems"] == []
    assert all(file_sha256(folder / file["path"]) == file["sha256"] for file in manifest["files"])
    assert manifest["tracks"]["overview"]["packets"] == HALF_MINUTE * 25
    assert totals["bytes"] == sum(p.stat().st_size for p in folder.glob("tracks/*/*.mkv"))


def test_the_measure_removes_what_it_wrote(tmp_path: Path) -> None:
    told = one_rate(tmp_path, HALF_MINUTE / 3600, 1.2, SMALL, lambda _: None)
    assert told["segments"] == 9 and told["problems"] == 0 and told["seal_s"] > 0
    assert list(tmp_path.iterdir()) == []
