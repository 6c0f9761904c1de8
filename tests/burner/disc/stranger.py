"""Somebody who has the disc alone and does what HOW-TO-CHECK.txt says, word for word."""

import re
import subprocess
from pathlib import Path

STEP = re.compile(r"^(?:STEP (\d)\.|第 (\d) 步)")
VERIFIED = "Signature Verified Successfully"


def steps(text: str) -> dict[int, list[str]]:
    """The commands of each step: the lines that are indented by four spaces."""
    found: dict[int, list[str]] = {}
    number = 0
    for line in text.splitlines():
        if match := STEP.match(line):
            number = int(match.group(1) or match.group(2))
            found[number] = []
        elif line.startswith("    "):
            found[number].append(line.strip())
    return found


def given(folder: Path, command: str) -> subprocess.CompletedProcess[str]:
    """The command as bash takes it, in the disc's folder."""
    return subprocess.run(["bash", "-c", command], check=False, cwd=folder, capture_output=True, text=True, timeout=60)


def passes(folder: Path, step: int, command: str, fingerprint: str) -> bool:
    """Whether a command says what the page wants it to say. fingerprint: as whoever runs the room told it."""
    run = given(folder, command)
    if step == 1:
        return run.stdout.strip() == fingerprint
    if "pkeyutl" in command:
        return run.returncode == 0 and VERIFIED in run.stdout + run.stderr
    if command.startswith("diff"):
        return run.returncode == 0 and run.stdout == ""
    return run.returncode == 0


def failing(folder: Path, fingerprint: str, page: str = "HOW-TO-CHECK.txt") -> list[int]:
    """The steps that fail, in order."""
    found = steps((folder / page).read_text(encoding="utf-8"))
    assert found and all(commands for step, commands in found.items() if step != 6)  # of older recordings nothing proves a film
    return [step for step, commands in found.items() if not all(passes(folder, step, each, fingerprint) for each in commands)]
