"""Makes later what the composite lacks: composes the missing pictures and their sound from the sealed originals.

The pictures are those of the composer: its layout, encoder and overlay, on the same 40 ms grid, with MADE LATER where the live
ones say REC. Temperature and humidity read --.-: no history of them is kept. Everything is made in ``.later.new/`` and gets its
name ``later/`` when it is whole and on stable storage, so that what a killed run leaves counts for nothing. Nothing that was
sealed is touched (invariants 4 and 5).
"""

import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

from recorder.composite.encoder import FPS
from recorder.composite.settings import ComposerSettings
from recorder.disk.durable import Json, fsync_folder, make_folder, read_json, storage_fault
from recorder.disk.locks import exclusive
from recorder.evidence.signature import check_signature, public_key
from recorder.faults import EvidenceFault, StorageFault
from recorder.later.check import Seal, checked
from recorder.later.composing import NEW, Making, Order
from recorder.later.record import FOLDER, missing_pictures
from recorder.session.files import MANIFEST, SIGNATURE, is_sealed
from wording import Exit, Fault


def make_later(
    folder: Path, settings: ComposerSettings, order: Order, *, progress: Callable[[float], object] = lambda _: None
) -> Json | None:
    """Composes every gap of a sealed session's composite into ``later/``; the content of its manifest, or None where nothing is
    missing, or was made before.

    settings: layout, encoder and language; room, zone and case are the session's own. It waits while a session is recorded.
    progress: 0…1. Raises NotFound, EvidenceFault (the sealed session does not agree, or was sealed by another PC), StorageFault,
    AlreadyRunning, and Fault where it is not sealed or a session is recorded as it begins.
    """
    manifest, sealed_sha256, signer = _sealed(folder, order.keys)
    gaps = missing_pictures(manifest)
    if not gaps:
        return None
    with exclusive(order.lock, "session complete"):
        if checked(folder, Seal(manifest, sealed_sha256, bytes.fromhex(signer))):
            return None
        _check_idle(order)
        _check_room(folder, order, sum(gap.pictures for gap in gaps))
        work = _begin_anew(folder)
        try:
            made = Making(folder, manifest, settings, order, progress).run(gaps, sealed_sha256)
            work.rename(folder / FOLDER)
            fsync_folder(folder)
        except OSError as error:
            raise storage_fault(work, error) from error
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return made


def _sealed(folder: Path, keys: Path) -> tuple[dict[str, Any], str, str]:
    """The manifest, the SHA-256 of its bytes, and its signer, this PC. Raises NotFound, EvidenceFault, StorageFault, Fault."""
    path, signature = folder / MANIFEST, folder / SIGNATURE
    if not is_sealed(folder):
        text, mend = "session-not-sealed-yet", "stop-session-and-wait-for-sealing"
        raise Fault(text, mend, exit_code=Exit.REFUSED, session=folder.name)
    trusted = public_key(keys)
    if trusted is None:
        mend = "restore-keys-folder-from-copy"
        raise EvidenceFault("file-missing", mend, path=keys / "device.pub")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise storage_fault(path, error) from error
    signer = check_signature(data, read_json(signature), trusted_public_key=trusted)
    return read_json(path), sha256(data).hexdigest(), signer


def _check_idle(order: Order) -> None:
    if order.recording():
        mend = "repeat-command-after-session-ends"
        raise Fault("no-composing-while-recording", mend, exit_code=Exit.REFUSED)


def _check_room(folder: Path, order: Order, pictures: int) -> None:
    free = shutil.disk_usage(folder).free
    wanted = round(pictures / FPS * order.composite_bps / 8) + order.reserve_bytes
    if free < wanted:
        raise StorageFault(
            "too-little-space-for-pictures",
            "free-space-then-repeat-command",
            folder=folder,
            free_mb=free // 1_000_000,
            needed_mb=wanted // 1_000_000 + 1,
        )


def _begin_anew(folder: Path) -> Path:
    """An empty folder to work in; what a killed run left was never finished and is made again. Raises StorageFault."""
    work = folder / NEW
    try:
        if work.exists():
            shutil.rmtree(work)
    except OSError as error:
        raise storage_fault(work, error) from error
    return make_folder(work)
