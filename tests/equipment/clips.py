"""Prepares the cameras' clips: drawn once, encoded once, kept in a cache folder, served for ever without encoding again.

A clip is a folder with, for each camera, stream and variant, ``<camera>-<stream>-<variant>.bin``, the access units in Annex B
one after the other, and beside it a ``.json`` index::

    {"codec": "h264", "width": 1920, "height": 1080, "fps": 25, "gop": 25, "sizes": [81234, 9123, …]}

Every ``gop``-th access unit, the first included, is an IDR picture with its parameter sets; no B-frames, closed groups, an even
number of groups: a clip can be repeated, and swapped for another variant at any key frame, without a fault in the stream.
Variants: ``scene`` (the film), ``still`` (one picture for ever, equal to the bit, as of a hung encoder), ``black`` (a covered
lens).
"""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Literal, get_args

import av
import numpy as np

from tests.equipment.canvas import Picture
from tests.equipment.scene import FPS, HEIGHT, WIDTH, Planes, Scene, View, WallClock, scaled

FORMAT = 6  # of the cache; raise it where the pictures or the files change
Codec = Literal["h264", "h265"]
STREAMS = ("main", "sub")
VARIANTS = ("scene", "still", "black")
SHORT = 2  # groups of the variants still and black


@dataclass(frozen=True, slots=True)
class ClipRecipe:
    """What the cameras show. seconds: a multiple of 5 (the flash) and even in groups of pictures. gop: pictures, divides 125."""

    seconds: int = 20
    codec: Codec = "h264"
    width: int = 1920
    height: int = 1080
    bits_per_s: int = 4_000_000
    sub_width: int = 640
    sub_height: int = 360
    sub_bits_per_s: int = 500_000
    gop: int = 25
    clock: WallClock = field(default=WallClock())
    cameras: tuple[View, ...] = get_args(View)

    def __post_init__(self) -> None:
        if self.seconds % 10 or 125 % self.gop:
            raise ValueError("seconds must be a multiple of 10, gop a divisor of 125")

    @property
    def key(self) -> str:
        """Names the clip in the cache."""
        return hashlib.sha256(json.dumps([FORMAT, asdict(self)], sort_keys=True).encode()).hexdigest()[:16]


SMALL = ClipRecipe(
    seconds=10, width=640, height=360, bits_per_s=1_200_000, sub_width=320, sub_height=180, sub_bits_per_s=400_000, gop=5
)
"""A clip for quick tests: small pictures, and a client waits at most 0.2 s for its first key frame."""


@dataclass(frozen=True, slots=True)
class Clip:
    """A prepared clip."""

    folder: Path
    recipe: ClipRecipe

    def index(self, camera: View, stream: str, variant: str = "scene") -> Path:
        """The index file of one stream."""
        return self.folder / f"{camera}-{stream}-{variant}.json"

    def units(self, camera: View, stream: str, variant: str = "scene") -> list[bytes]:
        """The access units of one stream, Annex B."""
        return read_units(self.index(camera, stream, variant))

    def jpeg(self, camera: View) -> bytes:
        """The camera's snapshot."""
        return (self.folder / f"{camera}.jpg").read_bytes()


def read_units(index: Path) -> list[bytes]:
    sizes = json.loads(index.read_text(encoding="utf-8"))["sizes"]
    data = index.with_suffix(".bin").read_bytes()
    ends = np.cumsum(sizes).tolist()
    return [data[end - size : end] for end, size in zip(ends, sizes, strict=True)]


def prepare(cache: Path, recipe: ClipRecipe | None = None) -> Clip:
    """The clip, made now unless the cache has it. Two who ask at once make it once."""
    recipe = recipe or ClipRecipe()
    folder = cache / f"clip-{recipe.key}"
    clip = Clip(folder, recipe)
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / f"clip-{recipe.key}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            unfinished = cache / f".clip-{recipe.key}.{os.getpid()}"
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            with ThreadPoolExecutor() as pool:
                list(pool.map(lambda camera: _film(unfinished, recipe, camera), recipe.cameras))
            unfinished.rename(folder)
    return clip


def _film(folder: Path, recipe: ClipRecipe, camera: View) -> None:
    scene = Scene(camera, loop_s=recipe.seconds, clock=recipe.clock, seed=1 if camera == "overview" else 2)
    pictures = recipe.seconds * FPS
    noise = np.random.default_rng(9).normal(0, 2.2, (HEIGHT + 64, WIDTH)).astype(np.int8).view(np.uint8)
    still = scene.picture(50, noise=False)
    first = scene.picture(0)
    _write_jpeg(folder / f"{camera}.jpg", scaled(first, recipe.width, recipe.height))

    def black(n: int) -> Planes:
        grey = np.full((HEIGHT // 2, WIDTH // 2), 128, np.uint8)
        return noise[n : n + HEIGHT] + np.uint8(20), grey, grey

    _encode(folder / camera, recipe, "scene", (scene.picture(n) for n in range(pictures)), noise)
    _encode(folder / camera, recipe, "still", (still for _ in range(SHORT * recipe.gop)), None)
    _encode(folder / camera, recipe, "black", (black(n) for n in range(SHORT * recipe.gop)), noise)


def _encode(path: Path, recipe: ClipRecipe, variant: str, pictures: Iterator[Planes], noise: Picture | None) -> None:
    """Both streams of one variant. noise: for the luma of streams that are scaled down, which takes the first noise away."""
    kind = _SteadyStream if variant == "still" else _Stream
    main = kind(path.with_name(f"{path.name}-main-{variant}"), recipe, recipe.width, recipe.height, recipe.bits_per_s)
    sub = kind(path.with_name(f"{path.name}-sub-{variant}"), recipe, recipe.sub_width, recipe.sub_height, recipe.sub_bits_per_s)
    for n, picture in enumerate(pictures):
        shifted = None if noise is None else noise[n % 64 :]
        for stream in (main, sub):
            whole = (stream.width, stream.height) == (WIDTH, HEIGHT)
            stream.add(picture if whole else scaled(picture, stream.width, stream.height, shifted))
    for stream in (main, sub):
        stream.close()


class _Stream:
    """One encoder and its file."""

    steady = False

    def __init__(self, path: Path, recipe: ClipRecipe, width: int, height: int, bits_per_s: int) -> None:
        self.width, self.height = width, height
        self._path, self._recipe, self._bits_per_s = path, recipe, bits_per_s
        self._units: list[bytes] = []
        self._encoder = self._new_encoder()

    def _new_encoder(self) -> av.VideoCodecContext:
        encoder = _video_context("libx264" if self._recipe.codec == "h264" else "libx265", self.width, self.height, "yuv420p")
        encoder.framerate = Fraction(FPS)
        encoder.bit_rate = self._bits_per_s
        encoder.options = _options(self._recipe, self._bits_per_s, self.steady)
        return encoder

    def add(self, planes: Planes) -> None:
        self._units += [bytes(p) for p in self._encoder.encode(_frame(planes))]

    def _flush(self) -> None:
        self._units += [bytes(p) for p in self._encoder.encode(None)]

    def close(self) -> None:
        self._flush()
        index = {"codec": self._recipe.codec, "width": self.width, "height": self.height, "fps": FPS, "gop": self._recipe.gop}
        self._path.with_suffix(".bin").write_bytes(b"".join(self._units))
        self._path.with_suffix(".json").write_text(json.dumps(index | {"sizes": [len(u) for u in self._units]}), encoding="utf-8")


class _SteadyStream(_Stream):
    """Decodes to equal pictures: after the key frame it encodes the decoded key frame, of which nothing remains to be coded.

    That holds only if the rows that fill up the last macroblocks are decoded ones too: H.264 is encoded in its padded size and
    cropped by the parameter set, as an encoder does by itself. The second group is the first again.
    """

    steady = True
    _added = False

    def _new_encoder(self) -> av.VideoCodecContext:
        encoder = super()._new_encoder()
        encoder.height += self._padding
        if self._padding:
            encoder.options["x264-params"] += f":crop-rect=0,0,0,{self._padding}"
        encoder.thread_count = 1  # the trial and the second encoder must agree to the bit
        return encoder

    @property
    def _padding(self) -> int:
        return -self.height % 16 if self._recipe.codec == "h264" else 0

    def add(self, planes: Planes) -> None:
        if self._added:
            return
        self._added = True
        luma, blue, red = (np.pad(p, ((0, rows), (0, 0)), "edge") for p, rows in zip(planes, self._paddings(), strict=True))
        trial = self._new_encoder()
        unit = b"".join(bytes(p) for p in [*trial.encode(_frame((luma, blue, red))), *trial.encode(None)])
        decoder = av.CodecContext.create("h264" if self._recipe.codec == "h264" else "hevc", "r")
        if self._recipe.codec == "h264":
            decoder.options = {"apply_cropping": "0"}
        assert isinstance(decoder, av.VideoCodecContext)
        (decoded,) = [*decoder.decode(av.Packet(unit)), *decoder.decode(None)]
        flat, rows = decoded.to_ndarray(format="yuv420p"), self.height + self._padding
        chroma = flat[rows:].reshape(2, rows // 2, self.width // 2)
        for again in [(luma, blue, red)] + [(flat[:rows], chroma[0], chroma[1])] * (self._recipe.gop - 1):
            super().add(again)

    def _paddings(self) -> tuple[int, int, int]:
        return self._padding, self._padding // 2, self._padding // 2

    def _flush(self) -> None:
        super()._flush()
        self._units *= SHORT


def _options(recipe: ClipRecipe, bits_per_s: int, steady: bool) -> dict[str, str]:
    """The same parameter sets in every variant: rate control of one kind; a steady picture by a fixed quantiser within it."""
    rate = bits_per_s // 1000
    shared = f"keyint={recipe.gop}:min-keyint={recipe.gop}:scenecut=0:bframes=0:open-gop=0:rc-lookahead=0:repeat-headers=1"
    shared += f":vbv-maxrate={rate * 5 // 4}:vbv-bufsize={rate}" + (":qpmin=24:qpmax=24" if steady else "")
    if recipe.codec == "h264":
        return {"preset": "superfast", "profile": "high", "x264-params": shared + ":level=4.0:force-cfr=1:mbtree=0:weightp=0"}
    return {"preset": "ultrafast", "x265-params": shared + ":log-level=error:info=0:cutree=0"}


def _video_context(codec: str, width: int, height: int, pixels: str) -> av.VideoCodecContext:
    context = av.CodecContext.create(codec, "w")
    assert isinstance(context, av.VideoCodecContext)
    context.width, context.height, context.pix_fmt, context.time_base = width, height, pixels, Fraction(1, FPS)
    return context


def _frame(planes: Planes) -> av.VideoFrame:
    height, width = planes[0].shape
    frame = av.VideoFrame(width, height, "yuv420p")
    for target, source in zip(frame.planes, planes, strict=True):
        np.frombuffer(memoryview(target), np.uint8).reshape(-1, target.line_size)[: source.shape[0], : source.shape[1]] = source
    return frame


def _write_jpeg(path: Path, planes: Planes) -> None:
    height, width = planes[0].shape
    encoder = _video_context("mjpeg", width, height, "yuvj420p")
    picture = _frame(planes).reformat(format="yuvj420p", src_color_range="MPEG", dst_color_range="JPEG")
    path.write_bytes(b"".join(bytes(p) for p in [*encoder.encode(picture), *encoder.encode(None)]))
