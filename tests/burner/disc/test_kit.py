"""Whoever has the disc alone proves every film by doing what HOW-TO-CHECK.txt says, and a forgery fails at a named step."""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from burner.check.disc import verify_disc
from burner.disc.author import AuthorResult, author
from burner.disc.kit import HOW_TO, Film, journal_head, key_files, kit, run_digest, signed_by
from burner.disc.sealed_session import read
from burner.disc.signing import DELIVERY, RAW, SUMS, TO_COME, sums_of
from recorder.disk.durable import encode, read_json
from recorder.evidence.sealed_segments import SealedSegment
from recorder.evidence.signature import device_key, fingerprint, public_key, read_public_key, sign_manifest
from tests.burner.disc.stranger import failing, given, steps
from tests.burner.forgery import listed_anew, remake_lists, replace, sha256_of, sign_anew, swap_picture
from tests.burner.sessions import SESSION


@pytest.fixture(scope="module")
def disc(authored: tuple[Path, AuthorResult], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The disc's files; not to be changed."""
    folder = tmp_path_factory.mktemp("disc") / "EV 光盘"
    subprocess.run(["7z", "x", "-y", f"-o{folder}", str(authored[1].path)], check=True, capture_output=True)
    return folder


@pytest.fixture
def folder(disc: Path, tmp_path: Path) -> Path:
    """A copy of them."""
    return shutil.copytree(disc, tmp_path / "disc")


@pytest.fixture
def told(sealed_root: Path) -> str:
    """The fingerprint, as whoever runs the room tells it."""
    key = public_key(sealed_root / "keys")
    assert key is not None
    return fingerprint(key.hex())


@pytest.mark.parametrize("page", HOW_TO.values())
def test_who_follows_the_page_word_for_word_proves_every_film(disc: Path, told: str, page: str) -> None:
    text = (disc / page).read_text(encoding="utf-8")
    assert failing(disc, told, page) == []
    assert told in text and re.fullmatch(r"(?:[0-9a-f]{4} ){7}[0-9a-f]{4}", told)
    found = steps(text)
    assert list(found) == [1, 2, 3, 4, 5, 6]
    assert steps((disc / HOW_TO["en"]).read_text("utf-8")) == steps((disc / HOW_TO["zh"]).read_text("utf-8")) == found
    checked = given(disc, found[3][0]).stdout
    for path in (disc / "data").rglob("*.mp4"):
        assert f"{path.relative_to(disc)}: " in checked
    films = [command for command in found[6] if "ffmpeg" in command]
    assert sorted(re.findall(r"originals/(\S+)", each)[0] for each in films) == [
        "closeup-01.mp4",
        "closeup-02.mp4",
        "microphone-01.mp4",
        "overview-01.mp4",
    ]
    assert "data/composite/composite-01.mp4" in text.split(found[6][-1])[1], "it has no digest, which is said"
    assert max(len(line) for line in text.splitlines() if not line.startswith("    ")) <= 96


def change_list(folder: Path) -> None:
    swap_picture(folder)
    listed_anew(folder)
    remake_lists(folder)


def add_file(folder: Path) -> None:
    (folder / "data" / "originals" / "overview-02.mp4").write_bytes(b"another view")
    remake_lists(folder)


def add_beside(folder: Path) -> None:
    (folder / ".autorun.inf").write_text("?")


def drop_film(folder: Path) -> None:
    (folder / "data" / "originals" / "closeup-02.mp4").unlink()
    remake_lists(folder)


def change_manifest_signature(folder: Path) -> None:
    """By the room's key, of a manifest that it never saw."""
    replace(folder / "data" / f"manifest{RAW}", bytes(64))


@pytest.mark.parametrize(
    ("forge", "step"),
    [
        (swap_picture, [3]),
        (change_list, [2, 5]),
        (add_file, [4]),
        (add_beside, [4]),
        (drop_film, [3, 4]),
        (change_manifest_signature, [3, 5]),
    ],
)
def test_a_forgery_fails_at_a_named_step(folder: Path, told: str, forge: Callable[[Path], None], step: list[int]) -> None:
    forge(folder)
    assert [each for each in failing(folder, told) if each != 6] == step


def test_a_list_that_another_key_signed_fails_at_the_fingerprint_alone(folder: Path, told: str, tmp_path: Path) -> None:
    swap_picture(folder, "composite/composite-01.mp4")
    forger = device_key(tmp_path / "forger")
    sign_anew(folder, forger)
    manifest = (folder / "data" / "manifest.json").read_bytes()
    head = (folder / "data" / "journal.head.txt").read_bytes()
    replace(folder / "data" / f"manifest{RAW}", forger.sign(manifest))
    replace(folder / "data" / f"journal{RAW}", forger.sign(head))
    sign_anew(folder, forger)
    assert failing(folder, told) == [1]
    assert failing(folder, fingerprint(forger.public_key().public_bytes_raw().hex())) == []


def test_a_film_that_the_room_s_own_key_signed_fails_at_its_packets(folder: Path, sealed_root: Path, told: str) -> None:
    """The disc was made from something else than was recorded: sha256sum and openssl are content, the sealed journal is not."""
    shorter = folder / "shorter.mp4"
    film = folder / "data" / "originals" / "overview-01.mp4"
    subprocess.run(["ffmpeg", "-v", "error", "-i", film, "-t", "3", "-c", "copy", shorter], check=True, stdin=subprocess.DEVNULL)
    replace(film, shorter.read_bytes())
    shorter.unlink()
    sign_anew(folder, device_key(sealed_root / "keys"))
    assert failing(folder, told) == [6]


# what lies on the disc


def test_the_list_names_everything_but_the_signatures_and_the_bag_s_lists(disc: Path, sealed_root: Path) -> None:
    listed = [line[66:] for line in (disc / SUMS).read_text("utf-8").splitlines()]
    there = {p.relative_to(disc).as_posix() for p in disc.rglob("*") if p.is_file()}
    assert there - set(listed) == {
        "data/delivery.sig",
        "data/delivery.sig.bin",
        "data/sha256sums",
        "data/sha256sums.sig.bin",
        "manifest-sha256.txt",
        "tagmanifest-sha256.txt",
    }
    assert set(listed) - there == set() and listed == sorted(listed)
    assert (disc / SUMS).read_bytes() == sums_of((disc / DELIVERY).read_bytes())
    assert read_public_key(disc / "device.pub") == public_key(sealed_root / "keys")


def test_a_list_that_sha256sum_would_write_in_another_way_is_none() -> None:
    for path in ("a\nb", "a\\b", "a\rb"):
        with pytest.raises(ValueError, match="another way"):
            sums_of(encode({"sha256": {path: "0" * 64}, "files": []}))
    account = encode({"sha256": {"data/a　b %.txt": "0" * 64}, "files": [{"path": "data/c.mp4", "sha256": "1" * 64}]})
    assert [line[66:] for line in sums_of(account).decode().splitlines()] == ["data/a　b %.txt", "data/c.mp4", DELIVERY]


def test_signatures_to_come_are_as_long_as_those_that_came(disc: Path) -> None:
    account = (disc / DELIVERY).read_bytes()
    assert [(e.path, e.bytes) for e in TO_COME.files(account)] == [
        (path, (disc / path).stat().st_size) for path in ("data/delivery.sig", "data/delivery.sig.bin", f"{SUMS}{RAW}")
    ]


def test_a_session_that_another_pc_sealed_has_both_keys_on_its_disc(root: Path, session: Path, tmp_path: Path) -> None:
    sealed_by = public_key(root / "keys")
    shutil.rmtree(root / "keys")
    own = device_key(root / "keys").public_key().public_bytes_raw()
    assert sealed_by is not None
    image = author(session, tmp_path / "d.iso", language="en").path
    folder = tmp_path / "disc"
    subprocess.run(["7z", "x", "-y", f"-o{folder}", str(image)], check=True, capture_output=True)
    assert (read_public_key(folder / "device.pub"), read_public_key(folder / "device-2.pub")) == (own, sealed_by)
    found = steps((folder / "HOW-TO-CHECK.txt").read_text("utf-8"))
    asked = [given(folder, command).stdout.strip() for command in found[1]]
    assert asked == [fingerprint(own.hex()), fingerprint(sealed_by.hex())]
    assert [step for step in failing(folder, "") if step != 1] == []
    assert verify_disc(str(folder)).exit_code == 0


def test_a_disc_that_nobody_signed_says_so(root: Path, session: Path, tmp_path: Path) -> None:
    (root / "keys" / "device.pem").unlink()
    image = author(session, tmp_path / "d.iso", language="en").path
    folder = tmp_path / "disc"
    subprocess.run(["7z", "x", "-y", f"-o{folder}", str(image)], check=True, capture_output=True)
    text = (folder / "HOW-TO-CHECK.txt").read_text("utf-8")
    assert "NOBODY SIGNED THIS DISC" in text
    assert list(steps(text)) == [1, 3, 4, 5, 6]
    assert not list(folder.rglob("delivery.sig*")) and not (folder / f"{SUMS}{RAW}").exists()
    assert [step for step in failing(folder, "") if step != 1] == []


def test_a_session_of_version_0_1_0_has_no_digests_of_films(sealed_root: Path) -> None:
    evidence = read(sealed_root / "sessions" / SESSION)
    texts = {e.path: e.source for e in kit(evidence, "EV1", [], [Film("data/a.mp4")], signer=bytes(32), language="en")}
    text = texts["HOW-TO-CHECK.txt"]
    assert isinstance(text, bytes) and "ffmpeg)" in text.decode() and "data/a.mp4" in text.decode()
    assert list(steps(text.decode())) == [1, 2, 3, 4, 5, 6] and steps(text.decode())[6] == []


def segment(name: str, since: str, run: str) -> SealedSegment:
    return SealedSegment(f"tracks/a/{name}", 1, "", 1, 0, 1, 0, 0.0, "h264", False, run_sha256=run, run_since=since)


def test_a_film_is_a_run_s_only_where_it_begins_with_it() -> None:
    one, two = segment("0.mkv", "0.mkv", "a" * 64), segment("1.mkv", "0.mkv", "b" * 64)
    assert run_digest([one, two]) == "b" * 64 and run_digest([one]) == "a" * 64
    assert run_digest([two]) == run_digest([]) == run_digest([one, segment("1.mkv", "1.mkv", "b" * 64)]) == ""
    assert run_digest([segment("0.mkv", "0.mkv", "x; rm -rf /")]) == "", "nothing of a journal becomes a command"


def test_what_is_no_signature_has_no_plain_form() -> None:
    assert journal_head(b"[" * 200_000) is journal_head(b"{}") is journal_head(b'{"entries": 0, "sha256": "x"}') is None
    assert signed_by("data/journal.sig", b"{}", "s") is signed_by("data/manifest.sig", b"{}", "s") is None
    assert signed_by("data/other.sig", encode(sign_manifest(b"", Ed25519PrivateKey.generate())), "s") is None
    assert key_files([b"a", b"b", b"a"]) == {b"a": "device.pub", b"b": "device-2.pub"}


def test_the_bag_s_information_counts_what_lies_there(disc: Path) -> None:
    told = dict(line.split(": ", 1) for line in (disc / "bag-info.txt").read_text("utf-8").splitlines())
    files = [p for p in (disc / "data").rglob("*") if p.is_file()]
    assert told["Payload-Oxum"] == f"{sum(p.stat().st_size for p in files)}.{len(files)}"
    delivery: dict[str, Any] = dict(read_json(disc / DELIVERY))
    assert delivery["sha256"]["bag-info.txt"] == sha256_of(disc / "bag-info.txt")
