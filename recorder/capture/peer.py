"""Who is at the other end of a TCP connection."""

import ipaddress
import re
import socket
import sys
from contextlib import suppress
from pathlib import Path

SOCKET = re.compile(r"socket:\[(\d+)\]")
TABLE = Path("/proc/self/net/tcp")  # proc_net_tcp in the kernel's documentation


def peer(connection: socket.socket) -> str:
    """``host:port`` at the other end, whatever the name resolved to; "" where the connection has broken."""
    try:
        host, port = connection.getpeername()[:2]
    except OSError:
        return ""
    address = ipaddress.ip_address(host.partition("%")[0])
    plain = getattr(address, "ipv4_mapped", None) or address
    return f"[{plain}]:{port}" if plain.version == 6 else f"{plain}:{port}"


def own(connection: socket.socket) -> bool:
    """Whether a connection on the loopback interface (IPv4) was made by this very process."""
    there, here = _field(connection.getpeername()), _field(connection.getsockname())
    with suppress(OSError, IndexError):
        rows = (row.split() for row in TABLE.read_text(encoding="ascii").splitlines()[1:])
        return next((row[9] for row in rows if (row[1], row[2]) == (there, here)), "") in _own_sockets()
    return False


def _own_sockets() -> frozenset[str]:
    """The inodes of this process's sockets."""
    found = set()
    for link in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            if match := SOCKET.fullmatch(str(link.readlink())):
                found.add(match[1])
    return frozenset(found)


def _field(address: tuple[str, int]) -> str:
    """An address as the table writes it: the kernel's word in the machine's order, the port. 127.0.0.1:8080 is 0100007F:1F90."""
    host, port = address
    return f"{int.from_bytes(socket.inet_aton(host), sys.byteorder):08X}:{port:04X}"
