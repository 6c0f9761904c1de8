"""Accepting goes on whatever a connection meets: no file to be had, no thread to be had, files that a stranger sends along."""

import queue
import resource
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from recorder.process.local_socket import Acceptor, Closer, FilesSent, connect, read_plain
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


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair()
    one.setblocking(False)
    with one, other:
        yield one, other


def files_open() -> int:
    """How many this process has."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_what_comes_is_read_and_files_along_with_it_stay_where_they_are(pair: tuple[socket.socket, socket.socket]) -> None:
    one, other = pair
    with pytest.raises(BlockingIOError):
        read_plain(one)
    other.sendall(b"abc")
    assert (read_plain(one, 2), read_plain(one)) == (b"ab", b"c")
    before = files_open()
    other.sendall(b"plain")
    socket.send_fds(other, [b"with a file"], [other.fileno()])
    for _ in range(2):  # also when it is asked again
        with pytest.raises(FilesSent):
            read_plain(one)
    assert files_open() == before
    other.close()


def test_the_end_is_read_as_nothing(pair: tuple[socket.socket, socket.socket]) -> None:
    one, other = pair
    other.close()
    assert read_plain(one) == b""


def lingering(stack: ExitStack) -> socket.socket:
    """A connection whose last holder stands still for a minute while it closes it: nobody reads what was sent."""
    listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    sock = stack.enter_context(socket.create_connection(listener.getsockname()))
    stack.enter_context(listener.accept()[0])
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 60))
    sock.setblocking(False)
    with pytest.raises(BlockingIOError):
        while True:
            sock.send(b"x" * (1 << 20))
    return sock


@pytest.mark.parametrize("first", [b"", b"half a line"])
def test_closing_a_connection_never_stands_still(first: bytes) -> None:
    closer = Closer()
    with ExitStack() as stack:
        for _ in range(3):
            sock = lingering(stack)
            one, other = socket.socketpair()
            stack.enter_context(other)
            if first:
                other.sendall(first)
            socket.send_fds(other, [b"x"], [sock.fileno()])
            sock.close()
            began = time.monotonic()
            closer.close(one)
            assert time.monotonic() - began < 1.0
        clean, peer = socket.socketpair()
        stack.enter_context(peer)
        peer.sendall(b"what nobody reads")
        closer.close(clean)
        assert peer.recv(1) == b"", "closed at once, and told so without an error"
    closer.end()
