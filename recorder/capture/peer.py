"""Who is at the other end of a connection that a library made: after every redirection, and whatever the name resolved to."""

import ipaddress
import re
from contextlib import suppress
from pathlib import Path

SOCKET = re.compile(r"socket:\[(\d+)\]")
ESTABLISHED, LISTENING = "01", "0A"  # include/net/tcp_states.h
WORDS = 4  # bytes of a word of an address, which the kernel writes in the machine's order


def connected_sockets() -> frozenset[str]:
    """The inodes of this process's sockets."""
    found = set()
    for link in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            if match := SOCKET.fullmatch(str(link.readlink())):
                found.add(match[1])
    return frozenset(found)


def peer(before: frozenset[str]) -> str:
    """``host:port`` at the other end of the newest TCP connection of this process. before: sockets that it had already.

    "" where that is not to be seen. Of the fields of /proc/net/tcp see proc_net_tcp in the kernel's documentation.
    """
    new = connected_sockets() - before
    for table in ("tcp", "tcp6"):
        with suppress(OSError):
            rows = [row.split() for row in Path(f"/proc/self/net/{table}").read_text(encoding="ascii").splitlines()[1:]]
            served = {_port(row[1]) for row in rows if row[3] == LISTENING}
            for row in rows:
                if row[3] == ESTABLISHED and row[9] in new and _port(row[1]) not in served:
                    return _address(row[2])
    return ""


def _port(field: str) -> str:
    return field.partition(":")[2]


def _address(field: str) -> str:
    """Pure: ``0100007F:1F90`` as ``127.0.0.1:8080``."""
    host, _, port = field.partition(":")
    raw = bytes.fromhex(host)
    address = ipaddress.ip_address(b"".join(raw[n : n + WORDS][::-1] for n in range(0, len(raw), WORDS)))
    plain = getattr(address, "ipv4_mapped", None) or address
    return f"[{plain}]:{int(port, 16)}" if plain.version == 6 else f"{plain}:{int(port, 16)}"
