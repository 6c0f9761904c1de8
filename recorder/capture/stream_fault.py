"""What a failed RTSP connection means for a person: which fault, in whose hand the mend is. Never a library's own word for it.

Status codes: RFC 2326, 7.1.1, and those that cameras use of HTTP.
"""

import errno
import os
from typing import Any

import av

from drivers.faults import DeviceAbsent, DeviceFault, DeviceRefused, DeviceSilent

FORBIDDEN = 403
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
SHORTEST_S = 3.0  # of connections whose equal lengths mean something
AWAY = (111, 113, 101, 104, 32, 5)  # errno of a connection that is refused, has no way, or breaks


def stream_fault(error: Exception, name: str, uri: str, *, late_s: float = 0.0, status: int | None = None) -> DeviceFault:
    """The fault behind an error of the connection. uri: as it may be shown. late_s: for so long nothing came, else 0.

    status: of RTSP, with which the camera refused to open it, 0 where it did not; None once it stood.
    """
    here: dict[str, Any] = {"name": name, "uri": uri}
    if status == FORBIDDEN:
        return DeviceRefused("camera-refuses-stream-login", "compare-camera-user-and-password", name=name)
    if status:
        code, mend = STATUS_CODES.get(status, OTHER_STATUS)
        return DeviceFault(code, mend, status=status, **here)
    if late_s and status is not None:
        return DeviceSilent("camera-stream-not-answered-in-time", "check-camera-load-and-viewers", seconds=late_s, **here)
    if status is not None and isinstance(error, TimeoutError):  # no connection came about at all
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
