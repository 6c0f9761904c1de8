"""Messages on their way to the broker, on disk: nothing that took a number is lost between here and the broker's answer.

One SQLite file. An event is stored when it happens, without a number. A message takes its number (``seq``) from the counter of
the boot in which it happened; counter and message are on stable storage in one commit before anything is sent, and the row goes
when the broker has acknowledged it. So a crash, a power cut or a lost connection leaves rows that are sent again under the same
numbers, and the numbers of a boot have no hole.

Where the file cannot be written (a full or failing disk), a database in memory takes its place until it can: the feed goes on,
and only what is then unsent is lost with the process. A marker outside that disk tells the next process that numbers were given
which the file does not know; it begins beyond them.
"""

import json
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from recorder.clock.instants import SECOND_NS, boot_id, boottime_ns, rfc3339
from recorder.disk.durable import Json
from recorder.faults import StorageFault

log = logging.getLogger(__name__)

T = TypeVar("T")
DAY_NS = 86_400 * SECOND_NS
KEEP_NS = 30 * DAY_NS
MAX_EVENTS = 100_000
RETRY_NS = 5 * SECOND_NS  # how often the file is tried again after a failure
EVENT = "event"

TABLES = """
CREATE TABLE IF NOT EXISTS message (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    topic TEXT NOT NULL,
    boot TEXT NOT NULL,
    seq INTEGER,
    wall_ns INTEGER NOT NULL,
    boottime_ns INTEGER NOT NULL,
    body TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS counter (boot TEXT PRIMARY KEY, next INTEGER NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One message. topic: below the room's tree. wall_ns, boottime_ns: when it happened, UTC and CLOCK_BOOTTIME of that boot.

    seq: None until it is first sent. body: what the message has beside the envelope.
    """

    id: int
    topic: str
    boot: str
    seq: int | None
    wall_ns: int
    boottime_ns: int
    body: Json


@dataclass(frozen=True, slots=True)
class Draft:
    """A message of the present instant that is sent now or never: it takes its number and its row together."""

    topic: str
    body: Json


class Outbox:
    """The store. Every method may be called from any thread; none raises for a failing disk (see ``fault``)."""

    def __init__(
        self,
        path: Path,
        *,
        boot: str | None = None,
        wall: Callable[[], int] = time.time_ns,
        boottime: Callable[[], int] = boottime_ns,
        keep_ns: int = KEEP_NS,
        max_events: int = MAX_EVENTS,
    ) -> None:
        """Opens or creates the file. A damaged one is put aside as ``<name>.damaged-<UTC ns>``, which is an event."""
        self.path = path
        self.boot = boot or boot_id()
        self.fault: StorageFault | None = None
        self._wall, self._boottime = wall, boottime
        self._keep_ns, self._max_events = keep_ns, max_events
        self._lock = threading.RLock()
        self._next: dict[str, int] = {}
        self._last_id = 0
        self._late: set[int] = set()  # rows of the file that were acknowledged while it could not be written
        self._retry_ns = 0
        self._added = 0
        self._marker: Path | None = None
        self._file: sqlite3.Connection | None = None
        self._in_memory: sqlite3.Connection | None = None
        self._open()
        self.trim()

    def mark_memory(self, marker: Path) -> None:
        """Names a file, gone at a reboot, that lies there while memory gives the numbers. To be called before the first issue.

        Where a process died meanwhile the numbers go on beyond any that it can have given.
        """
        with self._lock:
            self._marker = marker
            if marker.exists():
                following = max(self._next.get(self.boot, 0), self._beyond_any())
                self._run(lambda db: _count(db, self.boot, following))
                self._next[self.boot] = following
            self._mark()

    def add(self, body: Json, *, at_boottime_ns: int | None = None) -> int:
        """Stores one event and returns its row's id; it is on stable storage then. at_boottime_ns: when it happened."""
        now = self._boottime()
        at = now if at_boottime_ns is None else at_boottime_ns
        row = Row(0, EVENT, self.boot, None, self._wall() - (now - at), at, body)
        row = self._run(lambda db: self._insert(db, row))
        self._added += 1
        if self._added % 1000 == 0:
            self.trim()
        return row.id

    def unsent(self, limit: int) -> list[Row]:
        """The oldest events that have no number yet, in order."""
        return self._run(lambda db: _rows(db, "WHERE seq IS NULL ORDER BY id LIMIT ?", (limit,)))

    def unacknowledged(self) -> list[Row]:
        """What has a number and no answer, in the order of the numbers, earlier boots first: to be sent again."""
        return self._run(lambda db: _rows(db, "WHERE seq IS NOT NULL ORDER BY boot = ?, boot, seq", (self.boot,)))

    def issue(self, events: Sequence[Row], drafts: Iterable[Draft]) -> list[Row]:
        """Gives the events and then the drafts their numbers; all of it is on stable storage in one commit when this returns."""
        now, wall = self._boottime(), self._wall()
        drafts = tuple(drafts)
        if not events and not drafts:
            return []

        def work(db: sqlite3.Connection) -> tuple[list[Row], dict[str, int]]:
            following = dict(self._next)
            issued = []
            for row in events:
                issued.append(self._insert(db, replace(row, seq=self._take(db, following, row.boot))))
            for draft in drafts:
                seq = self._take(db, following, self.boot)
                issued.append(self._insert(db, Row(0, draft.topic, self.boot, seq, wall, now, draft.body)))
            return issued, following

        with self._lock:
            issued, self._next = self._run(work)
        return issued

    def acknowledge(self, ids: Iterable[int]) -> None:
        """The broker has these rows."""
        gone = [(i,) for i in ids]

        def work(db: sqlite3.Connection) -> None:
            db.executemany("DELETE FROM message WHERE id = ?", gone)

        with self._lock:
            self._run(work)
            if self._in_memory is not None:
                self._late.update(i for (i,) in gone)

    def trim(self) -> None:
        """Gives up what is older than 30 days or beyond the bound; that is an event. To be called about once an hour."""
        boottime, wall = self._boottime(), self._wall()

        def work(db: sqlite3.Connection) -> None:
            age = "((boot = ? AND boottime_ns < ?) OR (boot <> ? AND wall_ns < ?))"
            old = (self.boot, boottime - self._keep_ns, self.boot, wall - self._keep_ns)
            count = db.execute("SELECT COUNT(*) FROM message").fetchone()[0]
            self._drop(db, "age", age, old)
            if count > self._max_events:
                newest = "id <= (SELECT id FROM message ORDER BY id DESC LIMIT 1 OFFSET ?)"
                self._drop(db, "count", newest, (self._max_events,))
            db.execute("DELETE FROM counter WHERE boot <> ? AND boot NOT IN (SELECT boot FROM message)", (self.boot,))

        self._run(work)

    def _drop(self, db: sqlite3.Connection, reason: str, where: str, values: tuple[Any, ...]) -> None:
        summary = f"SELECT COUNT(*), MIN(wall_ns), MAX(wall_ns) FROM message WHERE {where}"  # noqa: S608  # texts of this module
        count, oldest, newest = db.execute(summary, values).fetchone()
        if count:
            db.execute(f"DELETE FROM message WHERE {where}", values)  # noqa: S608
            body = dropped(reason, count, oldest, newest)
            self._insert(db, Row(0, EVENT, self.boot, None, self._wall(), self._boottime(), body))
            log.warning("the outbox gave up messages", extra={"reason": reason, "count": count})

    def close(self) -> None:
        """Releases the file; what only memory holds is written if that is possible now."""
        with self._lock:
            if self._in_memory is not None:
                self._retry_ns = 0
                self._back_to_file()
            for db in (self._in_memory, self._file):
                if db is not None:
                    db.close()
            self._in_memory = self._file = None

    def _insert(self, db: sqlite3.Connection, row: Row) -> Row:
        """Stores the row: id 0 takes a new one, another id replaces that row."""
        stored = _put(db, row)
        self._last_id = max(self._last_id, stored.id)
        return stored

    def _take(self, db: sqlite3.Connection, following: dict[str, int], boot: str) -> int:
        seq = following.get(boot, 0)
        following[boot] = seq + 1
        _count(db, boot, seq + 1)
        return seq

    # The file, and memory in its place.

    def _open(self) -> None:
        try:
            self._file = _connect(self.path)
            self._learn(self._file)
        except sqlite3.Error as error:
            self._drop_file()
            self._do_without(error)

    def _learn(self, db: sqlite3.Connection) -> None:
        counters = {str(b): int(n) for b, n in db.execute("SELECT boot, next FROM counter")}
        self._last_id = int(db.execute("SELECT COALESCE(MAX(seq), 0) FROM sqlite_sequence").fetchone()[0])
        self._next = counters

    def _carry(self, db: sqlite3.Connection) -> None:
        """Lets the numbers and ids of the outbox go on in an empty database."""
        db.executemany("INSERT INTO counter VALUES (?, ?)", list(self._next.items()))
        db.execute("INSERT INTO sqlite_sequence VALUES ('message', ?)", (self._last_id,))

    def _drop_file(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _do_without(self, error: sqlite3.Error) -> None:
        """Puts a new file in the place of a damaged one, or the database in memory in the place of one that cannot be written."""
        if not _damaged(error):
            self._to_memory(error)
            return
        try:
            self._put_aside(error)
        except OSError as refused:
            self._to_memory(refused)

    def _put_aside(self, error: sqlite3.Error) -> None:
        """Begins a new file, which tells it; memory does where that fails. Raises OSError where the old one cannot be moved."""
        self._drop_file()
        stamp = f".damaged-{self._wall()}"
        for suffix in ("-wal", "-shm", ""):  # the file itself last: until it is moved, the next attempt finds it damaged
            part = self.path.with_name(self.path.name + suffix)
            if part.exists():
                part.rename(part.with_name(part.name + stamp))
        log.error("the outbox is damaged and was put aside", extra={"path": str(self.path), "why": str(error)})
        self._next.setdefault(self.boot, self._beyond_any())
        try:
            self._file = _connect(self.path)
            _transaction(self._file, self._carry)
            if self._in_memory is None:
                _transaction(self._file, self._tell_damage)
        except sqlite3.Error as failure:
            if self._in_memory is None:
                self._to_memory(failure)
        if self._in_memory is not None:
            self._tell_damage(self._in_memory)

    def _tell_damage(self, db: sqlite3.Connection) -> None:
        body = dropped("damaged", None, None, None)
        self._insert(db, Row(0, EVENT, self.boot, None, self._wall(), self._boottime(), body))

    def _mark(self) -> None:
        """Writes the marker while the database in memory gives the numbers, and removes it afterwards.

        Where that fails, numbers are skipped: a hole is better than a number given twice.
        """
        if self._marker is None:
            return
        if self._in_memory is None:
            with suppress(OSError):  # left behind it costs a hole at the next start
                self._marker.unlink()
            return
        try:
            self._marker.touch()
        except OSError as error:
            log.error("the outbox's marker cannot be written", extra={"path": str(self._marker), "why": str(error)})
            self._next[self.boot] = max(self._next.get(self.boot, 0), self._beyond_any())

    def _beyond_any(self) -> int:
        """A number that this boot cannot have reached, since fewer than one message a millisecond were sent."""
        return self._boottime() // 1_000_000

    def _to_memory(self, error: Exception) -> None:
        self.fault = StorageFault(
            "outbox-not-writable",
            "free-and-check-data-disk",
            path=self.path,
            why=error,
        )
        log.error("the outbox cannot be written; memory takes its place", extra={"path": str(self.path), "why": str(error)})
        if self._file is None:  # what it holds is not known
            self._next.setdefault(self.boot, self._beyond_any())
            self._last_id = max(self._last_id, self._wall())
        in_memory = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        in_memory.executescript(TABLES)
        self._carry(in_memory)
        self._in_memory = in_memory
        self._mark()
        self._retry_ns = self._boottime() + RETRY_NS

    def _back_to_file(self) -> None:
        in_memory = self._in_memory
        if in_memory is None or self._boottime() < self._retry_ns:
            return
        self._retry_ns = self._boottime() + RETRY_NS
        try:
            self._write_back(in_memory)
        except sqlite3.Error as error:
            if not _damaged(error):
                return
            try:
                self._put_aside(error)
                self._write_back(in_memory)
            except (OSError, sqlite3.Error):
                return
        in_memory.close()
        self._in_memory, self.fault = None, None
        self._late.clear()
        self._mark()
        log.info("the outbox is written to its file again", extra={"path": str(self.path)})

    def _write_back(self, in_memory: sqlite3.Connection) -> None:
        """Writes what the database in memory holds into the file. Raises sqlite3.Error."""
        file = self._file = self._file or _connect(self.path)
        rows = _rows(in_memory, "ORDER BY id", ())
        counters = in_memory.execute("SELECT boot, next FROM counter").fetchall()

        def work(db: sqlite3.Connection) -> None:
            for row in rows:
                _put(db, row)
            db.executemany(
                "INSERT INTO counter VALUES (?, ?) ON CONFLICT (boot) DO UPDATE SET next = MAX(next, excluded.next)", counters
            )
            db.executemany("DELETE FROM message WHERE id = ?", [(i,) for i in self._late])

        _transaction(file, work)
        self._learn(file)

    def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with self._lock:
            self._back_to_file()
            if self._in_memory is None and self._file is not None:
                try:
                    return _transaction(self._file, work)
                except sqlite3.Error as error:
                    self._do_without(error)
            if self._in_memory is None and self._file is not None:  # a new one
                try:
                    return _transaction(self._file, work)
                except sqlite3.Error as error:
                    self._to_memory(error)
            assert self._in_memory is not None, "the outbox is closed"
            return _transaction(self._in_memory, work)


def dropped(reason: str, count: int | None, oldest_ns: int | None, newest_ns: int | None) -> Json:
    """The body of the event that says what was given up."""
    times = [None if ns is None else rfc3339(ns) for ns in (oldest_ns, newest_ns)]
    return {"kind": "dropped", "data": {"count": count, "oldest": times[0], "newest": times[1], "reason": reason}}


def _damaged(error: sqlite3.Error) -> bool:
    """Whether the error means that the file's content is damaged (SQLITE_CORRUPT, SQLITE_NOTADB).

    Errors of a statement or of the disk are subclasses of DatabaseError; these two are not.
    """
    return type(error) is sqlite3.DatabaseError


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=2.0, check_same_thread=False, isolation_level=None)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.executescript(TABLES)
    except sqlite3.Error:
        db.close()
        raise
    return db


def _transaction(db: sqlite3.Connection, work: Callable[[sqlite3.Connection], T]) -> T:
    db.execute("BEGIN IMMEDIATE")
    try:
        result = work(db)
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    return result


def _count(db: sqlite3.Connection, boot: str, following: int) -> None:
    db.execute("INSERT INTO counter VALUES (?, ?) ON CONFLICT (boot) DO UPDATE SET next = excluded.next", (boot, following))


def _put(db: sqlite3.Connection, row: Row) -> Row:
    body = json.dumps(row.body, ensure_ascii=False, allow_nan=False)
    cursor = db.execute(
        "INSERT OR REPLACE INTO message (id, topic, boot, seq, wall_ns, boottime_ns, body) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (row.id or None, row.topic, row.boot, row.seq, row.wall_ns, row.boottime_ns, body),
    )
    return replace(row, id=row.id or cursor.lastrowid or 0)


def _rows(db: sqlite3.Connection, where: str, values: tuple[Any, ...]) -> list[Row]:
    select = f"SELECT id, topic, boot, seq, wall_ns, boottime_ns, body FROM message {where}"  # noqa: S608  # texts of this module
    found = db.execute(select, values).fetchall()
    return [Row(i, topic, boot, seq, wall, at, json.loads(body)) for i, topic, boot, seq, wall, at, body in found]
