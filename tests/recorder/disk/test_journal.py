"""The hash-chained journals: what a power cut, a full disk or a hand leaves, and what is made of it."""

import hashlib
import json
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from recorder.disk import journal
from recorder.disk.journal import ZERO, Head, Journal
from recorder.faults import EvidenceFault, StorageFault


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "日志 1" / "journal.jsonl"


@pytest.fixture(autouse=True)
def _folder(path: Path) -> None:
    path.parent.mkdir()


def written(path: Path, count: int = 4) -> list[bytes]:
    """A journal of some lines; the lines without newlines."""
    writer = Journal(path)
    for number in range(count):
        writer.append("event", number=number, text='询问 "室"\u2028一\r')
    writer.close()
    return path.read_bytes().split(b"\n")[:-1]


def test_lines_are_chained(path: Path) -> None:
    rows = written(path)
    previous = ZERO
    for number, row in enumerate(rows):
        entry = json.loads(row)
        assert list(entry)[:3] == ["seq", "at", "kind"] and list(entry)[-1] == "prev"
        assert (entry["seq"], entry["prev"], entry["number"]) == (number, previous, number)
        previous = hashlib.sha256(row).hexdigest()
    assert journal.head_of(path) == Head(4, previous)
    assert [e["number"] for e in journal.read(path)] == [0, 1, 2, 3]
    assert list(journal.read(path.with_name("none"))) == []
    assert journal.head_of(path.with_name("none")) == Head(0, ZERO)


def test_it_goes_on_where_it_ended(path: Path) -> None:
    written(path, 2)
    writer = Journal(path)
    assert writer.append("more").entries == 3
    writer.close()
    writer.close()
    assert [e["kind"] for e in journal.read(path)] == ["event", "event", "more"]


@pytest.mark.parametrize("cut", [1, 10, 60])
def test_a_torn_last_line_is_kept_beside_and_journalled(path: Path, cut: int) -> None:
    rows = written(path)
    whole = b"".join(row + b"\n" for row in rows[:-1])
    torn = rows[-1][:cut]
    path.write_bytes(whole + torn)
    assert len(list(journal.read(path))) == 3
    writer = Journal(path)
    writer.append("more")
    writer.close()
    kept = path.with_name(f"journal.jsonl.torn-{len(whole)}")
    assert kept.read_bytes() == torn
    entries = list(journal.read(path))
    assert [e["kind"] for e in entries[3:]] == ["torn-line", "more"]
    assert (entries[3]["bytes"], entries[3]["kept_as"]) == (cut, kept.name)


def test_any_byte_changed_before_the_last_line_is_found(path: Path) -> None:
    rows = written(path)
    data = path.read_bytes()
    limit = len(data) - len(rows[-1]) - 1
    for place in range(0, limit):
        for new in (data[place] ^ 1, 13):
            if new != data[place]:
                changed = data[:place] + bytes([new]) + data[place + 1 :]
                with pytest.raises(EvidenceFault, match="does not continue the chain"):
                    list(journal.parse(journal.split_torn(changed)[0], path))


@pytest.mark.parametrize("change", ["drop", "swap", "repeat", "other"])
def test_lines_taken_out_or_put_in_are_found(path: Path, change: str) -> None:
    a, b, c, d = written(path)
    rows = {"drop": [a, c, d], "swap": [a, c, b, d], "repeat": [a, b, b, c, d], "other": [a, b"[]", c]}[change]
    path.write_bytes(b"".join(row + b"\n" for row in rows))
    with pytest.raises(EvidenceFault, match=r"line [23]"):
        Journal(path)


def test_a_refused_journal_leaves_no_file_open(path: Path) -> None:
    path.write_bytes(b"{}\n")
    before = sum(1 for _ in Path("/proc/self/fd").iterdir())
    for _ in range(5):
        with pytest.raises(EvidenceFault):
            Journal(path)
    assert sum(1 for _ in Path("/proc/self/fd").iterdir()) == before


def test_a_disk_that_refuses_the_note_of_a_torn_line_leaves_no_file_open(path: Path) -> None:
    torn = b"\n".join(written(path, 40)) + b"\n{"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = sum(1 for _ in Path("/proc/self/fd").iterdir())
    for _ in range(5):
        path.write_bytes(torn)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(torn) + 10, hard))
        try:
            with pytest.raises(StorageFault, match="cannot be written"):
                Journal(path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert path.read_bytes() == torn[:-1], "opened and cut, not refused earlier"
    assert sum(1 for _ in Path("/proc/self/fd").iterdir()) == before


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StorageFault, match="cannot be written"):
        Journal(tmp_path / "none" / "journal.jsonl")


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from recorder.faults import StorageFault
from recorder.disk.journal import Journal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
path = Path(sys.argv[1])
writer = Journal(path)
first = writer.append("event", text="x")
size = path.stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, resource.RLIM_INFINITY))
for _ in range(2):
    try:
        writer.append("event", text="does not fit")
        sys.exit("no fault")
    except StorageFault as fault:
        assert fault.exit_code == 8, fault
    assert writer.head == first
    assert path.stat().st_size == size, path.stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
writer.append("event", text="fits again")
"""


def test_a_full_disk_leaves_the_chain_as_it_was(path: Path) -> None:
    """The kernel itself cuts the write off: the line is taken back, and the next one fits when there is room."""
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY and signal.SIGXFSZ
    subprocess.run([sys.executable, "-c", FULL_DISK, str(path)], check=True, timeout=60, cwd=Path(journal.__file__).parents[2])
    assert [e["text"] for e in journal.read(path)] == ["x", "fits again"]


KILLED = """
import sys
from pathlib import Path
from recorder.disk.journal import Journal
writer = Journal(Path(sys.argv[1]))
print("ready", flush=True)
while True:
    print(writer.append("event", text="x" * 3000).entries, flush=True)
"""


def test_killed_at_any_instant_it_holds_every_line_that_was_confirmed(path: Path) -> None:
    root = Path(journal.__file__).parents[2]
    confirmed = 0
    for _ in range(3):
        with subprocess.Popen([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, cwd=root, text=True) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            for _ in range(5):
                confirmed = int(child.stdout.readline())
            child.kill()
            said = [line for line in child.stdout.read().splitlines() if line.isdigit()]
        confirmed = max([confirmed, *map(int, said[:-1])])
        assert len(list(journal.read(path))) >= confirmed
