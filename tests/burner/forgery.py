"""What a forger does with a disc's files, so that its lists fit again; with a key, its signatures as well."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from burner.disc import bag
from burner.disc.image import Entry
from burner.disc.signing import DELIVERY, RAW, STORED, SUMS, DiscSignature, sums_of
from recorder.disk.durable import encode, read_json
from recorder.evidence.signature import PUBLIC, pem


def replace(path: Path, data: bytes) -> None:
    """Writes a file, also one that was read-only."""
    if path.exists():
        path.chmod(0o644)
    path.write_bytes(data)


def change_text(path: Path, old: str, new: str) -> None:
    """Replaces some text of a file."""
    text = path.read_text(encoding="utf-8")
    assert old in text
    replace(path, text.replace(old, new).encode())


def remake_lists(folder: Path) -> None:
    """The bag's lists fit the changed files again."""
    for name, inside in (("manifest-sha256.txt", True), ("tagmanifest-sha256.txt", False)):
        paths = sorted(
            p
            for p in folder.rglob("*")
            if p.is_file() and (folder / "data" in p.parents) == inside and p.name != "tagmanifest-sha256.txt"
        )
        entries = [Entry.of_bytes(p.relative_to(folder).as_posix(), p.read_bytes()) for p in paths]
        replace(folder / name, bag.checksums(entries))


def recount(folder: Path) -> None:
    """bag-info.txt counts the payload as it is now."""
    sizes = [p.stat().st_size for p in (folder / "data").rglob("*") if p.is_file()]
    told = [line for line in (folder / bag.INFO).read_text("utf-8").splitlines() if not line.startswith(bag.COUNTED)]
    lines = [*told, *(f"{key}: {value}" for key, value in bag.counted(sizes).items())]
    replace(folder / bag.INFO, "".join(f"{line}\n" for line in lines).encode())


def swap_picture(folder: Path, name: str = "originals/overview-01.mp4") -> None:
    """One bit of a film."""
    path = folder / "data" / name
    data = bytearray(path.read_bytes())
    data[-1000] ^= 1
    replace(path, bytes(data))


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def listed_anew(folder: Path, change: Callable[[dict[str, Any]], object] = lambda _: None) -> bytes:
    """delivery.json and data/sha256sums say of every file what it is now."""
    delivery: dict[str, Any] = dict(read_json(folder / DELIVERY))
    change(delivery)
    delivery["sha256"] = {path: sha256_of(folder / path) for path in delivery["sha256"] if (folder / path).exists()}
    delivery["files"] = [{**each, "sha256": sha256_of(folder / each["path"])} for each in delivery["files"]]
    account = encode(delivery)
    replace(folder / DELIVERY, account)
    replace(folder / SUMS, sums_of(account))
    return account


def sign_anew(folder: Path, key: Ed25519PrivateKey, change: Callable[[dict[str, Any]], object] = lambda _: None) -> None:
    """Everything of the disc fits again, and the key has signed it."""
    public = key.public_key().public_bytes_raw()
    replace(folder / PUBLIC, pem(public))
    for last in (False, True):  # bag-info.txt counts what it is listed in; the second time all lengths are there
        account = listed_anew(folder, change)
        for entry in DiscSignature(public, key.sign(account), key.sign(sums_of(account))).files(account):
            assert isinstance(entry.source, bytes)
            replace(folder / entry.path, entry.source)
        if not last:
            recount(folder)
    remake_lists(folder)


def unsign(folder: Path) -> None:
    """Takes the disc's own signatures away."""
    for name in (STORED, DELIVERY.replace(".json", RAW), f"{SUMS}{RAW}"):
        (folder / name).unlink()
