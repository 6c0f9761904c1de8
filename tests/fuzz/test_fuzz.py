"""Every parser of outside bytes, for some seconds in all; the inputs that once crashed one; and the fuzzer on planted defects."""

import json
import logging
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest

from tests.fuzz import __main__ as long_run
from tests.fuzz.mutation import MOST_BYTES, mutated
from tests.fuzz.running import CORPUS, Crash, corpus, smaller, try_on, try_some
from tests.fuzz.target import Slow, Target, file_name, kind_of
from tests.fuzz.targets import TARGETS
from wording import Fault

pytestmark = pytest.mark.unknown_code  # a broken file names codes that nobody knows
EACH = pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
MOST_KEPT = 16 * 1024  # bytes of an input in the corpus


def told(crash: Crash | None) -> str:
    """For the failure's message: how to see it again."""
    if crash is None:
        return ""
    return (
        f"{crash.kind}: {crash.error!r}\n{crash.data[:500]!r}\nput it into {CORPUS.name}/{crash.target}/{file_name(crash.data)}"
    )


@EACH
def test_a_parser_keeps_its_promise(target: Target, tmp_path: Path) -> None:
    """The same cases each time: ``./check --fuzz`` draws others."""
    logging.getLogger("agent").setLevel(logging.CRITICAL)
    try:
        assert told(try_some(target, tmp_path)) == ""
    finally:
        logging.getLogger("agent").setLevel(logging.NOTSET)


def test_the_corpus_belongs_to_the_parsers() -> None:
    names = {target.name for target in TARGETS}
    assert len(names) == len(TARGETS) > 35
    folders = {path.name for path in CORPUS.iterdir()}
    assert folders <= names
    files = list(CORPUS.glob("*/*"))
    assert files and all(path.stat().st_size <= MOST_KEPT and path.name == file_name(path.read_bytes()) for path in files)


def planted(data: bytes) -> None:
    """Raises what it promises for most inputs, and breaks its promise for some."""
    if b"\xff" in data:
        raise KeyError("a defect")
    if len(data) < 4:
        raise ValueError("promised")


def slow(data: bytes) -> None:
    if data.startswith(b"[["):
        end = time.thread_time() + 0.2
        while time.thread_time() < end:
            pass


def colourful(data: bytes) -> None:
    raise Fault("verbatim", "", text="x" * (10**6 if b"9" in data else 5))


def of(call: object, *, seeds: Sequence[bytes] = (b'{"a": 1}',), slow_s: float = 2.0) -> Target:
    return Target("planted", call, lambda: seeds, allowed=(ValueError,), slow_s=slow_s)  # type: ignore[arg-type]


def test_a_planted_defect_is_found_and_made_small(tmp_path: Path) -> None:
    crash = try_some(of(planted), tmp_path, count=2000)
    assert crash is not None and crash.kind == "KeyError"
    assert smaller(of(planted), crash, None).data == b"\xff"


def test_an_input_that_takes_long_is_a_crash(tmp_path: Path) -> None:
    crash = try_some(of(slow, slow_s=0.1), tmp_path, count=2000)
    assert crash is not None and isinstance(crash.error, Slow)


def test_a_promised_exception_is_none(tmp_path: Path) -> None:
    assert try_some(of(int, seeds=(b"12",)), tmp_path, count=300) is None


def test_every_crash_of_one_run_is_told_once(tmp_path: Path) -> None:
    crashes, tried, _ = try_on(of(planted), tmp_path, 0.3, seed=1, known=[])
    assert [crash.data for crash in crashes] == [b"\xff"] and tried > 20


def test_what_reaches_new_lines_is_kept(tmp_path: Path) -> None:
    """An input that only few would draw is reached over those that came near it."""
    from wording.text import say

    def deep(data: bytes) -> None:
        if b"{" in data:
            say("", "en")
            if b"}" in data:
                say("verbatim", "en", text="x")

    _, _, kept = try_on(of(deep, seeds=(b"abc",)), tmp_path, 0.5, seed=3, known=[])
    assert kept and all(b"{" in data for data in kept)


def test_the_same_seed_draws_the_same_cases() -> None:
    good = b'{"a": [1, "x"], "b": {"c": null}}\n'
    drawn = [[mutated(good, chance, [b"z"], [b"word"]) for _ in range(200)] for chance in (Random(1), Random(1), Random(2))]
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(set(drawn[0])) > 150 and max(map(len, drawn[0])) <= MOST_BYTES


def test_a_kept_input_is_tried_before_all_others() -> None:
    [kept] = {target.name for target in TARGETS if corpus(target)} & {"console-line"}
    target = next(target for target in TARGETS if target.name == kept)
    assert set(corpus(target)) == {path.read_bytes() for path in (CORPUS / kept).iterdir()}


def kills(data: bytes) -> None:
    if b"\xff" in data:
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize(
    ("call", "failed"),
    [(int, 0), (planted, 1), (kills, 1)],
    ids=["keeps its promise", "breaks it", "dies"],
)
def test_the_long_run_keeps_what_it_finds_and_ends_with_a_count_in_json(
    call: object, failed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(long_run, "TARGETS", (of(call),))
    monkeypatch.setattr(long_run, "CORPUS", tmp_path / "corpus")
    monkeypatch.setattr(long_run, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(long_run, "ROOT", tmp_path)
    monkeypatch.setattr(sys, "argv", ["fuzz", "--minutes", "0.005", "--seed", "1"])
    assert long_run.main() == failed
    out = capfd.readouterr().out
    assert json.loads(out.splitlines()[-1]) == {"passed": 1 - failed, "failed": failed, "skipped": 0}
    found = [path.read_bytes() for path in (tmp_path / "corpus").glob("planted/*")]
    assert len(found) == failed and all(b"\xff" in data for data in found)


def test_two_crashes_at_one_place_are_of_one_kind() -> None:
    def kind(text: str) -> str:
        try:
            json.loads(text)
        except ValueError as error:
            return kind_of(error)
        return ""

    assert kind("{") == kind("{,") != ""
