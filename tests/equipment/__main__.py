"""``python -m tests.equipment --out DIR``: a room of stand-in equipment in the foreground.

When it is ready, DIR/config.toml (the product's configuration) and then DIR/room.json (addresses, passwords, environment,
process ids, phase of the flashes) appear, each as a whole. It ends on SIGTERM, SIGINT or after ``--seconds``; nothing it
started survives. Faults are switched by JSON lines to DIR/control.sock (``python -m tests.equipment.fault DIR overview
gone``)::

    {"device": "overview", "fault": "jump", "value": 7.5}  →  {"ok": true} or {"ok": false, "error": "…"}
"""

import argparse
import json
import os
import selectors
import signal
import socket
import sys
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from tests.equipment.clips import SMALL, ClipRecipe
from tests.equipment.process import EquipmentError
from tests.equipment.room import StandInRoom
from tests.equipment.scene import WallClock


def main(arguments: list[str] | None = None) -> int:
    """The exit code: 0 after an orderly end, 1 where something did not start."""
    options = _options(arguments)
    out: Path = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    waker, wake = socket.socketpair()
    waker.setblocking(False)
    signal.set_wakeup_fd(waker.fileno())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: None)
    (out / "room.json").unlink(missing_ok=True)
    recipe = SMALL if options.small else ClipRecipe(codec=options.codec, clock=_wall_clock(options.wall_clock))
    try:
        with StandInRoom(
            out / "equipment",
            options.cache,
            recipe=recipe,
            language=options.language,
            tls=not options.plain,
            microphone_ppm=options.microphone_ppm,
            units_log=options.units_log,
            relay=options.relay,
            discs=out,
        ) as room:
            config = room.config_text(options.root or out / "data", options.run or out / "run", options.language)
            _replace(out / "config.toml", config)
            _replace(
                out / "room.json",
                json.dumps(room.facts() | {"config": str(out / "config.toml")}, ensure_ascii=False, indent=1) + "\n",
            )
            print(f"ready: {out / 'room.json'}", flush=True)
            _serve(room, out, wake, options.seconds)
    except (EquipmentError, OSError) as error:
        print(f"the stand-in equipment does not start: {error}", file=sys.stderr)
        return 1
    finally:
        (out / "room.json").unlink(missing_ok=True)
        (out / "control.sock").unlink(missing_ok=True)
    return 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.equipment", description="A room of stand-in equipment.")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder for config.toml, room.json, control.sock, the discs"
    )
    parser.add_argument("--cache", type=Path, metavar="DIR", help="prepared clips and sound")
    parser.add_argument("--seconds", type=float, help="end by itself after this time")
    parser.add_argument("--language", choices=("zh", "en"), default="zh")
    parser.add_argument("--root", type=Path, help="storage.root in the configuration (default: DIR/data)")
    parser.add_argument("--run", type=Path, help="storage.run in the configuration (default: DIR/run)")
    parser.add_argument("--units-log", action="store_true", help="log every access unit that the cameras send")
    parser.add_argument("--relay", action="store_true", help="a cable to each camera, for the faults cut, jitter and junk")
    parser.add_argument("--microphone-ppm", type=float, default=0.0, help="let the sound card run fast")
    parser.add_argument("--codec", choices=("h264", "h265"), default="h264")
    parser.add_argument(
        "--wall-clock", choices=("fixed", "now"), default="fixed", help="now: prepares clips for the present minute"
    )
    parser.add_argument("--small", action="store_true", help="640×360 instead of 1920×1080")
    parser.add_argument("--plain", action="store_true", help="a broker without TLS")
    return parser.parse_args(arguments)


def _wall_clock(kind: str) -> WallClock:
    now = datetime.now().astimezone()
    return WallClock(date=f"{now:%Y-%m-%d}", time=f"{now:%H:%M}") if kind == "now" else WallClock()


def _replace(path: Path, text: str) -> None:
    new = path.with_name(f".{path.name}.new")
    new.touch(mode=0o600)
    new.write_text(text, encoding="utf-8")
    new.rename(path)


def _serve(room: StandInRoom, out: Path, wake: socket.socket, seconds: float | None) -> None:
    """Takes commands until a signal comes or the time is over."""
    deadline = None if seconds is None else time.monotonic() + seconds
    folder = os.open(out, os.O_RDONLY | os.O_DIRECTORY)
    (out / "control.sock").unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as control, selectors.DefaultSelector() as selector:
        control.bind(f"/proc/self/fd/{folder}/control.sock")  # a short name for whatever path
        control.listen(8)
        selector.register(control, selectors.EVENT_READ)
        selector.register(wake, selectors.EVENT_READ)
        while True:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            ready = [key.fileobj for key, _ in selector.select(left)]
            if not ready or wake in ready:
                break
            connection, _ = control.accept()
            with connection:
                connection.settimeout(5)
                with suppress(OSError):  # whoever asked went away
                    connection.sendall(_answer(room, connection.makefile("rb").readline()))
    os.close(folder)


def _answer(room: StandInRoom, line: bytes) -> bytes:
    try:
        command = json.loads(line)
        room.fault(command["device"], command["fault"], command.get("value"))
        answer: dict[str, object] = {"ok": True}
    except (ValueError, KeyError, TypeError) as error:
        answer = {"ok": False, "error": f"not understood: {error!r}"}
    except (EquipmentError, OSError) as error:
        answer = {"ok": False, "error": str(error)}
    return json.dumps(answer, ensure_ascii=False).encode() + b"\n"


if __name__ == "__main__":
    sys.exit(main())
