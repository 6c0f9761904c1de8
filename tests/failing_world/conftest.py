"""A room of its own for each test that asks for one: what a test breaks stays broken for nobody else."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.demo.command import DemoError
from tests.demo.subscriber import Subscriber
from tests.equipment.clips import SMALL
from tests.equipment.room import Overrides, StandInRoom
from tests.failing_world.machine import Machine, NotPermittedError, machine
from tests.live_room import CACHE, CHEAP, STOP, LiveRoom

MakeRoom = Callable[..., LiveRoom]
TOLD: set[Path] = set()  # manifests of earlier tests


@pytest.fixture
def make_room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeRoom]:
    """Gives a function that makes an armed room: ``make_room(overrides=…, env=…, root=…, recipe=…, <StandInRoom's options>)``."""
    with ExitStack() as stack:

        def make(
            *,
            overrides: Overrides = CHEAP,
            env: dict[str, str] | None = None,
            root: Path | None = None,
            armed: bool = True,
            **stand_in: Any,
        ) -> LiveRoom:
            folder = tmp_path_factory.mktemp("房间 room")
            options = {"recipe": SMALL, "units_log": True, **stand_in}
            stand_ins = stack.enter_context(StandInRoom(folder / "equipment", CACHE, **options))
            live = LiveRoom(folder, stand_ins, overrides=overrides, env=env, root=root)
            stack.callback(live.end)
            if armed:
                live.armed()
            return live

        yield make


@pytest.fixture
def room(make_room: MakeRoom) -> LiveRoom:
    """An armed room."""
    return make_room()


@pytest.fixture
def feed(room: LiveRoom) -> Iterator[Subscriber]:
    """The command room of ``room``, listening."""
    with room.subscribe() as subscriber:
        yield subscriber


@pytest.fixture(scope="module")
def standing_room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveRoom]:
    """One room for those tests of a file that break only devices, and leave them well; the cameras are behind relays."""
    folder = tmp_path_factory.mktemp("房间 room")
    with StandInRoom(folder / "equipment", CACHE, recipe=SMALL, units_log=True, relay=True) as stand_ins:
        live = LiveRoom(folder, stand_ins, overrides=CHEAP)
        try:
            yield live
        finally:
            live.end()


@pytest.fixture
def standing(standing_room: LiveRoom) -> Iterator[LiveRoom]:
    """The standing room, armed; afterwards every device is well and no session runs."""
    standing_room.armed()
    try:
        yield standing_room
    finally:
        for device in ("overview", "closeup", "microphone", "climate"):
            standing_room.stand_ins.fault(device, "back")
        standing_room.stand_ins.climate.temperature(23.4)
        with suppress(DemoError):  # none is running
            standing_room.command.ask(*STOP)


@pytest.fixture
def standing_feed(standing: LiveRoom) -> Iterator[Subscriber]:
    """The command room of the standing room, listening."""
    with standing.subscribe() as subscriber:
        yield subscriber


BERLIN: Overrides = {**CHEAP, "room": {"timezone": "Europe/Berlin"}}


@pytest.fixture(scope="module")
def standing_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """One PC for those tests of a file that break its power, disk or clocks, and leave them well. A key frame a second."""
    with ExitStack() as stack:
        try:
            folder = tmp_path_factory.mktemp("房间 room")
            made = stack.enter_context(machine(folder, overrides=BERLIN, recipe=replace(SMALL, gop=25), units_log=True))
        except NotPermittedError as fault:
            pytest.skip(f"a disk of its own cannot be mounted here: {fault}")
        yield made


@pytest.fixture
def pc(standing_machine: Machine) -> Iterator[Machine]:
    """The PC, armed; afterwards its world is well, and no session runs."""
    standing_machine.ready()
    try:
        yield standing_machine
    finally:
        standing_machine.world.well()
        standing_machine.disk.well()
        with suppress(DemoError):  # none is running
            standing_machine.command.ask(*STOP)


@pytest.fixture
def pc_feed(pc: Machine) -> Iterator[Subscriber]:
    """The command room of the PC, listening."""
    with pc.subscribe() as subscriber:
        yield subscriber


@pytest.fixture(autouse=True)
def figures(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """With FAILING_WORLD_FIGURES=FILE: a JSON line for each test's sessions, with every gap that was sealed, in seconds."""
    file = os.environ.get("FAILING_WORLD_FIGURES")
    yield
    if not file:
        return
    base = tmp_path_factory.getbasetemp()
    for path in sorted({each.resolve() for each in base.glob("*/*/sessions/*/manifest.json")}):
        if path in TOLD:
            continue
        TOLD.add(path)
        manifest = json.loads(path.read_text(encoding="utf-8"))
        of = {**manifest["tracks"], "composite": manifest["composite"]}
        gaps = {name: [gap["seconds"] for gap in each["gaps"]] for name, each in of.items() if each["gaps"]}
        seconds = (manifest["end_ns"] - manifest["start_ns"]) / 1e9
        with open(file, "a", encoding="utf-8") as out:
            out.write(json.dumps({"test": request.node.name, "session_s": seconds, "gaps_s": gaps}) + "\n")
