"""The composite's encoder against x264's own defaults at crf 26, on the stand-in's room scene.

Six seconds of the overview camera's 1080p25 pictures are encoded with the product's own options (crf 27, no adaptive
quantisation), and with the preset's defaults at crf 26. Given are bit rate, CPU seconds
and, for regions of the scene, the PSNR of the luma against the pictures that went in, in dB, of every fifth picture.
"""

import argparse
import json
import sys
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from recorder.composite.encoder import EncoderSettings
from recorder.composite.picture import HEIGHT, WIDTH, Plane, plane_view
from recorder.composite.software_encoder import x264_options
from tests.equipment.clips import prepare

HOME = Path(__file__).resolve().parents[1]
PICTURES, EVERY, FPS = 150, 5, 25
REGIONS = {  # rows, columns of the scene
    "face": (slice(470, 660), slice(860, 1060)),
    "clock": (slice(200, 380), slice(730, 1200)),
    "wall": (slice(400, 600), slice(340, 700)),
    "all": (slice(0, HEIGHT), slice(0, WIDTH)),
}


def decode(codec: str, units: list[bytes], extradata: bytes = b"") -> list[av.VideoFrame]:
    """All pictures of some access units."""
    decoder = av.CodecContext.create(codec, "r")
    assert isinstance(decoder, av.VideoCodecContext)
    if extradata:
        decoder.extradata = extradata
    return [f for unit in units for f in decoder.decode(av.Packet(unit))] + decoder.decode(None)


def luma(frame: av.VideoFrame) -> Plane:
    """A copy, shape (1080, 1920)."""
    return plane_view(frame.planes[0], WIDTH, HEIGHT).copy()


def encode(frames: list[av.VideoFrame], options: dict[str, str]) -> dict[str, Any]:
    """Bit rate, CPU time and PSNR by region."""
    encoder: Any = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    encoder.time_base, encoder.framerate, encoder.options, encoder.thread_count = Fraction(1, FPS), FPS, options, 1
    began = time.process_time()
    packets = []
    for n, frame in enumerate(frames):
        frame.pts, frame.time_base, frame.pict_type = n, Fraction(1, FPS), av.video.frame.PictureType.NONE
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    seconds = time.process_time() - began
    back = decode("h264", [bytes(p) for p in packets], bytes(encoder.extradata or b""))
    errors: dict[str, list[float]] = {name: [] for name in REGIONS}
    for source, result in list(zip(frames, back, strict=True))[::EVERY]:
        difference = luma(source).astype(np.float32) - luma(result)
        for name, region in REGIONS.items():
            errors[name].append(float(np.mean(difference[region] ** 2)))
    return {
        "kbit_s": round(sum(p.size for p in packets) * 8 * FPS / len(frames) / 1000),
        "cpu_ms_per_picture": round(seconds / len(frames) * 1000, 2),
        "psnr_db": {name: round(10 * float(np.log10(255**2 / np.mean(values))), 2) for name, values in errors.items()},
    }


def main() -> int:
    argparse.ArgumentParser(prog="bench/encoder", description=__doc__).parse_args()
    units = prepare(HOME / ".cache" / "equipment").units("overview", "main")[:PICTURES]
    frames = decode("h264", units)
    product = x264_options(EncoderSettings(27, "superfast", 96))
    default = {key: value for key, value in product.items() if key != "x264-params"} | {"crf": "26"}
    sys.stdout.write(json.dumps({"product": encode(frames, product), "default": encode(frames, default)}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
