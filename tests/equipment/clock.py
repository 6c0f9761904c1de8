"""The stand-in time server: a private chronyd that serves this PC's own clock and never sets it."""

import getpass
import signal
import socket
import struct
from pathlib import Path

from tests.equipment.process import HOST, Child, free_port, wait_for

CHRONYD = "/usr/sbin/chronyd"


class StandInClock:
    """An NTP server on loopback."""

    FAULTS = ("back", "gone", "frozen")

    def __init__(self, run: Path, log: Path) -> None:
        self.host = HOST
        self.port = free_port(socket.SOCK_DGRAM)
        self._run, self._log = run, log
        self._child: Child | None = None

    @property
    def address(self) -> str:
        """host:port."""
        return f"{HOST}:{self.port}"

    @property
    def pids(self) -> list[int]:
        return [self._child.pid] if self._child else []

    def start(self) -> None:
        """Serves time. Raises EquipmentError."""
        if self._child is None:
            self._run.mkdir(parents=True, exist_ok=True)
            self._run.chmod(0o700)
            config = self._run / "chrony.conf"
            config.write_text(
                f"local stratum 8\nallow {HOST}\nbindaddress {HOST}\nport {self.port}\ncmdport 0\n"
                f"bindcmdaddress {self._run}/chronyd.sock\npidfile {self._run}/chronyd.pid\n"
            )
            (self._run / "chronyd.pid").unlink(missing_ok=True)
            child = self._child = Child("chronyd", [CHRONYD, "-x", "-U", "-d", "-u", getpass.getuser(), "-f", config], self._log)
            wait_for(self._serves, "an answer of the time server", alive=child)

    def _serves(self) -> bool:
        """Whether an NTP client request (mode 3, version 4) is answered by a synchronised server."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(0.2)
            try:
                client.sendto(struct.pack("!B47x", 0x23), (HOST, self.port))
                answer = client.recv(128)
            except OSError:
                return False
        return len(answer) >= 48 and answer[0] >> 6 != 3

    def stop(self) -> None:
        """Ends it."""
        child, self._child = self._child, None
        if child:
            child.end()

    # faults

    def back(self) -> None:
        """Serves again."""
        if self._child:
            self._child.signal(signal.SIGCONT)
        self.start()

    def gone(self) -> None:
        """Nobody answers on its port."""
        self.stop()

    def frozen(self) -> None:
        """Takes requests and answers none."""
        if self._child:
            self._child.signal(signal.SIGSTOP)
