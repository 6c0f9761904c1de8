"""One room for all tests of this folder; each test leaves it well."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.equipment.clips import SMALL, Clip, prepare
from tests.equipment.room import DEFAULT_CACHE, StandInRoom


@pytest.fixture(scope="session")
def clip() -> Clip:
    return prepare(DEFAULT_CACHE, SMALL)


@pytest.fixture(scope="session")
def shared_room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandInRoom]:
    folder: Path = tmp_path_factory.mktemp("a room 调查询问室")
    with StandInRoom(folder, recipe=SMALL, units_log=True) as room:
        yield room


@pytest.fixture
def room(shared_room: StandInRoom) -> Iterator[StandInRoom]:
    """The room with every device well, before and after."""
    yield shared_room
    for device in shared_room.devices:
        shared_room.fault(device, "back")
    shared_room.climate.temperature(23.4)
    shared_room.climate.humidity(45.0)
