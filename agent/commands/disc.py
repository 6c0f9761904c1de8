"""`room-agent disc …` and `verify`."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent.commands.context import Context
from agent.commands.words import Builder
from agent.console.client import PatientStatus
from agent.session import catalogue
from recorder.disk.durable import read_fault
from recorder.faults import BadInput, NotFound
from wording import Exit, Fault, Shown, shown
from wording.border import joined, laid_out
from wording.refusals import fault_from
from wording.text import listed

KEY_HELP = "help-verify-device-key"
POLL_S = 0.25
GIB = 1 << 30
CANCELLED = "burn-job-cancelled"  # burner.work.jobs
SETTLING_S = 5.0  # a fault that the worker tells of an earlier job gives way to this one by then
WORKER_AWAY_S = 20.0  # a worker that is silent for so long is not waited for
SESSION_FILES = ("session.json", "manifest.json", "journal.jsonl")
DISC_FILES = ("bagit.txt", "manifest-sha256.txt", "data")  # a damaged disc may lack some
STATES = {
    "preparing": "disc-authoring-under-way",
    "burning": "disc-burning-under-way",
    "verifying": "disc-reading-under-way",
}


def words(build: Builder) -> None:
    """``disc …`` and ``verify``."""
    build.group("disc", "help-disc")
    add = build.command("disc author", author, "help-disc-image")
    add("session", value="value-session", text="help-session-reference")
    add("--out", type=Path, required=True, value="value-image", text="help-image-file")
    add("--draft", action="store_true", text="help-disc-draft")
    add = build.command("disc burn", burn, "help-disc-burn")
    add("session", value="value-session", text="help-session-reference")
    add("--drive", action="append", default=[], value="value-drive", text="help-burner-drive")
    add("--extra", action="store_true", text="help-extra-disc")
    add("--by", default="", value="value-name", text="help-extra-disc-by")
    add("--reason", default="", value="value-reason", text="help-why")
    add("--no-wait", action="store_true", text="help-no-wait-for-result")
    add = build.command("disc cancel", cancel, "help-disc-cancel")
    add("session", value="value-session", text="help-session-reference")
    add("--by", default="", value="value-name", text="help-cancelled-by")
    add("--reason", default="", value="value-reason", text="help-why")
    add("--no-wait", action="store_true", text="help-no-wait-for-result")
    add = build.command("disc verify", verify_disc, "help-disc-read-back", free=True)
    add("target", value="value-session-drive-or-image", text="help-read-back-source")
    add("--key", default="", value="value-key", text=KEY_HELP)
    add = build.command("verify", verify, "help-verify", free=True)
    add("path", value="value-path", text="help-verify-source")
    add("--key", default="", value="value-key", text=KEY_HELP)


def author(context: Context) -> Exit:
    """Writes the disc image of a session to a file."""
    from burner.disc.author import author as make

    a = context.arguments
    folder = catalogue.find(context.places, a.session)
    reserve_bytes = round(context.config().storage.reserve_gib * GIB)
    ticket = context.ask("disc.author", session=folder.name)["ticket"]
    result = make(
        folder,
        a.out,
        language=context.language,
        draft=a.draft,
        progress=context.meter(context.say("progress-authoring")),
        reserve_bytes=reserve_bytes,
    )
    made: dict[str, Any] = {"image": str(result.path), "sha256": result.sha256, "bytes": result.bytes}
    not_told: list[Shown] = []
    try:
        with result.path.open("rb") as file:
            context.ask("disc.authored", file=file.fileno(), session=folder.name, ticket=ticket, **made)
    except OSError as error:
        not_told = [context.say("image-not-in-journal"), *context.fault_lines(read_fault(result.path, error))]
    except Fault as fault:  # the image is made all the same; that it was asked for stands in the journal of acts
        not_told = [context.say("image-not-in-journal"), *context.fault_lines(fault)]
    answer = {
        "session": folder.name,
        "image": str(result.path),
        "bytes": result.bytes,
        "sha256": result.sha256,
        "label": result.label,
        "damaged": list(result.damaged),
    }
    lines = [
        context.say("disc-image-made", path=result.path, bytes=result.bytes, label=result.label),
        laid_out("  SHA-256 {sha256}", sha256=result.sha256),
    ]
    if a.draft:
        lines.append(context.say("draft-is-no-evidence-disc"))
    lines += [*damaged_lines(context, answer), *not_told]
    context.answer(answer, lines)
    return Exit.EVIDENCE if result.damaged else Exit.OK


def damaged_lines(context: Context, made: Mapping[str, Any]) -> list[Shown]:
    """What a disc or image lacks, since it was damaged after the seal. made: with the key damaged, or without."""
    damaged = made.get("damaged") or []
    paths = listed([shown(path) for path in damaged], context.language)
    return [context.say("disc-lacks-damaged-files", count=len(damaged), paths=paths)] if damaged else []


def burn(context: Context) -> Exit:
    """Has a session's discs burned, read back and compared."""
    a = context.arguments
    folder = catalogue.find(context.places, a.session)
    extra = {"extra": True, "by": a.by, "reason": a.reason} if a.extra else {}
    order = context.ask("disc.burn", session=folder.name, drives=a.drive, **extra)
    if order["finished"]:
        context.answer(order, [context.say("discs-finished-nothing-to-burn", verified=order["verified"], copies=order["copies"])])
        return Exit.OK
    if a.no_wait:
        context.answer(order, [context.say("burn-job-queued", job=order["job"])])
        return Exit.OK
    disc = _wait(context, folder.name, order["job"])
    context.answer({"session": folder.name, **disc}, _result_lines(context, folder.name, disc))
    discs: list[Mapping[str, Any]] = disc["discs"] or []
    faults = [each["fault"] for each in discs if each["fault"]]
    verified, copies = disc["verified"], disc["copies"]
    if discs and all(each["verified"] for each in discs) and verified >= copies:
        return Exit.EVIDENCE if disc.get("damaged") else Exit.OK
    fault = disc["fault"] or next(iter(faults), None)
    return Exit.NO if fault is None or any(each["verified"] for each in discs) else fault_from(fault).exit_code


def _result_lines(context: Context, session: str, disc: Mapping[str, Any]) -> list[Shown]:
    """What a job came to, for a person."""
    discs: list[Mapping[str, Any]] = disc["discs"] or []
    lines = [_disc_line(context, each) for each in discs]
    if disc["fault"] and disc["fault"] not in [each["fault"] for each in discs]:
        lines += context.fault_lines(fault_from(disc["fault"]))
    lines.append(context.say("discs-verified-count", verified=disc["verified"], copies=disc["copies"], session=session))
    return [*lines, *damaged_lines(context, disc)]


def cancel(context: Context) -> Exit:
    """Ends the burning of a session's discs. NO where the job came to its end before it."""
    a = context.arguments
    folder = catalogue.find(context.places, a.session)
    ended = context.ask("disc.cancel", session=folder.name, by=a.by, reason=a.reason)
    if a.no_wait:
        context.answer(ended, [context.say("burning-is-being-cancelled", job=ended["job"])])
        return Exit.OK
    disc = _wait(context, folder.name, ended["job"])
    context.answer({"session": folder.name, **disc}, _result_lines(context, folder.name, disc))
    return Exit.OK if disc["fault"] and disc["fault"]["code"] == CANCELLED else Exit.NO


def _wait(context: Context, session: str, job: str) -> dict[str, Any]:
    """The result of the job as the session keeps it. What hinders the worker is told once.

    Raises Fault where the worker is away, or the agent for longer than a restart takes.
    """
    since = heard = time.monotonic()
    asked = PatientStatus(context.ask, session)
    told = ""
    hindered: object = None
    meter = context.meter(context.say("progress-burning"))
    while True:
        status = asked.ask()
        if status is None:
            heard = time.monotonic()  # it is the worker's turn again once the agent is back
            time.sleep(POLL_S)
            continue
        disc = status["session"]["disc"]
        if disc and disc["job"] == job:
            return dict(disc)
        worker: Mapping[str, Any] | None = status["burner"]
        if worker is not None:
            heard = time.monotonic()
            if worker["job"] == job:
                if worker["state"] != told and worker["state"] in STATES:
                    told = worker["state"]
                    context.progress(context.say(STATES[told]))
                meter(worker["progress"] or 0.0)
            fault = worker["fault"] if worker["job"] == job or heard - since > SETTLING_S else None
            if fault and fault != hindered:  # the worker tries again every 2 s: the same fault is no news
                hindered = fault
                context.progress(joined("\n", context.fault_lines(fault_from(fault))))
        elif time.monotonic() - heard > WORKER_AWAY_S:
            raise Fault(
                "burner-worker-no-answer",
                "start-burner-service",
                exit_code=Exit.DEVICE,
                job=job,
            )
        time.sleep(POLL_S)


def _disc_line(context: Context, disc: Mapping[str, Any]) -> Shown:
    if disc["verified"]:
        return context.say("disc-copy-verified", image=disc["image"], sha256=disc["sha256"])
    why = context.fault_line(fault_from(disc["fault"])) if disc["fault"] else "-"
    return context.say("disc-copy-not-good", image=disc["image"], why=why)


def verify_disc(context: Context) -> Exit:
    """Reads discs or images back: one that is named, or all of a session."""
    target = context.arguments.target
    _check_name(target)
    if _looks_like_path(target):
        return _report_discs(context, [target])
    session = catalogue.read_session(catalogue.find(context.places, target))
    discs = [str(d["image"]) for d in (session.disc or {}).get("discs") or [] if d.get("image")]
    if not discs:
        text, mend = "session-has-no-disc", "burn-disc-first"
        raise NotFound(text, mend, session=session.id)
    return _report_discs(context, discs)


def _check_name(target: str) -> None:
    """Raises BadInput where the name can be none, or is of a folder with neither a session nor a disc."""
    path = Path(target.removeprefix("stdio:"))
    try:
        path.lstat()
        if target and (not path.is_dir() or any((path / name).exists() for name in (*SESSION_FILES, *DISC_FILES))):
            return
    except (FileNotFoundError, NotADirectoryError):
        if target:
            return  # an id, or said by whoever looks for it
    except OSError as error:
        text, mend = "path-cannot-be-read", "check-name-and-rights"
        raise BadInput(text, mend, path=target[:80], why=error.strerror or error) from error
    text = "path-is-neither-session-nor-disc"
    raise BadInput(text, "name-session-image-or-disc", path=target or '""')


def _looks_like_path(target: str) -> bool:
    return target.startswith("stdio:") or "/" in target or Path(target).exists()


def _report_discs(context: Context, targets: list[str]) -> Exit:
    from burner.check.disc import verify_disc as check

    meter, trusted = context.meter(context.say("progress-reading")), _trusted(context)
    reports = [check(t, language=context.language, trusted_public_key=trusted, progress=meter) for t in targets]
    lines = [
        line
        for report in reports
        for line in (laid_out("{target} ({label})", target=report.target, label=report.label or "-"), *report.lines)
    ]
    dicts = [report.as_dict() for report in reports]
    context.answer(dicts[0] if len(dicts) == 1 else {"ok": all(r.ok for r in reports), "discs": dicts}, lines)
    codes = {report.exit_code for report in reports}
    return Exit.NO if Exit.NO in codes else Exit.UNVOUCHED if Exit.UNVOUCHED in codes else Exit.OK


def _trusted(context: Context) -> bytes | None:
    """The key that must have signed: --key, else this PC's; None where any may have. Raises NotFound, EvidenceFault."""
    from recorder.evidence.signature import read_public_key

    named = context.arguments.key
    if named == "any":
        return None
    key = read_public_key(Path(named) if named else context.places.keys / "device.pub")
    if named and key is None:
        raise NotFound("path-does-not-exist", "check-name", path=named)
    return key


def verify(context: Context) -> Exit:
    """A session's folder or id, an image, a disc or a mounted disc: is it what was recorded?"""
    name = context.arguments.path
    folder = Path(name)
    _check_name(name)
    if not _looks_like_path(name):
        folder = catalogue.find(context.places, name)
    elif not any((folder / file).exists() for file in SESSION_FILES):
        return _report_discs(context, [name])
    from recorder.evidence.findings import lines
    from recorder.verify.session import verify_session

    meter, trusted = context.meter(context.say("progress-reading")), _trusted(context)
    report = verify_session(folder, trusted_public_key=trusted, progress=lambda done, total: meter(done / max(1, total)))
    context.answer(report.as_json(), lines(report, context.language))
    return report.exit_code
