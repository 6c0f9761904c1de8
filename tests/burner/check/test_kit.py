"""The files for the stranger, the disc's names and what lies beside data/ are judged as everything else is."""

import subprocess
from binascii import crc_hqx
from pathlib import Path

import pycdlib
import pytest

from burner.check.disc import DiscReport, verify_disc
from burner.check.labels import labels_of
from burner.disc.author import AuthorResult
from burner.disc.signing import RAW, SUMS
from recorder.evidence.signature import device_key, pem, public_key
from tests.burner.check.test_disc import make_older
from tests.burner.forgery import change_text, remake_lists, replace, sign_anew


@pytest.fixture
def image(authored: tuple[Path, AuthorResult]) -> Path:
    return authored[1].path


@pytest.fixture
def folder(image: Path, tmp_path: Path) -> Path:
    subprocess.run(["7z", "x", "-y", f"-o{tmp_path / 'mounted'}", str(image)], check=True, capture_output=True)
    return tmp_path / "mounted"


def problems(report: DiscReport) -> list[str]:
    return [line.removeprefix("✗ ") for line in report.lines if line.startswith("✗")]


def test_the_files_for_the_stranger_are_those_of_the_disc(folder: Path, sealed_root: Path) -> None:
    report = verify_disc(str(folder), trusted_public_key=public_key(sealed_root / "keys"))
    assert report.ok, report.lines
    assert "✓ The public key, the plain signatures and the list for sha256sum are those of this disc." in report.lines


ALTERED = "{} is missing, or is not what was put on this disc."


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (SUMS, ["data/sha256sums is not the list of what was put on this disc.", f"{SUMS}{RAW} is not the signature that"]),
        (f"{SUMS}{RAW}", [f"{SUMS}{RAW} is not the signature that it should be."]),
        ("data/delivery.sig.bin", ["data/delivery.sig.bin is not the signature that it should be."]),
        ("data/manifest.sig.bin", [ALTERED.format("data/manifest.sig.bin"), "data/manifest.sig.bin is not the signature"]),
        ("data/journal.sig.bin", [ALTERED.format("data/journal.sig.bin"), "data/journal.sig.bin is not the signature"]),
        ("data/journal.head.txt", [ALTERED.format("data/journal.head.txt")]),
        ("device.pub", [ALTERED.format("device.pub"), "device.pub is not the key that signed this disc."]),
        ("verify.html", [ALTERED.format("verify.html")]),
        ("HOW-TO-CHECK.txt", [ALTERED.format("HOW-TO-CHECK.txt")]),
        ("如何核验.txt", [ALTERED.format("如何核验.txt")]),
    ],
)
@pytest.mark.parametrize("gone", [False, True])
def test_each_of_them_is_found_where_it_is_changed_or_missing(folder: Path, path: str, expected: list[str], gone: bool) -> None:
    if gone:
        (folder / path).unlink()
        expected = [path]
    else:
        replace(folder / path, b"another")
    remake_lists(folder)
    found = problems(verify_disc(str(folder)))
    assert found and all(any(line.startswith(each) or (gone and each in line) for line in found) for each in expected), found


def test_plain_signatures_that_the_disc_s_own_signature_covers_are_looked_at_all_the_same(
    folder: Path, sealed_root: Path
) -> None:
    """Whoever made the disc put there what says nothing about the session."""
    replace(folder / "data" / f"manifest{RAW}", bytes(64))
    replace(folder / "data" / "journal.head.txt", b"interview-room-journal/1\n")
    sign_anew(folder, device_key(sealed_root / "keys"))
    assert sorted(problems(verify_disc(str(folder)))) == [
        ALTERED.format("data/journal.head.txt"),
        "data/manifest.sig.bin is not the signature that it should be.",
    ]


def test_another_key_beside_the_signature(folder: Path, sealed_root: Path, tmp_path: Path) -> None:
    forger = device_key(tmp_path / "forger")
    sign_anew(folder, device_key(sealed_root / "keys"))
    replace(folder / "device.pub", pem(forger.public_key().public_bytes_raw()))
    remake_lists(folder)
    assert "device.pub is not the key that signed this disc." in problems(verify_disc(str(folder)))


# the disc's names


def renamed(data: bytes, encoding: str, sectors: range) -> bytes:
    """The image with another name in some sectors, and the checks of the UDF descriptors there made anew (ECMA-167, 3/7.2)."""
    name, other = ("EV20261121_001".encode(encoding), "EV20261121_777".encode(encoding))
    made = bytearray(data)
    for number in sectors:
        sector = data[number * 2048 : (number + 1) * 2048]
        if name in sector:
            new = bytearray(sector.replace(name, other))
            if sector[1:6] != b"CD001":
                length = int.from_bytes(new[10:12], "little")
                new[8:10] = crc_hqx(bytes(new[16 : 16 + length]), 0).to_bytes(2, "little")
                new[4] = 0
                new[4] = sum(new[:16]) % 256
            made[number * 2048 : (number + 1) * 2048] = new
    assert made != data
    return bytes(made)


@pytest.mark.parametrize(
    ("encoding", "sectors"),
    [("ascii", range(16, 17)), ("utf-16-be", range(16, 32)), ("latin-1", range(32, 40)), ("latin-1", range(40, 300))],
    ids=["ISO 9660", "Joliet", "UDF", "UDF, elsewhere"],
)
def test_each_name_of_the_disc_is_the_one_that_was_signed(image: Path, tmp_path: Path, encoding: str, sectors: range) -> None:
    """ISO 9660 and UDF have it in one byte a character, Joliet in two."""
    (tmp_path / "d.iso").write_bytes(renamed(image.read_bytes(), encoding, sectors))
    report = verify_disc(str(tmp_path / "d.iso"))
    assert problems(report) == ["The disc is named EV20261121_777, but EV20261121_001 was signed."]


def test_a_name_of_any_tree_counts(image: Path) -> None:
    iso = pycdlib.PyCdlib()
    iso.open(str(image))
    names = [*labels_of(iso)]
    iso.close()
    assert set(names) == {"EV20261121_001"} and len(names) >= 6


def test_a_disc_without_a_name(image: Path, tmp_path: Path) -> None:
    data = bytearray(image.read_bytes())
    data[16 * 2048 + 40 : 16 * 2048 + 72] = b" " * 32  # ECMA-119, 8.4.7
    (tmp_path / "d.iso").write_bytes(data)
    assert "The disc is named , but EV20261121_001 was signed." in problems(verify_disc(str(tmp_path / "d.iso")))


# bag-info.txt and bagit.txt


CHANGES = [
    ("bag-info.txt", "Payload-Oxum: ", "Payload-Oxum: This recording was cut by order of the court "),
    ("bag-info.txt", "Bag-Size: ", "Bag-Size: nothing of "),
    ("bag-info.txt", "Bag-Size", "Note: cut\nBag-Size"),
    ("bagit.txt", "1.0", "0.97"),
    ("bagit.txt", "UTF-8", "UTF-8 (cut by order of the court)"),
]


@pytest.mark.parametrize(("path", "old", "new"), [*CHANGES, ("bag-info.txt", "Status: FINAL", "Status: DRAFT")])
def test_every_line_of_the_bag_s_own_files_counts(folder: Path, path: str, old: str, new: str) -> None:
    change_text(folder / path, old, new)
    remake_lists(folder)
    assert ALTERED.format(path) in problems(verify_disc(str(folder)))


@pytest.mark.parametrize(("path", "old", "new"), CHANGES)
def test_on_an_older_disc_what_can_be_counted_counts(folder: Path, sealed_root: Path, path: str, old: str, new: str) -> None:
    make_older(folder, sealed_root)
    assert verify_disc(str(folder)).ok
    change_text(folder / path, old, new)
    remake_lists(folder)
    assert problems(verify_disc(str(folder))) == [ALTERED.format(path)]
