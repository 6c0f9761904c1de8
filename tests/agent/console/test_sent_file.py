"""The open file that comes with a command: real descriptors through a real console, and files that are no files."""

import ctypes
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.console import sent_file
from agent.console.client import ask
from agent.console.request import Request
from agent.console.sent_file import STUCK_MOST, ComingFile, FileTooLarge, Receivers, SentFile
from agent.console.server import ConsoleServer
from recorder.process import local_socket
from wording import Exit, Fault

MOST = 1000
COMMAND = "transcript.attach"  # takes a file
Open = Callable[[Path], int]


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """The socket of a console whose commands are answered with what came along: its content, or its size where that is asked."""
    path = tmp_path / "agent.sock"
    server = ConsoleServer(path)

    def work() -> None:
        while isinstance(request := server.requests.get(), Request):
            threading.Thread(target=answer, args=(request,)).start()

    thread = threading.Thread(target=work)
    thread.start()
    yield path
    server.requests.put(lambda: None)
    thread.join(5)
    server.close()


def answer(request: Request) -> None:
    try:
        if request.arguments.get("size"):
            request.succeed({"size": request.file.size()})
        else:
            request.succeed({"content": request.file.read(MOST).decode()})
    except Fault as fault:
        request.fail(fault)


def sent(path: Path, file: int, **arguments: Any) -> dict[str, Any]:
    try:
        return ask(path, COMMAND, arguments, file=file)
    finally:
        os.close(file)


def refused(path: Path, file: int) -> Fault:
    with pytest.raises(Fault) as raised:
        sent(path, file)
    return raised.value


def written(folder: Path, content: bytes) -> Path:
    file = folder / "笔录 一.txt"
    file.write_bytes(content)
    return file


def test_the_content_arrives_though_the_name_is_gone(path: Path, tmp_path: Path) -> None:
    file = written(tmp_path, "询问笔录".encode())
    descriptor = os.open(file, os.O_RDONLY)
    os.lseek(descriptor, 3, os.SEEK_SET)
    file.unlink()
    assert sent(path, descriptor) == {"content": "询问笔录"}


@pytest.mark.parametrize("size", [0, 1, MOST])
def test_all_of_it_up_to_the_bound(path: Path, tmp_path: Path, size: int) -> None:
    assert sent(path, os.open(written(tmp_path, b"x" * size), os.O_RDONLY)) == {"content": "x" * size}


def test_the_size_is_told_without_reading(path: Path, tmp_path: Path) -> None:
    file = tmp_path / "disc.iso"
    with file.open("wb") as made:
        made.truncate(25_000_000_000)
    assert sent(path, os.open(file, os.O_RDONLY), size=True) == {"size": 25_000_000_000}


def fifo(folder: Path) -> int:
    os.mkfifo(folder / "pipe")
    return os.open(folder / "pipe", os.O_RDONLY | os.O_NONBLOCK)


def end_of_a_socket(_folder: Path) -> int:
    one, other = socket.socketpair()
    other.close()
    return one.detach()


NO_FILES: list[Open] = [
    fifo,
    end_of_a_socket,
    lambda _: os.open("/dev/zero", os.O_RDONLY),
    lambda folder: os.open(folder, os.O_RDONLY),
    lambda folder: os.open(written(folder, b"x"), os.O_WRONLY),
    lambda folder: os.open(written(folder, b"x"), os.O_PATH),
]


@pytest.mark.parametrize("opened", NO_FILES, ids=["pipe", "socket", "device", "folder", "to be written", "no more than a name"])
def test_what_is_no_file_that_can_be_read_is_refused(path: Path, tmp_path: Path, opened: Open) -> None:
    began = time.monotonic()
    fault = refused(path, opened(tmp_path))
    assert (fault.code, fault.exit_code) == ("sent-file-is-no-file", Exit.INPUT)
    assert time.monotonic() - began < 3.0


def test_a_file_that_is_too_large_is_not_read(path: Path, tmp_path: Path) -> None:
    fault = refused(path, os.open(written(tmp_path, b"x" * (MOST + 1)), os.O_RDONLY))
    assert (fault.code, fault.values) == ("sent-file-too-large", {"size": MOST + 1, "limit": MOST})
    assert fault.code == FileTooLarge(1, 1).code


def test_a_file_that_has_more_than_it_says_is_not_taken(path: Path) -> None:
    """As files of /proc have."""
    assert refused(path, os.open("/proc/self/status", os.O_RDONLY)).code == "sent-file-changed-while-read"


def test_a_client_without_a_file_is_told_so(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Fault) as raised:
        ask(path, COMMAND)
    assert raised.value.code == "sent-file-missing"
    monkeypatch.setattr(sent_file, "WAIT_S", 0.2)
    with local_socket.connect(path, 5.0) as sock:
        sock.sendall(b'{"command": "transcript.attach"}\n')
        lines = sock.makefile("rb")
        assert json.loads(lines.readline()) == {"send": "file"}
        assert json.loads(lines.readline())["fault"]["code"] == "sent-file-missing", "nothing came in time"


def test_of_several_files_the_first_is_taken(path: Path, tmp_path: Path) -> None:
    files = [os.open(written(tmp_path, b"first"), os.O_RDONLY), os.open("/dev/zero", os.O_RDONLY)]
    with local_socket.connect(path, 5.0) as sock:
        sock.sendall(b'{"command": "transcript.attach"}\n')
        lines = sock.makefile("rb")
        lines.readline()
        socket.send_fds(sock, [b"\n"], files)
        assert json.loads(lines.readline())["answer"] == {"content": "first"}
    for file in files:
        os.close(file)


def test_a_command_that_takes_no_file_has_none() -> None:
    request = Request("session.stop", {})
    assert type(request.file) is SentFile
    with pytest.raises(Fault, match="without the file"):
        request.file.read(1)


# --- a file that hangs ---

ACCESS_PERMISSION = 0x20000  # <linux/fanotify.h>: FAN_ACCESS_PERM


@contextmanager
def hanging(file: Path) -> Iterator[None]:
    """Whoever reads the file stands still, as on a mount that hangs: the kernel asks this process, which does not answer."""
    libc = ctypes.CDLL(None, use_errno=True)
    group = libc.fanotify_init(0x4 | 0x1, os.O_RDONLY)  # FAN_CLASS_CONTENT | FAN_CLOEXEC
    if group < 0:
        pytest.skip(f"no file can be made to hang here (fanotify_init: {os.strerror(ctypes.get_errno())})")
    try:
        if libc.fanotify_mark(group, 1, ctypes.c_uint64(ACCESS_PERMISSION), -100, os.fsencode(file)) < 0:
            pytest.skip(f"no file can be made to hang here (fanotify_mark: {os.strerror(ctypes.get_errno())})")
        yield
    finally:
        os.close(group)


def test_a_file_that_hangs_holds_up_its_own_command_alone(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sent_file, "LIMIT_S", 1.0)
    file = written(tmp_path, b"x" * 100)
    with hanging(file):
        faults: list[Fault] = []
        one = threading.Thread(target=lambda: faults.append(refused(path, os.open(file, os.O_RDONLY))))
        one.start()
        began = time.monotonic()
        other = tmp_path / "other.txt"
        other.write_bytes(b"other")
        assert sent(path, os.open(other, os.O_RDONLY)) == {"content": "other"}
        assert time.monotonic() - began < 0.9
        one.join(10)
    [fault] = faults
    assert (fault.code, fault.exit_code, fault.values) == ("sent-file-too-slow", Exit.INPUT, {"seconds": 1})


def test_a_user_whose_files_hang_for_good_is_refused_and_nobody_else() -> None:
    """A reader that the kernel does not let go outlives its kill; two of them are a user's part."""

    class Undying:
        pid, ended = 1, False

        def poll(self) -> int | None:
            return 0 if self.ended else None

    receivers, stuck = Receivers(), [Undying() for _ in range(STUCK_MOST)]
    for process in stuck:
        receivers.check(1000)
        receivers.add(1000, process)  # type: ignore[arg-type]
    with ExitStack() as stack:
        one, other = (stack.enter_context(each) for each in socket.socketpair())
        closed: list[socket.socket] = []
        file = ComingFile(one, 1000, receivers, closed.append)
        with pytest.raises(Fault, match="2 files that came with earlier commands still hang") as raised:
            file.read(1)
        assert raised.value.exit_code == Exit.REFUSED
        receivers.check(1001)
        stuck[0].ended = True
        receivers.check(1000)
        file.close()
        file.close()
        assert closed == [one] and other.fileno() > 0
