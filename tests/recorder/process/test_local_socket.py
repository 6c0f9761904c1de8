"""Accepting goes on whatever a connection meets: no file to be had, no thread to be had."""

import queue
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from recorder.process.local_socket import Acceptor, connect
from tests.equipment.process import wait_for

TOLD = "no connection can be taken"


@contextmanager
def no_more_files() -> Iterator[None]:
    """The kernel gives this process no further descriptor, as where it has too many open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_too_many_open_files_end_no_accepting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)  # a plain, short address: naming a socket by its folder takes a file
    taken: queue.SimpleQueue[socket.socket] = queue.SimpleQueue()
    acceptor = Acceptor(tmp_path / "s", taken.put, "accept")
    clients = [socket.socket(socket.AF_UNIX) for _ in range(3)]
    with no_more_files():
        for client in clients:
            client.connect("s")
        wait_for(lambda: TOLD in caplog.messages, "the refusal is told", 5)
    accepted = [taken.get(timeout=5) for _ in clients]
    assert caplog.messages.count(TOLD) == 1, "it is told once"
    acceptor.close()
    assert not acceptor._thread.is_alive()
    for sock in (*clients, *accepted):
        sock.close()


def test_a_connection_that_cannot_be_served_is_closed_and_the_next_comes(tmp_path: Path) -> None:
    taken: list[socket.socket] = []

    def take(connection: socket.socket) -> None:
        taken.append(connection)
        if len(taken) == 1:
            raise RuntimeError("can't start new thread")
        connection.sendall(b"served")

    acceptor = Acceptor(tmp_path / "s", take, "accept")
    with connect(tmp_path / "s", 5.0) as first, connect(tmp_path / "s", 5.0) as second:
        assert first.recv(10) == b"", "closed, although somebody still holds it"
        assert second.recv(10) == b"served"
    taken[1].close()
    acceptor.close()
