"""What the tests ask of a browser, whichever it is."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

WAIT_S = 60.0


class Browser(Protocol):
    """A browser with one page. It runs without a screen, in a profile of its own."""

    name: str
    pid: int

    def open(self, path: Path) -> None:
        """Opens a file by its file:// address and waits until it is there."""

    def run(self, script: str) -> Any:
        """The value of an expression of JavaScript in the page; a promise is waited for."""

    def choose(self, folder: Path) -> None:
        """Chooses a folder with the page's button, as the person who says yes to the browser's question does."""

    def drop(self, folder: Path) -> None:
        """Drops a folder onto the page."""

    def pdf(self) -> bytes:
        """The page as it is printed."""

    def close(self) -> None:
        """Ends the browser and all of its processes."""


def wait_for(browser: Browser, condition: str, seconds: float = WAIT_S) -> None:
    """Waits until an expression of JavaScript is true."""
    until = time.monotonic() + seconds
    while not browser.run(f"Boolean({condition})"):
        assert time.monotonic() < until, f"{browser.name}: {condition} was not so within {seconds} s"
        time.sleep(0.05)


def memory_bytes(pid: int) -> int:
    """The memory of a process and its descendants that no other process shares (Linux: Pss)."""
    total = 0
    for each in family(pid):
        try:
            text = Path(f"/proc/{each}/smaps_rollup").read_text()
        except OSError:  # it has ended
            continue
        total += sum(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Pss:"))
    return total


def family(pid: int) -> list[int]:
    """A process and its descendants."""
    children: dict[int, list[int]] = {}
    for each, parent in _parents():
        children.setdefault(parent, []).append(each)
    found = [pid]
    for each in found:
        found += children.get(each, [])
    return found


def _parents() -> Iterator[tuple[int, int]]:
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                stat = (folder / "stat").read_text()
            except OSError:
                continue
            yield int(folder.name), int(stat.rpartition(")")[2].split()[1])
