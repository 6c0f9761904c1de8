"""What a failed RTSP connection means for a person: which fault, in whose hand the mend is. Never a library's own word for it.

Status codes: RFC 2326, 7.1.1, and those that cameras use of HTTP.
"""

import errno
import logging
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import av
import av.logging

from drivers.faults import DeviceAbsent, DeviceFault, DeviceRefused, DeviceSilent
from recorder.capture.rtsp_login import unknown_digest

ANSWERED = re.compile(r"method (\w+) failed: (\d{3})")
NOT_OVER_TCP = 461
STATUS_CODES = {  # code and mend of what is wrong
    400: ("camera-refuses-rtsp-request", "restart-camera-check-firmware"),
    404: ("camera-has-no-such-stream", "check-stream-path-or-profile"),
    405: ("camera-refuses-rtsp-request", "restart-camera-check-firmware"),
    429: ("camera-has-too-many-viewers", "end-other-viewers-of-camera"),
    451: ("camera-refuses-rtsp-request", "restart-camera-check-firmware"),
    453: ("camera-has-too-many-viewers", "end-other-viewers-of-camera"),
    454: ("camera-lost-rtsp-session", "restart-camera-check-firmware"),
    455: ("camera-lost-rtsp-session", "restart-camera-check-firmware"),
    461: ("camera-refuses-rtp-over-tcp", "allow-rtp-over-tcp-in-camera"),
    503: ("camera-has-too-many-viewers", "end-other-viewers-of-camera"),
}
OTHER_STATUS = ("camera-stream-service-fails", "restart-camera-check-firmware")
BY_CLASS = {av.error.HTTPBadRequestError: 400, av.error.HTTPNotFoundError: 404, av.error.HTTPTooManyRequestsError: 429}
SHORTEST_S = 3.0  # of connections whose equal lengths mean something
AWAY = (111, 113, 101, 104, 32, 5)  # errno of a connection that is refused, has no way, or breaks
NO_SUCH_PROTOCOL = 93  # FFmpeg's own for a 461: it goes on to a transport that is not allowed

_listening = 0  # how many threads; the level of FFmpeg's messages is the process's
_level = threading.Lock()
logging.getLogger("libav").addHandler(logging.NullHandler())
logging.getLogger("libav").propagate = False


@contextmanager
def messages() -> Iterator[list[tuple[int, str, str]]]:
    """FFmpeg's own messages of this thread meanwhile: the status code of a refusal stands nowhere else.

    Not for a process that decodes: there a thread of FFmpeg's might wait for Python, and Python for it.
    """
    _listen(1)
    try:
        with av.logging.Capture(True) as heard:
            yield heard
    finally:
        _listen(-1)


def _listen(more: int) -> None:
    global _listening  # noqa: PLW0603  # FFmpeg has one level for the process
    with _level:
        _listening += more
        av.logging.set_level(av.logging.ERROR if _listening else None)


def status_of(error: Exception, heard: list[tuple[int, str, str]]) -> int:
    """The status code that the camera answered last, 0 where it answered none."""
    told = [int(found[2]) for _, _, text in heard if (found := ANSWERED.search(text))]
    if isinstance(error, OSError) and error.errno == NO_SUCH_PROTOCOL:
        return NOT_OVER_TCP
    return told[-1] if told else next((code for kind, code in BY_CLASS.items() if isinstance(error, kind)), 0)


def stream_fault(
    error: Exception, name: str, uri: str, *, late_s: float = 0.0, heard: list[tuple[int, str, str]] | None = None
) -> DeviceFault:
    """The fault behind an error of the connection. uri: as it may be shown. late_s: for so long nothing came, else 0.

    heard: what FFmpeg said while the connection was opened, None once it stood.
    """
    here: dict[str, Any] = {"name": name, "uri": uri}
    status = status_of(error, heard or [])
    if isinstance(error, av.error.HTTPUnauthorizedError) and (algorithm := unknown_digest(uri)):
        return DeviceRefused("camera-login-algorithm-unknown", "set-rtsp-login-to-md5", algorithm=algorithm, **here)
    if isinstance(error, (av.error.HTTPUnauthorizedError, av.error.HTTPForbiddenError)) or status in (401, 403):
        return DeviceRefused("camera-refuses-stream-login", "compare-camera-user-and-password", name=name)
    if status:
        code, mend = STATUS_CODES.get(status, OTHER_STATUS)
        return DeviceFault(code, mend, status=status, **here)
    if late_s and heard is not None:
        return DeviceSilent("camera-stream-not-answered-in-time", "check-camera-load-and-viewers", seconds=late_s, **here)
    if heard is not None and isinstance(error, TimeoutError):  # no connection came about at all
        why = os.strerror(errno.ETIMEDOUT)
        return DeviceAbsent("camera-does-not-answer", "check-power-cable-and-address", why=why, **here)
    if late_s or isinstance(error, (av.error.ExitError, TimeoutError)):
        return DeviceSilent("camera-frozen", "check-cable-switch-restart-camera", name=name, seconds=late_s)
    if isinstance(error, OSError) and error.errno in AWAY:
        return DeviceAbsent("camera-does-not-answer", "check-power-cable-and-address", why=error.strerror, **here)
    if isinstance(error, av.error.InvalidDataError):
        return DeviceFault("camera-stream-not-understood", "check-stream-codec-and-rtsp", **here)
    return DeviceFault(
        "camera-stream-unusable", "check-stream-codec-and-rtsp", why=getattr(error, "strerror", None) or "-", **here
    )


def equal_lengths(lasted_s: list[float]) -> float | None:
    """How long the last connections lasted, s, where three of them lasted equally long; else None. Pure.

    So a camera ends a session whose keep-alive it does not count (RFC 2326, 12.37).
    """
    recent = lasted_s[-3:]
    if len(recent) < 3 or min(recent) < SHORTEST_S or max(recent) - min(recent) > max(1.0, 0.05 * max(recent)):
        return None
    return sum(recent) / len(recent)
