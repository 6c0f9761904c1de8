"""Attaching a transcript to a sealed session, its verdict, and the exception of a second person (W-7.3.5 c)."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from agent.authority.person import Person
from agent.session.rules import SecondPerson, check_attach, check_exception
from recorder.disk.durable import make_folder, write_bytes
from recorder.disk.journal import utc_now
from recorder.faults import BadInput
from recorder.session.record import Session, login_remark, roles_of
from recorder.transcript.comparing import compare
from recorder.transcript.document import read_transcript, times_of

NAME_BYTES = 180


@dataclass(frozen=True, slots=True)
class Judged:
    """A transcript that was read and compared. facts: what session.json keeps of it, without ``file``."""

    name: str
    data: bytes
    facts: Mapping[str, Any]


def judge(session: Session, name: str, data: bytes, tolerance_s: float, asked: Person) -> Judged:
    """Reads the interview's times and compares them with the official ones. Touches nothing. Raises Refused, BadInput."""
    check_attach(session)
    plain = _plain_name(name)
    zone = ZoneInfo(session.timezone)
    document = read_transcript(plain, data)
    assert session.stop_ns is not None
    verdict = compare(times_of(document, zone), session.start_ns, session.stop_ns, zone, tolerance_s)
    facts = {
        "sha256": sha256(data).hexdigest(),
        "encoding": document.encoding,
        **verdict.as_json(),
        "tolerance_s": tolerance_s,
        "at": utc_now(),
        "exception": None,
        "asked": asked.as_json(),
    }
    return Judged(plain, data, facts)


def _plain_name(name: str) -> str:
    plain = name.replace("\\", "/").rsplit("/", 1)[-1].strip()
    if not plain or plain.startswith(".") or not plain.isprintable() or len(plain.encode()) > NAME_BYTES:
        text, mend = "transcript-file-name-unusable", "give-shorter-plain-file-name"
        raise BadInput(text, mend, name=ascii(name[:80]))
    return plain


def store(folder: Path, judged: Judged) -> str:
    """Keeps the file in the session's folder, beside those that were attached before; its path there. Raises StorageFault."""
    place = make_folder(folder / "transcript")
    name, number = Path(judged.name), 1
    path = place / name
    while path.exists() and path.read_bytes() != judged.data:
        number += 1
        path = place / f"{name.stem}-{number}{name.suffix}"
    if not path.exists():
        write_bytes(path, judged.data)
    return f"transcript/{path.name}"


def excepted(session: Session, by: str, reason: str, asked: Person, second_person: SecondPerson = "name") -> Mapping[str, Any]:
    """The transcript as accepted by a second person; ``remark`` says where the login is none of a second one. Raises Refused."""
    transcript = check_exception(session, by, reason, asked, second_person)
    remark = login_remark(asked.as_json(), roles_of(session.as_dict(), asked.as_json()))
    said = {"by": by.strip(), "reason": reason.strip(), "asked": asked.as_json(), "remark": remark.as_json() if remark else None}
    exception = {**said, "at": utc_now(), "verdict": transcript["verdict"]}
    return {**transcript, "verdict": "excepted", "exception": exception}
