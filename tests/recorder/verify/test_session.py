"""The verifier: whatever was changed in a sealed session is found, and what is whole is said to be whole."""

import hashlib
import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from recorder.clock.instants import SECOND_NS
from recorder.disk import journal
from recorder.disk.durable import Json, encode, read_json, write_json
from recorder.evidence import manifest, manifest_form
from recorder.evidence.findings import VerifyReport, lines
from recorder.evidence.inventory import read_writer
from recorder.evidence.manifest import composite_summary
from recorder.evidence.signature import device_key, fingerprint, public_key, sign_manifest
from recorder.faults import EvidenceFault, NotFound
from recorder.verify.after_seal import check_journal_head
from recorder.verify.session import check_composite, check_coverage, count_pictures, verify_session
from tests.recorder.sample_session import START_NS, make_session, rechained, transcript_text

BURNED: Json = {
    "job": "20261121T093005-room-01-001",
    "copies": 2,
    "verified": 2,
    "label": "EV20261121_001",
    "image_bytes": 1,
    "image_sha256": "0" * 64,
    "discs": [{"device": "/dev/sr0", "image": "/dev/sr0", "verified": True, "sha256": "0" * 64, "fault": None}],
    "finished": "2026-11-21T03:00:00Z",
    "fault": None,
}


@pytest.fixture(scope="module")
def matched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sealed and matched session of 12 s with a gap; never changed by a test."""
    return make_session(tmp_path_factory.mktemp("matched"), 12, (4, 7), matched=True)


@pytest.fixture
def copy(matched: Path, tmp_path: Path) -> Path:
    """A writable copy of it."""
    folder = tmp_path / "有 空格" / "sessions" / matched.name
    shutil.copytree(matched, folder)
    shutil.copytree(matched.parents[1] / "keys", folder.parents[1] / "keys")
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(0o640)
    return folder


def check(folder: Path) -> VerifyReport:
    return verify_session(folder, trusted_public_key=public_key(folder.parents[1] / "keys"))


def append(folder: Path, kind: str, /, **fields: object) -> None:
    """One more line of the session's journal, with a chain that holds and without a signature."""
    writer = journal.Journal(folder / "journal.jsonl")
    writer.append(kind, **fields)
    writer.close()


def marked(report: VerifyReport) -> list[str]:
    """What is wrong, in English."""
    return [f.say("en") for f in report.findings if not f.ok]


def test_a_whole_session_is_what_was_recorded(matched: Path) -> None:
    report = check(matched)
    assert (report.ok, report.sealed, report.name) == (True, True, "20261121T093005-room-01")
    said = lines(report, "en")
    assert said[-1] == "20261121T093005-room-01 is what was recorded and sealed."
    assert "✓ Close-up covers 75 % of the interview: 3 segments, 250 packets." in said
    gap = "from 2026-11-21 09:30:09 to 2026-11-21 09:30:12."
    gap += " The camera closeup does not answer at 192.168.1.64:554: No route to host."
    assert f"! Gap in Close-up: 3.0 s, {gap}" in said
    assert "✓ composite/part-001.mp4 holds 300 pictures." in said
    assert "✓ The newest transcript is transcript/笔录.txt, its verdict match." in said
    assert not any(line.startswith("✗") for line in said)


def test_without_a_key_to_trust_it_is_said_by_which_key(matched: Path) -> None:
    key = public_key(matched.parents[1] / "keys")
    assert key is not None and check(matched).as_json()["vouched"] == "trusted"
    alone = verify_session(matched)
    end = (
        f"agrees with what the key {fingerprint(key.hex())} signed: it is what was recorded and sealed if that is the room's key."
    )
    assert alone.ok and lines(alone, "en")[-1].endswith(end) and alone.as_json()["vouched"] == "signer"


def test_the_report_in_chinese(matched: Path) -> None:
    said = lines(check(matched), "zh")
    assert said[-1] == "20261121T093005-room-01 与录制并封存时完全一致。"
    assert "✓ 特写录像覆盖 75%：3 个分段，250 个数据包。" in said
    assert "✓ 最新笔录为 transcript/笔录.txt，核对结论：一致。" in said
    json.dumps(check(matched).as_json())


def test_the_folder_is_only_read(matched: Path) -> None:
    def state() -> list[tuple[str, int, bytes]]:
        return [(str(p), p.stat().st_mtime_ns, p.read_bytes()) for p in sorted(matched.rglob("*")) if p.is_file()]

    before = state()
    check(matched)
    assert state() == before


def evidence(folder: Path) -> list[Path]:
    """Every file but session.json, which is no evidence."""
    return [p for p in sorted(folder.rglob("*")) if p.is_file() and p.name != "session.json"]


def flips(data: bytes, rng: random.Random) -> Iterator[tuple[int, int]]:
    """(place, new byte): ends, borders of lines, and places at random; case changes and line ends among the new bytes."""
    places = {0, len(data) - 1, *(rng.randrange(len(data)) for _ in range(12))}
    places |= set(rng.sample([n for n, b in enumerate(data) if b in b'\n"{} '] or [0], 1))
    for place in places:
        yield place, data[place] ^ 1 << rng.randrange(8)
    letter = next((n for n, b in enumerate(data) if b in b"abcdef"), None)
    if letter is not None:
        yield letter, data[letter] ^ 0x20
    for place in [n for n, b in enumerate(data) if b == 10][:6]:
        yield place, 13


def test_any_byte_changed_in_any_file_is_found(copy: Path) -> None:
    rng = random.Random(7)
    tried = 0
    for path in evidence(copy):
        data = path.read_bytes()
        for place, new in flips(data, rng):
            path.write_bytes(data[:place] + bytes([new]) + data[place + 1 :])
            report = check(copy)
            assert not report.ok, f"{path.relative_to(copy)} byte {place}: {data[place]} → {new}"
            tried += 1
        path.write_bytes(data)
    assert tried > 200
    assert check(copy).ok


def test_any_file_cut_grown_removed_or_swapped_is_found(copy: Path) -> None:
    files = evidence(copy)
    for path in files:
        data = path.read_bytes()
        for changed in (data[:-1], data + b"\n", b""):
            path.write_bytes(changed)
            assert not check(copy).ok, path.name
        path.unlink()
        assert not check(copy).ok, path.name
        path.write_bytes(data)
    first, second = copy / "tracks/overview/000000.mkv", copy / "tracks/closeup/000000.mkv"
    first.rename(copy / "x")
    second.rename(first)
    (copy / "x").rename(second)
    assert len(marked(check(copy))) >= 3


def test_what_session_json_repeats_must_agree(copy: Path) -> None:
    path = copy / "session.json"
    content = dict(read_json(path))
    assert check(copy).ok
    changes: list[Json] = [
        {"start_ns": START_NS + 1},
        {"official_end": "2026-11-21T09:31:17.280+08:00"},
        {"case": {**content["case"], "interviewee": "赵六"}},  # type: ignore[dict-item]
        {"stop": None},
        {"planned_minutes": 121},
        {"coverage": {"overview": {"covered": 1.0, "gaps": 0}}},
        {"coverage": None},
        {"composite": None},
        {"transcript": {**content["transcript"], "verdict": "mismatch"}},  # type: ignore[dict-item]
        {"transcript": None},
        {"state": "closed"},
        {"state": "recording"},
        {"state": "on-disc"},
        {"disc": {**BURNED, "job": "x"}},
    ]
    for change in changes:
        write_json(path, {**content, **change})
        assert any("session.json" in line for line in marked(check(copy))), change
    path.write_bytes(encode(content).replace(b"\n ", b"\n\t", 1))
    assert marked(check(copy)) == ["session.json was changed after it was written."]
    write_json(path, {**content, "remark": "x"})
    assert check(copy).ok and "! session.json has the unknown field remark." in lines(check(copy), "en")


def test_session_json_behind_its_journal_is_no_forgery(copy: Path) -> None:
    """The line is written first; a power cut may come before session.json follows."""
    content = dict(read_json(copy / "session.json"))
    write_json(copy / "session.json", {**content, "state": "sealed", "transcript": None})
    report = check(copy)
    assert report.ok
    assert "! session.json does not know the newest transcript." in lines(report, "en")


def test_an_exception_is_followed(copy: Path) -> None:
    """Its line is signed before session.json knows it: what rests on an unsigned one is forged."""
    fields = {"by": "赵六", "reason": "笔录笔误", "at": "2026-11-21T03:00:00Z", "verdict": "match"}
    append(copy, "exception", **fields)
    assert check(copy).ok  # a power cut before the signature
    said = lines(check(copy), "en")
    assert "! The last 1 lines of the session's journal are not signed." in said
    assert "✓ The newest transcript is transcript/笔录.txt, its verdict match." in said  # no unsigned line changes the verdict
    content = dict(read_json(copy / "session.json"))
    transcript = {**content["transcript"], "verdict": "excepted", "exception": fields}  # type: ignore[dict-item]
    write_json(copy / "session.json", {**content, "transcript": transcript})
    assert marked(check(copy)) == ["session.json: transcript is what an unsigned line of the session's journal says."]
    manifest.sign_journal(copy, copy.name, copy.parents[1] / "keys")
    assert check(copy).ok
    assert not any("not signed" in line for line in lines(check(copy), "en"))


def test_more_than_one_unsigned_line_is_no_power_cut(copy: Path) -> None:
    append(copy, "authored", image="/x.iso", sha256="0" * 64, bytes=1)
    assert check(copy).ok
    append(copy, "authored", image="/y.iso", sha256="0" * 64, bytes=1)
    assert marked(check(copy)) == ["The last 2 lines of the session's journal are not signed."]


def test_a_tail_that_was_cut_off_is_found_by_its_signature(copy: Path) -> None:
    path = copy / "journal.jsonl"
    path.write_bytes(b"".join(line + b"\n" for line in path.read_bytes().split(b"\n")[:-2]))
    assert any("line 5 is missing" in line for line in marked(check(copy)))
    (copy / "journal.sig").unlink()
    write_json(copy / "session.json", {**read_json(copy / "session.json"), "state": "sealed", "transcript": None})
    shutil.rmtree(copy / "transcript")
    assert "The session was sealed, and journal.sig is missing." in marked(check(copy))


def test_a_transcript_that_was_exchanged_with_a_new_chain_and_no_signature(copy: Path) -> None:
    """All that follows the seal is written anew, and the one file that would tell is taken away."""
    text = transcript_text(12).replace("好的", "不是").encode()
    (copy / "transcript" / "笔录.txt").write_bytes(text)

    def forge(entries: list[dict[str, Any]]) -> None:
        entries[-1]["sha256"] = hashlib.sha256(text).hexdigest()

    path = copy / "journal.jsonl"
    path.write_bytes(rechained(path.read_bytes(), forge))
    (copy / "journal.sig").unlink()
    content = dict(read_json(copy / "session.json"))
    sha256 = hashlib.sha256(text).hexdigest()
    write_json(copy / "session.json", {**content, "transcript": {**content["transcript"], "sha256": sha256}})  # type: ignore[dict-item]
    assert marked(check(copy)) == [
        "The session was sealed, and journal.sig is missing.",
        "session.json: transcript is what an unsigned line of the session's journal says.",
        "session.json: state is not what the session's journal says.",
    ]


def test_a_seal_that_its_journal_does_not_know_yet_is_no_forgery(tmp_path: Path) -> None:
    """A death between the signed manifest and the line: the agent goes on from there. Nothing after a seal can be said yet."""
    folder = make_session(tmp_path, 5, sealed=False)
    manifest.seal(folder, read_json(folder / "session.json"), tmp_path / "keys", software_version="1")
    assert check(folder).ok
    assert "! session.json does not know of the seal yet." in lines(check(folder), "en")
    assert "! session.json 尚未记入封存。" in lines(check(folder), "zh")
    content = dict(read_json(folder / "session.json"))
    facts = make_session(tmp_path / "other", 5)
    sealed = {key: read_json(facts / "session.json")[key] for key in ("coverage", "composite")}
    write_json(folder / "session.json", {**content, **sealed, "state": "sealed"})
    assert marked(check(folder)) == ["session.json: state is not what the session's journal says."]


def burned(folder: Path, **facts: object) -> Json:
    """The session's discs as a burn job leaves them, in its journal and, signed, in session.json."""
    disc: Json = {**BURNED, **facts}
    append(folder, "burned", **disc)
    manifest.sign_journal(folder, folder.name, folder.parents[1] / "keys")
    write_json(folder / "session.json", {**read_json(folder / "session.json"), "state": "on-disc", "disc": disc})
    return disc


def test_discs_that_were_never_burned(copy: Path) -> None:
    """The state that lets the recording be given out as safe needs its line in the journal."""
    content = dict(read_json(copy / "session.json"))
    for disc in (None, BURNED):
        write_json(copy / "session.json", {**content, "state": "on-disc", "disc": disc})
        assert "session.json: state is not what the session's journal says." in marked(check(copy)), disc
    append(copy, "burned", **BURNED)
    assert marked(check(copy)) == [
        "session.json: disc is what an unsigned line of the session's journal says.",
        "session.json: state is not what the session's journal says.",
    ]


def test_the_discs_are_those_of_the_journal(copy: Path) -> None:
    disc = burned(copy)
    assert check(copy).ok and "✓ session.json repeats the evidence rightly." in lines(check(copy), "en")
    content = dict(read_json(copy / "session.json"))
    changes: list[Json] = [{"verified": 3}, {"copies": 1}, {"image_sha256": "1" * 64}, {"discs": []}]
    for change in changes:
        write_json(copy / "session.json", {**content, "disc": {**disc, **change}})
        assert marked(check(copy)) == ["session.json: disc is not what the session's journal says."], change
    write_json(copy / "session.json", {**content, "state": "matched", "disc": None})  # a power cut after the line
    assert check(copy).ok and "! session.json does not know the newest discs." in lines(check(copy), "en")


def test_too_few_verified_discs_do_not_make_it_on_disc(copy: Path) -> None:
    burned(copy, verified=1)
    assert marked(check(copy)) == ["session.json: state is not what the session's journal says."]
    burned(copy, job="20261121T093005-room-01-002", verified=2)
    assert check(copy).ok


def test_files_that_were_added(copy: Path) -> None:
    (copy / "tracks" / "overview" / "000077.mkv").write_bytes(b"x")
    (copy / "transcript" / "other.txt").write_bytes(b"x")
    report = check(copy)
    assert marked(report) == ["tracks/overview/000077.mkv was added after the seal."]
    assert "! transcript/other.txt is in no journal." in lines(report, "en")


def test_a_link_out_of_the_session_is_no_file_of_it(copy: Path, tmp_path: Path) -> None:
    path = copy / "tracks" / "overview" / "000000.mkv"
    shutil.move(path, tmp_path / "elsewhere.mkv")
    path.symlink_to(tmp_path / "elsewhere.mkv")
    assert "tracks/overview/000000.mkv is no file of this session." in marked(check(copy))


def test_a_whole_forgery_shows_by_its_key(copy: Path, tmp_path: Path) -> None:
    """Somebody changes the case and signs everything again with a key of his own."""
    trusted = public_key(copy.parents[1] / "keys")
    content = dict(read_json(copy / "manifest.json"))
    content["case"] = {**content["case"], "interviewee": "赵六"}  # type: ignore[dict-item]
    data = encode(content)
    (copy / "manifest.json").write_bytes(data)
    write_json(copy / "manifest.sig", sign_manifest(data, device_key(tmp_path / "forger")))
    report = verify_session(copy, trusted_public_key=trusted)
    assert any("was signed by another key" in line for line in marked(report))
    alone = verify_session(copy)
    assert "! Compare that key with the room's: none was given to trust." in lines(alone, "en")
    assert not alone.ok  # session.json and journal.sig still tell


@pytest.mark.parametrize("missing", [("manifest.json",), ("manifest.sig",), ("manifest.json", "manifest.sig")])
def test_a_seal_that_was_taken_away(copy: Path, missing: tuple[str, ...]) -> None:
    for name in missing:
        (copy / name).unlink()
    assert marked(check(copy))[0] == f"The session was sealed, and {missing[0]} is missing."
    (copy / "session.json").unlink()
    assert not check(copy).ok  # the journal knows it too


def test_a_session_that_is_not_sealed_gets_a_partial_check(tmp_path: Path) -> None:
    folder = make_session(tmp_path, 5, sealed=False)
    report = verify_session(folder)
    assert (report.ok, report.sealed) == (True, False)
    said = lines(report, "en")
    assert said[0] == "! The session is not sealed: only what its journals list can be checked."
    assert said[-1].endswith("is not sealed: what could be checked agrees, but nothing vouches for the whole.")
    path = folder / "tracks" / "overview" / "000000.mkv"
    path.write_bytes(path.read_bytes()[:-1] + b"\x00")
    assert marked(verify_session(folder))[-1] == "tracks/overview/000000.mkv was changed: its SHA-256 is another."
    writer = folder / "tracks" / "closeup" / "journal.jsonl"
    writer.write_bytes(writer.read_bytes().replace(b'"codec":"h264"', b'"codec":"h265"', 1))
    assert any("does not continue the chain" in line for line in marked(verify_session(folder)))


def test_what_the_seal_found_stays_found(tmp_path: Path) -> None:
    folder = make_session(tmp_path, 25, sealed=False)
    (folder / "tracks" / "overview" / "000001.mkv").unlink()
    manifest.seal(folder, read_json(folder / "session.json"), tmp_path / "keys", software_version="1")
    report = check(folder)
    assert marked(report) == ["At the seal: tracks/overview/000001.mkv is listed in its journal and is not there."]
    assert any(line.startswith("! Gap in Overview: 10 s") for line in lines(report, "en"))
    assert "封存时：tracks/overview/000001.mkv 已列入日志，但文件不存在。" in "\n".join(lines(report, "zh"))


def test_a_signed_file_of_another_form(copy: Path) -> None:
    key = device_key(copy.parents[1] / "keys")
    for content in ({"schema": manifest_form.SCHEMA}, {"schema": "other/9"}, {**read_json(copy / "manifest.json"), "tracks": []}):
        data = encode(content)  # type: ignore[arg-type]
        (copy / "manifest.json").write_bytes(data)
        write_json(copy / "manifest.sig", sign_manifest(data, key))
        assert not check(copy).ok


def test_no_session_at_all(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        verify_session(tmp_path)
    with pytest.raises(NotFound):
        verify_session(tmp_path / "none")


def test_progress_reaches_the_end(matched: Path) -> None:
    seen: list[tuple[int, int]] = []
    verify_session(matched, progress=lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    assert seen[-1][0] == seen[-1][1] > 0


# --- the pieces that a disc's verifier uses


def test_a_journal_that_has_grown_still_has_its_head(matched: Path) -> None:
    path = matched / "journal.jsonl"
    data = path.read_bytes()
    content = dict(read_json(matched / "manifest.json"))
    head: Json = content["journal"]  # type: ignore[assignment]
    entries, digest = int(str(head["entries"])), str(head["sha256"])
    assert [e["kind"] for e in check_journal_head(data, entries, digest, path)] == [
        "started",
        "tie",
        "stopping",
        "sealed",
        "transcript",
    ]
    for count, sha in ((entries, "0" * 64), (99, digest), (entries + 1, digest)):
        with pytest.raises(EvidenceFault):
            check_journal_head(data, count, sha, path)
    assert check_journal_head(b"", 0, journal.ZERO, path) == []


def test_coverage_is_computed_again(matched: Path) -> None:
    content = dict(read_json(matched / "manifest.json"))
    path = matched / "tracks" / "closeup" / "journal.jsonl"
    writer, problems = read_writer("tracks/closeup", path.read_bytes(), path)
    assert problems == []
    assert all(f.ok for f in check_coverage(content, "closeup", writer))
    assert not check_coverage(content, "overview", writer)[0].ok
    assert not check_coverage(content, "closeup", None)[0].ok
    content["tracks"]["closeup"]["gaps"] = []  # type: ignore[index]
    assert not check_coverage(content, "closeup", writer)[0].ok
    assert not check_composite(content, writer)[0].ok


def test_pictures_after_the_official_end_are_told(matched: Path) -> None:
    content = dict(read_json(matched / "manifest.json"))
    path = matched / "composite" / "journal.jsonl"
    writer, _ = read_writer("composite", path.read_bytes(), path)
    start_ns, end_ns = int(str(content["start_ns"])), int(str(content["end_ns"]))
    assert "pictures_after_end" not in composite_summary(writer, start_ns, end_ns, ZoneInfo("UTC"))
    assert not any("after the official end" in f.say() for f in check_composite(content, writer))
    content["end_ns"] = end_ns - 2 * SECOND_NS
    assert not check_composite(content, writer)[0].ok
    content["composite"] = composite_summary(writer, start_ns, end_ns - 2 * SECOND_NS, ZoneInfo(str(content["timezone"])))
    told = check_composite(content, writer)
    assert all(f.ok for f in told)
    assert any(f.note and "go on for 2.0 s after the official end" in f.say() for f in told)
    assert composite_summary(writer, start_ns, start_ns, ZoneInfo("UTC"))["parts"] == []


def test_pictures_are_counted(matched: Path, tmp_path: Path) -> None:
    assert count_pictures(matched / "composite" / "part-001.mp4") == 300
    (tmp_path / "x.mp4").write_bytes(b"no video")
    for path in (tmp_path / "x.mp4", tmp_path / "none.mp4", matched / "tracks" / "microphone" / "000000.mkv"):
        with pytest.raises(EvidenceFault):
            count_pictures(path)
