"""The stored result, the report, and its Chinese."""

import json
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

from agent.selfcheck.report import html, lines, write
from agent.selfcheck.result import CheckResult, CheckStatus, SelfcheckReport, load_latest, store_report
from recorder.clock.instants import SECOND_NS
from tests.agent.selfcheck_samples import config
from wording.sentence import sentence, verbatim

AT = datetime(2026, 11, 21, 1, 30, 5, 250_000, UTC)


def report(*statuses: CheckStatus, at: datetime = AT) -> SelfcheckReport:
    good = CheckResult("camera-light", "picture", sentence("brightness"), "", "passed", verbatim('1 < 2 & "3"'), verbatim("5"))
    bad = replace(good, what=verbatim("<b>dark</b>"), mend=sentence("switch-light-on-uncover-lens"))
    findings = [
        replace(bad if status in ("failed", "warning") else good, device=device, status=status)
        for status, device in zip(statuses, ("overview", "closeup", ""), strict=False)
    ]
    room = {"id": "room-01", "name": "调查询问室一", "centre": "centre-01", "class": 1}
    return SelfcheckReport(at, 3.21, room, tuple(findings), "Asia/Shanghai", "0.1.0")


def test_stored_and_loaded(tmp_path: Path) -> None:
    room = config(tmp_path, "[recording]\nselfcheck_valid_minutes = 30\n")
    assert load_latest(room) is None
    path = store_report(report("passed", "warning", "skipped").as_dict(), room)
    assert path.parent == room.storage.root / "selfcheck"
    stored = json.loads(path.read_text("utf-8"))
    assert json.loads((path.parent / "latest.json").read_text("utf-8")) == stored
    assert (stored["schema"], stored["at"], stored["passed"]) == ("interview-room-selfcheck/2", "2026-11-21T01:30:05.250Z", True)
    assert stored["counts"] == {"passed": 1, "failed": 0, "warning": 1, "skipped": 1}
    assert stored["findings"][1]["what"] == {"code": "verbatim", "values": {"text": "<b>dark</b>"}}
    summary = load_latest(room)
    assert summary is not None
    assert (summary.passed, summary.failed_checks, summary.at) == (True, (), "2026-11-21T01:30:05.250Z")
    at_ns = round(AT.timestamp() * 1000) * 1_000_000
    assert summary.at_ns == at_ns
    minute = 60 * SECOND_NS
    assert [summary.valid(at_ns + age) for age in (-2 * minute, 0, 30 * minute, 30 * minute + 1)] == [False, True, True, False]

    store_report(report("failed", at=AT + timedelta(seconds=1)).as_dict(), room)
    newest = load_latest(room)
    assert newest is not None
    assert (newest.passed, newest.failed_checks, newest.valid(newest.at_ns)) == (False, ("camera-light:overview",), False)
    assert len(list(path.parent.glob("2*.json"))) == 2
    for nonsense in ("", "[]", "{}", '{"schema": "other/1", "at": "2026-11-21T01:30:05Z", "passed": true, "failed_checks": []}'):
        (path.parent / "latest.json").write_text(nonsense)
        assert load_latest(room) is None


def test_the_agents_process_stays_light() -> None:
    heavy = ("av", "cv2", "numpy", "zeep", "onvif")
    code = f"import sys, agent.selfcheck, agent.selfcheck.report; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.strip() == "[]"


class Page(HTMLParser):
    """Notes what a page would load, and whether its tags fit."""

    VOID = ("meta", "link", "img", "br", "hr", "input")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.foreign: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.foreign += [f"{tag} {name}" for name, _ in attrs if name in ("src", "href")] + ([tag] if tag == "script" else [])
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page(tmp_path: Path) -> None:
    data, page = write(report("passed", "failed", "skipped"), tmp_path / "报告", "zh")
    assert (data.name, page.name) == ("selfcheck.json", "selfcheck.html")
    assert json.loads(data.read_text("utf-8"))["passed"] is False
    chinese = Page()
    chinese.feed(page.read_text("utf-8"))
    assert (chinese.open, chinese.foreign) == ([], [])
    for expected in (
        "设备完好",
        "连接畅通",
        "声音清楚",
        "画质清晰",
        "调查询问室一",
        "不通过",
        "<b>dark</b>",
        "处理办法",
        "请开灯，",
        "2026年11月21日 09:30:05",
    ):
        assert expected in chinese.text
    english = Page()
    english.feed(html(report("passed", "failed"), "en"))
    for expected in (
        "Devices intact",
        "Picture clear",
        "Not ready: 1 check(s) failed.",
        "<b>dark</b>",
        '1 < 2 & "3"',
        "Switch the light on;",
    ):
        assert expected in english.text


def test_the_terminals_lines() -> None:
    english = lines(report("passed", "failed", "skipped"), "en")
    assert english[0] == "Self-check of 调查询问室一 (room-01), 2026-11-21 09:30:05"
    assert '  ✓ Brightness · overview camera: 1 < 2 & "3" [5]' in english
    assert english[-1] == "Not ready: 1 check(s) failed."
    assert any(line.startswith("      Switch the light on;") for line in english)
    assert lines(report("passed"), "zh")[-1] == "可以录制。"
    assert lines(report("passed", "warning"), "zh")[-1] == "可以录制；有 1 项提醒。"
