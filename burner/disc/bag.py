"""What lies on a disc: a bag by RFC 8493 (BagIt 1.0). Pure.

::

    bagit.txt  bag-info.txt  manifest-sha256.txt  tagmanifest-sha256.txt
    index.html                       leads to data/index.html
    HOW-TO-CHECK.txt, 如何核验.txt, verify.html, device.pub   for whoever has the disc alone
    data/index.html                  plays everything, offline
    data/composite/, data/originals/ the MP4s
    data/made-later/                 what was composed after the seal: MP4s, manifest.json, manifest.sig, journal.jsonl
    data/session.json, data/manifest.json, data/manifest.sig
    data/delivery.json, data/delivery.sig   which MP4 was made from which segments, and the digests of all else
    data/sha256sums                  the digests of everything, for sha256sum
    data/*.sig.bin, data/journal.head.txt   the signatures as openssl takes them
    data/journals/, data/epochs/, data/transcript/
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence

from burner.disc.image import Entry

DELIVERY = "interview-room-delivery/2"
DELIVERY_BEFORE = "interview-room-delivery/1"  # its digests are those of the records alone
COUNTED = ("Payload-Oxum", "Bag-Size")  # of bag-info.txt: they count the whole payload
# Windows takes these for devices, whatever suffix follows.
_DEVICE = re.compile(r"(?:CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(?:COM|LPT)[0-9¹²³]) *(?:\.|$)", re.IGNORECASE)
BAGIT = Entry.of_bytes("bagit.txt", b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n")
INFO = "bag-info.txt"
NAME_BYTES = 60  # Joliet holds 64 characters, pycdlib checks 64 bytes of UTF-8, ";1" may be added


def bag(payload: Sequence[Entry], info: Mapping[str, str], *, top: Sequence[Entry] = ()) -> tuple[Entry, ...]:
    """The payload (paths beginning with data/) with its tag files before it. top: further files beside data/."""
    tags = [BAGIT, bag_info(info, payload), Entry.of_bytes("manifest-sha256.txt", checksums(payload)), *top]
    return (*tags, Entry.of_bytes("tagmanifest-sha256.txt", checksums(tags)), *payload)


def bag_info(info: Mapping[str, str], payload: Sequence[Entry]) -> Entry:
    """bag-info.txt: what is told, and what the payload counts."""
    lines = {**info_lines(info), **counted([e.bytes for e in payload])}
    return Entry.of_bytes(INFO, "".join(f"{k}: {v}\n" for k, v in lines.items()).encode())


def counted(sizes: Sequence[int]) -> dict[str, str]:
    """The lines of bag-info.txt that count the payload. sizes: of its files, bytes."""
    total = sum(sizes)
    return dict(zip(COUNTED, (f"{total}.{len(sizes)}", _human(total)), strict=True))


def info_lines(info: Mapping[str, str]) -> dict[str, str]:
    """What bag-info.txt says, beside what is COUNTED: each value in one line, empty ones left out."""
    return {key: line for key, value in info.items() if (line := _one_line(value))}


def told_by_info(data: bytes) -> list[tuple[str, str]]:
    """Every line of bag-info.txt, from its bytes: name and value. Raises ValueError where it is no UTF-8."""
    pairs = [line.partition(": ") for line in data.decode("utf-8").split("\n")]
    return [(key, value) for key, _, value in pairs if key or value]


def checksums(entries: Sequence[Entry]) -> bytes:
    """A manifest as sha256sum writes it (RFC 8493, 2.1.3)."""
    return "".join(f"{e.sha256}  {escape(e.path)}\n" for e in entries).encode()


def parse_checksums(data: bytes) -> dict[str, str]:
    """Path to SHA-256 from a manifest. Raises ValueError where a line is none."""
    found = {}
    for line in data.decode("utf-8").splitlines():
        match = re.fullmatch(r"([0-9a-fA-F]{64})[ \t]+\*?(.+)", line)
        if match is None:
            raise ValueError(line[:100])
        found[unescape(match.group(2).removeprefix("./"))] = match.group(1).lower()
    return found


def escape(path: str) -> str:
    """RFC 8493, 2.1.3: CR, LF and % in a path."""
    return path.replace("%", "%25").replace("\n", "%0A").replace("\r", "%0D")


def unescape(path: str) -> str:
    """The inverse of escape."""
    return re.sub("%(25|0A|0D)", lambda m: chr(int(m.group(1), 16)), path, flags=re.IGNORECASE)


def disc_name(name: str, fallback: str) -> str:
    """A file's name that all of the disc's trees can carry: NFC, nothing Joliet or Windows forbid, at most 60 bytes of UTF-8.

    Longer names are cut before their suffix. fallback: for a name of which nothing is left.
    """
    plain = re.sub(r'[\x00-\x1f\x7f*/:;?\\<>|"%]', "_", unicodedata.normalize("NFC", name)).strip(" .")
    if any(ord(c) > 0xFFFF for c in plain):
        plain = "".join(c if ord(c) <= 0xFFFF else "_" for c in plain)
    if _DEVICE.match(plain):
        plain = f"_{plain}"
    stem, dot, suffix = plain.rpartition(".")
    if not dot or len(suffix.encode()) > 8:
        stem, suffix = plain, ""
    room = NAME_BYTES - len(suffix.encode()) - 1
    stem = stem.encode()[:room].decode(errors="ignore").strip(" .")
    return (f"{stem}.{suffix}" if suffix else stem) if stem else fallback


def _one_line(value: str) -> str:
    return " ".join(value.split())


def _human(count: int) -> str:
    size = float(count)
    for unit in ("bytes", "KB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
