"""The wall clock: whether the kernel holds it synchronised, how far it is off an NTP server, and how it stands to CLOCK_BOOTTIME.

Sources: RFC 5905 (packet, figure 8; offset, section 8), RFC 4330 section 5 (which answers a client drops), adjtimex(2).
"""

import ctypes
import os
import socket
import struct
import time
from dataclasses import dataclass

from drivers.faults import DeviceAbsent, DeviceFault, DeviceSilent
from drivers.ports import ClockState

NTP_PORT = 123
NTP_EPOCH = 2_208_988_800  # Unix's 1970 in NTP's seconds since 1900
PACKET = struct.Struct("!BBbb11I")  # leap-version-mode, stratum, poll, precision, then 32-bit words
CLIENT_V4 = 0x23
SECOND = 1 << 32  # an NTP time stamp counts 2^-32 s
SECOND_NS = 1_000_000_000
STA_UNSYNC = 0x0040
TIME_ERROR = 5


class _Timex(ctypes.Structure):
    """struct timex of adjtimex(2)."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("constant", ctypes.c_long),
        ("precision", ctypes.c_long),
        ("tolerance", ctypes.c_long),
        ("tv_sec", ctypes.c_long),
        ("tv_usec", ctypes.c_long),
        ("tick", ctypes.c_long),
        ("ppsfreq", ctypes.c_long),
        ("jitter", ctypes.c_long),
        ("shift", ctypes.c_int),
        ("stabil", ctypes.c_long),
        ("jitcnt", ctypes.c_long),
        ("calcnt", ctypes.c_long),
        ("errcnt", ctypes.c_long),
        ("stbcnt", ctypes.c_long),
        ("tai", ctypes.c_int),
        ("reserved", ctypes.c_int * 11),
    )


def kernel_synchronised() -> bool:
    """Whether an NTP daemon told the kernel that the wall clock is right and still holds it so. Changes nothing."""
    timex = _Timex()
    state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex))
    if state < 0:
        code = ctypes.get_errno()
        raise DeviceFault(
            "clock-sync-state-unknown",
            "allow-adjtimex-call",
            why=os.strerror(code),
        )
    return state != TIME_ERROR and not timex.status & STA_UNSYNC


@dataclass(frozen=True, slots=True)
class Sample:
    """One answer of an NTP server. offset_s: our clock minus the server's; wrong by at most half of delay_s."""

    offset_s: float
    delay_s: float


def ntp_stamp(unix_ns: int) -> int:
    """Unix nanoseconds as a 64-bit NTP time stamp of its era."""
    return ((unix_ns + NTP_EPOCH * SECOND_NS) * SECOND // SECOND_NS) % (1 << 64)


def between(later: int, earlier: int) -> float:
    """Seconds from one NTP time stamp to another, right across the eras' border (2036) for less than 68 years."""
    difference = (later - earlier) % (1 << 64)
    return (difference - (1 << 64) if difference >= 1 << 63 else difference) / SECOND


def read_sample(answer: bytes, sent: int, received: int) -> Sample | None:
    """An answer against our two time stamps; None where it is no answer to our question or from a server without time."""
    if len(answer) < PACKET.size:
        return None
    first, stratum, _, _, *words = PACKET.unpack_from(answer)
    origin, arrival, departure = (words[n] << 32 | words[n + 1] for n in (5, 7, 9))
    leap, mode = first >> 6, first & 7
    if origin != sent or mode != 4 or leap == 3 or not 1 <= stratum <= 15 or departure == 0:
        return None
    offset = (between(arrival, sent) + between(departure, received)) / 2
    delay = between(received, sent) - between(departure, arrival)
    return Sample(-offset, max(delay, 0.0))


def ask_ntp(server: str, *, timeout_s: float = 2.0) -> Sample:
    """Asks once. server: host, host:port or [address]:port. Raises DeviceAbsent, DeviceSilent."""
    host, port = split_server(server)
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, protocol) as sock:
            sock.connect(where)  # then the kernel drops what others send
            return _exchange(sock, server, timeout_s)
    except TimeoutError as error:
        raise _silent(server, timeout_s) from error
    except (OSError, UnicodeError) as error:
        raise DeviceAbsent(
            "time-server-unreachable",
            "check-time-server-setting-and-network",
            server=server,
            why=getattr(error, "strerror", None) or error,
        ) from error


def _exchange(sock: socket.socket, server: str, timeout_s: float) -> Sample:
    began, sent = time.monotonic_ns(), ntp_stamp(time.time_ns())
    sock.send(PACKET.pack(CLIENT_V4, 0, 0, 0, *[0] * 9, sent >> 32, sent & 0xFFFFFFFF))
    while True:
        left = timeout_s - (time.monotonic_ns() - began) / SECOND_NS
        if left <= 0:
            raise _silent(server, timeout_s)
        sock.settimeout(left)
        answer = sock.recv(1024)
        passed = (time.monotonic_ns() - began) * SECOND // SECOND_NS  # by the monotonic clock: a step meanwhile does no harm
        sample = read_sample(answer, sent, (sent + passed) % (1 << 64))
        if sample is not None:
            return sample


def _silent(server: str, limit_s: float) -> DeviceSilent:
    return DeviceSilent(
        "time-server-gives-no-time",
        "check-time-server-and-udp-port",
        server=server,
        limit_s=limit_s,
    )


def split_server(server: str) -> tuple[str, int]:
    """Host and port of ``host``, ``host:port``, ``[v6]:port`` or a bare IPv6 address."""
    if server.startswith("["):
        host, _, rest = server[1:].partition("]")
        port = rest.removeprefix(":")
    else:
        host, _, port = server.partition(":") if server.count(":") == 1 else (server, "", "")
    return host, int(port) if port.isdigit() else NTP_PORT


def clock_state(ntp_server: str, *, timeout_s: float = 2.0) -> ClockState:
    """The wall clock against the server; without one, or where it does not answer, what the kernel says alone."""
    synchronised = kernel_synchronised()
    if not ntp_server:
        return ClockState(synchronised, None, "kernel")
    try:
        return ClockState(synchronised, ask_ntp(ntp_server, timeout_s=timeout_s).offset_s, ntp_server)
    except (DeviceAbsent, DeviceSilent):
        return ClockState(synchronised, None, ntp_server)


def read_pair(tries: int = 9) -> tuple[int, int]:
    """(CLOCK_BOOTTIME, wall clock) of one instant, ns: the wall clock between two reads of the other, the closest of several."""
    best: tuple[int, int, int] | None = None
    for _ in range(tries):
        before = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        utc = time.clock_gettime_ns(time.CLOCK_REALTIME)
        after = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        if best is None or after - before < best[0]:
            best = (after - before, (before + after) // 2, utc)
    assert best is not None
    return best[1], best[2]
