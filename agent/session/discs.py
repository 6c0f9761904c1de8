"""Orders discs from the burner worker and takes up its results.

The order goes into ``burn/wanted.json``; the results come from ``burn/jobs/<job>.json``.

The burner worker does the work; it may be away for ever without touching anything else (invariant 6).
"""

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from agent.config.places import Places
from agent.session import catalogue
from agent.session.keeper import RETRY_NS, SessionKeeper
from agent.session.rules import LONGEST_TEXT, check_sealed
from recorder.clock.instants import boottime_ns
from recorder.disk.durable import make_folder, read_json, write_json
from recorder.disk.locks import exclusive
from recorder.faults import AlreadyRunning, BadInput, EvidenceFault, NotFound
from recorder.session.record import Session
from wording import Exit, Fault

KEPT = (
    "job",
    "copies",
    "verified",
    "label",
    "image_bytes",
    "image_sha256",
    "content_sha256",
    "damaged",
    "discs",
    "finished",
    "fault",
)
BURNER = "burner"  # the worker's lock
SPARE_NAMES = 2  # so many drives more than there are may be named in an order
NOT_FINAL = {
    "mismatch": "no-disc-transcript-times-disagree",
    "not-found": "no-disc-transcript-times-not-found",
}

log = logging.getLogger(__name__)


class Discs:
    """Used by the agent's thread alone."""

    def __init__(
        self, places: Places, keeper: SessionKeeper, drives: Sequence[str], copies: int, *, now: Callable[[], int] = boottime_ns
    ) -> None:
        """drives, copies: what an order that names none gets. now: CLOCK_BOOTTIME, ns."""
        self._places, self._keeper = places, keeper
        self._drives, self._copies = tuple(drives), copies
        self._results = places.burn / "jobs"
        self._now = now
        self._looked_ns = 0
        self._retry_ns = 0
        self._seen: set[str] = set()  # jobs whose results were looked at

    def want(self, session: Session, drives: Sequence[str], *, extra: bool = False) -> dict[str, Any]:
        """The order for the discs of a session, for ``ask``; ``finished`` where it has all of them and no extra one is asked for.

        A finished session stays as it is: its discs are counted. drives: of those in the configuration. Raises BadInput where it
        names another one, Fault where no final disc may be made now.
        """
        chosen = self._chosen(drives)
        check_sealed(session)
        known = session.disc or {}
        if session.state == "on-disc" and not extra:
            counted = {name: known.get(name) for name in ("copies", "verified", "label")}
            return {"finished": True, "session": session.id, **counted}
        if extra and session.state != "on-disc":
            raise Fault("discs-not-finished", "burn-discs-first", exit_code=Exit.REFUSED, session=session.id)
        if session.state not in ("matched", "on-disc"):
            verdict = (session.transcript or {}).get("verdict")
            text = NOT_FINAL.get(str(verdict), "session-has-no-transcript")
            mend = "attach-right-transcript-or-accept-exception"
            raise Fault(text, mend, exit_code=Exit.REFUSED, session=session.id)
        if not chosen:
            raise Fault("room-has-no-drive", "name-drives-in-configuration", exit_code=Exit.DEVICE)
        if running := self._running():
            text, mend = "burn-job-unfinished", "wait-for-burn-job"
            raise Fault(text, mend, exit_code=Exit.REFUSED, job=running["job"])
        job = f"{session.id}-{self._next_number(session):03d}"
        copies = int(known.get("verified") or 0) + 1 if extra else self._copies
        order = {"job": job, "session": session.id, "drives": list(chosen), "copies": copies, "extra": extra}
        return {"finished": False, **order}

    def _chosen(self, drives: Sequence[str]) -> tuple[str, ...]:
        """Each drive once; all of the configuration where none is named. Raises BadInput."""
        if len(drives) > (most := len(self._drives) + SPARE_NAMES):
            raise BadInput("too-many-drives-named", "name-configured-drive", count=len(drives), limit=most, known=self._known)
        for drive in drives:
            if not drive.startswith(("/", "stdio:/")):
                text, mend = "drive-option-invalid", "name-drive-as-device-path"
                raise BadInput(text, mend, value=drive[:80] or '""')
            if drive not in self._drives:
                raise BadInput("drive-not-configured", "name-configured-drive", value=drive[:LONGEST_TEXT], known=self._known)
        return tuple(dict.fromkeys(drives)) or self._drives

    @property
    def _known(self) -> str:
        return ", ".join(self._drives) or "-"

    def ask(self, order: Mapping[str, Any]) -> None:
        """Gives the burner worker an order of ``want``. Raises StorageFault."""
        make_folder(self._places.burn)
        self._put(order)
        log.info("discs wanted", extra={"session": order["session"], "job": order["job"]})

    def _put(self, order: Mapping[str, Any], **more: object) -> None:
        wanted = {name: order[name] for name in ("job", "session", "drives", "copies", "extra") if name in order}
        write_json(self._places.burn / "wanted.json", {**wanted, **more})

    def under_way(self, session: Session) -> str:
        """The job of a session that is wanted or under way. Raises Fault where there is none."""
        order = self._running()
        if order is None or order.get("session") != session.id:
            raise Fault("no-burn-job-to-cancel", "see-session-status", exit_code=Exit.REFUSED, session=session.id)
        return str(order["job"])

    def cancel(self, job: str) -> None:
        """Ends a job: at once where it waits, else at the worker's next safe point. Raises StorageFault.

        The worker finds the word in the order itself. Where no worker runs, the agent says the result in its place, and keeps it
        from starting meanwhile.
        """
        order = self._running()
        if order is None or order["job"] != job:
            return
        self._put(order, cancelled=True)
        log.info("discs cancelled", extra={"session": order["session"], "job": job})
        with suppress(AlreadyRunning), exclusive(self._places.lock(BURNER), BURNER, named=False):
            from burner.work.jobs import Job, JobStore

            store, known = JobStore(self._places.root), Job.from_dict(order)
            if store.result(known) is None:
                store.finish(store.cancelled(known, *self._verified(known.session)))

    def _verified(self, session: str) -> tuple[int, str | None]:
        """The verified discs of a session, and what is on them, as it says itself."""
        disc = catalogue.read_session(self._places.session(session)).disc or {}
        content = disc.get("content_sha256")
        return int(disc.get("verified") or 0), content if isinstance(content, str) else None

    def check_idle(self, session: Session) -> None:
        """Raises Fault while discs of the session are being made: what they hold may not change under them."""
        order = self._order()
        if order.get("session") == session.id and order.get("job") not in self._seen:  # done when its result was taken up
            text, mend = "session-discs-being-burned", "wait-for-discs"
            raise Fault(text, mend, exit_code=Exit.REFUSED, session=session.id)

    def _order(self) -> dict[str, Any]:
        """The last order for discs; empty where there is none or it cannot be read."""
        try:
            return dict(read_json(self._places.burn / "wanted.json"))
        except (NotFound, EvidenceFault):
            return {}

    def _running(self) -> dict[str, Any] | None:
        """The last order, as long as it has no result."""
        order = self._order()
        job = order.get("job")
        done = not job or (self._results / f"{job}.json").exists()
        return None if done else order

    def _next_number(self, session: Session) -> int:
        names = [path.stem for path in self._results.glob(f"{session.id}-*.json")]
        names.append(str((session.disc or {}).get("job") or ""))
        return 1 + max(int(found.group(1)) if (found := re.search(r"-(\d+)$", name)) else 0 for name in names)

    def tick(self) -> None:
        """Takes up the results that came since the last call. Raises StorageFault, EvidenceFault: then again after 10 s.

        One that fails holds up the later ones of its own session, and no other session's.
        """
        try:
            changed_ns = self._results.stat().st_mtime_ns
        except OSError:
            return  # nothing was ever burned
        if changed_ns == self._looked_ns or self._now() < self._retry_ns:
            return
        self._retry_ns = self._now() + RETRY_NS
        failed: dict[str, Fault] = {}  # by session
        for path in sorted(self._results.glob("[!.]*.json")):
            session = path.stem.rpartition("-")[0]
            if path.stem in self._seen or session in failed:
                continue
            try:
                self._take_up(path.stem)
            except Fault as fault:
                failed[session] = fault
            else:
                self._seen.add(path.stem)
        if failed:
            raise next(iter(failed.values()))
        self._looked_ns, self._retry_ns = changed_ns, 0

    def _take_up(self, job: str) -> None:
        try:
            result = read_json(self._results / f"{job}.json")
            folder = self._places.session(str(result["session"]))
            session = catalogue.read_session(folder)
        except (NotFound, EvidenceFault, KeyError) as error:
            log.error("result of a burn job cannot be used", extra={"job": job, "fault": str(error)})
            return
        known = str((session.disc or {}).get("job") or "")
        if known >= job or session.active:  # a session's jobs are numbered: an older result says nothing new
            return
        facts = {key: result.get(key) for key in KEPT}
        for key in ("label", "image_bytes", "image_sha256"):  # a job that made nothing leaves the earlier result as it is
            facts[key] = facts[key] if facts[key] is not None else (session.disc or {}).get(key)
        if session.state == "on-disc" and result.get("ok") is not True:  # an extra copy failed: the session has what it had
            facts |= {key: (session.disc or {}).get(key) for key in ("copies", "verified")}
        copies = facts["copies"]
        wanted = copies if isinstance(copies, int) else self._copies
        changed = self._keeper.change(folder, lambda s: s.with_disc(facts, wanted), "burned", **facts)
        log.info("discs done", extra={"session": changed.id, "job": job, "verified": facts["verified"], "state": changed.state})
