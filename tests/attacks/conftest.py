"""A room whose folders a stranger can reach as far as its own rules let him."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.equipment.clips import SMALL
from tests.equipment.room import StandInRoom
from tests.live_room import CACHE, CHEAP, LiveRoom


@pytest.fixture
def open_room() -> Iterator[LiveRoom]:
    """An armed room in a folder that everybody may enter."""
    folder = Path(tempfile.mkdtemp(prefix="room-"))
    folder.chmod(0o755)
    try:
        with StandInRoom(folder / "equipment", CACHE, recipe=SMALL) as stand_ins:
            live = LiveRoom(folder, stand_ins, overrides=CHEAP)
            try:
                live.armed()
                yield live
            finally:
                live.end()
    finally:
        shutil.rmtree(folder)
