"""Names and lists of a bag."""

import hashlib

import pytest

from burner.disc.bag import bag, checksums, disc_name, escape, parse_checksums, unescape
from burner.disc.image import Entry


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("询问笔录.txt", "询问笔录.txt"),
        ("a:b*c?.json", "a_b_c_.json"),
        ("  .txt", "txt"),
        ("...", "transcript"),
        ("e\u0301.txt", "é.txt"),  # composed
        ("𠀀.txt", "_.txt"),  # Joliet holds 16 bits a character
        ("50%.txt", "50_.txt"),
        ("长" * 40 + ".txt", "长" * 18 + ".txt"),
        ("x" * 200, "x" * 59),
        ("笔录#1.txt", "笔录#1.txt"),
        ("CON.txt", "_CON.txt"),
        ("aux.txt", "_aux.txt"),
        ("Nul", "_Nul"),
        ("COM1.笔录.json", "_COM1.笔录.json"),
        ("lpt¹ .txt", "_lpt¹.txt"),
        ("conin$.txt", "_conin$.txt"),
        ("aux." + "x" * 80 + ".txt", "_aux." + "x" * 51 + ".txt"),
        ("concept.txt", "concept.txt"),
        ("COM10.txt", "COM10.txt"),
    ],
)
def test_disc_names(name: str, expected: str) -> None:
    assert disc_name(name, "transcript") == expected
    assert len(disc_name(name, "transcript").encode()) <= 60


def test_lists_come_back() -> None:
    entries = [Entry.of_bytes("data/a 50%\n.txt", b"a"), Entry.of_bytes("data/询问.txt", b"b")]
    assert parse_checksums(checksums(entries)) == {e.path: e.sha256 for e in entries}
    assert unescape(escape("%0A\r\n%")) == "%0A\r\n%"
    with pytest.raises(ValueError, match="nonsense"):
        parse_checksums(b"nonsense\n")


def test_the_tags_describe_the_payload() -> None:
    payload = [Entry.of_bytes("data/a", b"abc"), Entry.of_bytes("data/b", b"de")]
    made = {e.path: e.source for e in bag(payload, {"Case": "温市监\n〔2026〕88号", "Nothing": ""})}
    assert made["bagit.txt"] == b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
    info = made["bag-info.txt"]
    assert isinstance(info, bytes)
    assert info.decode().splitlines() == ["Case: 温市监 〔2026〕88号", "Payload-Oxum: 5.2", "Bag-Size: 5 bytes"]
    tags = made["tagmanifest-sha256.txt"]
    assert isinstance(tags, bytes)
    assert parse_checksums(tags)["bag-info.txt"] == hashlib.sha256(info).hexdigest()
