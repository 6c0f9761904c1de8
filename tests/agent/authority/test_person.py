"""Who is at the other end of a real socket: the user id as the kernel tells it, and the login that its session began with."""

import json
import os
import pwd
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.authority.person import NO_LOGIN, NOBODY, Person, person_at
from recorder.process import local_socket

# Connects, says its own audit login ("" where it has none) and stays until its input ends.
CLIENT = """
import os, socket, sys
from pathlib import Path
if sys.argv[2] != "-":
    os.setgroups([])
    os.setgid(int(sys.argv[2]))
    os.setuid(int(sys.argv[2]))
connection = socket.socket(socket.AF_UNIX)
connection.connect(sys.argv[1])
try:
    print(Path("/proc/self/loginuid").read_text(), flush=True)
except OSError:
    print("", flush=True)
sys.stdin.read()
"""
UNNAMED = 54_321
NOBODY_UID = 65_534
AS_ROOT = pytest.mark.skipif(os.getuid() != 0, reason="only root may become another user")


def name_of(uid: int) -> str:
    """The user's name, "" where the PC knows none."""
    names = {entry.pw_uid: entry.pw_name for entry in reversed(pwd.getpwall())}
    return names.get(uid, "")


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    tmp_path.chmod(0o755)
    with local_socket.listen(tmp_path / "agent.sock", mode=0o666) as sock:
        yield sock


@contextmanager
def client(path: Path, uid: int | None = None) -> Iterator[tuple["subprocess.Popen[str]", int | None]]:
    """A process that has connected, and its audit login."""
    words = [sys.executable, "-c", CLIENT, str(path), "-" if uid is None else str(uid)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/") as child:
        assert child.stdout is not None
        said = child.stdout.readline().strip()
        yield child, int(said) if said and int(said) != NO_LOGIN else None


def test_the_user_of_another_process_is_told(listener: socket.socket, tmp_path: Path) -> None:
    with client(tmp_path / "agent.sock") as (_, login):
        connection, _ = listener.accept()
        with connection:
            person = person_at(connection)
    assert person.uid == os.getuid()
    assert person.login == name_of(os.getuid() if login is None else login)


@AS_ROOT
@pytest.mark.parametrize("uid", [NOBODY_UID, UNNAMED])
def test_a_user_other_than_the_agents_is_told(uid: int, listener: socket.socket, tmp_path: Path) -> None:
    for folder in tmp_path.parents:
        if folder.stat().st_uid == os.getuid() and folder not in (Path("/"), Path("/tmp")):
            folder.chmod(folder.stat().st_mode | 0o011)
    with client(tmp_path / "agent.sock", uid) as (_, login):
        listener.settimeout(10)
        connection, _ = listener.accept()
        with connection:
            person = person_at(connection)
    assert person.uid == uid
    assert person.login == name_of(uid if login is None else login)


def test_a_client_that_has_ended_is_still_told(listener: socket.socket, tmp_path: Path) -> None:
    """The kernel keeps the user id of whoever connected; where the process is gone its login is that of the user."""
    with client(tmp_path / "agent.sock") as (child, _):
        assert child.stdin is not None
        child.stdin.close()
        child.wait(10)
    connection, _ = listener.accept()
    with connection:
        assert person_at(connection) == Person(os.getuid(), name_of(os.getuid()))


def test_what_the_client_sends_does_not_change_who_it_is(listener: socket.socket, tmp_path: Path) -> None:
    with local_socket.connect(tmp_path / "agent.sock", 5) as sock:
        sock.sendall(b'{"command": "session.start", "uid": 0, "login": "root", "arguments": {"uid": 4242, "login": "x"}}\n')
        connection, _ = listener.accept()
        with connection:
            assert person_at(connection).uid == os.getuid() != 4242


def test_a_connection_of_another_kind_is_nobodys() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as unconnected:
        assert person_at(unconnected).uid == NOBODY.uid == -1


def test_journals_carry_number_and_login() -> None:
    assert json.dumps(Person(1001, "李").as_json(), ensure_ascii=False) == '{"uid": 1001, "login": "李"}'
    assert NOBODY.as_json() == {"uid": -1, "login": ""}
