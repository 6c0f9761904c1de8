"""What a camera's RTSP service demands for a login, and which fault it is where that cannot be given.

Digest with MD5 is answered, as every RTSP client does. The password itself (Basic) is sent where the configuration allows it.
"""

from drivers.faults import DeviceRefused
from drivers.login import Login, NoLogin
from drivers.ports import CameraAddress

ALGORITHMS = frozenset({"MD5", "MD5-SESS"})


def login_of(address: CameraAddress) -> Login:
    """The login at the camera's RTSP service."""
    return Login(address.user, address.password, allow_basic=address.allow_basic, algorithms=ALGORITHMS)


def refused(name: str) -> DeviceRefused:
    """The camera took the login and said no, or there is none."""
    return DeviceRefused("camera-refuses-stream-login", "compare-camera-user-and-password", name=name)


def unanswerable(error: NoLogin, name: str, uri: str) -> DeviceRefused:
    """No challenge may be answered. uri: the stream's, as it may be shown."""
    if error.demanded:
        text, mend = "camera-login-algorithm-unknown", "set-rtsp-login-to-digest-md5"
        return DeviceRefused(text, mend, name=name, uri=uri, algorithm=error.demanded)
    return DeviceRefused("camera-wants-stream-password-in-clear", "set-camera-login-to-digest", name=name, uri=uri)
