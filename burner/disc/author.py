"""From a sealed session to the plan of its disc, and to an image file where one is asked for."""

import errno
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from burner.disc import kit, page, signing
from burner.disc import sealed_session as evidence_
from burner.disc.bag import BAGIT, DELIVERY, INFO, bag, bag_info, disc_name, info_lines
from burner.disc.damage import Damaged
from burner.disc.deliver import Delivered, Delivery, clear, deliver, disc_folder, reserve_fault
from burner.disc.image import Entry, ImagePlan
from burner.disc.label import label as label_of
from burner.disc.sealed_session import Evidence
from burner.disc.signing import DiscSignature
from burner.faults import DoesNotFit, Stopped
from recorder.clock.instants import SECOND_NS, rfc3339
from recorder.disk import journal
from recorder.disk.durable import Json, encode, name_new, read_fault, storage_fault
from recorder.faults import BadInput, EvidenceFault
from recorder.later import record
from recorder.later.check import RECORDS
from recorder.session.lines import cause_of
from recorder.session.record import CASE_FIELDS, TOLD, exception_remark, exception_roles, sealed_without
from recorder.session.tracks import COMPOSITE, MADE_LATER
from wording import Language, Shown, say, shown
from wording.border import joined, laid_out
from wording.text import listed
from wording.times import instant_of


@dataclass(frozen=True, slots=True)
class AuthorResult:
    """An image file. bytes, sha256: of the whole image, padding included. label: its volume identifier.

    damaged: paths of the session's files that it lacks, since they were damaged after the seal.
    """

    path: Path
    bytes: int
    sha256: str
    label: str
    damaged: tuple[str, ...] = ()


def author(
    session_folder: Path,
    out: Path,
    *,
    language: Language,
    draft: bool = False,
    progress: Callable[[float], object] = lambda _: None,
    stopped: Callable[[], bool] = lambda: False,
    reserve_bytes: int = 0,
) -> AuthorResult:
    """Writes the session's disc image to a new file.

    draft: also before the transcript agrees; bag, page and label then say DRAFT. progress: 0…1. reserve_bytes: what stays free on
    the data disk, for the next recording.
    Raises NotFinal, NotFound, EvidenceFault, DoesNotFit, BadInput (out exists or has no folder), StorageFault, AlreadyRunning,
    BurnFault, Stopped. A file that was begun is removed.
    """
    evidence = evidence_.read(session_folder)
    if not draft:
        evidence_.require_final(evidence)
    _check_new(out)
    with disc_folder(evidence) as folder:
        delivery = deliver(evidence, folder, progress=lambda p: progress(0.6 * p), stopped=stopped, reserve_bytes=reserve_bytes)
        try:
            plan = plan_disc(evidence, folder, delivery, language=language, draft=draft)
            kept = reserve_bytes if out.parent.stat().st_dev == folder.stat().st_dev else 0
            made = _write(plan, out, lambda p: progress(0.6 + 0.4 * p), stopped, kept)
            return replace(made, damaged=tuple(each.path for each in delivery.damaged))
        finally:
            clear(folder)


def _check_new(out: Path) -> None:
    """Raises BadInput where the image file cannot be made; before the work, not after it."""
    mend = "name-new-file-in-existing-folder"
    try:
        out.parent.stat()
        out.lstat()
    except FileNotFoundError:
        if out.parent.is_dir():
            return
        raise BadInput("output-folder-missing", mend, path=out.parent) from None
    except OSError as error:
        raise BadInput("output-path-unusable", mend, path=out, why=error.strerror or error) from error
    raise BadInput("output-file-already-exists", mend, path=out)


def _write(
    plan: ImagePlan, out: Path, progress: Callable[[float], object], stopped: Callable[[], bool], reserve_bytes: int
) -> AuthorResult:
    temporary = out.with_name(f".{out.name}.{os.getpid()}.new")
    try:
        with open(temporary, "xb", buffering=0) as file:
            free = os.fstatvfs(file.fileno())
            if free.f_bavail * free.f_frsize < plan.bytes:
                raise DoesNotFit(
                    "no-space-for-disc-image",
                    "free-space-or-choose-other-folder",
                    folder=out.parent,
                    free_mb=free.f_bavail * free.f_frsize // 1_000_000,
                    needed_mb=-(-plan.bytes // 1_000_000),
                )
            if (left := free.f_bavail * free.f_frsize) < plan.bytes + reserve_bytes:
                raise reserve_fault(out.parent, left, plan.bytes, reserve_bytes)
            sent = 0

            def sink(data: bytes) -> None:
                nonlocal sent
                if stopped():
                    raise Stopped
                view = memoryview(data)
                while view:
                    view = view[file.write(view) :]
                sent += len(data)
                progress(sent / plan.bytes)

            written = plan.write_to(sink, check=False)  # hashed a moment ago, in a folder that is held
            os.fsync(file.fileno())
        if not name_new(temporary, out):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
    except OSError as error:
        raise storage_fault(out, error) from error
    finally:
        temporary.unlink(missing_ok=True)
    return AuthorResult(out, written.bytes, written.sha256, plan.label)


def plan_disc(evidence: Evidence, folder: Path, delivery: Delivery, *, language: Language, draft: bool) -> ImagePlan:
    """The disc of a session whose MP4s lie in folder, which the caller holds, signed where this PC has a key.

    Raises EvidenceFault, StorageFault, BurnFault.
    """
    label = label_of(evidence, draft=draft)
    zone = _zone(evidence)
    delivered = delivery.files
    clips = [_clip(d, zone) for d in delivered]
    holes = [_hole(d, zone) for d in delivery.damaged]
    records = [
        *_transcript(evidence),
        Entry.of_bytes("data/session.json", _read(evidence.folder / "session.json")),
        Entry.of_bytes("data/manifest.json", _read(evidence.folder / "manifest.json")),
        Entry.of_bytes("data/manifest.sig", _read(evidence.folder / "manifest.sig")),
        *_journal_signature(evidence),
        *_later_records(evidence),
        *(Entry.of_bytes(f"data/journals/{name}.jsonl", _whole_lines(path)) for name, path in evidence.journals.items()),
        *(Entry.of_bytes(f"data/epochs/{p.name}", _read(p)) for p in sorted(evidence.folder.glob("epochs/[!.]*.json"))),
    ]
    keys = evidence.folder.parent.parent / "keys"
    signer = signing.signer(keys)
    transcript = next((e.path.removeprefix("data/") for e in records if e.path.startswith("data/transcript/")), "")
    gaps, cut = _gaps(evidence, zone, language), _cut(evidence, zone, language)
    facts = _facts(evidence, language)
    shown = page.Page(label, draft, facts, evidence.verdict, transcript, clips, gaps, cut, holes, signer is not None)
    pages = [
        Entry.of_bytes("index.html", page.doorway(language).encode()),
        Entry.of_bytes("data/index.html", page.render(shown, language).encode()),
    ]
    films = [Entry(f"data/{c.href}", folder / d.name, d.bytes, d.sha256) for d, c in zip(delivered, clips, strict=True)]
    proofs = [kit.film(entry.path, d, evidence) for d, entry in zip(delivered, films, strict=True)]
    stranger = kit.kit(evidence, label, records, proofs, signer=signer, language=language)
    status = ("DRAFT" if draft else "FINAL") + (", NOT WHOLE" if holes else "")
    info = _bag_info(evidence, label, status, zone, language)
    account: Json = {
        "schema": DELIVERY,
        "session": evidence.id,
        "label": label,
        "draft": draft,
        "files": [
            {**asdict(d), "path": f"data/{c.href}", "from": c.starts, "to": c.ends} for d, c in zip(delivered, clips, strict=True)
        ],
        "damaged": [{**asdict(d), "from": hole.starts, "to": hole.ends} for d, hole in zip(delivery.damaged, holes, strict=True)],
    }
    return ImagePlan(_signed_bag(account, [*pages, *records, *stranger], films, info, keys if signer else None), label)


def _signed_bag(
    account: Json, covered: Sequence[Entry], films: Sequence[Entry], info: Mapping[str, str], keys: Path | None
) -> tuple[Entry, ...]:
    """The bag with delivery.json, the list of all digests, and the signatures over both.

    account: delivery.json without the digests of what is covered. keys: None where nobody signs. delivery.json holds the digest
    of bag-info.txt, which counts the bytes of delivery.json: every length is known before the digests are.
    """
    inside = [e for e in covered if e.path.startswith("data/")]
    digests = {e.path: e.sha256 for e in (BAGIT, *covered)}

    def delivery(info_sha256: str) -> bytes:
        return encode({**account, "sha256": {**digests, INFO: info_sha256}, "info": info_lines(info)})

    def payload(data: bytes, signature: DiscSignature | None) -> list[Entry]:
        own = [Entry.of_bytes(signing.DELIVERY, data), Entry.of_bytes(signing.SUMS, signing.sums_of(data))]
        return [*inside, *own, *(signature.files(data) if signature else []), *films]

    alike = payload(delivery("0" * 64), signing.TO_COME if keys else None)  # of the same lengths
    data = delivery(bag_info(info, alike).sha256)
    signature = signing.sign_disc(data, keys) if keys else None
    return bag(payload(data, signature), info, top=[e for e in covered if not e.path.startswith("data/")])


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise read_fault(path, error) from error


def _whole_lines(path: Path) -> bytes:
    """A journal as far as it is whole now: the session's goes on after the seal. Raises EvidenceFault."""
    data, _ = journal.split_torn(_read(path))
    journal.chain_head(data, path)
    return data


def _journal_signature(evidence: Evidence) -> list[Entry]:
    """The signature of the session's journal. It is read before the journal, which then holds at least what is signed."""
    path = evidence.folder / "journal.sig"
    return [Entry.of_bytes("data/journal.sig", _read(path))] if path.exists() else []


def _later_records(evidence: Evidence) -> list[Entry]:
    """What vouches for the MP4s that were made later."""
    if not evidence.later:
        return []
    folder = evidence.folder / record.FOLDER
    return [Entry.of_bytes(f"data/{MADE_LATER}/{name}", _read(folder / name)) for name in RECORDS]


def _transcript(evidence: Evidence) -> list[Entry]:
    path = evidence.transcript()
    if path is None:
        return []
    entry = Entry.of_bytes(f"data/transcript/{disc_name(path.name, 'transcript')}", _read(path))
    if entry.sha256 != evidence.record["transcript"].get("sha256"):
        raise EvidenceFault("transcript-changed-since-attached", "attach-transcript-again", path=path)
    return [entry]


def _zone(evidence: Evidence) -> ZoneInfo:
    try:
        return ZoneInfo(str(evidence.record.get("timezone") or "UTC"))
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo("UTC")


def _clip(delivered: Delivered, zone: ZoneInfo) -> page.Clip:
    place = delivered.track if delivered.track in (COMPOSITE, MADE_LATER) else "originals"
    starts, ends = rfc3339(delivered.first_ns, zone), rfc3339(delivered.end_ns, zone)
    return page.Clip(delivered.track, f"{place}/{delivered.name}", delivered.codec, starts, ends, delivered.sha256)


def _hole(damaged: Damaged, zone: ZoneInfo) -> page.DamagedRow:
    return page.DamagedRow(damaged.track, damaged.path, rfc3339(damaged.first_ns, zone), rfc3339(damaged.end_ns, zone))


def _section(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


Facts = tuple[tuple[str, Shown], ...]


def _facts(evidence: Evidence, language: Language) -> Facts:
    """Label and value of what the record marks as told, in the order of the page."""
    told = {name: TOLD_AS[name](evidence, language) for name in TOLD}
    agency = ("handling-agency", shown(_section(evidence.record.get("room")).get("agency", "")))
    order = ("case", "room", "official_start", "official_end", "left", "transcript")
    return (*told["case"], agency, *(fact for name in order[1:] for fact in told[name]), ("session", shown(evidence.id)))


def _case_facts(evidence: Evidence, language: Language) -> Facts:
    case = _section(evidence.record.get("case"))

    def value(name: str) -> Shown:
        given = case.get(name, "")
        return listed(map(shown, given), language) if isinstance(given, list) else shown(given)

    return tuple((each.label, value(each.name)) for each in CASE_FIELDS)


def _room_facts(evidence: Evidence, _language: Language) -> Facts:
    room = _section(evidence.record.get("room"))
    return (("room", laid_out("{name} ({id})", name=room.get("name", ""), id=room.get("id", ""))),)


def _left_facts(evidence: Evidence, language: Language) -> Facts:
    return tuple(("recording-not-whole", said.say(language)) for said in sealed_without(evidence.manifest))


# What of the record stands on the page. The transcript has a line of its own there, with a link; here stands the remark on its
# exception.
TOLD_AS: Mapping[str, Callable[[Evidence, Language], Facts]] = {
    "official_start": lambda e, to: (("official-start", instant_of(e.record.get("official_start") or "", to)),),
    "room": _room_facts,
    "case": _case_facts,
    "official_end": lambda e, to: (("official-end", instant_of(e.record.get("official_end") or "", to)),),
    "left": _left_facts,
    "transcript": lambda e, to: tuple(("exception-remark", said.say(to)) for said in [exception_remark(e.record)] if said),
}


def _gaps(evidence: Evidence, zone: ZoneInfo, language: Language) -> tuple[page.GapRow, ...]:
    sections = {**_section(evidence.manifest.get("tracks")), "composite": evidence.manifest.get("composite")}
    return tuple(
        page.GapRow(
            track,
            rfc3339(int(gap["from_ns"]), zone),
            rfc3339(int(gap["to_ns"]), zone),
            (int(gap["to_ns"]) - int(gap["from_ns"])) / SECOND_NS,
            cause_of(gap).say(language),
        )
        for track, section in sections.items()
        for gap in _section(section).get("gaps") or ()
    )


def _cut(evidence: Evidence, zone: ZoneInfo, language: Language) -> tuple[page.CutRow, ...]:
    return tuple(
        page.CutRow(track, rfc3339(int(picture["from_ns"]), zone), cause_of(picture).say(language))
        for track, section in _section(evidence.manifest.get("tracks")).items()
        for picture in _section(section).get("cut") or ()
    )


def _bag_info(evidence: Evidence, label: str, status: str, zone: ZoneInfo, language: Language) -> dict[str, str]:
    case, room = _section(evidence.record.get("case")), _section(evidence.record.get("room"))
    software = _section(evidence.manifest.get("software"))
    today: date = datetime.now(zone).date()
    return {
        "Bag-Software-Agent": f"{software.get('name', 'interview-room-agent')} {software.get('version', '')}".strip(),
        "Bagging-Date": today.isoformat(),
        "Source-Organization": str(room.get("agency") or room.get("centre") or ""),
        "External-Identifier": evidence.id,
        "Internal-Sender-Identifier": str(case.get("number", "")),
        "Internal-Sender-Description": str(case.get("cause", "")),
        "External-Description": say("interview-av-record", language),
        "Official-Start": str(evidence.record.get("official_start") or ""),
        "Official-End": str(evidence.record.get("official_end") or ""),
        "Volume-Identifier": label,
        "Transcript-Verdict": evidence.verdict or "",
        "Exception-Typed-By-Same-Login": _same_login(evidence),
        "Sealed-Without": joined(" ", [said.say(language) for said in sealed_without(evidence.manifest)]),
        "Status": status,
    }


def _same_login(evidence: Evidence) -> str:
    """Whose login typed the exception and has asked for what else, as values; "" where it was another one's."""
    roles = exception_roles(evidence.record)
    asked = _section(_section(_section(evidence.record.get("transcript")).get("exception")).get("asked"))
    return f"{','.join(roles)} uid={asked.get('uid')} login={asked.get('login') or '-'}" if roles else ""
