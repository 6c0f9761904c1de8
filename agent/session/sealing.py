"""Seals in a thread of its own, so that the console and the feed go on meanwhile."""

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.config.model import Config
from agent.version import product_version
from recorder.faults import StorageFault
from recorder.session.record import Session
from recorder.session.tracks import TRACKS
from wording import Fault

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SealResult:
    """coverage: by track, as session.json keeps it. composite: pictures due and written. manifest_sha256: of manifest.json."""

    coverage: Mapping[str, Any]
    composite: Mapping[str, Any]
    manifest_sha256: str


MakeSeal = Callable[[Path, Session], SealResult]
SignJournal = Callable[[Path, Session], None]


def sealing(config: Config) -> MakeSeal:
    """Makes manifest and signature with this PC's key."""

    def make(folder: Path, session: Session) -> SealResult:
        from recorder.evidence.manifest import seal

        version = product_version()
        sealed = seal(folder, session.as_dict(), config.storage.places.keys, software_version=version, required=TRACKS)
        return SealResult(sealed.coverage, sealed.composite, sealed.manifest_sha256)

    return make


def signing(config: Config) -> SignJournal:
    """Signs the head of a sealed session's journal after a line was added."""

    def sign(folder: Path, session: Session) -> None:
        from recorder.evidence.manifest import sign_journal

        sign_journal(folder, session.id, config.storage.places.keys)

    return sign


class Sealer:
    """Runs one seal at a time. ``result`` is None while it runs; a Fault where it failed."""

    def __init__(self, seal: MakeSeal) -> None:
        self._seal = seal
        self._thread: threading.Thread | None = None
        self._result: SealResult | Fault | None = None

    @property
    def busy(self) -> bool:
        """Whether a seal was begun whose result nobody has taken yet."""
        return self._thread is not None

    def begin(self, folder: Path, session: Session) -> None:
        """Starts sealing the folder."""
        self._result = None
        self._thread = threading.Thread(target=self._run, args=(folder, session), name="seal", daemon=True)
        self._thread.start()

    def take(self) -> SealResult | Fault | None:
        """The result, once; None while there is none."""
        if self._thread is None or self._thread.is_alive():
            return None
        self._thread.join()
        self._thread = None
        return self._result

    def _run(self, folder: Path, session: Session) -> None:
        try:
            self._result = self._seal(folder, session)
        except Fault as fault:
            self._result = fault
        except Exception as error:  # the top of this thread: any failure is shown, and sealing is tried again
            log.exception("seal failed", extra={"session": session.id})
            why = f"{type(error).__name__}: {error}"
            self._result = StorageFault("session-sealing-failed", "sealing-retried-see-log", why=why)
