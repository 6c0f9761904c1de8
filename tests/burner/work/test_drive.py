"""xorriso as the burner: its words, and real burns to ``stdio:`` drives that go wrong."""

import hashlib
import os
import random
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from burner.faults import BurnFault, DiscSpoiled, Stopped
from burner.work.drive import (
    BurnOutcome,
    DriveBurn,
    Fanout,
    XorrisoMessage,
    XorrisoProgress,
    burn_arguments,
    parse_line,
    read_back,
)
from tests.equipment.process import wait_for

BLOCK = 1 << 20


def never() -> bool:
    return False


@pytest.mark.parametrize(
    ("line", "parsed"),
    [
        ("I:1: xorriso : UPDATE :   82 of  300 MB written (fifo 0%) [buf 50%]  84.3x.", XorrisoProgress(82, 300)),
        ("I:1: xorriso : UPDATE :    7 MB written (fifo 99%) [buf  50%]", XorrisoProgress(7, None)),
        (
            "I:1: libburn : FAILURE : Premature end of input encountered.",
            XorrisoMessage("libburn", "FAILURE", "Premature end of input encountered."),
        ),
        (
            "xorriso : NOTE : Disc status unsuitable for writing",
            XorrisoMessage("xorriso", "NOTE", "Disc status unsuitable for writing"),
        ),
        ("I:1: Beginning to write data track.", None),
        ("", None),
    ],
)
def test_lines_of_xorriso(line: str, parsed: object) -> None:
    assert parse_line(line + "\n") == parsed


def test_a_burn_names_its_length() -> None:
    """Without it a stream that ends early would become a short disc and a success."""
    arguments = burn_arguments("/dev/sr0", 65536)
    assert "tsize=65536" in arguments
    assert arguments[-1] == "-"
    assert "dev=/dev/sr0" in arguments


def image(mib: int) -> list[bytes]:
    generator = random.Random(1)
    return [generator.randbytes(BLOCK) for _ in range(mib)]


def digest(blocks: list[bytes]) -> str:
    return hashlib.sha256(b"".join(blocks)).hexdigest()


@pytest.fixture
def drives(tmp_path: Path) -> Iterator[Callable[..., DriveBurn]]:
    """Starts burns, and ends those that a failed test left."""
    started: list[DriveBurn] = []

    def start(name: str, mib: int, stall_s: float = 60.0) -> DriveBurn:
        started.append(DriveBurn(f"stdio:{tmp_path / name}", mib * BLOCK, stall_s=stall_s))
        return started[-1]

    yield start
    for burn in started:
        if burn._process.poll() is None:
            burn._process.kill()
            burn._process.wait()


def send(burns: list[DriveBurn], blocks: list[bytes], between: Callable[[int], None] = lambda _: None) -> list[BurnOutcome]:
    fanout = Fanout(burns, never)
    for number, block in enumerate(blocks):
        between(number)
        fanout(block)
    return [burn.finish(never) for burn in burns]


def test_two_drives_get_the_same_disc(drives: Callable[..., DriveBurn], tmp_path: Path) -> None:
    blocks = image(6)
    outcomes = send([drives("一.img", 6), drives("two two.img", 6)], blocks)
    assert [(o.fault, o.written_bytes) for o in outcomes] == [(None, 6 * BLOCK)] * 2
    for outcome in outcomes:
        shares: list[int] = []
        assert read_back(outcome.device, 6 * BLOCK, progress=shares.append) == digest(blocks)
        assert shares[-1] == 6 * BLOCK


def test_a_killed_xorriso_spoils_its_disc_and_no_other(drives: Callable[..., DriveBurn], tmp_path: Path) -> None:
    blocks = image(24)
    good, bad = drives("good.img", 24), drives("bad.img", 24)

    def between(number: int) -> None:
        if number == 12:
            wait_for(lambda: bad.written_bytes > 0, "the drive's next step", 20.0)
            os.kill(bad.pid, signal.SIGKILL)

    first, second = send([good, bad], blocks, between)
    assert first.fault is None
    assert read_back(good.device, 24 * BLOCK) == digest(blocks)
    assert isinstance(second.fault, DiscSpoiled)
    assert "SIGKILL" in str(second.fault)
    assert "put in a blank one" in str(second.fault)


def test_a_drive_that_stands_still_is_given_up(drives: Callable[..., DriveBurn], tmp_path: Path) -> None:
    blocks = image(24)
    good, bad = drives("good.img", 24, 60.0), drives("bad.img", 24, 0.5)

    def between(number: int) -> None:
        if number == 2:
            os.kill(bad.pid, signal.SIGSTOP)

    first, second = send([good, bad], blocks, between)
    assert first.fault is None
    assert read_back(good.device, 24 * BLOCK) == digest(blocks)
    assert isinstance(second.fault, DiscSpoiled)
    assert "stood still" in str(second.fault)


def test_when_no_drive_is_left_the_stream_ends(drives: Callable[..., DriveBurn]) -> None:
    burn = drives("d.img", 24)
    fanout = Fanout([burn], never)
    burn.give_up(BurnFault("burning-program-cannot-start", "install-burning-program", why="x"))
    with pytest.raises(Stopped):
        for block in image(24):
            fanout(block)
    assert burn.finish(never).fault is not None


def test_a_stream_that_ends_early_is_no_success(drives: Callable[..., DriveBurn]) -> None:
    burn = drives("d.img", 6)
    (outcome,) = send([burn], image(4))
    assert isinstance(outcome.fault, DiscSpoiled)
    assert "Premature end of input" in str(outcome.fault)


def test_a_medium_that_is_too_small_is_not_begun(drives: Callable[..., DriveBurn], tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(small)], capture_output=True, check=False).returncode:
        pytest.skip("may not mount a tmpfs here")
    try:
        outcome = send([drives("small/d.img", 6), drives("other.img", 6)], image(6))
        assert outcome[0].fault is not None
        assert "exceeds free space" in str(outcome[0].fault)
        assert outcome[1].fault is None
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_drive_that_is_not_there(tmp_path: Path) -> None:
    burn = DriveBurn("stdio:/nowhere/at/all", BLOCK)
    with suppress(Stopped):  # xorriso may be gone before it takes the block
        Fanout([burn], never)(bytes(BLOCK))
    assert "directory" in str(burn.finish(never).fault)


def test_read_back_sees_a_changed_byte_and_a_missing_one(tmp_path: Path) -> None:
    path = tmp_path / "d.img"
    blocks = image(3)
    path.write_bytes(b"".join(blocks))
    device = f"stdio:{path}"
    assert read_back(device, 3 * BLOCK) == digest(blocks)
    with open(path, "r+b") as file:
        file.seek(BLOCK + 77)
        file.write(bytes([blocks[1][77] ^ 1]))
    assert read_back(device, 3 * BLOCK) != digest(blocks)
    with open(path, "r+b") as file:
        file.truncate(3 * BLOCK - 1)
    with pytest.raises(DiscSpoiled, match=f"ends at byte {3 * BLOCK - 1} of {3 * BLOCK}"):
        read_back(device, 3 * BLOCK)
    path.unlink()
    with pytest.raises(DiscSpoiled, match="cannot be read at byte 0"):
        read_back(device, 3 * BLOCK)
