"""A serial line on a real pseudo-terminal, with a Modbus RTU sensor at its far end that answers what a test says."""

import os
import pty
import select
import struct
import threading
import tty
from collections.abc import Callable
from pathlib import Path


def crc(frame: bytes) -> bytes:
    """Modbus over serial line V1.02, 6.2.2."""
    value = 0xFFFF
    for byte in frame:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ 0xA001 if value & 1 else value >> 1
    return struct.pack("<H", value)


def with_crc(frame: bytes) -> bytes:
    return frame + crc(frame)


REQUEST = with_crc(bytes([1, 4, 0, 1, 0, 2]))


def answer(temperature: int, humidity: int) -> bytes:
    return with_crc(struct.pack(">BBBhh", 1, 4, 4, temperature, humidity))


class Line:
    """A serial line with a sensor at its far end, under a name that stays when the line is unplugged and plugged in again."""

    def __init__(self, port: Path) -> None:
        self.port = port
        self.requests: list[bytes] = []
        self.reply: Callable[[bytes], bytes] = lambda _: answer(235, 482)
        self.plug_in()

    def plug_in(self) -> None:
        master, self._slave = pty.openpty()
        self._wake, wake = os.pipe()
        self._pull = wake
        tty.setraw(self._slave)
        self.port.unlink(missing_ok=True)
        self.port.symlink_to(os.ttyname(self._slave))
        self._thread = threading.Thread(target=self._serve, args=(master, self._wake))
        self._thread.start()

    def _serve(self, master: int, wake: int) -> None:
        while wake not in (ready := select.select([master, wake], [], [])[0]):
            request = os.read(ready[0], 8)
            self.requests.append(request)
            os.write(master, self.reply(request))
        os.close(master)

    def unplug(self) -> None:
        os.write(self._pull, b"x")
        self._thread.join()
        for fd in (self._slave, self._pull, self._wake):
            os.close(fd)
