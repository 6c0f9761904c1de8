"""What requirements/*.txt pin, read as pip-compile writes them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

FOLDER = Path(__file__).parent
Use = Literal["run", "dev", "build"]
USES: tuple[Use, ...] = get_args(Use)  # run.txt: what a room needs; dev.txt: for ./check as well; build.txt: to install them

_PIN = re.compile(r"^([A-Za-z0-9._-]+)==(\S+?)(?: ; ([^\\\n]+?))? *((?:\\\n +--hash=sha256:[0-9a-f]{64} ?)+)", re.MULTILINE)
_VIA = re.compile(r"(?:\n +#[^\n]*)*")


@dataclass(frozen=True, slots=True)
class Pin:
    """One version of one package. marker: where it is installed alone, "" everywhere. hashes: SHA-256 of each of its files.

    via: the names of the packages that ask for it; "" for this project itself.
    """

    name: str
    version: str
    use: Use
    marker: str
    hashes: tuple[str, ...]
    via: tuple[str, ...]

    @property
    def text(self) -> str:
        """``name==version``."""
        return f"{self.name}=={self.version}"


def normal(name: str) -> str:
    """A package's name in the one form by which names are compared (packaging.python.org, name normalization)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read(text: str, use: Use) -> Iterator[Pin]:
    """The pins of one file. Raises ValueError where a line is none."""
    place = 0
    for found in _PIN.finditer(text):
        _nothing_between(text[place : found.start()])
        told = _VIA.match(text, found.end())
        comment, place = (told[0], told.end()) if told else ("", found.end())
        hashes = tuple(sorted(set(re.findall(r"sha256:([0-9a-f]{64})", found[4]))))
        yield Pin(normal(found[1]), found[2], use, found[3] or "", hashes, tuple(_asking(comment)))
    _nothing_between(text[place:])


def _nothing_between(text: str) -> None:
    if left := [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]:
        raise ValueError(f"not a pinned requirement with hashes: {left[0]!r}")


def _asking(comment: str) -> Iterator[str]:
    """Names out of ``# via a`` and of the lines below it; -c and -r name files."""
    for line in comment.splitlines():
        name = line.strip().lstrip("#").strip().removeprefix("via").strip()
        if name and not name.startswith("-"):
            yield "" if name.startswith("interview-room-agent") else normal(name.split()[0])


def pins() -> tuple[Pin, ...]:
    """Every pin once, by name and version; one of several files counts with the first of USES, asked for as all of them say."""
    found: dict[str, Pin] = {}
    for use in USES:
        for pin in read((FOLDER / f"{use}.txt").read_text(encoding="utf-8"), use):
            known = found.get(pin.text, pin)
            via = tuple(sorted({*known.via, *pin.via}))
            hashes = tuple(sorted({*known.hashes, *pin.hashes}))
            found[pin.text] = Pin(pin.name, pin.version, known.use, pin.marker, hashes, via)
    return tuple(found[text] for text in sorted(found))
