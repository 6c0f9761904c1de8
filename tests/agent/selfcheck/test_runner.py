"""The runner, and checks against a room in which nothing works."""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.selfcheck import runner
from agent.selfcheck.check import Check, Outcome, Scene, never, passed
from agent.selfcheck.checks import broker, disk_space, disk_write
from agent.selfcheck.result import HEADINGS
from drivers.faults import DeviceFault
from recorder.faults import StorageFault
from tests.agent.selfcheck_samples import config
from wording.sentence import sentence

AT = datetime(2026, 11, 21, 1, 30, 5, 250_000, UTC)


def check(look: Callable[[Scene, str], Outcome], *, required: bool = True) -> Check:
    return Check("probe", "devices", "brightness", ("W-8.1.3",), look, required=(lambda _: True) if required else never)


def good(_scene: Scene, _device: str) -> Outcome:
    return passed(sentence("seconds-measured", seconds=1.0))


def test_the_runner_survives_a_crashing_and_a_hanging_check(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    release = threading.Event()

    def crashes(_scene: Scene, _device: str) -> Outcome:
        raise ZeroDivisionError("by zero")

    def hangs(_scene: Scene, _device: str) -> Outcome:
        release.wait(20)
        return good(_scene, _device)

    def refuses(_scene: Scene, _device: str) -> Outcome:
        raise DeviceFault("picture-size-wrong", "replace-disk", width=1, height=2)

    began = time.monotonic()
    checks = [check(good), check(crashes), check(hangs), check(refuses), check(crashes, required=False)]
    report = runner.run(config(tmp_path), at=AT, chosen=checks, limit_s=0.5)
    release.set()
    assert time.monotonic() - began < 2
    ok, crashed, hung, refused, unimportant = report.findings
    assert (ok.status, ok.value.say("zh")) == ("passed", "1.0秒")
    assert (crashed.status, crashed.value.say("en")) == ("failed", "defect")
    assert "ZeroDivisionError: by zero" in crashed.what.say("en")
    assert hung.status == "failed"
    assert hung.seconds == pytest.approx(0.5, abs=0.3)
    assert "0.5 s" in hung.what.say("en")
    assert (refused.status, refused.what.say("en"), refused.mend.say("zh")) == ("failed", "The pictures are 1×2.", "请更换硬盘。")
    assert unimportant.status == "warning"
    assert not report.passed
    assert report.failed_checks == ("probe", "probe", "probe")
    assert "check crashed" in caplog.text


def test_checks_run_at_once(tmp_path: Path) -> None:
    everyone = threading.Barrier(20)

    def waits(scene: Scene, device: str) -> Outcome:
        everyone.wait(5)
        return good(scene, device)

    assert runner.run(config(tmp_path), chosen=[check(waits)] * 20).passed


def test_a_dead_room_is_reported_in_full(tmp_path: Path) -> None:
    """No process, no device, no broker: every required check fails with its mend, and nothing crashes."""
    room = config(
        tmp_path,
        '[camera.overview]\nhost = "127.0.0.1"\nport = 9\n[camera.closeup]\nhost = "127.0.0.2"\nport = 9\n'
        '[mqtt]\nhost = "127.0.0.1"\nport = 9\n[clock]\nntp_server = "127.0.0.1:9"\n'
        f'[burner]\ndrives = ["stdio:{tmp_path}/none/disc.img"]\n',
    )
    report = runner.run(room, at=AT)
    by_key = {f.key: f for f in report.findings}
    assert not report.passed
    assert set(report.failed_checks) == {
        "processes", "drives:burner", "disk-space", "disk-write", "camera-login:overview", "camera-login:closeup",
        "microphone-delivers:microphone", "camera-stream:overview", "camera-stream:closeup",
    }  # fmt: skip
    for key in ("broker", "room-clock", "climate:climate"):
        assert by_key[key].status == "warning"
        assert by_key[key].mend
    for key in (
        "camera-clock:closeup",
        "camera-light:overview",
        "camera-frozen:closeup",
        "camera-keyframes:closeup",
        "microphone-level:microphone",
    ):
        assert by_key[key].status == "skipped"
    assert "defect" not in {f.value.say("en") for f in report.findings}
    assert {f.heading for f in report.findings} == set(HEADINGS)
    assert all(f.clauses for f in report.findings)
    assert all(f.mend for f in report.findings if f.status in ("failed", "warning"))
    assert report.seconds < 12


def test_a_missing_password_file_is_a_finding(tmp_path: Path) -> None:
    room = config(
        tmp_path,
        f'[camera.overview]\nhost = "127.0.0.1"\npassword_file = "{tmp_path}/secret"\n[mqtt]\npassword_file = "{tmp_path}/mq"\n',
    )
    report = runner.run(room, chosen=[c for c in runner.CHECKS if c.id in ("camera-login", "broker")])
    overview, broker_finding = report.findings[0], report.findings[-1]
    assert (overview.status, broker_finding.status) == ("failed", "warning")
    assert f"{tmp_path}/secret" in overview.what.say("en")
    assert f"{tmp_path}/mq" in broker_finding.what.say("en")


def test_the_disk(tmp_path: Path) -> None:
    root = tmp_path / "数据 root"
    with pytest.raises(StorageFault, match=str(root)):
        disk_write.look(Scene(config(tmp_path)), "")
    root.mkdir()
    assert disk_write.look(Scene(config(tmp_path)), "").status == "passed"
    assert list(root.iterdir()) == []
    enough = disk_space.look(Scene(config(tmp_path, "reserve_gib = 0\n[recording]\nplanned_minutes = 1\n")), "")
    assert enough.status == "passed"
    full = disk_space.look(Scene(config(tmp_path, "reserve_gib = 1e9\n")), "")
    assert (full.status, "120 minutes" in full.threshold.say("en")) == ("failed", True)


def test_a_feed_that_is_switched_off_is_not_checked(tmp_path: Path) -> None:
    assert broker.look(Scene(config(tmp_path, "[mqtt]\nenabled = false\n")), "").status == "skipped"
