"""A program of its own, run by ``agent.console.sent_file``: takes an open file out of a connection, and writes its content out.

Input 0 is the connection. Arguments: for how many seconds the file is waited for; how many bytes to read at most, "" for none.
The output is a line of JSON with ``size``, ``reason`` and ``why``, and the content behind it. reason: "" where it is whole, else
"missing", "kind", "large", "read" or "changed". It imports nothing of the product, so that it is there at once; whoever started
it limits its time.
"""

import fcntl
import json
import os
import select
import socket
import stat
import sys

ASKING = b'{"send": "file"}\n'
BLOCK = 1 << 16


def received(connection: socket.socket, wait_s: float) -> int | None:
    """Asks for the file and takes it; None where none came."""
    try:
        connection.send(ASKING)
        waiting = select.poll()
        waiting.register(connection, select.POLLIN)
        if not waiting.poll(wait_s * 1000):
            return None
        _, files, _, _ = socket.recv_fds(connection, 1, 1)
    except OSError:
        return None
    return files[0] if files else None


def judged(file: int, most: int | None) -> tuple[int, str, str, bytes]:
    """Size, reason, why and content of an open file. Raises OSError."""
    status = os.fstat(file)
    if not stat.S_ISREG(status.st_mode):
        return 0, "kind", "", b""
    size, mode = status.st_size, fcntl.fcntl(file, fcntl.F_GETFL)
    if mode & os.O_PATH or mode & os.O_ACCMODE == os.O_WRONLY:
        return size, "kind", "", b""
    if most is None:
        return size, "", "", b""
    if size > most:
        return size, "large", "", b""
    content = bytearray()
    while len(content) <= size and (block := os.pread(file, min(BLOCK, size + 1 - len(content)), len(content))):
        content += block
    return size, "" if len(content) == size else "changed", "", bytes(content)


def main() -> None:
    """Receives, judges, tells."""
    wait_s, most = float(sys.argv[1]), int(sys.argv[2]) if sys.argv[2] else None
    file = received(socket.socket(fileno=0), wait_s)
    size, reason, why, content = 0, "missing", "", b""
    if file is not None:
        try:
            size, reason, why, content = judged(file, most)
        except OSError as error:
            reason, why = "read", error.strerror or str(error)
    head = json.dumps({"size": size, "reason": reason, "why": why}).encode()
    sys.stdout.buffer.write(head + b"\n" + content)


if __name__ == "__main__":
    main()
