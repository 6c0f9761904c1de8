"""The console's socket, and sockets at paths that the kernel's address cannot hold."""

import json
import resource
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from agent.authority.gate import Gate
from agent.config.model import parse
from agent.console import server as console_server
from agent.console.client import ask
from agent.console.handlers import Asked, Handlers
from agent.console.quota import PLACES
from agent.console.request import Request
from agent.console.server import LINE_BYTES, ConsoleServer
from agent.health.look import ViewBuilder
from agent.session.discs import Discs
from recorder.faults import BadInput, StorageFault
from recorder.process import local_socket
from tests.agent.room import CASE, Room, config_text
from tests.equipment.process import wait_for
from wording import Exit, Fault


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / ("调查询问室" * 12) / ("x" * 100)
    folder.mkdir(parents=True)
    assert len(str(folder)) > 200
    return folder / "agent.sock"


@contextmanager
def serving(path: Path) -> Iterator[ConsoleServer]:
    """A server whose requests are answered with their own arguments; "fail" is refused, "silence" never answered."""
    server = ConsoleServer(path)

    def work() -> None:
        while isinstance(request := server.requests.get(), Request):
            if request.command == "fail":
                request.fail(BadInput("session-unknown", "give-longer-session-id", name="时间\u202e"))
            elif request.command != "silence":
                request.succeed({"command": request.command, **request.arguments})

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield server
    finally:
        server.requests.put(lambda: None)
        thread.join(5)
        server.close()
        assert not thread.is_alive()


@contextmanager
def no_more_files() -> Iterator[None]:
    """The kernel gives this process no further descriptor, as where it has too many open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def exchange(path: Path, data: bytes) -> dict[str, object]:
    with local_socket.connect(path, 5.0) as sock:
        sock.sendall(data)
        answer = json.loads(sock.makefile("rb").readline())
    assert isinstance(answer, dict)
    return answer


def code(answer: dict[str, object]) -> object:
    """Of the fault in an answer."""
    fault = answer["fault"]
    assert isinstance(fault, dict)
    return fault["code"]


def test_a_command_and_its_answer(path: Path) -> None:
    with serving(path):
        assert ask(path, "session.start", {"case": "案号〔1〕"}) == {"command": "session.start", "case": "案号〔1〕"}
        assert path.stat().st_mode & 0o777 == 0o660


def test_a_fault_comes_back_as_it_was(path: Path) -> None:
    with serving(path), pytest.raises(Fault) as raised:
        ask(path, "fail")
    assert raised.value.exit_code == Exit.INPUT and raised.value.values == {"name": "时间\u202e"}
    assert str(raised.value) == "There is no session 时间\\u202e. Give more of its id."


def test_the_longest_command_travels_and_a_longer_one_is_answered(path: Path) -> None:
    with serving(path):
        content = "x" * (LINE_BYTES - 200)
        assert ask(path, "x", {"content": content})["content"] == content
        with pytest.raises(Fault, match=f"too long; at most {LINE_BYTES} bytes") as raised:
            ask(path, "x", {"content": "x" * (2 << 20)})
        assert raised.value.exit_code == Exit.INPUT
        assert ask(path, "still alive") == {"command": "still alive"}


def nested(depth: int, opening: bytes, closing: bytes) -> bytes:
    return b'{"command": "x", "arguments": {"a": ' + opening * depth + b"1" + closing * depth + b"}}\n"


@pytest.mark.parametrize(
    "line",
    [
        b"no json\n",
        b"[]\n",
        b'"x"\n',
        b"{}\n",
        b'{"command": "x", "arguments": 5}\n',
        b'{"command": "x", "arguments": [["a", 1]]}\n',
        b'{"command": ["x"]}\n',
        b"\xff\xfe\n",
        b"\n",
        nested(100_000, b"[", b"]"),
        nested(30_000, b'{"a":', b"}"),
        nested(40, b"[", b"]"),
        b"[" * 100_000 + b"\n",
        *(
            b'{"command": "x", "arguments": {"planned_minutes": ' + n + b"}}\n"
            for n in (b"NaN", b"-Infinity", b"1e999", b"9" * 5000)
        ),
    ],
    ids=lambda line: repr(line[:40]),
)
def test_what_is_no_command_is_answered_with_the_mend(path: Path, line: bytes) -> None:
    with serving(path):
        answer = exchange(path, line)
        assert answer["ok"] is False and code(answer) == "command-not-json-line"
        assert ask(path, "still alive") == {"command": "still alive"}


@pytest.mark.parametrize("name", ["x" * 100_000, "a\x1b[2J\r\n<3>forged", "时间\u202e"])
def test_a_command_that_nobody_knows_is_named_in_plain_and_short(path: Path, name: str) -> None:
    """As it stands in the request it goes to the log and back to the client."""
    server = ConsoleServer(path)
    try:
        with local_socket.connect(path, 5.0) as sock:
            sock.sendall(json.dumps({"command": name}, ensure_ascii=False).encode() + b"\n")
            request = server.requests.get(timeout=5.0)
            assert isinstance(request, Request)
            assert request.command == name.encode("unicode_escape").decode()[:80] and request.command.isprintable()
    finally:
        server.close()


@pytest.mark.parametrize("half", [rb"\ud83d", b"\xed\xa0\xbd"])
def test_halves_of_characters_are_answered(path: Path, half: bytes) -> None:
    with serving(path):
        assert code(exchange(path, b'{"command": "' + half + b'"}\n')) == "command-not-json-line"
        answer = exchange(path, b'{"command": "x", "arguments": {"case": "' + half + b'"}}\n')
        assert answer["ok"] is False and code(answer) == "agent-command-failed"
        assert ask(path, "still alive") == {"command": "still alive"}


def test_arguments_with_halves_of_characters_are_refused() -> None:
    arguments = Asked(Request("x", {"case": "a\ud83d", "handlers": ["张三", "\udc00"]}))
    for read in (lambda: arguments.text("case"), lambda: arguments.texts("handlers")):
        with pytest.raises(BadInput, match=r"no UTF-8 text: '\\ud"):
            read()
    assert Asked(Request("x", {"case": "😀"})).text("case") == "😀"


def test_an_answer_that_is_no_json_is_a_defect(path: Path) -> None:
    server = ConsoleServer(path)

    def work() -> None:
        request = server.requests.get(timeout=5.0)
        assert isinstance(request, Request)
        request.succeed({"path": path})

    thread = threading.Thread(target=work)
    thread.start()
    try:
        with pytest.raises(Fault, match="The agent failed on x: TypeError") as raised:
            ask(path, "x", timeout_s=5.0)
        assert raised.value.exit_code == Exit.DEFECT
    finally:
        thread.join(5)
        server.close()


def test_silent_and_vanishing_clients_hold_nothing_up(path: Path) -> None:
    with serving(path):
        silent = [local_socket.connect(path, 5.0) for _ in range(PLACES - 2)]
        gone = local_socket.connect(path, 5.0)
        gone.sendall(b'{"command": "x"}\n')
        gone.close()
        assert ask(path, "next", timeout_s=5.0) == {"command": "next"}
        for sock in silent:
            sock.close()


@pytest.mark.parametrize("sends", [True, False])
def test_clients_that_drip_or_send_nothing_are_let_go(path: Path, sends: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console_server, "READ_S", 1.0 if sends else 60.0)
    monkeypatch.setattr(console_server, "FIRST_S", 1.0)
    with serving(path), ExitStack() as stack:
        dripping = [stack.enter_context(local_socket.connect(path, 5.0)) for _ in range(PLACES)]
        ended = threading.Event()

        def drip() -> None:
            while sends and not ended.wait(0.1):
                for sock in dripping:
                    with suppress(OSError):
                        sock.sendall(b" ")

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            assert ask(path, "next", timeout_s=5.0) == {"command": "next"}
        finally:
            ended.set()
            thread.join(5)


def test_a_client_that_takes_no_answer_holds_nobody_up(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers that fill the connection, from as many clients as a user may have: one more is served when they are let go."""
    monkeypatch.setattr(console_server, "READ_S", 1.0)
    with serving(path), ExitStack() as stack:
        line = json.dumps({"command": "x", "arguments": {"content": "y" * (LINE_BYTES - 100)}}).encode() + b"\n"
        for _ in range(PLACES):
            stack.enter_context(local_socket.connect(path, 5.0)).sendall(line)
        began = time.monotonic()
        assert ask(path, "next", timeout_s=5.0) == {"command": "next"}
        assert time.monotonic() - began < 3.0


def test_where_files_have_run_out_the_others_are_served_and_the_next_come_later(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A connection that is there goes on while none can be accepted; it is said once."""
    monkeypatch.chdir(path.parent)  # a plain, short address: naming a socket by its folder takes a file
    with serving(path), ExitStack() as stack:
        there = stack.enter_context(local_socket.connect(path, 5.0))
        assert ask(path, "next") == {"command": "next"}  # so the one before is accepted
        waiting = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(3)]
        with no_more_files():
            for sock in waiting:
                sock.connect("agent.sock")
                sock.sendall(b'{"command": "later"}\n')
            wait_for(lambda: "no connection can be taken" in caplog.messages, "the refusal is told", 5)
            there.sendall(b'{"command": "now"}\n')
            there.settimeout(5.0)
            assert b'"now"' in there.recv(1000)
        for sock in waiting:
            sock.settimeout(5.0)
            assert b'"later"' in sock.recv(1000)
    assert caplog.messages.count("no connection can be taken") == 1


def test_an_agent_that_does_not_answer_is_named(path: Path) -> None:
    with serving(path), pytest.raises(Fault, match="did not answer in time") as raised:
        ask(path, "silence", timeout_s=0.2)
    assert raised.value.exit_code == Exit.NO_AGENT


def test_a_start_whose_client_was_told_that_no_answer_comes_is_left_undone(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The agent's thread was busy for as long as the client waited; a stop is carried out all the same."""
    room = Room(tmp_path / "root", tmp_path / "run")
    config = parse(config_text(room.root, room.run).replace("[mqtt]", "reserve_gib = 0\n[mqtt]", 1))
    room.tracks()
    keeper = room.keeper()
    keeper.resume()
    discs, views = Discs(room.places, keeper, (), 2), ViewBuilder(config, now=lambda: room.now_ns)
    handlers = Handlers(
        config,
        keeper,
        discs,
        Gate(room.root / "acts.jsonl"),
        look=lambda: views.look(keeper.current, 0, 0, None),
        later=lambda _: None,
        feed=lambda: None,
    )
    case = {"case": CASE.number, "cause": CASE.cause, "handlers": list(CASE.handlers), "interviewee": CASE.interviewee}
    start = {**case, "planned_minutes": 1, "override_by": "甲", "override_reason": "测试"}
    server = ConsoleServer(path)

    def late(command: str, arguments: dict[str, object]) -> None:
        with pytest.raises(Fault, match="did not answer in time"):
            ask(path, command, arguments, timeout_s=5.0)
        request = server.requests.get(timeout=5.0)
        assert isinstance(request, Request)
        handlers.handle(request)

    try:
        with monkeypatch.context() as short:
            short.setattr(console_server, "GIVEN_UP_S", 0.1)
            late("session.start", start)
            assert keeper.active is None
        request = Request("session.start", start)
        handlers.handle(request)
        assert request.wait(5.0)["ok"] and keeper.active is not None
        with monkeypatch.context() as short:
            short.setattr(console_server, "GIVEN_UP_S", 0.1)
            late("session.stop", {"by": "赵六", "reason": "x"})
        assert keeper.active.state == "sealing"
    finally:
        server.close()


@pytest.mark.parametrize("left", ["nothing", "a dead socket", "a file"])
def test_no_agent_is_named(path: Path, left: str) -> None:
    if left == "a dead socket":
        local_socket.listen(path).close()
    elif left == "a file":
        path.write_text("x")
    with pytest.raises(Fault, match="does not run") as raised:
        ask(path, "x")
    assert raised.value.exit_code == Exit.NO_AGENT


def test_a_socket_left_by_a_dead_agent_is_replaced(path: Path) -> None:
    local_socket.listen(path).close()
    with serving(path):
        assert ask(path, "x") == {"command": "x"}
    assert not path.exists()


def test_text_that_is_no_utf8_is_named(path: Path) -> None:
    with pytest.raises(BadInput, match="no UTF-8 text"):
        ask(path, "session.start", {"case": "\udcff"})


def test_a_folder_that_is_missing_is_a_storage_fault(tmp_path: Path) -> None:
    with pytest.raises(StorageFault, match=r"agent\.sock cannot be written"):
        ConsoleServer(tmp_path / "missing" / "agent.sock")


def test_a_name_too_long_even_so_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="too long"):
        local_socket.listen(tmp_path / ("n" * 100))
    assert list(tmp_path.iterdir()) == []
