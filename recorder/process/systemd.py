"""systemd's notifications (sd_notify(3)); nothing where the process is not its service."""

import os
import socket
from contextlib import suppress


def notify(state: str) -> None:
    """Tells systemd, for example ``READY=1`` or ``WATCHDOG=1``."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        sock.connect("\0" + address[1:] if address.startswith("@") else address)
        sock.send(state.encode())
