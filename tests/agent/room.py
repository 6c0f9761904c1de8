"""A room without devices: real folders, hand-written status files (the real protocol), and a clock that is set."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent import app
from agent.authority.person import Person
from agent.config.model import Config, parse
from agent.config.places import Places
from agent.health.look import track_statuses
from agent.session import catalogue
from agent.session.keeper import SessionKeeper
from agent.session.rules import Readiness, StartRequest
from agent.session.sealing import sealing, signing
from recorder.clock.instants import SECOND_NS, boot_id
from recorder.disk import journal
from recorder.disk.durable import make_folder
from recorder.process.status import ComposerStatus, Status, TrackStatus, read_statuses
from recorder.process.wanted import Wanted
from recorder.session.epoch import Tie
from recorder.session.record import Case, Session
from recorder.session.tracks import TRACKS

CASE = Case("温市监罚〔2026〕1号", "无证经营", ("张三", "李四"), "王五")
START_UTC_NS = 1_795_224_605_300_000_000  # 2026-11-21T01:30:05.300Z
LOTS = 1 << 50
PERSON = Person(1000, "zhao")  # who asks the agent


def config_text(root: Path, run: Path, more: str = "", drives: Sequence[str] = ()) -> str:
    """A configuration with these folders and drives; more: further sections."""
    named = json.dumps(list(drives), ensure_ascii=False)
    return (
        f'[ui]\nlanguage = "en"\n[storage]\nroot = "{root}"\nrun = "{run}"\n'
        f"[mqtt]\nenabled = false\n[climate]\nenabled = false\n[burner]\ndrives = {named}\n{more}"
    )


@dataclass
class Room:
    """now_ns: CLOCK_BOOTTIME as it is set; utc_shift_ns: the wall clock minus it."""

    root: Path
    run: Path
    now_ns: int = 1000 * SECOND_NS
    utc_shift_ns: int = START_UTC_NS - 1000 * SECOND_NS
    seal: Any = None
    statuses: dict[str, Status] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.config: Config = parse(config_text(self.root, self.run))
        self.places: Places = self.config.storage.places
        for folder in (self.places.sessions, self.places.status, self.places.locks):
            make_folder(folder)

    def keeper(self) -> SessionKeeper:
        """A new agent's keeper, before resume."""
        return SessionKeeper(
            self.places,
            app.room_facts(self.config),
            tie=self.tie,
            seal=self.seal or sealing(self.config),
            sign=signing(self.config),
            now=lambda: self.now_ns,
        )

    def tie(self) -> Tie:
        return Tie(boot_id(), self.now_ns, self.now_ns + self.utc_shift_ns, "ntp", 0.001)

    def tracks(self, state: str = "armed", **facts: Any) -> None:
        """Every track's status file, as fresh as the clock."""
        for name in TRACKS:
            self.track(name, state, **facts)

    def track(self, name: str, state: str = "armed", **facts: Any) -> None:
        given = {"last_packet_ns": self.now_ns, "bitrate_bps": 4e6, **facts}
        TrackStatus(name=name, pid=1, boot_id=boot_id(), version="", at_ns=self.now_ns, state=state, **given).write(
            self.places.status
        )

    def composer(self, state: str = "armed", **facts: Any) -> None:
        ComposerStatus(name="composer", pid=1, boot_id=boot_id(), version="", at_ns=self.now_ns, state=state, **facts).write(
            self.places.status
        )

    def alive(self) -> dict[str, Status]:
        return read_statuses(self.places.status, self.now_ns, boot_id())

    def readiness(self, keeper: SessionKeeper, **changes: Any) -> Readiness:
        facts: dict[str, Any] = {
            "now_ns": self.now_ns,
            "active": keeper.active,
            "selfcheck_at": "2026-11-21T09:00:00.000+08:00",
            "selfcheck_passed": True,
            "selfcheck_age_s": 600.0,
            "selfcheck_limit_s": 1800.0,
            "failed_checks": (),
            "tracks": track_statuses(self.alive()),
            "free_bytes": LOTS,
            "reserve_bytes": 5 << 30,
            "composite_bps": 5e6,
            "root": self.root,
        }
        return Readiness(**{**facts, **changes})

    def start(self, keeper: SessionKeeper, request: StartRequest | None = None, **changes: Any) -> Session:
        return keeper.start(request or StartRequest(CASE, 120), self.readiness(keeper, **changes), asked=PERSON)

    def started(self) -> tuple[SessionKeeper, Session]:
        """A keeper whose session runs."""
        self.tracks()
        keeper = self.keeper()
        keeper.resume()
        return keeper, self.start(keeper)

    def wanted(self) -> Wanted:
        return Wanted.read(self.places.wanted)

    def lines(self, session: Session, kind: str | None = None) -> list[dict[str, Any]]:
        """The lines of the session's journal, its chain checked."""
        entries = [dict(e) for e in journal.read(self.places.session(session.id) / "journal.jsonl")]
        return [e for e in entries if kind is None or e["kind"] == kind]

    def stored(self, session: Session) -> Session:
        """What session.json says."""
        return catalogue.read_session(self.places.session(session.id))

    def pass_s(self, seconds: float) -> None:
        self.now_ns += round(seconds * SECOND_NS)

    def until(self, keeper: SessionKeeper, done: Callable[[], bool], *, rounds: int = 2000) -> None:
        """Ticks until it is done; real time passes (the seal has a thread), the room's clock stands."""
        from time import sleep

        for _ in range(rounds):
            keeper.tick(self.alive(), LOTS)
            if done():
                return
            sleep(0.005)
        raise AssertionError(f"not done: waiting for {keeper.waiting_for}, {keeper.fault}")

    def finished(self, session: Session) -> None:
        """Every track and the composer have come to the session's end."""
        self.tracks("finished", session=session.id, finished=session.id)
        self.composer("finished", session=session.id, finished=session.id)

    def sealed(self) -> tuple[SessionKeeper, Session]:
        """A keeper whose session of 60 s is sealed."""
        keeper, session = self.started()
        self.pass_s(59.5)
        self.tracks()
        keeper.stop("赵六", "询问结束", asked=PERSON)
        self.pass_s(1)
        self.finished(session)
        self.until(keeper, lambda: keeper.active is None)
        return keeper, self.stored(session)
