"""`room-agent run`: the control plane's process, put together here, started in order and stopped in reverse.

The recording does not need it: it may be killed at any time and takes up what it finds.
"""

import logging
import queue
import signal
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import FrameType

from agent import logs
from agent.authority.gate import Gate
from agent.config.model import Config
from agent.console.handlers import Handlers
from agent.console.request import Request, defect
from agent.console.server import ConsoleServer
from agent.devices.kinds import meant
from agent.feed.outbox import Outbox
from agent.feed.room import Feed, feed_settings
from agent.health.clock_watch import ClockWatch
from agent.health.look import ViewBuilder
from agent.health.room_view import RoomView
from agent.processes.supervisor import HUNG_NS, ChildSpec, Supervisor, room_agent
from agent.session.cameras import AcceptedCameras
from agent.session.capacity import composite_bps
from agent.session.discs import Discs
from agent.session.keeper import RoomFacts, SessionKeeper
from agent.session.sealing import sealing, signing
from recorder.clock.instants import SECOND_NS, boottime_ns
from recorder.disk.durable import make_folder
from recorder.disk.locks import exclusive
from recorder.process.runner import keep_memory_small
from recorder.process.systemd import notify
from recorder.session.tracks import TRACKS
from wording import Exit, Fault

TICK_NS = SECOND_NS // 4
RECORDER_HUNG_NS = 11 * SECOND_NS // 10  # one that records must be back within the 3 s that it may cost
SEALING_TICK_NS = SECOND_NS // 20  # while a person waits for the seal
HINDERED_NS = 15 * SECOND_NS  # so long it is told: what fails is tried again within 10 s

log = logging.getLogger(__name__)


def room_facts(config: Config) -> RoomFacts:
    """What every session of this room carries."""
    room = config.room
    facts = {"id": room.id, "name": room.name, "centre": room.centre, "agency": room.agency, "class": room.class_}
    return RoomFacts(facts, room.zone, TRACKS, composite_bps(config))


def child_specs(config: Config, path: Path) -> list[ChildSpec]:
    """The room's processes and the commands that run them; systemd's units run the same."""
    return [
        ChildSpec(kind.id, room_agent(path, *kind.command), RECORDER_HUNG_NS if kind.records else HUNG_NS)
        for kind in meant(config)
    ]


def run(config: Config, path: Path, *, children: bool) -> Exit:
    """Until SIGTERM or SIGINT. children: keep the room's processes alive too; False under systemd, which does it.

    Raises AlreadyRunning, StorageFault (a folder or the lock is missing and cannot be made), ConfigFault before it is up.
    """
    logs.set_up()
    for fault in config.warnings:
        log.warning("the configuration is unwise", extra={"fault": str(fault)})
    keep_memory_small()
    places = config.storage.places
    for folder in (places.sessions, places.selfcheck, places.burn, places.status, places.locks, places.logs):
        make_folder(folder)
    with exclusive(places.agent_lock, "room-agent run"):
        return Agent(config, path, children=children).run()


class Agent:
    """The parts and the loop. One thread owns the session; what takes time has its own and hands over by the queue."""

    def __init__(self, config: Config, path: Path, *, children: bool) -> None:
        self._places = places = config.storage.places
        self._clock = ClockWatch(config.clock.ntp_server)
        self._keeper = SessionKeeper(places, room_facts(config), tie=self._clock.tie, seal=sealing(config), sign=signing(config))
        self._views = ViewBuilder(config)
        self._discs = Discs(places, self._keeper, config.burner.drives, config.burner.copies)
        self._supervisor = Supervisor(child_specs(config, path), places) if children else None
        self._feed_settings = feed_settings(config)
        self._gate = Gate(places.acts)
        self._cameras = AcceptedCameras(places.accepted_cameras)
        self._handlers = Handlers(
            config, self._keeper, self._discs, self._gate, look=self._look, later=self._later, feed=lambda: self._feed
        )
        self._console: ConsoleServer | None = None
        self._feed: Feed | None = None
        self._view: RoomView | None = None
        self._stopping = False
        self._failing = ""
        self._hindrance: Fault | None = None
        self._hindered_ns = 0  # when it was met last

    def run(self) -> Exit:
        """Starts everything, loops, stops everything."""
        with ExitStack() as stack:
            self._keeper.resume()
            stack.callback(self._keeper.close)
            stack.callback(self._gate.close)
            self._clock.start()
            stack.callback(self._clock.stop)
            outbox = Outbox(self._places.outbox)
            stack.callback(outbox.close)
            self._feed = Feed(self._feed_settings, outbox)
            self._feed.start()
            stack.callback(self._feed.stop)
            if self._supervisor is not None:
                self._supervisor.start()
                stack.callback(self._end_children)
            console = self._console = ConsoleServer(self._places.socket)
            stack.callback(console.close)
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, self._asked_to_stop)
            log.info("agent is up", extra={"root": str(self._places.root), "run": str(self._places.run)})
            notify("READY=1")
            self._loop(console)
            notify("STOPPING=1")
        log.info("agent stopped")
        return Exit.OK

    def _asked_to_stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping = True
        self._later(lambda: None)

    def _later(self, function: Callable[[], None]) -> None:
        if self._console is not None:
            self._console.requests.put(function)

    def _end_children(self) -> None:
        """A session that is recorded or sealed goes on without the agent; an idle room is put to rest."""
        assert self._supervisor is not None
        session = self._keeper.unfinished
        if session is None:
            self._supervisor.stop()
            return
        self._supervisor.leave()
        log.warning("the recording goes on without the agent", extra={"session": session})

    def _loop(self, console: ConsoleServer) -> None:
        tick_ns = 0
        while not self._stopping:
            now = boottime_ns()
            if now >= tick_ns:
                active = self._keeper.active
                tick_ns = now + (SEALING_TICK_NS if active and active.state == "sealing" else TICK_NS)
                self._guarded(self._tick)
            try:
                item = console.requests.get(timeout=max(0.0, (tick_ns - boottime_ns()) / SECOND_NS))
            except queue.Empty:
                continue
            if isinstance(item, Request):
                level = logging.DEBUG if item.command == "session.status" else logging.INFO
                log.log(level, "command", extra={"command": item.command, "uid": item.person.uid})
                self._handle(item)
                if item.succeeded and item.command != "session.status":
                    tick_ns = 0  # what changed is seen at once
            else:
                self._guarded(item)

    def _handle(self, request: Request) -> None:
        try:
            self._handlers.handle(request)
        except Exception as error:  # the top of the process: one command's defect must not end the agent
            log.exception("command failed", extra={"command": request.command})
            request.fail(defect(request.command, error))

    def _guarded(self, act: Callable[[], None]) -> None:
        """What fails is said once and tried again with the next round."""
        try:
            act()
            self._failing = ""
        except Fault as fault:
            if fault.code != self._failing:
                log.error("agent is hindered", extra={"fault": str(fault)})
            self._failing = fault.code
        except Exception as error:  # the top of the process
            if type(error).__name__ != self._failing:
                log.exception("agent failed")
            self._failing = type(error).__name__

    def _look(self) -> RoomView:
        keeper = self._keeper
        view = self._views.look(keeper.current, keeper.room_ns(), keeper.utc_ns(), self._clock.state)
        if boottime_ns() - self._hindered_ns > HINDERED_NS:
            self._hindrance = None
        self._view = replace(view, fault=keeper.fault, hindrance=self._hindrance)
        return self._view

    def _tick(self) -> None:
        view = self._look()
        try:
            self._keeper.tick(view.statuses, view.disk.free_bytes if view.disk else None)
            self._discs.tick()
            self._cameras.take_first(view.statuses)
            self._gate.flush()
        except Exception as error:  # said by the loop, and to the command room with the next look
            self._hindrance = error if isinstance(error, Fault) else defect("tick", error)
            self._hindered_ns = boottime_ns()
            raise
        finally:
            if self._feed is not None:
                self._feed.update(view)
            notify("WATCHDOG=1")
