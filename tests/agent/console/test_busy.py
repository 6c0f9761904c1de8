"""An agent that runs and is busy is told from one that does not run: two sentences, two mends, over real sockets."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from agent.console import server as console_server
from agent.console.client import ask
from agent.console.server import CLIENTS, ConsoleServer
from recorder.process import local_socket
from tests.agent.live import LiveAgent
from tests.live_room import wait_for
from wording import Exit, Fault, say

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


def test_a_console_that_serves_as_many_as_it_can_says_so_at_once(path: Path) -> None:
    server = ConsoleServer(path)
    try:
        with ExitStack() as stack:
            for _ in range(CLIENTS):
                sock = stack.enter_context(local_socket.connect(path, 5))
                sock.sendall(b'{"command": "session.status"}\n')
            for _ in range(CLIENTS):  # each is in the agent's thread's queue, which nobody works at
                server.requests.get(timeout=5)
            assert told(path).code == "agent-busy"
    finally:
        server.close()


def test_the_console_answers_again_once_a_place_is_free(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console_server, "CLIENTS", 1)
    server = ConsoleServer(path)
    try:
        with local_socket.connect(path, 5) as sock:
            sock.sendall(b'{"command": "a"}\n')
            first = server.requests.get(timeout=5)
            assert told(path).code == "agent-busy"
            assert isinstance(first, console_server.Request)
            first.succeed({})
            assert json.loads(sock.makefile("rb").readline()) == {"ok": True, "answer": {}}
        worker = threading.Thread(target=lambda: server.requests.get(timeout=10).succeed({"command": "b"}))  # type: ignore[union-attr]
        worker.start()
        for _ in range(200):  # the place is given back a moment after the answer
            try:
                assert ask(path, "b", timeout_s=5) == {"command": "b"}
                break
            except Fault as fault:
                assert fault.code == "agent-busy"
        worker.join(10)
        assert not worker.is_alive()
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


@LANGUAGES
def test_the_command_line_says_which_it_is(language: str, tmp_path: Path) -> None:
    """A real agent that is stopped (SIGSTOP) with its queue filled, and the same agent ended."""
    with LiveAgent(tmp_path) as room:
        with room.agent() as agent, ExitStack() as stack:
            agent.send_signal(signal.SIGSTOP)
            stat = Path(f"/proc/{agent.pid}/stat")
            wait_for(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T", "the agent stands still")
            try:
                for _ in range(200):
                    try:
                        stack.enter_context(local_socket.connect(room.places.socket, 0.05))
                    except BlockingIOError:
                        break
                busy = room.command("session", "status", "--language", language)
            finally:
                agent.send_signal(signal.SIGCONT)
        away = room.command("session", "status", "--language", language)
    assert (busy.code, away.code) == (Exit.NO_AGENT, Exit.NO_AGENT)
    assert say("agent-busy", language) in busy.err and say("agent-busy", language) not in away.err  # type: ignore[arg-type]
    assert str(room.places.socket) in away.err
