"""Cameras: who they are, what their clock says, where their streams are, and where they themselves went.

``describe`` and ``find`` ask in this process; ``describe_apart`` and ``find_apart`` ask through a short-lived child (``python -m
drivers.camera``), so that the SOAP library's memory and a camera that hangs stay out of a recording process. The child is
confined (drivers.confined), and what it answers is bounded and checked like anything else that comes from outside. This module
itself is light.
"""

import json
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from drivers.confined import confine
from drivers.discovery import LISTEN_S, MAX_DEVICES, Target, interface_towards, probe
from drivers.faults import DeviceAbsent, DeviceFault, DeviceRefused, DeviceSilent
from drivers.ports import CameraAddress, CameraDescription, Stream
from drivers.stream_address import literal_secret
from wording import Fault

SUB_SIZE = (640, 360)
REJECTED_S = 60.0  # a device that is not our camera sees at most one password a minute, so that it locks no account
UNCLEAR_S = 15.0  # …and one that gave no usable answer is asked again after this
UNTOLD = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)  # an answer that is none
FAULTS = {kind.__name__: kind for kind in (DeviceAbsent, DeviceRefused, DeviceSilent, DeviceFault)}
ANSWER_BYTES = 1 << 18  # of the child's line
PIECE_BYTES = 1 << 16
MOST_HOST = 260  # characters of a host's name and port


def describe(
    address: CameraAddress,
    *,
    timeout_s: float = 5.0,
    sub_size: tuple[int, int] = SUB_SIZE,
    now: Callable[[], float] = time.time,
    key_frame: str = "",
) -> CameraDescription:
    """Asks the camera. With a plain RTSP address nothing is asked: its two addresses are the description.

    timeout_s: of each connection and each answer. sub_size: the inset's, for the choice of the sub-stream. now: our wall clock,
    Unix seconds. key_frame: a profile's token: its streams are wanted with a key frame at once, if the camera can.
    Raises DeviceAbsent (nothing there), DeviceRefused (user or password), DeviceSilent (took the connection and does not
    answer), DeviceFault (no usable answer).
    """
    if address.rtsp:
        return _plain(address)
    _reach(address, timeout_s)
    answer: CameraDescription = _onvif_device().ask(address, timeout_s, sub_size, now, key_frame=key_frame)
    return answer


@dataclass(frozen=True, slots=True)
class Search:
    """What a search gave. found: the camera with its streams, None where nobody is it; host, port: where its ONVIF service is.

    rejected_s: devices that were asked and are not the camera, by host:port, and for how long each is not to be asked again, s.
    """

    found: CameraDescription | None = None
    host: str = ""
    port: int = 0
    rejected_s: dict[str, float] | None = None


def find(
    address: CameraAddress,
    known: CameraDescription,
    target: Target,
    *,
    places: Sequence[tuple[str, int]] = (),
    rejected: Collection[str] = (),
    timeout_s: float = 2.0,
    listen_s: float = LISTEN_S,
    sub_size: tuple[int, int] = SUB_SIZE,
    now: Callable[[], float] = time.time,
) -> Search:
    """Searches the camera by who it is (CameraDescription.is_device), among what answers a probe and the places.

    address: as configured, with the credentials. known: what the camera said of itself before. places: host and port to be asked
    besides, without a probe. rejected: host:port never to be asked. target without an interface: the one towards the address.
    Raises DeviceFault where the network cannot be searched.
    """

    def same_endpoint(endpoint: str) -> bool:
        return endpoint != "" and endpoint == known.endpoint

    if not target.interface:
        target = replace(target, interface=interface_towards(address.host, address.port))
    answers = probe(
        target, listen_s=listen_s, enough=lambda answer: same_endpoint(answer.endpoint) and answer.place not in rejected
    )
    tls = address.tls_fingerprint != ""
    endpoints = {(answer.host, answer.port): answer.endpoint for answer in answers if answer.tls == tls}
    if tls:  # a camera names its plain service rather
        endpoints = {(answer.host, address.port): answer.endpoint for answer in answers} | endpoints
    asked: dict[str, float] = {}
    candidates = sorted(endpoints, key=lambda place: not same_endpoint(endpoints[place]))
    for host, port in dict.fromkeys([*candidates, *places]):
        text = f"{host}:{port}"
        if text in rejected:
            continue
        candidate = replace(address, host=host, port=port)
        endpoint = endpoints.get((host, port), "")
        try:
            _reach(candidate, timeout_s)
            who: CameraDescription = _onvif_device().identify(candidate, timeout_s, now)
            if who.is_device(known):
                found = describe(candidate, timeout_s=timeout_s, sub_size=sub_size, now=now)
                return Search(replace(found, endpoint=found.endpoint or endpoint), host, port, asked)
            asked[text] = REJECTED_S
        except DeviceAbsent:
            continue  # it was asked nothing
        except DeviceRefused:
            asked[text] = REJECTED_S
        except DeviceFault:
            if not same_endpoint(endpoint):  # ours may still be starting
                asked[text] = UNCLEAR_S
    return Search(rejected_s=asked)


def _plain(address: CameraAddress) -> CameraDescription:
    for key, uri in (("rtsp", address.rtsp), ("rtsp_sub", address.rtsp_sub)):
        if "@" in urlsplit(uri).netloc or literal_secret(uri):
            raise DeviceRefused(
                "camera-address-contains-credentials",
                "move-credentials-out-of-camera-address",
                name=address.name,
                key=key,
            )
    return CameraDescription(Stream(address.rtsp), Stream(address.rtsp_sub) if address.rtsp_sub else None)


def _reach(address: CameraAddress, timeout_s: float) -> None:
    """A plain TCP connection first: it alone tells exactly why a camera is not there, and TLS which certificate it has.

    Raises DeviceAbsent, DeviceRefused (another certificate), DeviceFault (no TLS).
    """
    try:
        line = socket.create_connection((address.host, address.port), timeout_s)
        if address.tls_fingerprint:
            from drivers.tls import pinned

            line = pinned(line, address.name, address.tls_fingerprint, timeout_s)
        line.close()
    except (OSError, UnicodeError) as error:
        raise _absent(address, error, timeout_s) from error


def _absent(address: CameraAddress, error: Exception, limit_s: float) -> DeviceAbsent:
    where: dict[str, Any] = {"name": address.name, "host": address.host, "port": address.port}
    cable = "check-camera-cables-and-address-settings"
    if isinstance(error, socket.gaierror | UnicodeError):
        return DeviceAbsent("camera-host-unknown", "check-camera-host-and-name-server", **where)
    if isinstance(error, TimeoutError):
        return DeviceAbsent("camera-connection-timeout", cable, limit_s=limit_s, **where)
    if isinstance(error, ConnectionRefusedError):
        return DeviceAbsent(
            "camera-connection-refused",
            "check-camera-port-onvif-or-startup",
            **where,
        )
    why = getattr(error, "strerror", None) or error
    return DeviceAbsent("camera-unreachable", cable, why=why, **where)


def _onvif_device() -> ModuleType:
    """The SOAP side, loaded on first use; loading it sets up the root logger, which is undone."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    from drivers import onvif_device

    root.handlers[:] = handlers
    root.setLevel(level)
    return onvif_device


def describe_apart(
    address: CameraAddress,
    *,
    timeout_s: float = 5.0,
    sub_size: tuple[int, int] = SUB_SIZE,
    limit_s: float = 15.0,
    key_frame: str = "",
) -> CameraDescription:
    """``describe`` in a child process that is gone after limit_s at the latest. Raises as describe does."""
    question = {"timeout_s": timeout_s, "sub_size": sub_size, "key_frame": key_frame}
    return _at(address.host, read_answer(_ask_apart({**asdict(address), **question}, address, limit_s)), address)


def find_apart(
    address: CameraAddress,
    known: CameraDescription,
    target: Target,
    *,
    places: Sequence[tuple[str, int]] = (),
    rejected: Collection[str] = (),
    sub_size: tuple[int, int] = SUB_SIZE,
    limit_s: float = 20.0,
) -> Search:
    """``find`` in a child process that is gone after limit_s at the latest. Raises DeviceFault as find does, DeviceSilent."""
    search = {"known": known.as_dict(), "target": asdict(target), "places": list(places), "rejected": sorted(rejected)}
    answer = _read(_ask_apart({**asdict(address), "sub_size": sub_size, "search": search}, address, limit_s))
    try:
        found, host, port = answer["description"], str(answer["host"])[:MOST_HOST], int(answer["port"])
        description = _at(host, CameraDescription.from_dict(found), address) if found else None
        rejected = list(answer["rejected_s"].items())[:MAX_DEVICES]
        return Search(description, host, port, {str(place)[:MOST_HOST]: float(seconds) for place, seconds in rejected})
    except UNTOLD as error:
        raise _no_answer() from error


def _at(host: str, told: CameraDescription, address: CameraAddress) -> CameraDescription:
    """The description, whose streams are where the camera was asked and nowhere else. Raises DeviceFault."""
    plain = {address.rtsp, address.rtsp_sub} if address.rtsp else None
    for stream in filter(None, (told.main, told.sub)):
        there = stream.uri in plain if plain else urlsplit(stream.uri).hostname == host.strip("[]").lower()
        if not there:
            raise _no_answer()
    return told


def _ask_apart(question: dict[str, object], address: CameraAddress, limit_s: float) -> bytes:
    """What the child printed, ANSWER_BYTES at most. Raises DeviceSilent where it did not end in time."""
    path = os.pathsep.join(p for p in (str(Path(__file__).resolve().parents[1]), os.environ.get("PYTHONPATH")) if p)
    with subprocess.Popen(
        [sys.executable, "-m", "drivers.camera"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": path},
    ) as child:
        assert child.stdin is not None and child.stdout is not None
        try:
            with suppress(BrokenPipeError):
                child.stdin.write(json.dumps({**question, "limit_s": limit_s}).encode())
                child.stdin.close()
            answer = _read_within(child.stdout.fileno(), time.monotonic() + limit_s + 1)
        finally:
            child.kill()  # it has told its line, or never will
    if answer is None or child.returncode == -signal.SIGALRM:
        raise DeviceSilent(
            "camera-stream-query-timeout",
            "restart-camera-check-load-and-firmware",
            name=address.name,
            host=address.host,
            port=address.port,
            limit_s=limit_s,
        )
    return answer


def _read_within(file: int, deadline: float) -> bytes | None:
    """What comes until the other end is closed, or until it is too much; None where that is not by the deadline."""
    found = bytearray()
    waiting = select.poll()  # of any number; select knows none above 1023
    waiting.register(file, select.POLLIN)
    while len(found) <= ANSWER_BYTES:
        if not waiting.poll(max(0.0, deadline - time.monotonic()) * 1000):
            return None
        piece = os.read(file, PIECE_BYTES)
        if not piece:
            break
        found += piece
    return bytes(found)


def read_answer(line: bytes) -> CameraDescription:
    """What ``python -m drivers.camera`` printed. Raises the DeviceFault it tells, or one that says it told nothing."""
    try:
        return CameraDescription.from_dict(_read(line)["description"])
    except UNTOLD as error:
        raise _no_answer() from error


def _read(line: bytes) -> dict[str, Any]:
    try:
        if len(line) > ANSWER_BYTES:
            raise ValueError("too long")
        answer = json.loads(line)
        if answer["ok"]:
            return dict(answer)
        told, kind = Fault.from_dict(answer["fault"]), FAULTS[answer["kind"]]
    except UNTOLD as error:
        raise _no_answer() from error
    fault = kind(told.code, told.mend)
    fault.values = told.values  # not as arguments: a helper that reads what cameras send may name a value as one of them
    raise fault


def _no_answer() -> DeviceFault:
    return DeviceFault(
        "camera-query-ended-without-answer",
        "repeat-self-check-send-log",
    )


def _answer(question: dict[str, Any]) -> dict[str, object]:
    timeout_s, size = float(question.pop("timeout_s", 5.0)), question.pop("sub_size", SUB_SIZE)
    search, key_frame = question.pop("search", None), str(question.pop("key_frame", ""))
    address, sub_size = CameraAddress(**question), (int(size[0]), int(size[1]))
    if search is None:
        found = describe(address, timeout_s=timeout_s, sub_size=sub_size, key_frame=key_frame)
        return {"ok": True, "description": found.as_dict()}
    known, target = CameraDescription.from_dict(search["known"]), Target(**search["target"])
    places = [(str(host), int(port)) for host, port in search["places"]]
    result = find(address, known, target, places=places, rejected=search["rejected"], sub_size=sub_size)
    return {"ok": True, **asdict(result), "description": result.found.as_dict() if result.found else None}


def main() -> int:
    """One JSON object on stdin (the fields of CameraAddress, timeout_s, sub_size, limit_s, key_frame), one JSON line on stdout.

    ``{"ok": true, "description": …}`` or ``{"ok": false, "kind": "DeviceAbsent", "fault": Fault.as_dict()}``. With ``search``
    (known, target, places, rejected: see find) the answer also has host, port and rejected_s; description is null where no
    camera was found.
    """
    confine()
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    try:
        question = json.load(sys.stdin)
        signal.setitimer(signal.ITIMER_REAL, float(question.pop("limit_s", 15.0)))  # SIGALRM ends this process, whatever hangs
        answer = _answer(question)
    except DeviceFault as fault:
        answer = {"ok": False, "kind": type(fault).__name__, "fault": fault.as_dict()}
    except Exception as error:  # the top of this process: whoever asked gets an answer
        logging.exception("asking a camera failed")
        defect = DeviceFault(
            "camera-query-failed",
            "repeat-self-check-send-log",
            why=repr(error),
        )
        answer = {"ok": False, "kind": "DeviceFault", "fault": defect.as_dict()}
    sys.stdout.write(json.dumps(answer) + "\n")
    return 0 if answer["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
