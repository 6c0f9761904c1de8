"""An agent that runs and is busy is told from one that does not run: two sentences, two mends, over real sockets."""

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from agent.console.client import ask
from agent.console.quota import PLACES, URGENT_MOST
from agent.console.request import Request
from agent.console.server import BACKLOG, ConsoleServer
from recorder.process import local_socket
from tests.agent.live import Answer, LiveAgent
from tests.live_room import wait_for
from wording import Exit, Fault, Language, say

LANGUAGES = pytest.mark.parametrize("language", ["en", "zh"])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "agent.sock"


def told(path: Path, timeout_s: float = 1.0) -> Fault:
    with pytest.raises(Fault) as raised:
        ask(path, "session.status", timeout_s=timeout_s)
    return raised.value


@contextmanager
def filled(path: Path) -> Iterator[None]:
    """A socket on which nobody accepts and whose queue is full, as of an agent whose thread stands still."""
    with ExitStack() as stack:
        stack.enter_context(local_socket.listen(path, backlog=1))
        for _ in range(16):
            sock = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            sock.setblocking(False)
            try:
                sock.connect(str(path))
            except BlockingIOError:
                break
        else:
            raise AssertionError("the queue takes everybody")
        yield


def test_a_missing_socket_is_an_agent_that_does_not_run(path: Path) -> None:
    fault = told(path)
    assert (fault.code, fault.exit_code) == ("agent-not-running", Exit.NO_AGENT)


def test_a_socket_that_nobody_listens_on_is_an_agent_that_does_not_run(path: Path) -> None:
    local_socket.listen(path).close()
    assert path.exists() and told(path).code == "agent-not-running"


def test_a_full_queue_is_a_busy_agent(path: Path) -> None:
    with filled(path):
        fault = told(path, 0.3)
    assert (fault.code, fault.mend, fault.exit_code) == ("agent-busy", "wait-and-ask-again", Exit.NO_AGENT)


def test_a_place_in_the_queue_that_becomes_free_in_time_is_taken(path: Path) -> None:
    """Connecting waits for it, in the kernel; nothing is refused."""
    with ExitStack() as stack:
        listener = stack.enter_context(local_socket.listen(path, backlog=0))
        stack.enter_context(local_socket.connect(path, 1.0))
        accepted: list[socket.socket] = []
        timer = threading.Timer(0.3, lambda: accepted.append(listener.accept()[0]))
        timer.start()
        began = time.monotonic()
        stack.enter_context(local_socket.connect(path, 5.0))
        assert 0.2 < time.monotonic() - began < 3.0
        timer.join()
        stack.enter_context(accepted[0])


def test_a_signal_while_a_place_is_waited_for_is_no_connection(path: Path) -> None:
    """The kernel ends the waiting with EINTR, which Python takes for success."""
    seen: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, _frame: seen.append(number))
    try:
        with ExitStack() as stack:
            stack.enter_context(local_socket.listen(path, backlog=0))
            stack.enter_context(local_socket.connect(path, 1.0))
            timer = threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGUSR1))
            timer.start()
            with pytest.raises(BlockingIOError):
                local_socket.connect(path, 0.6)
            timer.join()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert seen == [signal.SIGUSR1]


def test_a_user_with_as_many_commands_as_it_may_have_is_told_so_at_once(path: Path) -> None:
    server = ConsoleServer(path)
    try:
        with ExitStack() as stack:
            for _ in range(PLACES):
                sock = stack.enter_context(local_socket.connect(path, 5))
                sock.sendall(b'{"command": "session.list"}\n')
            for _ in range(PLACES):  # each is in the agent's thread's queue, which nobody works at
                server.requests.get(timeout=5)
            with pytest.raises(Fault) as raised:
                ask(path, "session.start", timeout_s=0.2)
            assert raised.value.code == "agent-busy"
    finally:
        server.close()


def test_a_stop_is_served_beside_all_that_the_same_user_has_under_way(path: Path) -> None:
    server = ConsoleServer(path)
    try:
        with ExitStack() as stack:
            for command in ["session.list"] * PLACES + ["session.stop"] * URGENT_MOST:
                sock = stack.enter_context(local_socket.connect(path, 5))
                sock.sendall(json.dumps({"command": command}).encode() + b"\n")
            served = [server.requests.get(timeout=5) for _ in range(PLACES + URGENT_MOST)]
            assert [r.command for r in served if isinstance(r, Request)].count("session.stop") == URGENT_MOST
            assert told(path, 0.2).code == "agent-busy"
    finally:
        server.close()


def test_the_console_answers_again_once_a_place_is_free(path: Path) -> None:
    server = ConsoleServer(path)
    try:
        with ExitStack() as stack:
            socks = [stack.enter_context(local_socket.connect(path, 5)) for _ in range(PLACES)]
            for number, sock in enumerate(socks):
                sock.sendall(f'{{"command": "a{number}"}}\n'.encode())
            requests = [server.requests.get(timeout=5) for _ in socks]
            [first] = [request for request in requests if isinstance(request, Request) and request.command == "a0"]
            timer = threading.Timer(0.3, lambda: first.succeed({}))
            timer.start()
            worker = threading.Thread(target=lambda: server.requests.get(timeout=10).succeed({"command": "b"}))  # type: ignore[union-attr]
            worker.start()
            assert ask(path, "b", timeout_s=5) == {"command": "b"}, "asked again until it was free"
            worker.join(10)
            timer.join()
            assert not worker.is_alive()
            assert json.loads(socks[0].makefile("rb").readline()) == {"ok": True, "answer": {}}
    finally:
        server.close()


def test_an_agent_that_is_not_let_in_is_a_third_thing(path: Path) -> None:
    """Only a process without root's rights can be shut out."""
    program = (
        "import os, sys\nfrom pathlib import Path\nfrom agent.console.client import ask\nfrom wording import Fault\n"
        "if os.getuid() == 0:\n    os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "try:\n    ask(Path(sys.argv[1]), 'x', timeout_s=2)\nexcept Fault as fault:\n    print(fault.code)\n"
    )
    for folder in path.parents:
        if folder.stat().st_uid == os.getuid() and folder != Path("/") and not folder.stat().st_mode & 0o001:
            folder.chmod(folder.stat().st_mode | 0o011)
    with local_socket.listen(path, mode=0o000):
        done = subprocess.run(
            [sys.executable, "-c", program, str(path)],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), "PYTHONDONTWRITEBYTECODE": "1"},
        )
    assert done.stdout.strip() == "agent-access-denied", done.stderr


@LANGUAGES
def test_the_sentences_differ(language: str) -> None:
    texts = {
        say(code, language, path="/x")  # type: ignore[arg-type]
        for code in ("agent-busy", "agent-not-running", "agent-answer-timeout", "agent-access-denied")
    }
    assert len(texts) == 4


def test_the_command_line_says_which_it_is(tmp_path: Path) -> None:
    """A real agent that is stopped (SIGSTOP) with its queue filled, and the same agent ended; in both languages."""
    if (hard := resource.getrlimit(resource.RLIMIT_NOFILE)[1]) < 2 * BACKLOG:
        pytest.skip(f"a queue of {BACKLOG} needs as many files, and at most {hard} may be open here")
    languages: tuple[Language, ...] = ("en", "zh")
    with LiveAgent(tmp_path) as room:

        def asked() -> list[Answer]:
            with ThreadPoolExecutor(2) as pool:
                return list(pool.map(lambda language: room.command("session", "status", "--language", language), languages))

        with room.agent() as agent, many_files(), ExitStack() as stack:
            agent.send_signal(signal.SIGSTOP)
            stat = Path(f"/proc/{agent.pid}/stat")
            wait_for(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T", "the agent stands still")
            try:
                for _ in range(BACKLOG + 100):
                    try:
                        stack.enter_context(local_socket.connect(room.places.socket, 0.01))
                    except BlockingIOError:
                        break
                else:
                    raise AssertionError("the queue takes everybody")
                busy = asked()
            finally:
                agent.send_signal(signal.SIGCONT)
        away = asked()
    for language, one, other in zip(languages, busy, away, strict=True):
        assert (one.code, other.code) == (Exit.NO_AGENT, Exit.NO_AGENT)
        assert say("agent-busy", language) in one.err and say("agent-busy", language) not in other.err
        assert str(room.places.socket) in other.err


@contextmanager
def many_files() -> Iterator[None]:
    """This process may have as many files open as the kernel lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
