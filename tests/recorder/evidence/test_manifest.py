"""The seal: what the manifest lists, how it is signed, and what it makes of a folder that is not as its journals say."""

import errno
import hashlib
import json
import os
import stat
from pathlib import Path
from typing import Any

import av
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from recorder.clock.instants import SECOND_NS
from recorder.disk import journal
from recorder.disk.digest import file_sha256
from recorder.disk.durable import read_json, write_json
from recorder.evidence import inventory, manifest_form
from recorder.evidence.continuity import DAMAGED, NEVER
from recorder.evidence.manifest import build, seal, sign_journal
from recorder.evidence.signature import check_head_signature, check_signature, device_key, fingerprint, public_key, sign_manifest
from recorder.faults import EvidenceFault, StorageFault
from recorder.verify.session import verify_session
from tests.recorder.sample_session import START_NS, VERSION, digest, make_session
from wording.sentence import Sentence


def unsealed(tmp_path: Path, **options: Any) -> tuple[Path, dict[str, Any]]:
    folder = make_session(tmp_path, sealed=False, **options)
    return folder, dict(read_json(folder / "session.json"))


def built(folder: Path, session: dict[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(build(folder, session, software_version=VERSION)))  # type: ignore[no-any-return]


def test_the_sample_session_is_real(tmp_path: Path) -> None:
    folder = make_session(tmp_path, 12)
    pictures = 0
    for path in sorted((folder / "tracks" / "overview").glob("*.mkv")):
        with av.open(str(path)) as container:
            frames = list(container.decode(video=0))
        pictures += len(frames)
        assert frames[0].key_frame
    assert pictures == 13 * 25
    with av.open(str(folder / "tracks" / "microphone" / "000000.mkv")) as container:
        assert sum(frame.samples for frame in container.decode(audio=0)) == 10 * 8000


def test_everything_is_listed_as_it_lies_there(tmp_path: Path) -> None:
    folder, session = unsealed(tmp_path, seconds=12, gap=(4, 7))
    content = built(folder, session)
    on_disk = {
        p.relative_to(folder).as_posix()
        for f in ("tracks", "composite", "epochs")
        for p in (folder / f).rglob("*")
        if p.is_file()
    }
    assert {f["path"] for f in content["files"]} == on_disk
    for file in content["files"]:
        assert (file["bytes"], file["sha256"]) == ((folder / file["path"]).stat().st_size, digest(folder / file["path"]))
    assert content["problems"] == []
    assert not any("unlisted" in f or "recovered" in f for f in content["files"])
    closeup = content["tracks"]["closeup"]
    assert (closeup["covered"], closeup["covered_s"], len(closeup["gaps"]), closeup["codec"]) == (0.75, 9.0, 1, "h264")
    assert (closeup["segments"], closeup["packets"]) == (3, 250)
    assert closeup["gaps"][0]["from"] == "2026-11-21T09:30:09.280+08:00"
    assert closeup["device"]["model"] == "C-closeup"
    head = journal.head_of(folder / "tracks" / "closeup" / "journal.jsonl")
    assert closeup["journal"] == {"entries": head.entries, "sha256": head.sha256}
    assert [content["tracks"][t]["covered"] for t in ("overview", "microphone")] == [1.0, 1.0]
    assert content["composite"]["pictures_due"] == content["composite"]["pictures_written"] == 300
    assert content["composite"]["parts"] == ["composite/part-001.mp4"]
    assert content["end_ns"] - content["start_ns"] == 12 * SECOND_NS
    assert [t["source"] for t in content["ties"]] == ["ntp"]
    assert content["journal"]["entries"] == 3
    for key in ("room", "case", "official_start", "official_end", "timezone", "selfcheck", "stop"):
        assert content[key] == session[key]


def test_segments_are_not_read_again(tmp_path: Path) -> None:
    """A file of the right length and another content: the seal takes the journal's word (the verifier does not)."""
    folder, session = unsealed(tmp_path, seconds=5)
    path = folder / "tracks" / "overview" / "000000.mkv"
    before, size = digest(path), path.stat().st_size
    with open(path, "r+b") as file:
        file.truncate(0)
        file.truncate(size)
    assert next(f["sha256"] for f in built(folder, session)["files"] if f["path"].endswith("overview/000000.mkv")) == before


def test_missing_cut_and_unlisted_files_never_keep_it_from_being_sealed(tmp_path: Path) -> None:
    folder, session = unsealed(tmp_path, seconds=25)
    track = folder / "tracks" / "overview"
    (track / "000001.mkv").unlink()
    with open(track / "000002.mkv", "r+b") as file:
        file.truncate(100)
    (track / "000099.mkv").write_bytes(b"torn")
    (folder / "composite" / "part-002.mp4").write_bytes(b"torn too")
    (folder / "tracks" / "overview" / "strange").symlink_to("/etc/passwd")
    content = built(folder, session)
    files = {f["path"]: f for f in content["files"]}
    assert {(p["path"], p["code"]) for p in content["problems"]} == {
        ("tracks/overview/000001.mkv", inventory.MISSING),
        ("tracks/overview/000002.mkv", inventory.RESIZED),
        ("tracks/overview/strange", inventory.STRANGE),
    }
    assert "tracks/overview/000001.mkv" not in files
    assert files["tracks/overview/000002.mkv"]["sha256"] == digest(track / "000002.mkv")
    assert files["tracks/overview/000099.mkv"] == {
        "path": "tracks/overview/000099.mkv",
        "bytes": 4,
        "sha256": hashlib.sha256(b"torn").hexdigest(),
        "unlisted": True,
    }
    assert files["composite/part-002.mp4"]["unlisted"] is True
    overview = content["tracks"]["overview"]
    assert [(g["from_ns"] - START_NS, g["to_ns"] - START_NS, g["cause"]) for g in overview["gaps"]] == [
        (9 * SECOND_NS, 25 * SECOND_NS, DAMAGED)
    ]
    assert (overview["segments"], overview["covered_s"]) == (1, 9.0)
    assert seal(folder, session, tmp_path / "keys", software_version=VERSION).coverage["overview"] == {"covered": 0.36, "gaps": 1}


def test_a_broken_journal_counts_up_to_the_break(tmp_path: Path) -> None:
    folder, session = unsealed(tmp_path, seconds=25)
    path = folder / "tracks" / "closeup" / "journal.jsonl"
    rows = path.read_bytes().split(b"\n")
    rows[4] = rows[4].replace(b'"packets":250', b'"packets":251')
    path.write_bytes(b"\n".join(rows))
    content = built(folder, session)
    assert [(p["path"], p["values"]["line"]) for p in content["problems"]] == [("tracks/closeup/journal.jsonl", 6)]
    assert content["tracks"]["closeup"]["journal"]["entries"] == 5
    assert content["tracks"]["closeup"]["covered_s"] == 19.0
    assert [f["path"] for f in content["files"] if f.get("unlisted")] == ["tracks/closeup/000002.mkv"]


def test_lines_that_lack_fields_are_named_and_left_out(tmp_path: Path) -> None:
    folder, session = unsealed(tmp_path, seconds=5)
    writer = journal.Journal(folder / "tracks" / "overview" / "journal.jsonl")
    writer.append("segment", file="000007.mkv", bytes="many")
    writer.close()
    content = built(folder, session)
    assert [p["code"] for p in content["problems"]] == [inventory.INCOMPLETE]
    assert content["tracks"]["overview"]["segments"] == 1


def test_a_track_that_never_wrote_is_a_gap(tmp_path: Path) -> None:
    folder, session = unsealed(tmp_path, seconds=5)
    for path in (folder / "tracks" / "microphone").iterdir():
        path.unlink()
    content = built(folder, session)
    assert content["tracks"]["microphone"]["covered"] == 0.0
    assert [(g["seconds"], g["cause"]) for g in content["tracks"]["microphone"]["gaps"]] == [(5.0, NEVER)]


def test_recovered_and_empty_files_are_known(tmp_path: Path) -> None:
    folder, session = unsealed(tmp_path, seconds=5)
    track = folder / "tracks" / "overview"
    (track / "000007.mkv").write_bytes(b"")
    (track / "000008.mkv").write_bytes(b"abc")
    writer = journal.Journal(track / "journal.jsonl")
    writer.append("empty", file="000007.mkv", first_ns=0, present=True)
    facts = {"packets": 1, "first_ns": START_NS, "end_ns": START_NS + 1, "codec": "h264"}
    writer.append("segment", file="000008.mkv", bytes=3, sha256=hashlib.sha256(b"abc").hexdigest(), recovered=True, **facts)
    writer.close()
    files = {f["path"]: f for f in built(folder, session)["files"]}
    assert "unlisted" not in files["tracks/overview/000007.mkv"]
    assert files["tracks/overview/000008.mkv"]["recovered"] is True


def test_a_torn_journal_line_is_kept_and_no_media_file(tmp_path: Path) -> None:
    folder, session = unsealed(tmp_path, seconds=5)
    path = folder / "tracks" / "overview" / "journal.jsonl"
    path.write_bytes(path.read_bytes() + b'{"seq":')
    assert [p["code"] for p in built(folder, session)["problems"]] == [inventory.TORN]
    journal.Journal(path).close()  # the writer's next start repairs it
    content = built(folder, session)
    assert content["problems"] == []
    torn = [f for f in content["files"] if ".torn-" in f["path"]]
    assert len(torn) == 1 and "unlisted" not in torn[0]


def test_sealing_signs_and_makes_read_only(tmp_path: Path) -> None:
    folder, session = unsealed(tmp_path, seconds=5)
    done = seal(folder, session, tmp_path / "keys", software_version=VERSION)
    data = (folder / "manifest.json").read_bytes()
    signature = read_json(folder / "manifest.sig")
    assert done.manifest_sha256 == hashlib.sha256(data).hexdigest() == signature["manifest_sha256"]
    assert done.manifest == json.loads(data)
    assert done.composite == {"pictures_due": 125, "pictures_written": 125}
    # By the library alone, as any third party would check it.
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(str(signature["public_key"])))
    key.verify(bytes.fromhex(str(signature["signature"])), data)
    trusted = public_key(tmp_path / "keys")
    assert trusted is not None
    assert check_signature(data, signature, trusted_public_key=trusted) == trusted.hex()
    for file in done.manifest["files"]:
        assert stat.S_IMODE((folder / file["path"]).stat().st_mode) == 0o440
    assert stat.S_IMODE((folder / "manifest.json").stat().st_mode) == 0o440


def test_a_seal_is_never_written_again(tmp_path: Path) -> None:
    folder, session = unsealed(tmp_path, seconds=5)
    first = seal(folder, session, tmp_path / "keys", software_version=VERSION)
    before = [((folder / n).read_bytes(), (folder / n).stat().st_ino) for n in ("manifest.json", "manifest.sig")]
    again = seal(folder, {**session, "case": {}}, tmp_path / "keys", software_version="9.9")
    assert again == first
    assert [((folder / n).read_bytes(), (folder / n).stat().st_ino) for n in ("manifest.json", "manifest.sig")] == before


def test_a_seal_that_was_cut_off_is_made_again(tmp_path: Path) -> None:
    folder, session = unsealed(tmp_path, seconds=5)
    (folder / "manifest.json").write_bytes(b'{"half": true}\n')  # the power went before the signature
    done = seal(folder, session, tmp_path / "keys", software_version=VERSION)
    assert done.manifest["schema"] == manifest_form.SCHEMA
    check_signature((folder / "manifest.json").read_bytes(), read_json(folder / "manifest.sig"))


def test_a_seal_that_does_not_fit_is_not_replaced(tmp_path: Path) -> None:
    folder, session = unsealed(tmp_path, seconds=5)
    seal(folder, session, tmp_path / "keys", software_version=VERSION)
    path = folder / "manifest.json"
    path.chmod(0o640)
    path.write_bytes(path.read_bytes().replace(b"2026", b"2027"))
    changed = path.read_bytes()
    with pytest.raises(EvidenceFault):
        seal(folder, session, tmp_path / "keys", software_version=VERSION)
    assert path.read_bytes() == changed


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    folder, session = unsealed(tmp_path, seconds=5)
    (folder / "manifest.sig").mkdir()
    with pytest.raises(StorageFault):
        seal(folder, session, tmp_path / "keys", software_version=VERSION)


def test_a_file_that_cannot_be_made_read_only_keeps_nobody_from_the_seal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A file of another user, put there by an administrator."""
    folder, session = unsealed(tmp_path, seconds=5)
    foreign, chmod = folder / "tracks" / "overview" / "journal.jsonl", Path.chmod

    def change(path: Path, mode: int) -> None:
        if path == foreign:
            raise PermissionError(1, "Operation not permitted")
        chmod(path, mode)

    monkeypatch.setattr(Path, "chmod", change)
    done = seal(folder, session, tmp_path / "keys", software_version=VERSION)
    assert done.manifest["problems"] == []
    assert [vars(record)["path"] for record in caplog.records if record.message == "not made read-only"] == [str(foreign)]
    assert stat.S_IMODE((folder / "manifest.sig").stat().st_mode) == 0o440


def test_a_folder_that_the_disk_does_not_give_back_is_a_problem_and_no_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, session = unsealed(tmp_path, seconds=5)
    bad, scandir = folder / "tracks" / "overview", os.scandir

    def scan(path: Path) -> Any:
        if path == bad:
            raise OSError(5, "Input/output error")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", scan)
    done = seal(folder, session, tmp_path / "keys", software_version=VERSION)
    assert [(p["path"], p["code"]) for p in done.manifest["problems"]] == [("tracks/overview", inventory.UNREADABLE)]
    assert done.coverage["overview"]["covered"] == 0.0 and done.coverage["closeup"]["covered"] == 1.0


def test_a_last_word_during_the_seal_is_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that was thought dead journals once more while the seal reads the folder."""
    folder, session = unsealed(tmp_path, seconds=5)
    path, real, words = folder / "tracks" / "closeup" / "journal.jsonl", file_sha256, ["lost", "back"]

    def digest(file: Path) -> str:
        if words:
            writer = journal.Journal(path)
            writer.append(words.pop(), camera="x", from_ns=None, at_ns=None)
            writer.close()
        return real(file)

    monkeypatch.setattr(inventory, "file_sha256", digest)
    done = seal(folder, session, tmp_path / "keys", software_version=VERSION)
    assert words == [] and done.manifest["tracks"]["closeup"]["journal"]["entries"] == len(list(journal.read(path)))
    (listed,) = (f for f in done.manifest["files"] if f["path"] == "tracks/closeup/journal.jsonl")
    assert listed["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()


# --- keys and signatures


def test_the_key_is_made_once_and_private(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    key = device_key(keys)
    assert stat.S_IMODE((keys / "device.pem").stat().st_mode) == 0o600
    assert sorted(p.name for p in keys.iterdir()) == ["device.pem", "device.pub"]
    assert device_key(keys).private_bytes_raw() == key.private_bytes_raw()
    assert public_key(keys) == key.public_key().public_bytes_raw()
    (keys / "device.pub").unlink()  # lost between the two files: made again from the private one
    assert device_key(keys).private_bytes_raw() == key.private_bytes_raw()
    assert public_key(keys) == key.public_key().public_bytes_raw()
    assert public_key(tmp_path / "none") is None


@pytest.mark.parametrize("content", [b"", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", None])
def test_a_lost_or_damaged_key_is_not_replaced_in_silence(tmp_path: Path, content: bytes | None) -> None:
    keys = tmp_path / "keys"
    device_key(keys)
    (keys / "device.pem").unlink()
    if content is not None:
        (keys / "device.pem").write_bytes(content)
    with pytest.raises(EvidenceFault, match="Restore the keys folder"):
        device_key(keys)


def test_a_signature_that_does_not_fit(tmp_path: Path) -> None:
    key, other = device_key(tmp_path / "a"), device_key(tmp_path / "b")
    data = b'{"a": 1}\n'
    good = sign_manifest(data, key)
    assert check_signature(data, good) == good["public_key"]
    wrong: list[dict[str, object]] = [
        {**good, "algorithm": "RSA"},
        {**good, "signature": sign_manifest(b"other", key)["signature"]},
        {**good, "public_key": sign_manifest(data, other)["public_key"]},
        {**good, "public_key": str(good["public_key"]).upper()},
        {**good, "manifest_sha256": "0" * 64},
        {**good, "signature": 5},
        {},
    ]
    for signature in wrong:
        with pytest.raises(EvidenceFault):
            check_signature(data, signature)
    with pytest.raises(EvidenceFault):
        check_signature(data + b" ", good)
    with pytest.raises(EvidenceFault, match=fingerprint(other.public_key().public_bytes_raw().hex())):
        check_signature(data, good, trusted_public_key=other.public_key().public_bytes_raw())


def test_the_head_of_the_journal_is_signed_for_this_session_alone(tmp_path: Path) -> None:
    folder = make_session(tmp_path, 5)
    head = sign_journal(folder, folder.name, tmp_path / "keys")
    assert head == journal.head_of(folder / "journal.jsonl")
    signature = read_json(folder / "journal.sig")
    assert check_head_signature(folder.name, signature) == head
    for session, content in ((folder.name + "-2", signature), (folder.name, {**signature, "entries": head.entries - 1})):
        with pytest.raises(EvidenceFault):
            check_head_signature(session, content)


def test_four_hours(tmp_path: Path) -> None:
    """1440 segments a track: all is listed, none of it read (each file is sparse and of a length that could not be)."""
    folder = tmp_path / "session"
    (folder / "epochs").mkdir(parents=True)
    session = {"id": "s", "start_ns": START_NS, "stop_ns": START_NS + 14_400 * SECOND_NS, "timezone": "Asia/Shanghai"}
    huge = 1 << 32
    for track in ("overview", "closeup", "microphone"):
        place = folder / "tracks" / track
        place.mkdir(parents=True)
        previous, rows = "0" * 64, list[bytes]()
        for n in range(1440):
            name, first = f"{n:06d}.mkv", START_NS + n * 10 * SECOND_NS
            facts = {"file": name, "bytes": huge, "sha256": f"{n:064x}", "packets": 250, "codec": "h264"}
            for kind in ("open", "segment"):
                entry = {
                    "seq": len(rows),
                    "kind": kind,
                    **facts,
                    "first_ns": first,
                    "end_ns": first + 10 * SECOND_NS,
                    "prev": previous,
                }
                rows.append(json.dumps(entry).encode())
                previous = hashlib.sha256(rows[-1]).hexdigest()
            with open(place / name, "wb") as file:
                file.truncate(huge)
        (place / "journal.jsonl").write_bytes(b"\n".join(rows) + b"\n")
    done = seal(folder, session, tmp_path / "keys", software_version=VERSION)
    assert done.coverage == {t: {"covered": 1.0, "gaps": 0} for t in ("overview", "closeup", "microphone")}
    assert len(done.manifest["files"]) == 3 * 1441
    assert done.manifest["tracks"]["overview"]["bytes"] == 1440 * huge


def test_an_epoch_that_is_damaged_is_a_problem_and_no_obstacle(tmp_path: Path) -> None:
    folder, session = unsealed(tmp_path, seconds=5)
    (folder / "epochs" / "broken.json").write_bytes(b"{")
    assert [p["path"] for p in built(folder, session)["problems"]] == ["epochs/broken.json"]


def test_what_the_disk_does_not_give_back_is_a_problem_and_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, session = unsealed(tmp_path, seconds=5)
    (folder / "tracks" / "closeup" / "000009.mkv").write_bytes(b"of no journal")
    bad = {folder / "tracks" / "closeup" / "000009.mkv", folder / "tracks" / "microphone" / "journal.jsonl"}
    digest_of, bytes_of = file_sha256, Path.read_bytes

    def given_back(path: Path) -> Path:
        if path in bad:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return path

    monkeypatch.setattr(inventory, "file_sha256", lambda path: digest_of(given_back(path)))
    monkeypatch.setattr(Path, "read_bytes", lambda path: bytes_of(given_back(path)))
    done = seal(folder, session, tmp_path / "keys", software_version=VERSION)
    monkeypatch.undo()
    problems = {p["path"] for p in done.manifest["problems"]}
    assert problems == {path.relative_to(folder).as_posix() for path in bad}
    report = verify_session(folder)
    assert not report.ok
    told = [f.values["problem"] for f in report.findings if not f.ok and "problem" in f.values]
    assert {each.values["path"] for each in told if isinstance(each, Sentence)} == problems


def test_a_picture_that_does_not_count_is_listed_and_told(tmp_path: Path) -> None:
    folder, session = unsealed(tmp_path, seconds=12, gap=(4, 7))
    lost_ns, picture_ns = START_NS + 4 * SECOND_NS, SECOND_NS // 25
    with_cut = journal.Journal(folder / "tracks" / "closeup" / "journal.jsonl")
    cut = {
        "file": "000000.mkv",
        "from_ns": lost_ns - picture_ns,
        "to_ns": lost_ns,
        "cause": "last-picture-not-whole",
        "values": {},
    }
    with_cut.append("cut", **cut)
    with_cut.close()
    tracks = built(folder, session)["tracks"]
    times = {"from": "2026-11-21T09:30:09.240+08:00", "to": "2026-11-21T09:30:09.280+08:00", "seconds": 0.04}
    told = {key: value for key, value in cut.items() if key != "file"}
    assert tracks["closeup"]["cut"] == [{"path": "tracks/closeup/000000.mkv", **told, **times}]
    assert [gap["from_ns"] for gap in tracks["closeup"]["gaps"]] == [lost_ns - picture_ns]
    assert tracks["closeup"]["gaps"][0]["cause"] == "camera-unreachable"
    assert "cut" not in tracks["overview"], "as the manifests of earlier versions are"
    seal(folder, session, tmp_path / "keys", software_version=VERSION)
    report = verify_session(folder)
    (found,) = [each for each in report.findings if each.code == "picture-that-does-not-count"]
    assert found.note
    assert found.say("en").startswith("Close-up, 2026-11-21 09:30:09: The last picture before the interruption is not whole:")
    assert found.say("zh").startswith("特写录像，2026年11月21日 09:30:09：中断前的最后一帧画面不完整")


def test_what_session_json_gets(tmp_path: Path) -> None:
    folder = make_session(tmp_path, 5)
    write_json(folder / "copy.json", read_json(folder / "session.json"))
    assert read_json(folder / "session.json")["coverage"] == {
        t: {"covered": 1.0, "gaps": 0} for t in ("overview", "closeup", "microphone")
    }
