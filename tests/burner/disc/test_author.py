"""A session's image: a valid bag for the Library of Congress tool; final only where the transcript agrees."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import bagit
import pytest

from burner.check.disc import verify_disc
from burner.disc.author import AuthorResult, author
from burner.faults import DoesNotFit, NotFinal, Stopped
from recorder.disk.durable import read_json, write_json
from recorder.disk.journal import Journal
from recorder.evidence.manifest import sign_journal
from recorder.evidence.signature import public_key
from recorder.faults import BadInput, EvidenceFault, NotFound
from tests.burner.sessions import SESSION, TRANSCRIPT

Change = Callable[[dict[str, Any]], object]


def change_record(session: Path, change: Change) -> None:
    record = dict(read_json(session / "session.json"))
    change(record)
    write_json(session / "session.json", record)


@pytest.fixture
def image(authored: tuple[Path, AuthorResult]) -> AuthorResult:
    return authored[1]


def extracted(image: Path, folder: Path, tool: str) -> Path:
    commands = {
        "7z": ["7z", "x", "-y", f"-o{folder}", str(image)],
        "xorriso": ["xorriso", "-no_rc", "-indev", str(image), "-osirrox", "on", "-extract", "/", str(folder)],
    }
    subprocess.run(commands[tool], check=True, capture_output=True)
    return folder


@pytest.mark.parametrize("tool", ["7z", "xorriso"])
def test_the_bag_is_valid_for_the_library_of_congress(image: AuthorResult, tmp_path: Path, tool: str) -> None:
    folder = extracted(image.path, tmp_path / "bag", tool)
    bag = bagit.Bag(str(folder))
    bag.validate()
    assert bag.info["External-Identifier"] == SESSION
    assert bag.info["Source-Organization"] == "温州市市场监督管理局"
    assert bag.info["Internal-Sender-Identifier"] == "温市监〔2026〕88号"
    assert bag.info["Volume-Identifier"] == image.label == "EV20261121_001"
    assert (folder / "data" / "transcript" / TRANSCRIPT).read_text(encoding="utf-8").startswith("询问时间")
    subprocess.run(
        ["sha256sum", "-c", "--quiet", "manifest-sha256.txt", "tagmanifest-sha256.txt"],
        cwd=folder,
        check=True,
        capture_output=True,
    )


def test_the_image_verifies(image: AuthorResult) -> None:
    report = verify_disc(str(image.path))
    assert report.ok, report.lines
    assert report.sha256 == image.sha256
    assert image.path.stat().st_size == image.bytes


def test_nothing_is_left_behind(authored: tuple[Path, AuthorResult]) -> None:
    root, image = authored
    assert [p.name for p in image.path.parent.iterdir()] == [image.path.name]
    assert [p.name for p in (root / "sessions" / SESSION / "disc").iterdir()] == [".lock"]


def test_the_page_plays_and_names_everything_offline(image: AuthorResult, tmp_path: Path) -> None:
    folder = extracted(image.path, tmp_path / "bag", "7z")
    html = (folder / "data" / "index.html").read_text(encoding="utf-8")
    assert 'lang="zh-CN"' in html
    for name in ("composite/composite-01", "originals/overview-01", "originals/closeup-02", "originals/microphone-01"):
        assert f'src="{name}.mp4"' in html
        assert (folder / "data" / f"{name}.mp4").is_file()
    assert "涉嫌虚假宣传 &lt;广告&gt;" in html  # nothing of the register becomes markup
    assert "，共2.0秒。" in html
    assert "&lt;closeup&gt;" in html
    assert '<p class="gap">特写录像，2026年11月21日 09:30:08：中断前的最后一帧画面不完整' in html
    assert "笔录记载的起止时间与录音录像一致" in html
    assert f'href="transcript/{quote(TRANSCRIPT)}"' in html
    assert "http" not in html.replace("http-equiv", "")
    assert "<script" not in html
    assert "data/index.html" in (folder / "index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda r: r.update(state="sealed", transcript=None), "no transcript yet"),
        (lambda r: (r.update(state="sealed"), r["transcript"].update(verdict="mismatch")), "does not agree"),
        (lambda r: (r.update(state="sealed"), r["transcript"].update(verdict="not-found")), "does not agree"),
    ],
)
def test_no_final_disc_without_an_agreeing_transcript(session: Path, tmp_path: Path, change: Change, why: str) -> None:
    change_record(session, change)
    with pytest.raises(NotFinal, match=why):
        author(session, tmp_path / "d.iso", language="zh")
    assert not (tmp_path / "d.iso").exists()
    draft = author(session, tmp_path / "d.iso", language="zh", draft=True)
    assert draft.label == "DRAFT20261121_01"
    folder = extracted(draft.path, tmp_path / "bag", "7z")
    assert bagit.Bag(str(folder)).info["Status"] == "DRAFT"
    assert "草稿" in (folder / "data" / "index.html").read_text(encoding="utf-8")
    assert any("DRAFT" in line for line in verify_disc(str(draft.path)).lines)


def test_an_exception_lets_it_pass(session: Path, tmp_path: Path) -> None:
    change_record(session, lambda r: (r.update(state="sealed"), r["transcript"].update(verdict="excepted")))
    author(session, tmp_path / "d.iso", language="en")


def test_an_exception_that_the_same_login_typed_is_told_by_page_bag_and_check(root: Path, session: Path, tmp_path: Path) -> None:
    asked = {"uid": 1000, "login": "zhao"}
    known: Any = read_json(session / "session.json")["transcript"]
    attached = {**known, "verdict": "mismatch", "asked": asked}
    exception = {"by": "孙七", "reason": "x", "asked": asked, "at": "2026-11-21T03:00:00Z", "verdict": "mismatch"}
    journal = Journal(session / "journal.jsonl")
    journal.append("transcript", **attached)
    journal.append("exception", **exception)
    journal.close()
    sign_journal(session, SESSION, root / "keys")
    change_record(session, lambda r: r.update(transcript={**attached, "verdict": "excepted", "exception": exception}))
    made = author(session, tmp_path / "d.iso", language="en")
    folder = extracted(made.path, tmp_path / "bag", "7z")
    assert bagit.Bag(str(folder)).info["Exception-Typed-By-Same-Login"] == "transcript uid=1000 login=zhao"
    said = "The exception was typed by the same login: zhao (user id 1000) also attached the transcript."
    assert said in (folder / "data" / "index.html").read_text(encoding="utf-8")
    report = verify_disc(str(made.path))
    assert report.ok and f"! {said}" in report.lines, report.lines


def test_what_is_not_the_sealed_session_s_is_found_though_the_disc_is_signed(root: Path, session: Path, tmp_path: Path) -> None:
    """session.json was changed before the disc was made: the page repeats it, and the PC signs what it was given."""
    change_record(session, lambda r: r["case"].update(interviewee="李某"))
    author(session, tmp_path / "d.iso", language="en")
    report = verify_disc(str(tmp_path / "d.iso"), trusted_public_key=public_key(root / "keys"))
    assert [line for line in report.lines if line.startswith("✗")] == ["✗ data/session.json: case is not what was sealed."]
    assert not report.ok


def test_an_image_leaves_what_is_kept_for_the_next_recording(session: Path, tmp_path: Path) -> None:
    with pytest.raises(DoesNotFit, match="kept for the next recording"):
        author(session, tmp_path / "d.iso", language="en", reserve_bytes=shutil.disk_usage(session).free)
    assert list(tmp_path.glob("*.iso")) == [] and [p.name for p in (session / "disc").iterdir()] == [".lock"]


def test_an_unsealed_session_is_refused_even_as_a_draft(session: Path, tmp_path: Path) -> None:
    (session / "manifest.sig").unlink()
    with pytest.raises(NotFinal, match="not sealed"):
        author(session, tmp_path / "d.iso", language="en", draft=True)
    with pytest.raises(NotFound):
        author(session.parent / "nobody", tmp_path / "d.iso", language="en")


def test_a_transcript_that_changed_is_refused(session: Path, tmp_path: Path) -> None:
    (session / "transcript" / TRANSCRIPT).write_text("另一份", encoding="utf-8")
    with pytest.raises(EvidenceFault, match="changed since it was attached"):
        author(session, tmp_path / "d.iso", language="en")


def test_nothing_is_overwritten(session: Path, tmp_path: Path) -> None:
    (tmp_path / "d.iso").write_bytes(b"mine")
    with pytest.raises(BadInput, match="exists already"):
        author(session, tmp_path / "d.iso", language="en")
    assert (tmp_path / "d.iso").read_bytes() == b"mine"
    with pytest.raises(BadInput):
        author(session, tmp_path / "nowhere" / "d.iso", language="en")


@pytest.mark.parametrize("draft", [False, True])
def test_an_image_that_lacks_what_was_damaged_never_looks_whole(session: Path, tmp_path: Path, draft: bool) -> None:
    name = "tracks/overview/000001.mkv"
    (session / name).unlink()
    made = author(session, tmp_path / "d.iso", language="zh", draft=draft)
    assert made.damaged == (name,)
    folder = extracted(made.path, tmp_path / "bag", "7z")
    bag = bagit.Bag(str(folder))
    bag.validate()
    assert bag.info["Status"] == ("DRAFT, NOT WHOLE" if draft else "FINAL, NOT WHOLE")
    html = (folder / "data" / "index.html").read_text(encoding="utf-8")
    assert "本光盘不完整" in html and "共 1 个" in html
    assert f"封存后损坏，本盘不含：{name}，2026年11月21日 09:30:06 至 2026年11月21日 09:30:08" in html
    delivery: dict[str, Any] = dict(read_json(folder / "data" / "delivery.json"))
    assert [(d["path"], d["track"], d["from"]) for d in delivery["damaged"]] == [
        (name, "overview", "2026-11-21T09:30:06.280+08:00")
    ]
    assert not verify_disc(str(made.path)).ok


def test_stopped_in_the_middle_it_leaves_no_file(session: Path, tmp_path: Path) -> None:
    shares: list[float] = []
    with pytest.raises(Stopped):
        author(
            session, tmp_path / "d.iso", language="en", progress=shares.append, stopped=lambda: bool(shares) and shares[-1] > 0.8
        )
    assert list(tmp_path.glob("*.iso*")) == []
    assert list(tmp_path.glob(".d.iso*")) == []


def test_without_the_pcs_key_the_delivery_is_unsigned_and_that_is_said(root: Path, session: Path, tmp_path: Path) -> None:
    (root / "keys" / "device.pem").unlink()
    author(session, tmp_path / "d.iso", language="en")
    report = verify_disc(str(tmp_path / "d.iso"))
    assert report.ok
    assert "! data/delivery.json carries no signature." in report.lines
    assert "nobody signed its files" in report.lines[-1]
    report = verify_disc(str(tmp_path / "d.iso"), trusted_public_key=public_key(root / "keys"))
    assert not report.ok
    assert "✗ data/delivery.json carries no signature." in report.lines
