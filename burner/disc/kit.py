"""What somebody who has nothing but the disc checks it with: instructions, public keys, plain signatures, and a page.

HOW-TO-CHECK.txt and 如何核验.txt give commands of sha256sum and openssl that prove every film; verify.html does the same in a
browser. All of it is among what the disc's signature covers.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from burner.disc.deliver import Delivered
from burner.disc.image import Entry
from burner.disc.sealed_session import Evidence
from burner.disc.signing import DELIVERY, RAW, UNLISTED
from burner.disc.verify_page import verify_page
from recorder.disk.durable import Json
from recorder.disk.journal import Head
from recorder.evidence.sealed_segments import SealedSegment
from recorder.evidence.signature import PUBLIC, fingerprint, head_message, pem, raw_signature
from recorder.faults import EvidenceFault
from recorder.session.tracks import MADE_LATER
from wording import Language, Shown, shown
from wording.border import joined
from wording.page import page

HOW_TO: Mapping[Language, str] = {"en": "HOW-TO-CHECK.txt", "zh": "如何核验.txt"}
VERIFY = "verify.html"
JOURNAL_HEAD = "data/journal.head.txt"  # what journal.sig signs
JOURNAL_STORED = "data/journal.sig"
MANIFESTS = ("data/manifest.sig", f"data/{MADE_LATER}/manifest.sig")


@dataclass(frozen=True, slots=True)
class Film:
    """One MP4 of the disc. digest: of its packets, hex, as the sealed journal of its track has it; "" where that has none.

    journal: that journal on the disc; lines: how many of its lines are sealed.
    """

    path: str
    digest: str = ""
    journal: str = ""
    lines: int = 0


@dataclass(frozen=True, slots=True)
class Signed:
    """A signature that the session has. path: what it signs, raw: the file of its 64 bytes, as paths on the disc.

    message: what lies at path, where that is no record of the session; else b"".
    """

    path: str
    raw: str
    key: bytes
    signature: bytes
    message: bytes = b""


def film(path: str, delivered: Delivered, evidence: Evidence) -> Film:
    """What the sealed journals say of an MP4: of one that holds a whole run of segments, or the beginning of one."""
    known = {each.path: each for each in evidence.segments.get(delivered.track, ())}
    digest = run_digest([known[source.path] for source in delivered.sources if source.path in known])
    if not digest:
        return Film(path)
    lines = evidence.manifest["tracks"][delivered.track]["journal"]["entries"]
    return Film(path, digest, f"data/journals/{delivered.track}.jsonl", int(lines))


def run_digest(segments: Sequence[SealedSegment]) -> str:
    """The digest of the packets of all the segments, where they are a run from its first segment on; else ""."""
    if not segments or any(each.run_since != PurePosixPath(segments[0].path).name for each in segments):
        return ""
    digest = segments[-1].run_sha256
    return digest if re.fullmatch("[0-9a-f]{64}", digest) else ""


def kit(
    evidence: Evidence, label: str, records: Sequence[Entry], films: Sequence[Film], *, signer: bytes | None, language: Language
) -> list[Entry]:
    """The files for the stranger. records: the disc's, held in memory. signer: the key that will sign the disc; None: nobody."""
    content = {each.path: each.source for each in records if isinstance(each.source, bytes)}
    signed = [each for path in content if (each := signed_by(path, content[path], session_of(evidence.manifest)))]
    keys = key_files([*([signer] if signer else []), *(each.key for each in signed)])
    ways = [(each.path, keys[each.key], each.raw) for each in signed]
    if signer:
        ways.insert(0, (DELIVERY, keys[signer], DELIVERY.replace(".json", RAW)))
    head = journal_head(content.get(JOURNAL_STORED, b""))
    facts = {
        "label": label,
        "session": evidence.id,
        "who": _who(evidence),
        "signed": signer is not None,
        "keys": [(name, fingerprint(key.hex())) for key, name in keys.items()],
        "unlisted": [path for path in UNLISTED if signer or ".sig" not in path],
        "signatures": ways,
        "journal_lines": head.entries if head else 0,
        "proved": [each for each in films if each.digest],
        "unproved": [each.path for each in films if not each.digest],
    }
    return [
        *(Entry.of_bytes(name, page("how-to-check.txt", to, **facts).encode()) for to, name in HOW_TO.items()),
        Entry.of_bytes(VERIFY, verify_page(language).encode()),
        *(Entry.of_bytes(name, pem(key)) for key, name in keys.items()),
        *(Entry.of_bytes(each.raw, each.signature) for each in signed),
        *(Entry.of_bytes(each.path, each.message) for each in signed if each.message),
    ]


def signed_by(path: str, stored: bytes, session: str) -> Signed | None:
    """What a record's signature says; None where the record is no signature, or not of the known form."""
    message, to_sign = b"", path.replace(".sig", ".json")
    if path == JOURNAL_STORED:
        head = journal_head(stored)
        message, to_sign = head_message(session, head) if head else b"", JOURNAL_HEAD
        if not message:
            return None
    elif path not in MANIFESTS:
        return None
    try:
        key, signature = raw_signature(_object(stored), path)
    except EvidenceFault:
        return None
    return Signed(to_sign, path.replace(".sig", RAW), key, signature, message)


def key_files(keys: Sequence[bytes]) -> dict[bytes, str]:
    """Each key's file beside data/: device.pub, and device-2.pub and so on for others."""
    each = dict.fromkeys(keys)
    return {key: PUBLIC if number == 1 else PUBLIC.replace(".", f"-{number}.") for number, key in enumerate(each, 1)}


def journal_head(stored: bytes) -> Head | None:
    """The head that a journal.sig signs; None where the file is not of the known form."""
    match _object(stored):
        case {"entries": int(entries), "sha256": str(digest)} if entries > 0 and re.fullmatch("[0-9a-f]{64}", digest):
            return Head(entries, digest)
    return None


def session_of(manifest: Mapping[str, Any]) -> str:
    """The session's id, as the signature of its journal has it."""
    return str(manifest.get("session", ""))


def _who(evidence: Evidence) -> Shown:
    """Who runs the room, as far as the record says."""
    room: Any = evidence.record.get("room")
    known = room if isinstance(room, dict) else {}
    return joined(", ", [shown(value) for name in ("agency", "centre", "name") if (value := known.get(name))])


def _object(data: bytes) -> Json:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
