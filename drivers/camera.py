"""Cameras: who they are, what their clock says and where their streams are.

``describe`` asks in this process; ``describe_apart`` asks through a short-lived child (``python -m drivers.camera``), so that the
SOAP library's memory and a camera that hangs stay out of a recording process. This module itself is light.
"""

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from drivers.faults import DeviceAbsent, DeviceFault, DeviceRefused, DeviceSilent
from drivers.ports import CameraAddress, CameraDescription, Stream

SUB_SIZE = (640, 360)
FAULTS = {kind.__name__: kind for kind in (DeviceAbsent, DeviceRefused, DeviceSilent, DeviceFault)}


def credentialed(uri: str, user: str, password: str) -> str:
    """The address with user and password for the RTSP client, percent-encoded. Never to be stored, shown or logged."""
    parts = urlsplit(uri)
    if not user or "@" in parts.netloc:
        return uri
    return urlunsplit(parts._replace(netloc=f"{quote(user, safe='')}:{quote(password, safe='')}@{parts.netloc}"))


def describe(
    address: CameraAddress,
    *,
    timeout_s: float = 5.0,
    sub_size: tuple[int, int] = SUB_SIZE,
    now: Callable[[], float] = time.time,
) -> CameraDescription:
    """Asks the camera. With a plain RTSP address nothing is asked: its two addresses are the description.

    timeout_s: of each connection and each answer. sub_size: the inset's, for the choice of the sub-stream. now: our wall clock,
    Unix seconds. Raises DeviceAbsent (nothing there), DeviceRefused (user or password), DeviceSilent (took the connection and
    does not answer), DeviceFault (no usable answer).
    """
    if address.rtsp:
        return _plain(address)
    _reach(address, timeout_s)
    answer: CameraDescription = _onvif_device().ask(address, timeout_s, sub_size, now)
    return answer


def _plain(address: CameraAddress) -> CameraDescription:
    for key, uri in (("rtsp", address.rtsp), ("rtsp_sub", address.rtsp_sub)):
        if "@" in urlsplit(uri).netloc:
            raise DeviceRefused(
                "The address camera.{name}.{key} carries a user or password, which reports would show.",
                "Take them out of the address; give camera.{name}.user and camera.{name}.password_file.",
                name=address.name,
                key=key,
            )
    return CameraDescription(Stream(address.rtsp), Stream(address.rtsp_sub) if address.rtsp_sub else None)


def _reach(address: CameraAddress, timeout_s: float) -> None:
    """A plain TCP connection first: it alone tells exactly why a camera is not there. Raises DeviceAbsent."""
    try:
        socket.create_connection((address.host, address.port), timeout_s).close()
    except (OSError, UnicodeError) as error:
        raise _absent(address, error, timeout_s) from error


def _absent(address: CameraAddress, error: Exception, limit_s: float) -> DeviceAbsent:
    where: dict[str, Any] = {"name": address.name, "host": address.host, "port": address.port}
    cable = "Check the camera's power and network cable, and camera.{name}.host and camera.{name}.port."
    if isinstance(error, socket.gaierror | UnicodeError):
        return DeviceAbsent(
            "The host {host} of the camera {name} is not known.", "Check camera.{name}.host and the name server.", **where
        )
    if isinstance(error, TimeoutError):
        return DeviceAbsent(
            "The camera {name} does not answer at {host}:{port} within {limit_s} s.", cable, limit_s=limit_s, **where
        )
    if isinstance(error, ConnectionRefusedError):
        return DeviceAbsent(
            "At {host}:{port} nothing accepts connections for the camera {name}.",
            "Check camera.{name}.host and camera.{name}.port, and that ONVIF is switched on in the camera. It may still be"
            " starting.",
            **where,
        )
    why = getattr(error, "strerror", None) or error
    return DeviceAbsent("The camera {name} does not answer at {host}:{port}: {why}.", cable, why=why, **where)


def _onvif_device() -> ModuleType:
    """The SOAP side, loaded on first use; loading it sets up the root logger, which is undone."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    from drivers import onvif_device

    root.handlers[:] = handlers
    root.setLevel(level)
    return onvif_device


def describe_apart(
    address: CameraAddress, *, timeout_s: float = 5.0, sub_size: tuple[int, int] = SUB_SIZE, limit_s: float = 15.0
) -> CameraDescription:
    """``describe`` in a child process that is gone after limit_s at the latest. Raises as describe does."""
    question = {**asdict(address), "timeout_s": timeout_s, "sub_size": sub_size, "limit_s": limit_s}
    path = os.pathsep.join(p for p in (str(Path(__file__).resolve().parents[1]), os.environ.get("PYTHONPATH")) if p)
    try:
        child = subprocess.run(
            [sys.executable, "-m", "drivers.camera"],
            input=json.dumps(question).encode(),
            capture_output=True,
            timeout=limit_s + 1,
            env={**os.environ, "PYTHONPATH": path},
            check=False,
        )
        late = child.returncode == -signal.SIGALRM
    except subprocess.TimeoutExpired:
        late = True
    if late:
        raise DeviceSilent(
            "The camera {name} at {host}:{port} did not tell its streams within {limit_s} s.",
            "Restart the camera; if it comes again, look at its load and its firmware.",
            name=address.name,
            host=address.host,
            port=address.port,
            limit_s=limit_s,
        )
    return read_answer(child.stdout)


def read_answer(line: bytes) -> CameraDescription:
    """What ``python -m drivers.camera`` printed. Raises the DeviceFault it tells, or one that says it told nothing."""
    try:
        answer = json.loads(line)
        if answer["ok"]:
            return CameraDescription.from_dict(answer["description"])
        told, kind = answer["fault"], FAULTS[answer["kind"]]
        fault = kind(str(told["text"]), str(told["mend"]), **told["values"])
    except (ValueError, KeyError, TypeError) as error:
        raise DeviceFault(
            "The program that asks the cameras ended without an answer.",
            "Run the self-check again; if it comes again, send the log to the maker.",
        ) from error
    raise fault


def main() -> int:
    """One JSON object on stdin (the fields of CameraAddress, timeout_s, sub_size, limit_s), one JSON line on stdout.

    ``{"ok": true, "description": …}`` or ``{"ok": false, "kind": "DeviceAbsent", "fault": Fault.as_dict()}``.
    """
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    try:
        question = json.load(sys.stdin)
        signal.setitimer(signal.ITIMER_REAL, float(question.pop("limit_s", 15.0)))  # SIGALRM ends this process, whatever hangs
        timeout_s, size = float(question.pop("timeout_s", 5.0)), question.pop("sub_size", SUB_SIZE)
        found = describe(CameraAddress(**question), timeout_s=timeout_s, sub_size=(int(size[0]), int(size[1])))
        answer: dict[str, object] = {"ok": True, "description": found.as_dict()}
    except DeviceFault as fault:
        answer = {"ok": False, "kind": type(fault).__name__, "fault": fault.as_dict()}
    except Exception as error:  # the top of this process: whoever asked gets an answer
        logging.exception("asking a camera failed")
        defect = DeviceFault(
            "Asking the camera failed: {why}.",
            "Run the self-check again; if it comes again, send the log to the maker.",
            why=repr(error),
        )
        answer = {"ok": False, "kind": "DeviceFault", "fault": defect.as_dict()}
    sys.stdout.write(json.dumps(answer) + "\n")
    return 0 if answer["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
