"""The report of a self-check for people: ``selfcheck.json``, ``selfcheck.html`` (self-contained, prints well), terminal text."""

from html import escape
from pathlib import Path
from zoneinfo import ZoneInfo

from agent.selfcheck.result import HEADINGS, Finding, Report, Status, device_name
from recorder.disk.durable import make_folder, write_bytes, write_json
from wording import Language, say

MARKS: dict[Status, str] = {"passed": "✓", "failed": "✗", "warning": "!", "skipped": "–"}
SEVERAL = ("overview", "closeup")  # devices of a kind that a room has more than once
NAMES: dict[Status, str] = {"passed": "passed", "failed": "failed", "warning": "warning", "skipped": "not checked"}


def write(report: Report, folder: Path, language: Language) -> tuple[Path, Path]:
    """Writes both files into the folder, which is made if need be, and gives their paths. Raises StorageFault."""
    make_folder(folder)
    data, page = folder / "selfcheck.json", folder / "selfcheck.html"
    write_json(data, report.as_dict())
    write_bytes(page, html(report, language).encode())
    return data, page


def when(report: Report) -> str:
    """The report's time as the room's clock on the wall shows it, with the zone's offset."""
    local = report.at.astimezone(ZoneInfo(report.timezone))
    return f"{local:%Y-%m-%d %H:%M:%S} (UTC{local.isoformat()[-6:]})"


def verdict(report: Report, language: Language) -> str:
    """One sentence on the whole."""
    if not report.passed:
        return say("Not ready: {count} check(s) failed.", language, count=report.counts["failed"])
    if report.counts["warning"]:
        return say("Ready to record; {count} warning(s).", language, count=report.counts["warning"])
    return say("Ready to record.", language)


def what_for(finding: Finding, language: Language) -> str:
    """Title, and which camera, as a row begins."""
    title = finding.title.say(language)
    return f"{title} · {device_name(finding.device).say(language)}" if finding.device in SEVERAL else title


def lines(report: Report, language: Language) -> list[str]:
    """The report as terminal text."""
    named = f"{report.room.get('name', '')} ({report.room.get('id', '')})"
    out = [say("Self-check of {room}, {when}", language, room=named, when=when(report))]
    for heading, title in HEADINGS.items():
        out += ["", say(title, language)]
        for finding in report.findings:
            if finding.heading == heading:
                out += _terminal(finding, language)
    return [*out, "", verdict(report, language)]


def _terminal(finding: Finding, language: Language) -> list[str]:
    value, threshold = finding.value.say(language), finding.threshold.say(language)
    row = f"  {MARKS[finding.status]} {what_for(finding, language)}"
    if value:
        row = say("{check}: {value}", language, check=row, value=value)
    row += f" [{threshold}]" if threshold and finding.status != "skipped" else ""
    told = [text.say(language) for text in (finding.what, finding.mend) if text]
    return [row, *(f"      {text}" for text in told)]


def html(report: Report, language: Language) -> str:
    """The page; no script, no link, no picture from elsewhere."""

    def text(template: str) -> str:
        return escape(say(template, language))

    room = report.room
    facts = [
        ("Room checked", f"{room.get('name', '')} ({room.get('id', '')})"),
        ("Centre", f"{room.get('centre', '')}"),
        ("Time of the check", when(report)),
        ("Time taken", f"{report.seconds:.1f} s"),
        ("Software version", f"interview-room-agent {report.version}".strip()),
    ]
    counts = "".join(
        f'<li class="{status}">{MARKS[status]} {text(NAMES[status])} {count}</li>'
        for status, count in report.counts.items()
        if count
    )
    sections = "".join(_section(report, heading, text(title), language) for heading, title in HEADINGS.items())
    return PAGE.format(
        lang="zh-CN" if language == "zh" else "en",
        title=text("Self-check report"),
        verdict_class="passed" if report.passed else "failed",
        verdict=escape(verdict(report, language)),
        counts=counts,
        facts="".join(f"<div><dt>{text(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts),
        sections=sections,
        note=text(
            "Headings as in clause 8.1.3 of the standard for case-handling centres: devices intact, connections open,"
            " sound clear, picture clear; faults are mended in time. Clauses: W is that standard, H the one for command centres."
        ),
        checked_by=text("Checked by"),
        date=text("Date"),
    )


def _section(report: Report, heading: str, title: str, language: Language) -> str:
    rows = "".join(_row(finding, language) for finding in report.findings if finding.heading == heading)
    names = "".join(
        f"<th>{escape(say(name, language))}</th>" for name in ("Result", "Check", "Measured", "Required", "Clause", "Seconds")
    )
    return f"<section><h2>{title}</h2><table><thead><tr>{names}</tr></thead><tbody>{rows}</tbody></table></section>"


def _row(finding: Finding, language: Language) -> str:
    cells = (
        f'<td class="mark"><b>{MARKS[finding.status]}</b> {escape(say(NAMES[finding.status], language))}</td>',
        f"<td>{escape(what_for(finding, language))}</td>",
        f"<td>{escape(finding.value.say(language)) or '–'}</td>",
        f"<td>{escape(finding.threshold.say(language)) or '–'}</td>",
        f"<td>{'<br>'.join(map(escape, finding.clauses))}</td>",
        f'<td class="number">{finding.seconds:.1f}</td>',
    )
    told = bool(finding.what or finding.mend)
    row = f'<tr class="{finding.status}{" telling" if told else ""}">{"".join(cells)}</tr>'
    if told:
        what, mend = escape(finding.what.say(language)), escape(finding.mend.say(language))
        todo = f"<p><b>{escape(say('What to do', language))}</b> {mend}</p>" if mend else ""
        row += f'<tr class="{finding.status} told"><td></td><td colspan="5"><p>{what}</p>{todo}</td></tr>'
    return row


PAGE = """<!doctype html>
<html lang="{lang}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ --passed: #1a7f4b; --failed: #c0271d; --warning: #a86400; --skipped: #6b7280; --line: #d9dde3; --soft: #f5f6f8; }}
* {{ box-sizing: border-box; }}
body {{ margin: 0 auto; padding: 2rem 1.5rem; max-width: 64rem; color: #1c2430; background: #fff;
  font: 15px/1.5 "Noto Sans CJK SC", "WenQuanYi Micro Hei", "Microsoft YaHei", "PingFang SC", system-ui, sans-serif; }}
h1 {{ margin: 0 0 1rem; font-size: 1.5rem; }}
h2 {{ margin: 1.75rem 0 .5rem; font-size: 1.1rem; }}
.verdict {{ padding: .8rem 1rem; border-radius: .4rem; color: #fff; font-size: 1.15rem; font-weight: 600; }}
.verdict.passed {{ background: var(--passed); }}
.verdict.failed {{ background: var(--failed); }}
ul.counts {{ display: flex; flex-wrap: wrap; gap: 1.2rem; margin: .8rem 0; padding: 0; list-style: none; }}
dl {{ display: flex; flex-wrap: wrap; gap: .4rem 2rem; margin: .8rem 0; }}
dt {{ color: #5b6472; font-size: .85rem; }}
dd {{ margin: 0; }}
table {{ width: 100%; border-collapse: collapse; table-layout: fixed; }}
th, td {{ padding: .4rem .6rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }}
th {{ background: var(--soft); font-weight: 600; font-size: .85rem; color: #434c5a; }}
th:nth-child(1) {{ width: 7rem; }}
th:nth-child(2) {{ width: 14rem; }}
th:nth-child(5) {{ width: 7rem; }}
th:nth-child(6) {{ width: 5.5rem; text-align: right; }}
td.number {{ font-variant-numeric: tabular-nums; text-align: right; }}
td.mark {{ white-space: nowrap; }}
li.passed, tr.passed td.mark {{ color: var(--passed); }}
li.failed, tr.failed td.mark {{ color: var(--failed); }}
li.warning, tr.warning td.mark {{ color: var(--warning); }}
li.skipped, tr.skipped td.mark {{ color: var(--skipped); }}
tr.telling td {{ border-bottom: 0; }}
tr.told td {{ padding-top: 0; }}
tr.told p {{ margin: 0 0 .3rem; }}
tr.failed.told td:last-child {{ border-left: 3px solid var(--failed); }}
tr.warning.told td:last-child {{ border-left: 3px solid var(--warning); }}
.sign {{ display: flex; gap: 3rem; margin-top: 2.5rem; }}
.sign span {{ flex: 1; border-top: 1px solid #1c2430; padding-top: .3rem; color: #5b6472; }}
footer {{ margin-top: 1.5rem; color: #5b6472; font-size: .85rem; }}
@media print {{ body {{ padding: 0; font-size: 11px; }} tr {{ break-inside: avoid; }}
  * {{ -webkit-print-color-adjust: exact; print-color-adjust: exact; }} }}
</style>
</head>
<body>
<h1>{title}</h1>
<p class="verdict {verdict_class}">{verdict}</p>
<ul class="counts">{counts}</ul>
<dl>{facts}</dl>
{sections}
<p class="sign"><span>{checked_by}</span><span>{date}</span></p>
<footer>{note}</footer>
</body>
</html>
"""
