"""`verify` gives 0 where a trusted key vouches for all of it, 1 where something disagrees, 12 where nobody vouches."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.authority.person import Person
from recorder.evidence.findings import UNVOUCHED
from recorder.evidence.signature import device_key, read_public_key
from recorder.verify.session import verify_session
from tests.agent.room import Room
from wording import Exit
from wording.text import catalogue

Change = Callable[[Path], object]
# What `vouched` may say beside each exit code.
VOUCHED = {Exit.OK: {"trusted", "signer"}, Exit.NO: {"nobody"}, Exit.UNVOUCHED: {"nobody"}}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Room:
    """A room with one session of this version, sealed."""
    place = tmp_path_factory.mktemp("made")
    room = Room(place / "data", place / "run")
    keeper, _ = room.sealed()
    keeper.close()
    return room


@pytest.fixture
def session(made: Room, tmp_path: Path) -> Path:
    """A copy of it. Its key lies beside it, and another one."""
    [folder] = made.places.sessions.iterdir()
    shutil.copy(made.places.keys / "device.pub", tmp_path / "room.pub")
    (tmp_path / "other").mkdir()
    device_key(tmp_path / "other")
    shutil.copy(tmp_path / "other" / "device.pub", tmp_path / "other.pub")
    return Path(shutil.copytree(folder, tmp_path / folder.name))


def verify(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """The command, in a process of its own."""
    config = folder.parent / "config.toml"
    config.write_text(f'[ui]\nlanguage = "en"\n[storage]\nroot = "{folder.parent}/data"\nrun = "{folder.parent}/run"\n')
    command = [sys.executable, "-m", "agent", "verify", str(folder), "--config", str(config), *words]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=env)


def unlink(*names: str) -> Change:
    def change(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return change


def never_sealed(folder: Path) -> None:
    """As a session lies there whose seal has not been made."""
    unlink("manifest.json", "manifest.sig", "journal.sig")(folder)
    not_said_to_be_sealed(folder)


def not_said_to_be_sealed(folder: Path) -> None:
    journal = folder / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(line for line in lines if b'"kind":"sealed"' not in line))
    record = json.loads((folder / "session.json").read_text(encoding="utf-8"))
    (folder / "session.json").write_text(json.dumps({**record, "state": "sealing"}), encoding="utf-8")


def not_signed(folder: Path) -> None:
    """The PC lost its power between the manifest and its signature."""
    unlink("manifest.sig", "journal.sig")(folder)
    not_said_to_be_sealed(folder)


def unreadable(name: str) -> Change:
    """A bad sector cannot be had; a folder in the file's place cannot be read as well."""

    def change(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return change


def altered(name: str) -> Change:
    def change(folder: Path) -> None:
        data = bytearray((folder / name).read_bytes())
        data[len(data) // 2] ^= 1
        (folder / name).chmod(0o644)
        (folder / name).write_bytes(data)

    return change


def added(folder: Path) -> None:
    (folder / "tracks" / "overview" / "000099.mkv").write_bytes(b"x")


def nothing(_: Path) -> None:
    """As it was sealed."""


CASES: list[tuple[str, Change, str, Exit]] = [
    ("as it was sealed", nothing, "room", Exit.OK),
    ("as it was sealed, any key", nothing, "any", Exit.OK),
    ("signed by another key", nothing, "other", Exit.UNVOUCHED),
    ("never sealed", never_sealed, "room", Exit.UNVOUCHED),
    ("never sealed, any key", never_sealed, "any", Exit.UNVOUCHED),
    ("not signed", not_signed, "room", Exit.UNVOUCHED),
    ("the manifest cannot be read", unreadable("manifest.json"), "room", Exit.UNVOUCHED),
    ("the signature was taken away", unlink("manifest.sig"), "room", Exit.NO),
    ("the manifest was altered", altered("manifest.json"), "room", Exit.NO),
    ("the journal was altered", altered("journal.jsonl"), "room", Exit.NO),
    ("a file was added", added, "room", Exit.NO),
    ("altered, and signed by another key", altered("manifest.json"), "other", Exit.NO),
]


@pytest.mark.parametrize(("change", "key", "code"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_the_exit_code(change: Change, key: str, code: Exit, session: Path) -> None:
    change(session)
    named = "any" if key == "any" else str(session.parent / f"{key}.pub")
    done = verify(session, "--key", named, "--json")
    assert done.returncode == code, done.stdout
    report = json.loads(done.stdout)
    assert report["vouched"] in VOUCHED[code]
    assert report["ok"] is all(finding["ok"] for finding in report["findings"])
    assert not (code == Exit.NO and report["ok"])


def test_a_key_that_is_named_and_not_there_is_not_found(session: Path) -> None:
    done = verify(session, "--key", str(session.parent / "missing.pub"))
    assert done.returncode == Exit.NOT_FOUND and "missing.pub" in done.stderr


def test_a_session_that_is_being_recorded_is_vouched_for_by_nobody(tmp_path: Path) -> None:
    room = Room(tmp_path / "data", tmp_path / "run")
    keeper, running = room.started()
    report = verify_session(room.places.session(running.id))
    assert report.ok and not report.sealed and report.vouched == "nobody" and report.exit_code == Exit.UNVOUCHED
    keeper.stop("赵六", "询问结束", Person(1000, "li"))
    assert verify_session(room.places.session(running.id)).exit_code == Exit.UNVOUCHED
    keeper.close()


def test_the_rooms_key_is_trusted_without_being_named(made: Room, session: Path) -> None:
    key = read_public_key(made.places.keys / "device.pub")
    assert key is not None
    assert verify_session(session, trusted_public_key=key).vouched == "trusted"
    assert verify_session(session).vouched == "signer"


def test_what_alone_keeps_a_key_from_vouching_is_known_to_the_catalogue() -> None:
    assert set(catalogue()) >= UNVOUCHED
    assert "file-sha256-differs" not in UNVOUCHED and "sealed-session-file-missing" not in UNVOUCHED
