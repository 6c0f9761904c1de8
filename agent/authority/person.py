"""Who is at the other end of the agent's socket, as the kernel tells it."""

import pwd
import socket
from dataclasses import dataclass
from pathlib import Path

from recorder.disk.durable import Json
from recorder.process import local_socket

NO_LOGIN = 2**32 - 1  # audit's word for a process that no login began


@dataclass(frozen=True, slots=True)
class Person:
    """uid: of the process that asks. login: the name under which its session began, which sudo does not change; "" if unknown."""

    uid: int
    login: str = ""

    def as_json(self) -> Json:
        """The person as journals and records hold it."""
        return {"uid": self.uid, "login": self.login}


NOBODY = Person(-1)


def uid_at(connection: socket.socket) -> int:
    """The user of the process that opened the connection. Raises OSError."""
    return local_socket.peer(connection)[1]


def person_at(connection: socket.socket) -> Person:
    """The process that opened the connection. Raises OSError."""
    pid, uid = local_socket.peer(connection)
    return Person(uid, _name(_login_uid(pid, uid)))


def _login_uid(pid: int, uid: int) -> int:
    """The audit login of a process (proc(5), loginuid), the uid itself where there is none."""
    try:
        told = int(Path(f"/proc/{pid}/loginuid").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return uid
    return uid if told == NO_LOGIN else told


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return ""
