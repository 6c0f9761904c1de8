"""Since when each version is pinned: the table is whole, and the block in ./check is short."""

import subprocess
import sys
import time
from datetime import date
from pathlib import Path

from requirements.ages import SHOWN, TABLE, known, renewed, told
from requirements.pins import Pin, pins

ROOT = Path(__file__).parents[2]
TODAY = date(2026, 11, 30)


def made(*texts: str) -> list[Pin]:
    return [Pin(name, version, "run", "", ("ab" * 32,), ("",)) for name, _, version in (text.partition("==") for text in texts)]


def test_every_pin_has_its_date_and_nothing_else_has_one() -> None:
    """After a change of requirements/*.txt: ``python -m requirements.ages --write``."""
    assert set(known()) == {pin.text for pin in pins()}
    assert TABLE.read_text(encoding="utf-8") == renewed(known(), pins(), TODAY)
    assert min(known().values()) >= date(2026, 11, 21)


def test_a_new_version_gets_the_day_and_an_old_one_keeps_its_own() -> None:
    text = renewed({"a==1": date(2026, 1, 2), "b==1": date(2026, 1, 2)}, made("a==1", "b==2"), TODAY)
    assert text.splitlines()[2:] == ['"a==1" = 2026-01-02', '"b==2" = 2026-11-30']


def test_the_oldest_stand_first_and_the_rest_is_counted() -> None:
    days = {f"p{n:02}==1": date(2026, 11, 30 - n) for n in range(SHOWN + 5)}
    lines = told(days, made(*days, "new==1"), TODAY).splitlines()
    assert lines[0].startswith("16 versions are pinned.")
    assert lines[1].split() == ["14", "p14==1"] and len(lines) == SHOWN + 3
    assert lines[SHOWN + 1].strip() == "and 5 more, 0 to 4 days"
    assert "without a date: new==1" in lines[-1]


def test_it_is_told_at_once_and_never_fails() -> None:
    began = time.monotonic()
    run = subprocess.run(
        [sys.executable, "-m", "requirements.ages"], cwd=ROOT, capture_output=True, text=True, timeout=20, check=True
    )
    assert time.monotonic() - began < 5
    assert 3 <= len(run.stdout.splitlines()) <= SHOWN + 3 and run.stderr == ""
    assert "requirements.ages || true" in (ROOT / "check").read_text(encoding="utf-8")
