"""A session whose discs are finished stays as it is; one more copy takes a person's word, and stands in the journal.

A real agent, the real burner worker, and files in the place of drives (``stdio:``).
"""

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from recorder.disk import journal
from tests.agent.live import Answer, LiveAgent
from tests.burner.sessions import SESSION, build
from wording import Exit

ROOT = Path(__file__).parents[3]
# The session's journal names the cause of a gap by a sentence of no version.
pytestmark = pytest.mark.unknown_code


@contextmanager
def worker(room: LiveAgent) -> Iterator[None]:
    """`room-agent burner`."""
    words = [sys.executable, "-m", "agent", "burner", "--config", str(room.config)]
    with (room.folder / "burner.log").open("w") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log, cwd=ROOT)
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(5)


@dataclass
class Finished:
    """A room with a session of which two discs are burned and verified."""

    room: LiveAgent
    folder: Path
    discs: Path

    def burn(self, *words: str, drives: tuple[str, ...] = ()) -> Answer:
        named = [word for name in drives for word in ("--drive", f"stdio:{self.discs / name}")]
        return self.room.command("disc", "burn", "last", *named, *words)

    def kept(self) -> dict[str, str]:
        """Every file of the session, of the burner and of the discs, with its digest."""
        folders = (self.folder, self.room.places.burn, self.discs)
        paths = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
        return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}

    def lines(self, kind: str) -> list[dict[str, Any]]:
        return [dict(e) for e in journal.read(self.folder / "journal.jsonl") if e["kind"] == kind]

    def record(self) -> dict[str, Any]:
        record: dict[str, Any] = json.loads((self.folder / "session.json").read_text(encoding="utf-8"))
        return record


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Finished]:
    place = tmp_path_factory.mktemp("finished")
    scratch = tmp_path_factory.mktemp("scratch")
    discs = place / "discs"
    discs.mkdir()
    with LiveAgent(place, drives=tuple(f"stdio:{discs / name}" for name in ("1.img", "2.img", "3.img"))) as room:
        folder = build(room.places.root, scratch)
        made = Finished(room, folder, discs)
        with room.agent(), worker(room):
            first = made.burn("--language", "en", drives=("1.img", "2.img"))
            assert first.code == Exit.OK, (first.out, first.err, (place / "burner.log").read_text())
            assert "2 of 2" in first.out and made.record()["state"] == "on-disc"
            yield made


@pytest.mark.parametrize(("language", "word"), [("en", "Finished"), ("zh", "已完成")])
@pytest.mark.parametrize("drives", [(), ("3.img",)])
def test_a_finished_session_says_so_and_changes_nothing(
    language: str, word: str, drives: tuple[str, ...], finished: Finished
) -> None:
    before = finished.kept()
    answer = finished.burn("--language", language, drives=drives)
    assert answer.code == Exit.OK and answer.err == ""
    assert word in answer.out and "2" in answer.out and "--extra --by" in answer.out
    assert finished.kept() == before


def test_programs_are_told_as_well(finished: Finished) -> None:
    before = finished.kept()
    answer = finished.burn("--json")
    assert answer.code == Exit.OK
    told = answer.json()
    assert (told["finished"], told["verified"], told["copies"], told["session"]) == (True, 2, 2, SESSION)
    assert finished.kept() == before


@pytest.mark.parametrize(
    "words",
    [("--extra",), ("--extra", "--by", "赵六"), ("--extra", "--reason", "送法院"), ("--extra", "--by", " ", "--reason", " ")],
)
def test_an_extra_copy_takes_a_name_and_a_reason(words: tuple[str, ...], finished: Finished) -> None:
    before = finished.kept()
    answer = finished.burn(*words, drives=("3.img",))
    assert answer.code == Exit.INPUT and answer.out == "" and "--" in answer.err
    assert finished.kept() == before


def test_an_extra_copy_is_burned_and_stands_in_the_journal(finished: Finished) -> None:
    before, acts = finished.kept(), len(finished.lines("act"))
    answer = finished.burn("--extra", "--by", " 赵六 ", "--reason", "送法院", "--language", "en", drives=("3.img",))
    assert answer.code == Exit.OK, (answer.out, answer.err)
    assert "3 of 3" in answer.out
    *_, act = finished.lines("act")
    assert len(finished.lines("act")) == acts + 1
    assert (act["act"], act["by"], act["reason"], act["copies"]) == ("disc.extra", "赵六", "送法院", 3)
    assert act["asked"]["uid"] == os.getuid()
    assert finished.record()["disc"]["verified"] == 3 and finished.record()["state"] == "on-disc"
    after = finished.kept()
    for disc in ("1.img", "2.img"):  # those that were burned before are not touched
        path = str(finished.discs / disc)
        assert after[path] == before[path]
    assert (finished.discs / "3.img").stat().st_size > 0
    again = finished.burn("--language", "en")
    assert again.code == Exit.OK and "Finished: 3 of 3" in again.out
    assert finished.kept() == after
    assert finished.room.command("verify", str(finished.folder)).code == Exit.OK


def test_an_extra_copy_before_the_discs_are_finished_is_refused(tmp_path: Path) -> None:
    with LiveAgent(tmp_path, drives=(f"stdio:{tmp_path}/1.img",)) as room:
        folder = build(room.places.root, tmp_path)
        made = Finished(room, folder, tmp_path)
        with room.agent():
            before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
            answer = made.burn("--extra", "--by", "赵六", "--reason", "送法院", drives=("1.img",))
        assert answer.code == Exit.REFUSED
        assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
        assert not (room.places.burn / "wanted.json").exists()
