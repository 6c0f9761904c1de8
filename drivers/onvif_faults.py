"""What the SOAP library's and HTTP's errors mean for a person: which fault of the camera, and what to do.

Loaded with drivers.onvif_device alone.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests
from lxml import etree
from onvif.exceptions import ONVIFError
from requests_toolbelt.multipart import decoder  # type: ignore[import-untyped]
from zeep.exceptions import Error as SoapError
from zeep.exceptions import Fault as SoapFault

from drivers.faults import DeviceFault, DeviceRefused, DeviceSilent
from drivers.login import NoLogin
from drivers.onvif_transport import MOST_BYTES, NotSoapError, RedirectionError, TooLongError
from drivers.ports import CameraAddress
from wording.sentence import sentence

# What the libraries' parsers run into where an answer is none: an envelope without a body, parts without a border, no number.
UNREADABLE = (
    AttributeError, LookupError, TypeError, ValueError,
    decoder.ImproperBodyPartContentException, decoder.NonMultipartContentTypeException,
)  # fmt: skip
UNUSABLE = (SoapError, ONVIFError, requests.RequestException, etree.LxmlError, *UNREADABLE)
ANSWERS = {
    "html": "answer-is-html",
    "json": "answer-is-json",
    "text": "answer-is-text",
    "packed": "answer-is-packed",
    "nothing": "answer-is-nothing",
}
HTTP_ERROR = 400
REFUSAL = re.compile(r"not\s*authori[sz]|unauthori[sz]ed|authenticat", re.IGNORECASE)


def refused(error: BaseException) -> bool:
    """Whether a SOAP or HTTP error says: wrong user, password or clock."""
    if getattr(error, "status_code", None) in (401, 403):
        return True
    subcodes = " ".join(str(code) for code in getattr(error, "subcodes", None) or ())
    return hasattr(error, "subcodes") and bool(REFUSAL.search(f"{subcodes} {error}"))


def where(address: CameraAddress) -> dict[str, Any]:
    """The values by which a fault names the camera."""
    return {"name": address.name, "host": address.host, "port": address.port}


@contextmanager
def faults(address: CameraAddress, timeout_s: float) -> Iterator[None]:
    """Turns the libraries' errors into faults that name the camera and the mend."""
    try:
        yield
    except requests.Timeout as error:
        raise _silent(address, timeout_s) from error
    except NoLogin as error:
        if error.demanded:
            text, mend = "camera-onvif-login-algorithm-unknown", "set-camera-login-to-digest"
            raise DeviceRefused(text, mend, algorithm=error.demanded, **where(address)) from error
        raise DeviceRefused("camera-wants-password-in-clear", "set-camera-login-to-digest", **where(address)) from error
    except UNUSABLE as error:
        if "timed out" in str(error):  # a time-out in the middle of a body comes as a connection error
            raise _silent(address, timeout_s) from error
        if not refused(error):
            raise _unusable(error, address) from error
        raise DeviceRefused(
            "camera-refuses-login",
            "check-camera-user-and-password",
            user=address.user or "-",
            **where(address),
        ) from error


def _unusable(error: BaseException, address: CameraAddress) -> DeviceFault:
    """What is wrong with an answer, in words; a library's own word for it is none."""
    mend, here = "check-camera-address-and-onvif", where(address)
    status = getattr(error, "status_code", None) or 0
    if isinstance(error, RedirectionError):
        return DeviceFault(
            "camera-redirects-onvif", "give-address-camera-redirects-to", status=status, target=error.target, **here
        )
    if isinstance(error, TooLongError):
        return DeviceFault("camera-onvif-answer-too-long", mend, limit=MOST_BYTES >> 10, **here)
    if isinstance(error, NotSoapError):
        if status >= HTTP_ERROR:
            return DeviceFault("camera-answers-http-error", mend, status=status, **here)
        return DeviceFault("camera-answers-something-else", mend, what=sentence(ANSWERS[error.kind]), **here)
    if isinstance(error, (SoapFault, ONVIFError)) and str(error).strip():
        return DeviceFault("camera-does-not-speak-onvif", mend, why=" ".join(str(error).split())[:160], **here)
    if isinstance(error, requests.ConnectionError):
        return DeviceFault("camera-ends-onvif-connection", mend, **here)
    return DeviceFault("camera-onvif-answer-not-understood", "ask-maker-for-firmware-or-give-rtsp", **here)


def _silent(address: CameraAddress, limit_s: float) -> DeviceSilent:
    return DeviceSilent(
        "camera-connects-but-gives-no-answer",
        "restart-camera-check-load-and-firmware",
        limit_s=limit_s,
        **where(address),
    )
