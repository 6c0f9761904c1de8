"""``python -m tests.equipment.fault DIR DEVICE FAULT [VALUE]``: switches a fault of a room that runs with ``--out DIR``."""

import argparse
import json
import os
import socket
import sys
from pathlib import Path


def send(out: Path, device: str, fault: str, value: float | None = None, limit_s: float = 30.0) -> str:
    """ "" where the fault is switched, else what the room says. Raises OSError where no room runs there."""
    folder = os.open(out, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as room:
            room.settimeout(limit_s)
            room.connect(f"/proc/self/fd/{folder}/control.sock")
            command = {"device": device, "fault": fault} | ({} if value is None else {"value": value})
            room.sendall(json.dumps(command).encode() + b"\n")
            answer = json.loads(room.makefile("rb").readline())
    finally:
        os.close(folder)
    return "" if answer["ok"] else str(answer["error"])


def main() -> int:
    """The exit code: 0 done, 1 the room says no, 2 no room."""
    parser = argparse.ArgumentParser(prog="python -m tests.equipment.fault", description="Switches a fault of a stand-in room.")
    parser.add_argument("out", type=Path, metavar="DIR", help="the room's --out")
    parser.add_argument("device", help="overview, closeup, microphone, climate, broker, clock, disc-1, disc-2")
    parser.add_argument("fault", help="for example gone, frozen, back; a wrong one is answered with the list")
    parser.add_argument("value", type=float, nargs="?", help="where the fault takes a number")
    options = parser.parse_args()
    try:
        error = send(options.out, options.device, options.fault, options.value)
    except OSError as problem:
        print(f"no room runs in {options.out}: {problem.strerror}", file=sys.stderr)
        return 2
    if error:
        print(error, file=sys.stderr)
    return 1 if error else 0


if __name__ == "__main__":
    sys.exit(main())
