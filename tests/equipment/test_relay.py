"""The cable between a camera and its clients: bare sockets for what it does to bytes, PyAV for what a client of a camera sees."""

import json
import random
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError

import av
import pytest

from tests.equipment.camera import BEHIND, RELAY, StandInCamera
from tests.equipment.clips import Clip
from tests.equipment.process import HOST, EquipmentError, Peer, free_port, wait_for
from tests.equipment.test_rtsp import digests, matched, opened, packets, sent, until_the_end

BLINK_S = 0.3  # in which loopback would have carried everything


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server((BEHIND, free_port())) as listener:
        listener.settimeout(5)
        yield listener


@pytest.fixture
def relay(server: socket.socket, tmp_path: Path) -> Iterator[Peer]:
    peer = Peer("relay", [sys.executable, RELAY], tmp_path / "log")
    port = server.getsockname()[1]
    peer.ask({"seed": 1, "routes": [{"listen": [HOST, port], "to": [BEHIND, port]}]}, 15)
    yield peer
    peer.end()


def connect(server: socket.socket) -> tuple[socket.socket, socket.socket]:
    """Both ends of a connection through the relay."""
    client = socket.create_connection((HOST, server.getsockname()[1]), 5)
    far, _ = server.accept()
    far.settimeout(5)
    return client, far


def read(end: socket.socket, count: int) -> bytes:
    out = b""
    while len(out) < count and (piece := end.recv(count - len(out))):
        out += piece
    return out


def silent(end: socket.socket) -> bool:
    """Whether nothing comes, no end of the connection either."""
    end.settimeout(BLINK_S)
    try:
        end.recv(1)
    except TimeoutError:
        return True
    finally:
        end.settimeout(5)
    return False


def test_bytes_pass_unchanged_both_ways_and_so_do_ends_and_resets(relay: Peer, server: socket.socket) -> None:
    data = random.Random(2).randbytes(3_000_000)
    client, far = connect(server)
    with client, far:
        far.settimeout(0.2)
        sent_bytes = 0
        while sent_bytes < len(data):  # nobody reads yet: what is held is bounded
            try:
                sent_bytes += far.send(data[sent_bytes:])
            except TimeoutError:
                break
        assert read(client, sent_bytes) == data[:sent_bytes]
        client.sendall(b"up")
        assert read(far, 2) == b"up"
        client.shutdown(socket.SHUT_WR)
        assert far.recv(1) == b""
        far.sendall(b"last words")
        far.close()
        assert read(client, 99) == b"last words"
    wait_for(lambda: relay.ask({"status": True})["connections"] == 0, "the connection's end")
    address = (HOST, server.getsockname()[1])
    server.close()
    with pytest.raises(ConnectionResetError), socket.create_connection(address, 5) as client:
        client.recv(1)


def test_a_cut_carries_nothing_answers_nobody_and_delivers_late(relay: Peer, server: socket.socket) -> None:
    client, far = connect(server)
    with client, far:
        answer = relay.ask({"cut": True})
        assert abs(answer["at_ns"] - time.clock_gettime_ns(time.CLOCK_BOOTTIME)) < 1_000_000_000
        far.sendall(b"down")
        client.sendall(b"up")
        assert silent(client)
        assert silent(far)
        with socket.socket() as late:
            late.settimeout(BLINK_S)
            with pytest.raises(TimeoutError):  # no answer, no refusal
                late.connect(client.getpeername())
        with socket.socket() as late:
            late.setblocking(False)
            late.connect_ex(client.getpeername())
            relay.ask({"cut": False})
            assert read(client, 4) == b"down"  # TCP repairs what was under way
            assert read(far, 2) == b"up"
            server.accept()[0].close()  # and asks again for a connection


def test_jitter_delays_each_piece_and_keeps_the_order(relay: Peer, server: socket.socket) -> None:
    client, far = connect(server)
    with client, far:
        relay.ask({"jitter_ms": 80})
        delays_ms = []
        for n in range(30):
            started = time.monotonic()
            far.sendall(bytes([n]))
            assert client.recv(1) == bytes([n])
            delays_ms.append((time.monotonic() - started) * 1000)
        assert sorted(delays_ms)[2] < 30
        assert 50 < sorted(delays_ms)[-3] < 150
        text = random.Random(3).randbytes(200_000)
        for at in range(0, len(text), 1000):
            far.sendall(text[at : at + 1000])
        assert read(client, len(text)) == text
        relay.ask({"jitter_ms": 0})
        far.sendall(b"!")
        assert client.recv(1) == b"!"


def test_junk_stands_before_an_interleaved_frame(relay: Peer, server: socket.socket) -> None:
    client, far = connect(server)
    with client, far:
        relay.ask({"junk": 50})
        far.sendall(b"RTSP/1.0 200 OK\r\n\r\n")
        assert read(client, 19) == b"RTSP/1.0 200 OK\r\n\r\n"
        far.sendall(b"$\x00\x00\x01a")
        got = read(client, 55)
        assert got[48:] == b"\r\n$\x00\x00\x01a"
        assert len(set(got[:48])) > 30


@contextmanager
def running(clip: Clip, folder: Path, *, relay: bool = True) -> Iterator[StandInCamera]:
    units = folder / "units.jsonl"
    camera = StandInCamera("overview", clip, folder / "log", time.monotonic_ns(), password="pw", units_log=units, relay=relay)
    camera.start()
    try:
        yield camera
    finally:
        camera.stop()


@pytest.fixture
def camera(clip: Clip, tmp_path: Path) -> Iterator[StandInCamera]:
    with running(clip, tmp_path) as one:
        yield one


def test_all_goes_through_the_relay_which_costs_little(camera: StandInCamera) -> None:
    with opened(camera.address()) as source:
        first = packets(source, 5)
        ticks = cpu_ticks(camera.pids[1])
        packets(source, 50)
        assert cpu_ticks(camera.pids[1]) - ticks <= 10  # of 10 ms in 2 s, under whatever load
    assert first[0].is_keyframe
    assert camera._cable(status=True)["bytes"] > 10_000  # type: ignore[operator]
    assert http_status(camera) == 404


def cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def http_status(camera: StandInCamera) -> int:
    """Of the ONVIF service's port."""
    try:
        with urllib.request.urlopen(f"http://{HOST}:{camera.onvif_port}/", timeout=BLINK_S) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_a_short_cut_loses_no_access_unit(camera: StandInCamera) -> None:
    with opened(camera.address(), 5.0) as source:
        before = packets(source, 10)
        camera.cut()
        cut_at = time.monotonic()
        while time.monotonic() - cut_at < 0.5:
            time.sleep(0.02)
        camera.back()
        got = [*before, *packets(source, 60)]
    matched(camera, got)


def test_a_long_cut_starves_the_client_and_refuses_nothing(camera: StandInCamera) -> None:
    with opened(camera.address(), 0.7) as source:
        packets(source, 10)
        camera.cut()
        with pytest.raises(av.ExitError):  # the read's time-out
            until_the_end(source)
    with pytest.raises((av.ExitError, av.TimeoutError)):
        av.open(camera.address(), options={"rtsp_transport": "tcp"}, timeout=(BLINK_S, BLINK_S))
    with pytest.raises((TimeoutError, URLError), match="timed out"):
        http_status(camera)
    camera.back()
    with opened(camera.address()) as source:
        assert packets(source, 2)[0].is_keyframe
    assert http_status(camera) == 404


def test_jitter_reaches_the_client_and_nothing_is_lost(camera: StandInCamera) -> None:
    with opened(camera.address()) as source:
        before = packets(source, 5)
        camera.jitter(80)
        got = [*before, *packets(source, 60)]
    matched(camera, got)


def test_a_client_passes_over_junk_and_loses_nothing(camera: StandInCamera) -> None:
    with opened(camera.address()) as source:
        before = packets(source, 10)
        camera.junk(5000)
        wait_for(lambda: camera._cable(status=True)["junk"] == 0, "the junk")
        got = [*before, *packets(source, 60)]
    matched(camera, got)


def test_a_camera_without_power_is_refused_through_the_relay_too(camera: StandInCamera) -> None:
    camera.gone()
    with pytest.raises(av.ConnectionRefusedError), opened(camera.address()):
        pass
    camera.back()
    with opened(camera.address()) as source:
        packets(source, 2)


@pytest.mark.parametrize("relayed", [True, False])
def test_a_rebooted_camera_is_away_and_comes_back_with_another_clock(clip: Clip, tmp_path: Path, *, relayed: bool) -> None:
    with running(clip, tmp_path, relay=relayed) as camera:
        offset_s = camera.onvif.faults.clock_offset_s
        with opened(camera.address()) as source:
            packets(source, 5)
            left_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
            camera.rebooted(1.0)
            try:
                until_the_end(source)
            except av.FFmpegError as error:
                assert not isinstance(error, av.ExitError)
        with pytest.raises(av.ConnectionRefusedError), opened(camera.address()):
            pass
        wait_for(lambda: camera.returned_ns is not None, "the camera's return")
        assert camera.returned_ns is not None
        assert camera.returned_ns - left_ns >= 1_000_000_000
        with opened(camera.address()) as source:
            got = digests(packets(source, 5))
        assert camera.onvif.faults.clock_offset_s - offset_s == 4020
        shifts = {line["pts_ns"] - line["index"] * 40_000_000 for line in sent(camera) if line["sha256"] in got}
        assert shifts >= {4020 * 1_000_000_000}
        camera.rebooted(60)
        camera.back()  # at once, with the right clock
        assert camera.onvif.faults.clock_offset_s == 0
        with opened(camera.address()) as source:
            packets(source, 2)


def test_a_camera_without_a_relay_says_so(clip: Clip, tmp_path: Path) -> None:
    camera = StandInCamera("overview", clip, tmp_path / "log", time.monotonic_ns(), password="pw")
    with pytest.raises(EquipmentError, match="no relay"):
        camera.cut()


def test_the_relay_ends_with_its_standard_input(tmp_path: Path) -> None:
    config = json.dumps({"routes": [{"listen": [HOST, 0], "to": [BEHIND, 1]}]}) + "\nnonsense\n"
    done = subprocess.run([sys.executable, RELAY], input=config, capture_output=True, text=True, timeout=10, check=False)
    first, second = (json.loads(line) for line in done.stdout.splitlines())
    assert (done.returncode, first["ok"], second["ok"]) == (0, True, False)
