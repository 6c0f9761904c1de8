"""A private mosquitto with the project's own configuration and access list, TLS and passwords, on a loopback port."""

import os
import signal
import subprocess
from pathlib import Path

from drivers.mqtt import Broker
from tests.equipment.broker import MOSQUITTO, _make_certificates
from tests.equipment.process import HOST, Child, answers, free_port, wait_for

DOCS = Path(__file__).parents[2] / "docs" / "mqtt"
CENTRE = "centre-01"
ROOMS = tuple(f"room-{n:02}" for n in range(1, 61))
PASSWORD = "test-password"


class PrivateBroker:
    """The broker; its retained messages and sessions survive ``kill`` and ``start`` as on a real one that saves in time."""

    def __init__(self, folder: Path, *, acl: str | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.port = folder, free_port()
        self.acl = folder / "acl"
        self.acl.write_text(acl if acl is not None else (DOCS / "acl").read_text())
        self.acl.chmod(0o600)
        _make_certificates(folder)
        self.ca_file = folder / "ca.pem"
        passwords = folder / "passwords"
        users = ("command-room", "collector", *(f"{CENTRE}/{room}" for room in ROOMS))
        passwords.write_text("".join(f"{user}:{PASSWORD}\n" for user in users))
        passwords.chmod(0o600)
        subprocess.run(["mosquitto_passwd", "-U", passwords], check=True, timeout=30)
        self.config = folder / "mosquitto.conf"
        self.config.write_text(self._config(passwords))
        self._child: Child | None = None

    def _config(self, passwords: Path) -> str:
        text = (DOCS / "mosquitto.conf").read_text()
        for shipped, here in (
            ("/etc/mosquitto/interview-rooms.passwd", str(passwords)),
            ("/etc/mosquitto/interview-rooms.acl", str(self.acl)),
            ("/etc/mosquitto/certs/ca.pem", str(self.ca_file)),
            ("/etc/mosquitto/certs/broker.pem", str(self.folder / "server.pem")),
            ("/etc/mosquitto/certs/broker.key", str(self.folder / "server.key")),
            ("/var/lib/mosquitto/", f"{self.folder}/"),
            ("\nlistener 8883\n", f"\nlistener {self.port} {HOST}\n"),
        ):
            assert shipped in text, shipped
            text = text.replace(shipped, here)
        return text + ("user root\n" if os.geteuid() == 0 else "")

    def start(self) -> "PrivateBroker":
        """Returns when it accepts connections."""
        self._child = Child("mosquitto", [MOSQUITTO, "-c", self.config], self.folder / "mosquitto.log")
        wait_for(lambda: answers(self.port), "the broker accepts connections", alive=self._child)
        return self

    def signal(self, number: int) -> None:
        """SIGSTOP, SIGCONT, SIGHUP (reads the access list again)…"""
        assert self._child
        self._child.signal(number)

    def save(self) -> None:
        """Writes retained messages and sessions to the disk, as it does each minute."""
        self.signal(signal.SIGUSR1)

    def stop(self) -> None:
        """In good order."""
        if self._child:
            self._child.end()
            self._child = None

    def reach(self, user: str, *, keepalive_s: int = 5) -> Broker:
        """How a client logs in."""
        return Broker(HOST, self.port, user, PASSWORD, True, str(self.ca_file), keepalive_s)

    def room(self, room: str, *, keepalive_s: int = 5) -> Broker:
        """How a room logs in."""
        return self.reach(f"{CENTRE}/{room}", keepalive_s=keepalive_s)
