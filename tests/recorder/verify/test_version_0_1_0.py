"""A session that version 0.1.0 recorded and sealed is judged as that version judged it; only the words may differ.

``version_0_1_0/`` holds the session (a gap, a problem at the seal, a track left behind, an accepted transcript), its key, and
what ``room-agent verify`` of version 0.1.0 said of it and of damaged copies: exit code, findings, and the text in both languages.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from recorder.verify.session import verify_session
from wording.language import Language
from wording.text import catalogue, code_of
from wording.times import instant_of

MADE = Path(__file__).with_name("version_0_1_0")
ANSWERS: list[dict[str, Any]] = json.loads((MADE / "answers.json").read_text(encoding="utf-8"))
CASES = pytest.mark.parametrize("case", ANSWERS, ids=[answer["case"] for answer in ANSWERS])
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+[+-]\d\d:\d\d")  # as version 0.1.0 showed it
NUMBERS = re.compile(r"\d+(?:[.:+-]\d+)*")
# A fingerprint has 128 bits; version 0.1.0 showed the first half.
FINGERPRINT = re.compile(r"\b((?:[0-9a-f]{4} ){3}[0-9a-f]{4})(?: [0-9a-f]{4}){4}\b")
ADDED = "sealed-without-tracks"  # version 0.1.0 did not tell it
# Number 12 is new: nothing disagrees, and nobody vouches. Version 0.1.0 gave another number in these cases.
UNVOUCHED = {
    "signed by another key than the one that is trusted",
    "never sealed",
    "the manifest cannot be read",
}
OTHER_KEY = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n-----END PUBLIC KEY-----\n"


def damaged(where: Path, case: Mapping[str, Any]) -> Path:
    """A copy of the session with what the case does to it, and the keys beside it."""
    [sealed] = (MADE / "sealed").iterdir()
    folder = Path(shutil.copytree(sealed, where / sealed.name))
    shutil.copy(MADE / "keys" / "device.pub", where / "room.pub")
    (where / "other.pub").write_text(OTHER_KEY, encoding="ascii")
    if case.get("unsealed"):
        lines = (folder / "journal.jsonl").read_bytes().splitlines(keepends=True)
        sealed_at = next(n for n, line in enumerate(lines) if b'"kind":"sealed"' in line)
        (folder / "journal.jsonl").write_bytes(b"".join(lines[:sealed_at]))
        change(folder / "session.json", '"state": "matched"', '"state": "sealing"')
    for name in case.get("remove", []):
        (folder / name).unlink()
    if name := case.get("flip"):
        data = bytearray((folder / name).read_bytes())
        data[len(data) // 2] ^= 1
        (folder / name).write_bytes(data)
    if replaced := case.get("replace"):
        change(folder / replaced[0], replaced[1], replaced[2])
    if name := case.get("folder"):
        (folder / name).unlink()
        (folder / name).mkdir()
    return folder


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def verify(folder: Path, case: Mapping[str, Any], *more: str) -> "subprocess.CompletedProcess[str]":
    """`room-agent verify` in a process of its own."""
    key = "any" if case["key"] == "any" else str(folder.parent / f"{case['key']}.pub")
    config = folder.parent / "config.toml"
    config.write_text(f'[storage]\nroot = "{folder.parent}/data"\nrun = "{folder.parent}/run"\n', encoding="utf-8")
    words = ["verify", str(folder), "--key", key, "--config", str(config), *more]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run(
        [sys.executable, "-m", "agent", *words], capture_output=True, text=True, timeout=60, check=False, env=env
    )
    assert done.stderr == ""
    return done


def test_the_fixture_is_small_and_holds_what_it_is_for() -> None:
    assert sum(path.stat().st_size for path in MADE.rglob("*") if path.is_file()) < 200_000
    [sealed] = (MADE / "sealed").iterdir()
    manifest = json.loads((sealed / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["schema"].endswith("/1") and manifest["left"] and manifest["problems"]
    assert [len(track["gaps"]) for track in manifest["tracks"].values()] == [0, 1, 0]
    session = json.loads((sealed / "session.json").read_text(encoding="utf-8"))
    assert session["transcript"]["verdict"] == "excepted" and session["transcript"]["exception"]["by"] == "钱八"


@CASES
def test_the_findings_are_those_of_version_0_1_0(case: dict[str, Any], tmp_path: Path) -> None:
    done = verify(damaged(tmp_path, case), case, "--json")
    found = [(f["ok"], f["note"], f["code"]) for f in json.loads(done.stdout)["findings"]]
    told = [(ok, note, code_of(text)) for ok, note, text in case["findings"]]
    found = [f for f in found if f[2] != ADDED]
    # A problem of a journal was said by the template "{problem}"; it now has its own code.
    assert [
        (ok, note, was if was == "{problem}" else code) for (ok, note, code), (*_, was) in zip(found, told, strict=True)
    ] == told
    assert {code for _, _, code in found} <= set(catalogue())


@CASES
def test_the_exit_code_is_that_of_version_0_1_0_or_the_new_12(case: dict[str, Any], tmp_path: Path) -> None:
    expected = 12 if case["case"] in UNVOUCHED else case["exit_code"]
    assert verify(damaged(tmp_path, case), case).returncode == expected


@pytest.mark.parametrize("language", ["en", "zh"])
@CASES
def test_each_line_is_marked_as_before_and_tells_the_same_values(
    case: dict[str, Any], language: Language, tmp_path: Path
) -> None:
    folder = damaged(tmp_path, case)
    shown = verify(folder, case, "--language", language).stdout.replace(str(folder), "FOLDER").splitlines()
    lines = [line for line in shown if "孙七" not in line]
    assert [line[0] for line in lines[:-1]] == [line[0] for line in case[language][:-1]]
    values = [NUMBERS.findall(FINGERPRINT.sub(r"\1", line)) for line in lines]
    before = [NUMBERS.findall(INSTANT.sub(lambda m: instant_of(m[0], language), line)) for line in case[language]]
    assert [sorted(each) for each in values] == [sorted(each) for each in before]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_no_sentence_of_version_0_1_0_is_shown_as_an_unknown_code(language: str, tmp_path: Path) -> None:
    """What the files of version 0.1.0 hold in English is found in the table, and so is said in Chinese as well."""
    case = ANSWERS[0]
    shown = verify(damaged(tmp_path, case), case, "--language", language).stdout
    assert "{" not in shown and "problem=" not in shown and "path=" not in shown
    if language == "zh":
        assert "mid" not in shown and "ends in the middle" not in shown and "Overview" not in shown


def test_who_went_on_without_a_track_is_told_of_a_session_of_version_0_1_0_as_well(tmp_path: Path) -> None:
    folder = damaged(tmp_path, ANSWERS[0])
    [left] = [f for f in verify_session(folder).findings if f.code == ADDED]
    assert left.note and left.ok
    assert "孙七" in left.say("en") and "拾音器断电" in left.say("en") and "Microphone" in left.say("en")
