"""Images are streams of a size known beforehand, and hold exactly what was planned."""

import hashlib
import io
import subprocess
import time
from pathlib import Path
from typing import BinaryIO

import pycdlib
import pytest

from burner.check import read
from burner.check.read import read_target
from burner.disc.image import PADDING, Entry, ImagePlan, Written, anchor_at, as_created
from burner.faults import BurnFault
from recorder.faults import EvidenceFault, StorageFault

GIB = 1 << 30


def entry(path: Path, name: str) -> Entry:
    return Entry(name, path, path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())


def tree(folder: Path) -> list[Entry]:
    """Folders that come back to earlier ones, odd sizes, an empty file, Chinese names, names that clash in capitals."""
    (folder / "big").write_bytes(bytes(range(256)) * 9000 + b"end")
    (folder / "small").write_bytes(b"s")
    return [
        Entry.of_bytes("bagit.txt", b"x\n"),
        entry(folder / "big", "data/originals/overview-01.mp4"),
        Entry.of_bytes("data/index.html", b"<p>" * 2048),
        entry(folder / "small", "data/originals/OVERVIEW-01.mp4"),
        Entry.of_bytes("data/empty", b""),
        Entry.of_bytes("data/transcript/询问笔录 王某.txt", "你好".encode()),
        Entry.of_bytes("top-level-after-all-others", b"t" * 2048),
    ]


def write(plan: ImagePlan, path: Path, *, check: bool = True) -> Written:
    with open(path, "wb") as file:
        return plan.write_to(file.write, check=check)


def test_the_stream_is_forward_and_of_the_size_foretold(tmp_path: Path) -> None:
    plan = ImagePlan(tree(tmp_path), "EV20261121_001")
    blocks: list[bytes] = []
    written = plan.write_to(blocks.append)
    data = b"".join(blocks)
    assert len(data) == plan.bytes == written.bytes
    assert plan.bytes % PADDING == 0
    assert max(map(len, blocks)) <= 1 << 20
    assert hashlib.sha256(data).hexdigest() == written.sha256
    second = int(time.time())
    while int(time.time()) == second:
        time.sleep(0.01)
    assert plan.write_to(lambda _: None) == written  # the same plan is the same image, for a second drive or a later try


def test_the_stream_is_the_image_that_pycdlib_writes_to_a_file(tmp_path: Path) -> None:
    plan = ImagePlan(tree(tmp_path), "EV20261121_001")
    streamed, seekable = io.BytesIO(), io.BytesIO()
    plan._iso.write_fp(seekable)
    plan.write_to(streamed.write)
    whole = seekable.getvalue()
    sectors = b"".join(as_created(whole[at : at + 2048]) for at in range(0, len(whole), 2048))
    assert sum(a != b for a, b in zip(whole, sectors, strict=True)) <= 2 * 17, "dates of two descriptors"
    assert streamed.getvalue().startswith(sectors)
    padding, last = streamed.getvalue()[len(sectors) : -2048], streamed.getvalue()[-2048:]
    assert not padding.strip(b"\0")
    number = len(streamed.getvalue()) // 2048 - 1
    assert last == anchor_at(sectors[256 * 2048 : 257 * 2048], number)
    kind, place = (int.from_bytes(each, "little") for each in (last[:2], last[12:16]))
    assert (kind, place) == (2, number), "a UDF anchor, at its place"
    assert last[4] == (sum(last[:16]) - last[4]) % 256


def test_every_tree_holds_every_file(tmp_path: Path) -> None:
    entries = tree(tmp_path)
    image = tmp_path / "d.iso"
    written = write(ImagePlan(entries, "EV20261121_001"), image)
    expected = {e.path: e.sha256 for e in entries}
    found = read_target(str(image))  # compares UDF, Rock Ridge and Joliet with one another
    assert (found.digests, found.damage) == (expected, [])
    assert (found.label, found.image_sha256) == ("EV20261121_001", written.sha256)
    for command, folder in (
        (["7z", "x", "-y", f"-o{tmp_path}/udf", str(image)], tmp_path / "udf"),
        (["xorriso", "-no_rc", "-indev", str(image), "-osirrox", "on", "-extract", "/", f"{tmp_path}/rr"], tmp_path / "rr"),
        (
            ["xorriso", "-no_rc", "-read_fs", "norock", "-indev", str(image), "-osirrox", "on", "-extract", "/", f"{tmp_path}/j"],
            tmp_path / "j",
        ),
    ):
        subprocess.run(command, check=True, capture_output=True)
        read = {
            p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*") if p.is_file()
        }
        assert read == expected, command


class Sparse:
    """A file in which blocks of zeros become holes."""

    ZERO = bytes(1 << 20)

    def __init__(self, file: BinaryIO) -> None:
        self.seek, self.tell, self._file = file.seek, file.tell, file

    def write(self, data: bytes) -> int:
        return self.seek(len(data), 1) if data == self.ZERO else self._file.write(data)


def test_a_file_of_more_than_4_gib(tmp_path: Path) -> None:
    """ISO 9660 and Joliet cut it into extents, UDF into others: all of them must mean the same bytes."""
    source, image = tmp_path / "f", tmp_path / "d.iso"
    size = 4 * GIB + 5000
    with open(source, "wb") as file:
        file.truncate(size)
        file.seek(size - 4)
        file.write(b"last")
    plan = ImagePlan([Entry("data/a.mp4", source, size, ""), Entry.of_bytes("data/b", b"after")], "EV20261121_001")
    with open(image, "wb") as file:
        plan._iso.write_fp(Sparse(file), blocksize=1 << 20)
        file.truncate(plan.bytes)
    iso = pycdlib.PyCdlib()
    iso.open(str(image))
    trees = [read._flat(read._tree(iso, kind)) for kind in ("udf_path", "iso_path", "joliet_path")]
    iso.close()
    assert trees[0] == trees[1] == trees[2]
    ((start, length),) = trees[0]["data/a.mp4"]
    assert length == size
    with open(image, "rb") as file:
        file.seek(start + length - 4)
        assert file.read(4) == b"last"
    listing = subprocess.run(["7z", "l", "-slt", str(image)], check=True, capture_output=True, text=True).stdout
    assert f"Size = {size}" in listing


@pytest.mark.parametrize("change", ["grown", "shrunk", "altered"])
def test_a_source_that_changed_is_noticed(tmp_path: Path, change: str) -> None:
    source = tmp_path / "f"
    source.write_bytes(b"a" * 5000)
    plan = ImagePlan([entry(source, "data/f")], "EV20261121_001")
    source.write_bytes({"grown": b"a" * 5001, "shrunk": b"a" * 4999, "altered": b"a" * 4999 + b"b"}[change])
    with pytest.raises(EvidenceFault, match="changed while the disc was made"):
        write(plan, tmp_path / "d.iso")


def test_a_source_that_is_gone_is_told(tmp_path: Path) -> None:
    source = tmp_path / "f"
    source.write_bytes(b"a")
    plan = ImagePlan([entry(source, "data/f")], "EV20261121_001")
    source.unlink()
    with pytest.raises(StorageFault, match="cannot be read: No such file"):
        write(plan, tmp_path / "d.iso")


def test_a_failing_sink_ends_it_and_the_plan_can_be_used_again(tmp_path: Path) -> None:
    plan = ImagePlan(tree(tmp_path), "EV20261121_001")

    def full(_: bytes) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        plan.write_to(full)
    assert write(plan, tmp_path / "d.iso").bytes == plan.bytes


def test_what_no_tree_can_carry_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(BurnFault, match="cannot be laid out"):
        ImagePlan([Entry.of_bytes("data/" + "长" * 80, b"x")], "EV20261121_001")
    with pytest.raises(ValueError, match="volume identifier"):
        ImagePlan([], "光盘")
