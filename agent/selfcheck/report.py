"""The report of a self-check for people: ``selfcheck.json``, ``selfcheck.html`` (self-contained, prints well), terminal text."""

from pathlib import Path
from zoneinfo import ZoneInfo

from agent.selfcheck.result import HEADINGS, CheckResult, CheckStatus, SelfcheckReport, device_name
from recorder.disk.durable import make_folder, write_bytes, write_json
from recorder.session.tracks import CAMERAS
from wording import Language, Shown, say
from wording.border import laid_out
from wording.page import page
from wording.times import instant_of, length

MARKS: dict[CheckStatus, str] = {"passed": "✓", "failed": "✗", "warning": "!", "skipped": "–"}
NAMES: dict[CheckStatus, str] = {"passed": "passed", "failed": "failed", "warning": "warning", "skipped": "not-checked"}


def write(report: SelfcheckReport, folder: Path, language: Language) -> tuple[Path, Path]:
    """Writes both files into the folder, which is made if need be, and gives their paths. Raises StorageFault."""
    make_folder(folder)
    data, sheet = folder / "selfcheck.json", folder / "selfcheck.html"
    write_json(data, report.as_dict())
    write_bytes(sheet, html(report, language).encode())
    return data, sheet


def when(report: SelfcheckReport) -> str:
    """The time of the check in the room's zone, RFC 3339."""
    return report.at.astimezone(ZoneInfo(report.timezone)).isoformat(timespec="seconds")


def verdict(report: SelfcheckReport, language: Language) -> Shown:
    """One sentence on the whole."""
    if not report.passed:
        return say("not-ready-checks-failed", language, count=report.counts["failed"])
    if report.counts["warning"]:
        return say("ready-with-warnings", language, count=report.counts["warning"])
    return say("ready-to-record", language)


def what_for(finding: CheckResult, language: Language) -> Shown:
    """Title, and which camera, as a row begins."""
    title = finding.title.say(language)
    if finding.device not in CAMERAS:
        return title
    return laid_out("{title} · {device}", title=title, device=device_name(finding.device).say(language))


def lines(report: SelfcheckReport, language: Language) -> list[Shown]:
    """The report as terminal text."""
    named = f"{report.room.get('name', '')} ({report.room.get('id', '')})"
    out = [say("selfcheck-of-room-at-time", language, room=named, when=when(report))]
    for heading, title in HEADINGS.items():
        out += [Shown(), say(title, language)]
        for finding in report.findings:
            if finding.heading == heading:
                out += _terminal(finding, language)
    return [*out, Shown(), verdict(report, language)]


def _terminal(finding: CheckResult, language: Language) -> list[Shown]:
    value, threshold = finding.value.say(language), finding.threshold.say(language)
    row = laid_out("  {mark} {what}", mark=MARKS[finding.status], what=what_for(finding, language))
    if value:
        row = say("check-name-and-value", language, check=row, value=value)
    if threshold and finding.status != "skipped":
        row = laid_out("{row} [{threshold}]", row=row, threshold=threshold)
    told = [text.say(language) for text in (finding.what, finding.mend) if text]
    return [row, *(laid_out("      {text}", text=text) for text in told)]


def html(report: SelfcheckReport, language: Language) -> str:
    """The page; no script, no link, no picture from elsewhere."""
    room = report.room
    facts = [
        ("room-checked", f"{room.get('name', '')} ({room.get('id', '')})"),
        ("centre", f"{room.get('centre', '')}"),
        ("check-time", instant_of(when(report), language)),
        ("check-duration", length(report.seconds, language)),
        ("software-version", f"interview-room-agent {report.version}".strip()),
    ]
    return page(
        "selfcheck.html",
        language,
        passed=report.passed,
        verdict=verdict(report, language),
        counts=[(status, MARKS[status], NAMES[status], count) for status, count in report.counts.items() if count],
        facts=facts,
        sections=[
            (title, [_row(finding, language) for finding in report.findings if finding.heading == heading])
            for heading, title in HEADINGS.items()
        ],
    )


def _row(finding: CheckResult, language: Language) -> dict[str, object]:
    texts = {name: getattr(finding, name).say(language) for name in ("value", "threshold", "what", "mend")}
    return {
        **texts,
        "title": what_for(finding, language),
        "status": finding.status,
        "mark": MARKS[finding.status],
        "result": NAMES[finding.status],
        "clauses": finding.clauses,
        "seconds": f"{finding.seconds:.1f}",
    }
