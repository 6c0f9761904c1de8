"""`room-agent session complete` on a real session: what a person sees, and what the verifier and the disc make of it."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from burner.check.disc import verify_disc
from burner.disc.author import author
from burner.disc.sealed_session import read
from recorder.disk.durable import read_json
from recorder.faults import EvidenceFault
from recorder.session.tracks import MADE_LATER
from tests.agent.live import START, STOP, Answer, LiveAgent
from tests.recorder import later_session as sample
from wording import Exit

SPAN = "00:00:01–00:00:04"


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """storage.root of a sealed session whose composite has a gap; not to be changed."""
    root = tmp_path_factory.mktemp("sealed")
    sample.seal(root, sample.originals(tmp_path_factory.mktemp("samples"), sample.START_NS))
    return root


@pytest.fixture
def room(tmp_path: Path, sealed: Path) -> Iterator[LiveAgent]:
    with LiveAgent(tmp_path, '[composite]\npreset = "ultrafast"\n') as room:
        shutil.copytree(sealed, room.places.root, dirs_exist_ok=True)
        with room.agent():
            yield room


def complete(room: LiveAgent, *more: str, session: str = "last") -> Answer:
    return room.command("session", "complete", session, "--by", "赵六", *more)


def test_a_gap_is_composed_once_shown_and_checked(room: LiveAgent) -> None:
    folder = room.places.session(sample.SESSION)
    done = complete(room, "--json")
    assert done.code == Exit.OK, done
    answer = done.json()
    assert (answer["session"], answer["made"]) == (sample.SESSION, True)
    assert answer["made_later"] == [{"path": "later/part-001.mp4", "pictures": 60, "span": SPAN}]
    record: dict[str, Any] = read_json(folder / "later" / "manifest.json")
    assert (record["by"], record["encoder"]["preset"]) == ("赵六", "ultrafast")
    again = complete(room)
    assert again.code == Exit.OK and f"Nothing is missing: {SPAN} was made later before." in again.out
    assert "此前已事后合成" in complete(room, "--language", "zh").out

    checked = room.command("verify", "last")
    assert checked.code == Exit.OK and "by 赵六, not live" in checked.out, checked
    status = room.command("session", "status", "last")
    assert f"made later: {SPAN}" in status.out and "40 of 100 pictures" in status.out, status
    assert room.command("session", "status", "last", "--json").json()["made_later"] == answer["made_later"]
    part = folder / "later" / "part-001.mp4"
    part.chmod(0o640)
    part.write_bytes(part.read_bytes()[:-1])
    assert room.command("verify", "last").code == Exit.NO


def test_what_is_refused(room: LiveAgent) -> None:
    room.selfcheck()
    assert room.command(*START).code == Exit.OK
    busy = complete(room, session=sample.SESSION)
    assert busy.code == Exit.REFUSED and "A session is being recorded" in busy.err
    assert not (room.places.session(sample.SESSION) / "later").exists()
    assert room.command("session", "complete", "last", "--by", " ").code == Exit.INPUT
    assert room.command("session", "complete", "1999", "--by", "赵六").code == Exit.NOT_FOUND
    assert room.command(*STOP).code == Exit.OK
    (room.places.session(sample.SESSION) / "manifest.json").unlink()
    assert complete(room, session=sample.SESSION).code == Exit.REFUSED


def test_the_disc_holds_it_in_a_place_of_its_own(room: LiveAgent, tmp_path: Path) -> None:
    folder = room.places.session(sample.SESSION)
    plain = author(folder, tmp_path / "before.iso", language="en", draft=True)
    assert verify_disc(str(plain.path)).ok
    assert complete(room).code == Exit.OK
    image = author(folder, tmp_path / "after.iso", language="en", draft=True)
    report = verify_disc(str(image.path))
    assert report.ok, report.lines
    assert any("Made later from the originals" in line for line in report.lines)

    bag = unpacked(image.path, tmp_path / "disc")
    assert sorted(p.name for p in (bag / "data" / MADE_LATER).iterdir()) == [
        "journal.jsonl",
        "made-later-01.mp4",
        "manifest.json",
        "manifest.sig",
        "manifest.sig.bin",
    ]
    assert f"data/{MADE_LATER}/made-later-01.mp4" in (bag / "manifest-sha256.txt").read_text()
    page = (bag / "data" / "index.html").read_text()
    assert "<h2>Composite, made later from the originals</h2>" in page and f'src="{MADE_LATER}/made-later-01.mp4"' in page
    assert verify_disc(str(bag)).ok

    record = bag / "data" / MADE_LATER / "manifest.json"
    record.write_bytes(record.read_bytes().replace("赵六".encode(), "孙七".encode()))
    wrong = [f.say() for f in verify_disc(str(bag)).findings if not f.ok]
    assert any("made-later/manifest.sig: the signature does not fit" in line for line in wrong), wrong
    record.unlink()
    wrong = [f.say() for f in verify_disc(str(bag)).findings if not f.ok]
    assert f"data/{MADE_LATER}/manifest.json is missing." in wrong

    (folder / "later" / "journal.jsonl").chmod(0o640)
    (folder / "later" / "journal.jsonl").write_bytes(b"")
    with pytest.raises(EvidenceFault, match="made later does not agree"):
        read(folder)


def unpacked(image: Path, folder: Path) -> Path:
    """The image's files."""
    import pycdlib

    iso = pycdlib.PyCdlib()
    iso.open(str(image))
    for below, _, names in iso.walk(udf_path="/"):
        target = folder / below.lstrip("/")
        target.mkdir(parents=True, exist_ok=True)
        for name in names:
            iso.get_file_from_iso(str(target / name), udf_path=f"{below.rstrip('/')}/{name}")
    iso.close()
    return folder
