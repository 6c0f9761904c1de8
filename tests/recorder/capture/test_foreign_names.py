"""A camera names its stream in the characters of its maker, which need not be UTF-8: it is recorded all the same."""

from itertools import islice

import pytest

from drivers.ports import CameraAddress, Stream
from recorder.capture.camera import StreamReader
from recorder.media.packets import Packet
from tests.equipment import quirk_camera
from tests.equipment.quirk_camera import QuirkCamera


class InGbk(str):
    """A session description that goes out in GBK."""

    __slots__ = ()

    def encode(self, encoding: str = "gbk", errors: str = "strict") -> bytes:
        return super().encode(encoding, errors)


def test_a_session_name_in_gbk(monkeypatch: pytest.MonkeyPatch) -> None:
    described = vars(quirk_camera)["_sdp"]
    monkeypatch.setattr(quirk_camera, "_sdp", lambda quirks: InGbk(described(quirks).replace("s=quirk", "s=海康威视 摄像机")))
    with QuirkCamera() as camera:
        reader = StreamReader(Stream(camera.uri), CameraAddress("closeup", rtsp=camera.uri))
        try:
            assert len(list(islice((item for item in reader.packets() if isinstance(item, Packet)), 5))) == 5
        finally:
            reader.container.close()
