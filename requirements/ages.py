"""Since when each version is pinned: ``python -m requirements.ages``; with ``--write`` since.toml is brought up to date.

The date is the day on which the version was written into requirements/*.txt, when somebody last decided for it. It is not the
day of its release: nothing here asks a registry. An old pin is no fault by itself; somebody should look whether the version has a
known weakness, and what newer ones there are.
"""

import sys
import tomllib
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime

from requirements.pins import FOLDER, Pin, pins

TABLE = FOLDER / "since.toml"
SHOWN = 10
HEAD = """\
# The day on which each version was written into requirements/*.txt. Made by `python -m requirements.ages --write`, which gives
# today's date to what is new and leaves out what is gone.
"""


def known() -> dict[str, date]:
    """The table. Raises ValueError where it is none."""
    told = tomllib.loads(TABLE.read_text(encoding="utf-8"))
    if wrong := [name for name, day in told.items() if type(day) is not date]:
        raise ValueError(f"{TABLE.name}: no date: {wrong[0]}")
    return told


def renewed(table: Mapping[str, date], pinned: Iterable[Pin], today: date) -> str:
    """The text of the table for these pins."""
    return HEAD + "".join(f'"{pin.text}" = {table.get(pin.text, today)}\n' for pin in pinned)


def told(table: Mapping[str, date], pinned: Iterable[Pin], today: date) -> str:
    """The block for people: the oldest ten, and how many there are."""
    ages = sorted(((today - table[pin.text]).days if pin.text in table else -1, pin.text) for pin in pinned)
    undated = [text for age, text in ages if age < 0]
    dated = sorted((item for item in ages if item[0] >= 0), key=lambda item: (-item[0], item[1]))
    lines = [f"{len(ages)} versions are pinned. Days since each was written into requirements/, the oldest first:"]
    lines += [f"{age:5}  {text}" for age, text in dated[:SHOWN]]
    if rest := dated[SHOWN:]:
        lines.append(f"       and {len(rest)} more, {rest[-1][0]} to {rest[0][0]} days")
    if undated:
        lines.append(f"       without a date: {', '.join(undated)}; run `python -m requirements.ages --write`")
    return "\n".join(lines)


def main() -> int:
    """Prints the block, or writes the table."""
    today, pinned = datetime.now(UTC).date(), pins()
    if sys.argv[1:] == ["--write"]:
        TABLE.write_text(renewed(known() if TABLE.exists() else {}, pinned, today), encoding="utf-8")
        return 0
    sys.stdout.write(told(known(), pinned, today) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
