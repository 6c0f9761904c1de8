"""Small durable files, and the locks that keep one writer a folder."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from recorder.disk import durable
from recorder.disk.durable import Json, create_json, make_folder, read_json, replace_volatile, write_bytes, write_json
from recorder.disk.locks import exclusive, lock_holder
from recorder.faults import AlreadyRunning, EvidenceFault, NotFound, StorageFault

ROOT = Path(durable.__file__).parents[2]


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "有 空格.json"
    values: list[Json] = [{"名": "一", "n": 1}, {"n": 2}]
    for value in values:
        write_json(path, value)
        assert read_json(path) == value
    replace_volatile(path, {"n": 3})
    assert read_json(path) == {"n": 3}
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == durable.encode({"n": 3})


READER = """
import json, sys
seen = set()
for _ in range(3000):
    seen.add(len(json.loads(open(sys.argv[1], "rb").read())["x"]))
assert seen <= {1, 200000}, seen
"""


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"x": "a"})
    with subprocess.Popen([sys.executable, "-c", READER, str(path)]) as reader:
        number = 0
        while reader.poll() is None:
            replace_volatile(path, {"x": "b" * (200_000 if number % 2 else 1)})
            number += 1
    assert reader.returncode == 0


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"null"])
def test_what_is_no_json_object(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(EvidenceFault, match="is not readable JSON"):
        read_json(tmp_path / "a.json")


def test_what_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "none.json", tmp_path / "file" / "a.json"):
        with pytest.raises(NotFound):
            read_json(path)
    with pytest.raises(StorageFault):
        read_json(tmp_path)


def test_what_cannot_be_written_names_the_path_and_the_mend(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for write in (
        lambda p: write_bytes(p, b""),
        lambda p: write_json(p, {}),
        lambda p: create_json(p, {}),
        lambda p: replace_volatile(p, {}),
    ):
        for path in (tmp_path / "none" / "a.json", tmp_path / "file" / "a.json"):
            with pytest.raises(StorageFault) as caught:
                write(path)
            assert str(tmp_path) in caught.value.say("en") and "Check that the folder exists" in caught.value.say_mend("en")
    with pytest.raises(StorageFault):
        make_folder(tmp_path / "file" / "below")
    assert make_folder(tmp_path / "a" / "b") == make_folder(tmp_path / "a" / "b")


def test_a_file_is_created_once(tmp_path: Path) -> None:
    path = tmp_path / "epoch.json"
    made: list[bool] = []
    start = threading.Barrier(8)

    def create(number: int) -> None:
        start.wait()
        command = [sys.executable, "-c", CREATE, str(path), str(number)]
        made.append(subprocess.run(command, cwd=ROOT, timeout=60, check=False).returncode == 0)

    threads = [threading.Thread(target=create, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == [False] * 7 + [True]
    assert list(tmp_path.iterdir()) == [path]
    assert not create_json(path, {"n": 9})


CREATE = """
import sys
from pathlib import Path
from recorder.disk.durable import Json, create_json
sys.exit(0 if create_json(Path(sys.argv[1]), {"n": int(sys.argv[2])}) else 3)
"""

HOLD = """
import sys
from pathlib import Path
from recorder.disk.locks import exclusive
with exclusive(Path(sys.argv[1]), "agent"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_one_holder_and_a_death_releases(tmp_path: Path) -> None:
    path = tmp_path / "lock" / "agent.lock"
    assert lock_holder(path) is None
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        assert lock_holder(path) == child.pid
        with pytest.raises(AlreadyRunning, match=rf"agent already runs on .*process {child.pid}"), exclusive(path, "agent"):
            pass
        child.kill()
        child.wait()
        assert lock_holder(path) is None
        with exclusive(path, "agent"):
            assert lock_holder(path) == os.getpid()
    assert lock_holder(path) is None


def test_a_lock_in_a_place_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageFault), exclusive(tmp_path / "file" / "a.lock", "agent"):
        pass
