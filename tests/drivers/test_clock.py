"""The clock driver against an NTP server that a test sets at will."""

import socket
import struct
import threading
import time
from collections.abc import Iterator

import pytest

from drivers.clock import (
    NTP_EPOCH,
    ask_ntp,
    between,
    clock_state,
    kernel_synchronised,
    ntp_stamp,
    read_pair,
    read_sample,
    split_server,
)
from drivers.faults import DeviceAbsent, DeviceSilent
from drivers.ports import ClockState


class TimeServer:
    """Answers on loopback. offset_s: how far it is ahead of this PC."""

    def __init__(self) -> None:
        self.offset_s = 0.0
        self.answers = True
        self.leap, self.stratum = 0, 2
        self.before: bytes = b""  # sent ahead of the answer
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _stamp(self) -> bytes:
        seconds = time.time() + self.offset_s + NTP_EPOCH
        return struct.pack("!II", int(seconds) % (1 << 32), int(seconds % 1 * (1 << 32)))

    def _serve(self) -> None:
        while True:
            request, client = self._socket.recvfrom(512)
            if request == b"end":
                return
            if len(request) != 48 or request[0] & 7 != 3 or not self.answers:
                continue
            arrival = self._stamp()
            if self.before:
                self._socket.sendto(self.before, client)
            head = struct.pack("!BBbb3I", self.leap << 6 | 4 << 3 | 4, self.stratum, 6, -20, 0, 0, 0x7F000001)
            self._socket.sendto(head + arrival + request[40:48] + arrival + self._stamp(), client)

    def close(self) -> None:
        self._socket.sendto(b"end", self._socket.getsockname())
        self._thread.join()
        self._socket.close()


@pytest.fixture
def server() -> Iterator[TimeServer]:
    server = TimeServer()
    yield server
    server.close()


@pytest.mark.parametrize("ahead_s", [0.0, 0.25, -3600.0])
def test_offset_is_our_clock_minus_the_servers(server: TimeServer, ahead_s: float) -> None:
    server.offset_s = ahead_s
    sample = ask_ntp(server.address)
    assert 0 <= sample.delay_s < 1
    assert sample.offset_s == pytest.approx(-ahead_s, abs=sample.delay_s / 2 + 1e-3)
    state = clock_state(server.address)
    assert (state.synchronised, state.reference) == (kernel_synchronised(), server.address)
    assert state.offset_s == pytest.approx(-ahead_s, abs=0.1)


@pytest.mark.parametrize("fault", ["silent", "unsynchronised", "kiss of death"])
def test_a_server_without_time(server: TimeServer, fault: str) -> None:
    server.answers = fault != "silent"
    server.leap = 3 if fault == "unsynchronised" else 0
    server.stratum = 0 if fault == "kiss of death" else 2
    with pytest.raises(DeviceSilent, match=server.address):
        ask_ntp(server.address, timeout_s=0.2)
    assert clock_state(server.address, timeout_s=0.2) == ClockState(kernel_synchronised(), None, server.address)


def test_what_is_no_answer_to_our_question_is_passed_over(server: TimeServer) -> None:
    server.before = bytes([0x24, 1]) + bytes(38) + b"\x01" * 8
    assert abs(ask_ntp(server.address).offset_s) < 0.5


def test_nobody_there() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(DeviceAbsent, match=address):
        ask_ntp(address, timeout_s=1.0)
    with pytest.raises(DeviceAbsent):
        ask_ntp("no.such.host.invalid", timeout_s=1.0)
    assert clock_state("").reference == "kernel"


def test_arithmetic_of_time_stamps() -> None:
    sent, asymmetric = ntp_stamp(1_000_000_000_000_000_000), 1 << 31
    received = sent + (1 << 32)
    words = [0] * 5 + [sent >> 32, sent & 0xFFFFFFFF]
    for stamp in (sent + asymmetric, sent + asymmetric):
        words += [stamp >> 32, stamp & 0xFFFFFFFF]
    answer = struct.pack("!BBbb11I", 0x24, 1, 0, 0, *words)
    sample = read_sample(answer, sent, received)
    assert sample is not None
    assert (sample.offset_s, sample.delay_s) == (0.0, 1.0)
    assert read_sample(answer, sent + 1, received) is None
    assert read_sample(answer[:40], sent, received) is None


def test_era_border_of_2036() -> None:
    last, first = ntp_stamp(2_085_978_495_500_000_000), ntp_stamp(2_085_978_496_500_000_000)
    assert first < last
    assert between(first, last) == pytest.approx(1.0)
    assert between(last, first) == pytest.approx(-1.0)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("ntp.centre", "ntp.centre", 123),
        ("10.0.0.1:10123", "10.0.0.1", 10123),
        ("[::1]:99", "::1", 99),
        ("fe80::1", "fe80::1", 123),
    ],
)
def test_server_addresses(text: str, host: str, port: int) -> None:
    assert split_server(text) == (host, port)


def test_pair_is_of_one_instant() -> None:
    before = time.clock_gettime_ns(time.CLOCK_BOOTTIME), time.time_ns()
    boottime, utc = read_pair()
    after = time.clock_gettime_ns(time.CLOCK_BOOTTIME), time.time_ns()
    assert before[0] <= boottime <= after[0]
    assert before[1] <= utc <= after[1]
    assert abs((utc - boottime) - (after[1] - after[0])) < 1_000_000
