"""One room for all tests of this folder: stand-ins, agent, tracks, composer."""

from collections.abc import Iterator

import pytest

from tests.equipment.clips import SMALL
from tests.equipment.room import StandInRoom
from tests.live_room import CACHE, LiveRoom


@pytest.fixture(scope="session")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveRoom]:
    """A room, armed."""
    folder = tmp_path_factory.mktemp("调查询问室 room")
    with StandInRoom(folder / "equipment", CACHE, recipe=SMALL) as stand_ins:
        live = LiveRoom(folder, stand_ins)
        try:
            live.armed()
            yield live
        finally:
            live.end()
