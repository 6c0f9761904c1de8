"""The stored result, the report, and its Chinese."""

import ast
import json
import string
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest

from agent import selfcheck
from agent.selfcheck.report import html, lines, write
from agent.selfcheck.result import Finding, Report, Status, Text, both
from recorder.clock.instants import SECOND_NS
from tests.agent.selfcheck_samples import config
from wording.text import catalogue

AT = datetime(2026, 11, 21, 1, 30, 5, 250_000, UTC)
PACKAGE = Path(selfcheck.__file__).parent


def report(*statuses: Status, at: datetime = AT) -> Report:
    good = Finding("camera-light", "picture", both("Brightness"), "", "passed", Text('1 < 2 & "3"', "一"), Text("5", "五"))
    bad = replace(good, what=Text("<b>dark</b>", "过暗"), mend=Text("Light on.", "开灯。"))
    findings = [
        replace(bad if status in ("failed", "warning") else good, device=device, status=status)
        for status, device in zip(statuses, ("overview", "closeup", ""), strict=False)
    ]
    room = {"id": "room-01", "name": "调查询问室一", "centre": "centre-01", "class": 1}
    return Report(at, 3.21, room, tuple(findings), "Asia/Shanghai", "0.1.0")


def test_stored_and_loaded(tmp_path: Path) -> None:
    room = config(tmp_path, "[recording]\nselfcheck_valid_minutes = 30\n")
    assert selfcheck.load_latest(room) is None
    path = selfcheck.store(report("passed", "warning", "skipped"), room)
    assert path.parent == room.storage.root / "selfcheck"
    stored = json.loads(path.read_text("utf-8"))
    assert json.loads((path.parent / "latest.json").read_text("utf-8")) == stored
    assert (stored["schema"], stored["at"], stored["passed"]) == ("interview-room-selfcheck/1", "2026-11-21T01:30:05.250Z", True)
    assert stored["counts"] == {"passed": 1, "failed": 0, "warning": 1, "skipped": 1}
    assert stored["findings"][1]["what"] == {"en": "<b>dark</b>", "zh": "过暗"}
    summary = selfcheck.load_latest(room)
    assert summary is not None
    assert (summary.passed, summary.failed_checks, summary.at) == (True, (), "2026-11-21T01:30:05.250Z")
    at_ns = round(AT.timestamp() * 1000) * 1_000_000
    assert summary.at_ns == at_ns
    minute = 60 * SECOND_NS
    assert [summary.valid(at_ns + age) for age in (-2 * minute, 0, 30 * minute, 30 * minute + 1)] == [False, True, True, False]

    selfcheck.store(report("failed", at=AT + timedelta(seconds=1)), room)
    newest = selfcheck.load_latest(room)
    assert newest is not None
    assert (newest.passed, newest.failed_checks, newest.valid(newest.at_ns)) == (False, ("camera-light:overview",), False)
    assert len(list(path.parent.glob("2*.json"))) == 2
    for nonsense in ("", "[]", "{}", '{"schema": "other/1", "at": "2026-11-21T01:30:05Z", "passed": true, "failed_checks": []}'):
        (path.parent / "latest.json").write_text(nonsense)
        assert selfcheck.load_latest(room) is None


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
        "过暗",
        "处理办法",
        "开灯。",
        "2026-11-21 09:30:05 (UTC+08:00)",
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
        "Light on.",
    ):
        assert expected in english.text


def test_the_terminals_lines() -> None:
    english = lines(report("passed", "failed", "skipped"), "en")
    assert english[0] == "Self-check of 调查询问室一 (room-01), 2026-11-21 09:30:05 (UTC+08:00)"
    assert '  ✓ Brightness · overview camera: 1 < 2 & "3" [5]' in english
    assert english[-1] == "Not ready: 1 check(s) failed."
    assert "      Light on." in english
    assert lines(report("passed"), "zh")[-1] == "可以录制。"
    assert lines(report("passed", "warning"), "zh")[-1] == "可以录制；有 1 项提醒。"


def templates(path: Path) -> Iterator[str]:
    """Every English template of a module: of both() and say(), faults' texts and mends, titles of checks, values of tables."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else ""
            wanted = {"both": node.args[:1], "say": node.args[:1], "text": node.args[:1], "Check": node.args[2:3]}
            arguments = node.args[:2] if name.startswith("Device") else wanted.get(name, [])
        elif isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Dict):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            arguments = (
                node.value.values if isinstance(target, ast.Name) and target.id in ("HEADINGS", "DEVICES", "NAMES") else []
            )
        else:
            continue
        yield from (a.value for a in arguments if isinstance(a, ast.Constant) and isinstance(a.value, str))


SOURCES = [
    *PACKAGE.glob("*.py"),
    *(
        PACKAGE.parents[1] / name
        for name in ("drivers/camera.py", "drivers/onvif_device.py", "drivers/climate.py", "drivers/clock.py")
    ),
    PACKAGE.parents[1] / "recorder/sensors/climate.py",
]


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.stem)
def test_every_text_has_its_chinese(path: Path) -> None:
    def fields(template: str) -> set[str]:
        return {name for _, name, _, _ in string.Formatter().parse(template) if name}

    for template in templates(path):
        assert template in catalogue(), template
        assert fields(catalogue()[template]) == fields(template), template
