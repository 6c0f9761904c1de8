"""A camera that is taken over in mid-session gets neither the PC's memory nor the password, and the other tracks lose nothing."""

import signal
import time
from base64 import b64encode
from pathlib import Path

import pytest

from tests.equipment.talk import Service, Talk
from tests.live_room import LiveRoom, gap_spans, wait_for

MIB = 1 << 20
SECONDS = 12.0

pytestmark = [pytest.mark.attack, pytest.mark.timeout(240)]


def endless(to: Talk) -> None:
    to.request()
    to.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/soap+xml\r\n\r\n<Envelope>")
    while True:
        to.send(b" " * MIB)


def by_turns(to: Talk) -> None:
    """RTSP that demands the password, sends viewers elsewhere, or never ends, one after the other."""
    while asked := to.request():
        if asked[0].startswith("OPTIONS"):
            to.rtsp(asked)
        elif to.number % 3 == 0:
            to.rtsp(asked, "302 Found", b"", "Location: rtsp://127.0.0.1:9/elsewhere")
        elif to.number % 3 == 1:
            to.rtsp(asked, "200 OK", b"v=0\r\n", length=2_000_000_000)
            while True:
                to.send(b"a=x\r\n" * 100_000)
        else:
            to.rtsp(asked, "401 Unauthorized", b"", 'WWW-Authenticate: Basic realm="c"')


def peak_bytes(pid: int) -> int:
    """The largest memory that a process has had (proc(5), VmHWM)."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def test_a_camera_that_is_taken_over_costs_its_own_track_alone(open_room: LiveRoom) -> None:
    room, camera = open_room, open_room.stand_ins.overview
    answer = room.start()
    room.record_for(2.0)
    room.stand_ins.fault("overview", "gone")
    with Service(endless, port=camera.onvif_port) as onvif, Service(by_turns, port=camera.rtsp_port) as rtsp:
        before = room.pid("overview")
        room.signal("overview", signal.SIGKILL)  # a track that begins asks its camera who it is
        pid = room.replaced("overview", before)
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            assert room.recording(("closeup", "microphone")), "the others go on"
            time.sleep(0.25)
        assert onvif.connections and rtsp.connections >= 3
        heard = bytes(onvif.heard + rtsp.heard)
    password = camera.password.encode()
    assert password not in heard and b64encode(b"admin:" + password) not in heard
    assert b"Authorization: Basic" not in heard
    assert room.pid("overview") == pid and peak_bytes(pid) < 300 * MIB
    room.stand_ins.fault("overview", "back")
    wait_for(room.recording, "the camera is recorded again", 30)
    room.stop()
    for track in ("closeup", "microphone"):
        assert gap_spans(room.manifest(answer), track) == []
    assert gap_spans(room.manifest(answer), "overview")
    room.verified(answer)
