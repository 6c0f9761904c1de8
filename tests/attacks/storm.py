"""A process of somebody who wants the recording to end: it connects to every socket that it is named, as fast as it can.

``python storm.py SECONDS SOCKET…``; its output is a line of JSON: how often it connected to each, and was refused. It holds what
it gets, up to 1,500 connections, lets half of them go then, and sends half a command on some.
"""

import json
import resource
import socket
import sys
import time
from collections import Counter

HALF = b'{"command": "session.sta'


def storm(paths: list[str], seconds: float) -> dict[str, Counter[str]]:
    """Per socket: what came of each attempt."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    held: list[socket.socket] = []
    told: dict[str, Counter[str]] = {path: Counter() for path in paths}
    until = time.monotonic() + seconds
    number = 0
    while time.monotonic() < until:
        for path in paths:
            one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            one.setblocking(False)
            try:
                one.connect(path)
            except OSError as error:
                told[path][type(error).__name__] += 1
                one.close()
                continue
            told[path]["connected"] += 1
            held.append(one)
            number += 1
            if number % 3 == 0:
                try:
                    one.send(HALF)
                except OSError:
                    told[path]["let go"] += 1
        if len(held) > 1500:
            for one in held[:750]:
                one.close()
            del held[:750]
    return told


if __name__ == "__main__":
    print(json.dumps(storm(sys.argv[2:], float(sys.argv[1]))), flush=True)
