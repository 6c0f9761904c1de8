"""Prepares the cameras' clips: drawn once, encoded once, kept in a cache folder, served for ever without encoding again.

A clip is a folder with, for each camera, stream and variant, ``<camera>-<stream>-<variant>.bin``, the access units in Annex B
one after the other, and beside it a ``.json`` index::

    {"codec": "h264", "width": 1920, "height": 1080, "fps": 25, "gop": 25, "sizes": [81234, 9123, …], "offsets": [0, 2, …]}

Access units stand in decoding order; ``offsets`` says by how many pictures each is shown after its own number, all 0 without
B-frames. Every ``gop``-th access unit, the first included, is an IDR picture with its parameter sets; groups are closed and
whole: a clip can be repeated, and swapped for another variant at any key frame, without a fault in the stream.
Variants: ``scene`` (the film), ``still`` (one picture for ever, equal to the bit, as of a hung encoder), ``black`` (a covered
lens), ``clap`` (as long as the film: hands that meet when the lamp would flash, in a picture that stands still), ``size`` (two
groups of the film in a smaller picture), ``parameters`` (the same in the usual size, with other parameter sets: profile and
level). With ``audio`` there is ``sound-<codec>.bin`` too: G.711 at 8 kHz, as long as the film, a beep with each flash.
"""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, get_args

import av
import numpy as np

from tests.equipment.canvas import Picture
from tests.equipment.scene import (
    FLASH_PERIOD_S,
    FLASH_PICTURES,
    FPS,
    HEIGHT,
    WIDTH,
    Planes,
    Scene,
    View,
    WallClock,
    scaled,
    with_hands,
)

FORMAT = 8  # of the cache; raise it where the pictures or the files change
Codec = Literal["h264", "h265"]
STREAMS = ("main", "sub")
VARIANTS = ("scene", "still", "black", "clap", "size", "parameters")
SHORT = 2  # groups of every variant but scene and clap
SOUND_HZ = 8000


@dataclass(frozen=True, slots=True)
class ClipRecipe:
    """What the cameras show. seconds: a multiple of 10 (the flash), and a whole number of groups of gop pictures.

    bframes: B-frames between two others. other_size, other_sub_size: of the variant ``size``. audio: a second stream beside the
    main one, G.711. variants: those that are made; a test that shows fewer needs less time for its first run.
    """

    seconds: int = 20
    codec: Codec = "h264"
    width: int = 1920
    height: int = 1080
    bits_per_s: int = 4_000_000
    sub_width: int = 640
    sub_height: int = 360
    sub_bits_per_s: int = 500_000
    gop: int = 25
    bframes: int = 0
    other_size: tuple[int, int] = (1280, 720)
    other_sub_size: tuple[int, int] = (480, 272)
    audio: Literal["pcma", "pcmu"] | None = None
    clock: WallClock = field(default=WallClock())
    cameras: tuple[View, ...] = get_args(View)
    variants: tuple[str, ...] = VARIANTS

    def __post_init__(self) -> None:
        if self.seconds % 10 or self.seconds * FPS % self.gop:
            raise ValueError("seconds must be a multiple of 10 and a whole number of groups of pictures")

    @property
    def key(self) -> str:
        """Names the clip in the cache."""
        pictures = asdict(self) | {"audio": None}
        return hashlib.sha256(json.dumps([FORMAT, pictures], sort_keys=True).encode()).hexdigest()[:16]


SMALL = ClipRecipe(
    seconds=10,
    width=640,
    height=360,
    bits_per_s=1_200_000,
    sub_width=320,
    sub_height=180,
    sub_bits_per_s=400_000,
    gop=5,
    other_size=(480, 272),
    other_sub_size=(240, 136),
)
"""A clip for quick tests: small pictures, and a client waits at most 0.2 s for its first key frame."""
LONG_GROUPS = replace(SMALL, seconds=20, gop=100)
"""SMALL with 4 s from key frame to key frame."""
B_FRAMES = replace(SMALL, gop=25, bframes=2)
"""SMALL with two B-frames between two others."""


def only(recipe: ClipRecipe, *variants: str) -> ClipRecipe:
    """The recipe for the overview camera alone, with these variants."""
    return replace(recipe, cameras=("overview",), variants=variants)


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

    @property
    def sound(self) -> Path:
        """The bytes of the audio stream."""
        return self.folder / f"sound-{self.recipe.audio}.bin"

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
        if recipe.audio and not clip.sound.exists():
            clip.sound.write_bytes(_beeps(recipe.seconds, recipe.audio))
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
        return noise[n % 64 : n % 64 + HEIGHT] + np.uint8(20), grey, grey

    def encode(variants: str, pictures: Iterator[Planes], noise: Picture | None = noise) -> None:
        if wanted := [variant for variant in variants.split() if variant in recipe.variants]:
            _encode(folder / camera, recipe, wanted, pictures, noise)

    encode("scene", (scene.picture(n) for n in range(pictures)))
    encode("still", (still for _ in range(SHORT * recipe.gop)), None)
    short = (SHORT if recipe.gop < FPS else 1) * recipe.gop
    encode("black", (black(n) for n in range(short)))
    encode("clap", (with_hands(still, camera, n) for n in range(pictures)))
    dark = FLASH_PICTURES  # a film shorter than the flash's period must not flash
    period = FLASH_PERIOD_S * FPS - dark
    encode("size parameters", (scene.picture(dark + n % period) for n in range(short)))


def _beeps(seconds: int, codec: Literal["pcma", "pcmu"]) -> bytes:
    """G.711 of a quiet hum with a beep of 1 kHz at each flash."""
    at = np.arange(seconds * SOUND_HZ)
    beep = at % (FLASH_PERIOD_S * SOUND_HZ) < FLASH_PICTURES * SOUND_HZ // FPS
    sound = 300 * np.sin(2 * np.pi * 100 * at / SOUND_HZ) + 12_000 * beep * np.sin(2 * np.pi * 1000 * at / SOUND_HZ)
    encoder = av.CodecContext.create("pcm_alaw" if codec == "pcma" else "pcm_mulaw", "w")
    assert isinstance(encoder, av.AudioCodecContext)
    encoder.sample_rate, encoder.layout, encoder.format = SOUND_HZ, "mono", "s16"
    frame = av.AudioFrame.from_ndarray(sound.astype(np.int16)[np.newaxis], format="s16", layout="mono")
    frame.sample_rate = SOUND_HZ
    return b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])


def _encode(path: Path, recipe: ClipRecipe, variants: list[str], pictures: Iterator[Planes], noise: Picture | None) -> None:
    """Both streams of variants with the same pictures. noise: for the luma of streams that are scaled down, which takes the first
    noise away."""
    streams = [stream for variant in variants for stream in _streams(path, recipe, variant)]
    for n, picture in enumerate(pictures):
        shifted = None if noise is None else noise[n % 64 :]
        for stream in streams:
            whole = (stream.width, stream.height) == (WIDTH, HEIGHT)
            stream.add(picture if whole else scaled(picture, stream.width, stream.height, shifted))
    for stream in streams:
        stream.close()


def _streams(path: Path, recipe: ClipRecipe, variant: str) -> "list[_Stream]":
    """Main stream and sub-stream."""
    kind = {"still": _SteadyStream, "parameters": _OtherStream}.get(variant, _Stream)
    main_size, sub_size = (recipe.width, recipe.height), (recipe.sub_width, recipe.sub_height)
    if variant == "size":
        main_size, sub_size = recipe.other_size, recipe.other_sub_size
    main = kind(path.with_name(f"{path.name}-main-{variant}"), recipe, *main_size, recipe.bits_per_s)
    return [main, kind(path.with_name(f"{path.name}-sub-{variant}"), recipe, *sub_size, recipe.sub_bits_per_s)]


class _Stream:
    """One encoder and its file."""

    steady = False

    def __init__(self, path: Path, recipe: ClipRecipe, width: int, height: int, bits_per_s: int) -> None:
        self.width, self.height = width, height
        self._path, self._recipe, self._bits_per_s = path, recipe, bits_per_s
        self._units: list[bytes] = []
        self._shown: list[int] = []  # numbers of the pictures
        self._added = 0
        self._encoder = self._new_encoder()

    def _new_encoder(self) -> av.VideoCodecContext:
        encoder = _video_context("libx264" if self._recipe.codec == "h264" else "libx265", self.width, self.height, "yuv420p")
        encoder.framerate = Fraction(FPS)
        encoder.bit_rate = self._bits_per_s
        encoder.options = self._options()
        return encoder

    def _options(self) -> dict[str, str]:
        return _options(self._recipe, self._bits_per_s, self.steady)

    def add(self, planes: Planes) -> None:
        frame = _frame(planes)
        frame.pts = self._added
        self._added += 1
        self._keep(self._encoder.encode(frame))

    def _keep(self, packets: Iterable["av.Packet[Any]"]) -> None:
        for packet in packets:
            assert packet.pts is not None
            self._units.append(bytes(packet))
            self._shown.append(packet.pts)

    def _flush(self) -> None:
        self._keep(self._encoder.encode(None))

    def close(self) -> None:
        self._flush()
        index = {"codec": self._recipe.codec, "width": self.width, "height": self.height, "fps": FPS, "gop": self._recipe.gop}
        self._path.with_suffix(".bin").write_bytes(b"".join(self._units))
        lists = {"sizes": [len(u) for u in self._units], "offsets": [shown - n for n, shown in enumerate(self._shown)]}
        self._path.with_suffix(".json").write_text(json.dumps(index | lists), encoding="utf-8")


class _OtherStream(_Stream):
    """With another profile and level."""

    def _options(self) -> dict[str, str]:
        options = super()._options()
        if self._recipe.codec == "h264":
            return {**options, "profile": "main", "x264-params": options["x264-params"].replace("level=4.0", "level=4.2")}
        return {**options, "x265-params": options["x265-params"] + ":level-idc=5.1:signhide=1"}


class _SteadyStream(_Stream):
    """Decodes to equal pictures: after the key frame it encodes the decoded key frame, of which nothing remains to be coded.

    That holds only if the rows that fill up the last macroblocks are decoded ones too: H.264 is encoded in its padded size and
    cropped by the parameter set, as an encoder does by itself. The second group is the first again.
    """

    steady = True

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
        self._shown = list(range(len(self._units)))


def _options(recipe: ClipRecipe, bits_per_s: int, steady: bool) -> dict[str, str]:
    """The same parameter sets in every variant: rate control of one kind; a steady picture by a fixed quantiser within it."""
    rate = bits_per_s // 1000
    bframes = 0 if steady else recipe.bframes
    shared = f"keyint={recipe.gop}:min-keyint={recipe.gop}:scenecut=0:bframes={bframes}:b-adapt=0:b-pyramid=0"
    shared += f":open-gop=0:rc-lookahead={bframes and bframes + 1}:repeat-headers=1"  # x265 wants more than its B-frames
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
