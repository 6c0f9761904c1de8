import io
import re
from pathlib import Path

import av
import numpy as np
import pytest
from av.container import InputContainer

from tests.equipment.canvas import Picture
from tests.equipment.clips import SMALL, STREAMS, VARIANTS, Clip, ClipRecipe, prepare
from tests.equipment.scene import FLASH_RECT, WIDTH

CAMERAS = ("overview", "closeup")


def decoded(clip: Clip, camera: str, stream: str, variant: str) -> list[Picture]:
    """Luma planes."""
    data = b"".join(clip.units(camera, stream, variant))  # type: ignore[arg-type]
    film: InputContainer
    with av.open(io.BytesIO(data), "r", format="h264") as film:
        return [frame.to_ndarray(format="gray") for frame in film.decode(video=0)]


def nal_units(unit: bytes) -> list[bytes]:
    return [part.rstrip(b"\0") for part in re.split(rb"\x00\x00\x01", unit) if part.rstrip(b"\0")]


@pytest.mark.parametrize("camera", CAMERAS)
def test_a_key_frame_with_parameter_sets_begins_each_group_and_variants_of_one_format_agree_in_them(
    clip: Clip, camera: str
) -> None:
    for stream in STREAMS:
        sets = set()
        for variant in VARIANTS[:-2]:
            units = clip.units(camera, stream, variant)  # type: ignore[arg-type]
            assert len(units) == (SMALL.seconds * 25 if variant in ("scene", "clap") else 2 * SMALL.gop)
            kinds = [[nal[0] & 31 for nal in nal_units(unit)] for unit in units]
            assert [n for n, nals in enumerate(kinds) if 5 in nals] == list(range(0, len(units), SMALL.gop))
            assert all((7 in nals and 8 in nals) == (5 in nals) for nals in kinds)
            sets |= {nal for unit in units for nal in nal_units(unit) if nal[0] & 31 in (7, 8)}
        assert len(sets) == 2


@pytest.mark.parametrize("camera", CAMERAS)
def test_pictures_differ_and_the_lamp_flashes_every_five_seconds(clip: Clip, camera: str) -> None:
    for stream in STREAMS:
        pictures = decoded(clip, camera, stream, "scene")
        assert len({picture.tobytes() for picture in pictures}) == len(pictures) == SMALL.seconds * 25
        scale = pictures[0].shape[1] / WIDTH
        x, y, width, height = (round(value * scale) for value in FLASH_RECT)
        lamp = np.array([picture[y : y + height, x : x + width].mean() for picture in pictures])
        assert np.flatnonzero(lamp > 200).tolist() == [0, 1, 2, 125, 126, 127]
        assert lamp[lamp < 200].max() < 150


@pytest.mark.parametrize("camera", CAMERAS)
def test_a_still_picture_is_equal_to_the_bit_and_a_black_one_is_dark_noise(clip: Clip, camera: str) -> None:
    for stream in STREAMS:
        assert len({picture.tobytes() for picture in decoded(clip, camera, stream, "still")}) == 1
        black = decoded(clip, camera, stream, "black")
        assert len({picture.tobytes() for picture in black}) == len(black)
        assert np.percentile(black[5], 90) < 30


def test_other_parameter_sets_and_another_size_decode_and_do_not_flash(clip: Clip) -> None:
    for stream, size in zip(STREAMS, (SMALL.other_size, SMALL.other_sub_size), strict=True):
        usual = decoded(clip, "overview", stream, "scene")
        for variant in VARIANTS[-2:]:
            pictures = decoded(clip, "overview", stream, variant)
            assert len(pictures) == 2 * SMALL.gop
            assert pictures[0].shape == (size[::-1] if variant == "size" else usual[0].shape)
            assert max(picture.mean() for picture in pictures) < usual[0].mean() - 10


def test_the_cache_is_used_and_another_recipe_is_another_clip(clip: Clip) -> None:
    index = clip.index("overview", "main")
    before = index.stat().st_mtime_ns
    assert prepare(clip.folder.parent, SMALL).index("overview", "main").stat().st_mtime_ns == before
    assert ClipRecipe().key != SMALL.key


def test_a_recipe_whose_loop_would_break_the_flash_is_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 10"):
        ClipRecipe(seconds=12)
    with pytest.raises(ValueError, match="whole number of groups"):
        ClipRecipe(seconds=10, gop=100)


def test_the_snapshot_is_a_jpeg_of_the_main_stream(clip: Clip, tmp_path: Path) -> None:
    with av.open(io.BytesIO(clip.jpeg("closeup")), format="mjpeg") as picture:
        assert (picture.streams.video[0].width, picture.streams.video[0].height) == (SMALL.width, SMALL.height)
