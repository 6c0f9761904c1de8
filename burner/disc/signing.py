"""A disc's two signatures: over delivery.json, and over the list of digests that a stranger checks with sha256sum.

``sign_disc`` alone signs, and needs nothing but delivery.json: whoever holds the key can make the list from it again.
"""

import json
import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from burner.disc.image import Entry
from recorder.disk.durable import encode
from recorder.evidence.signature import PRIVATE, device_key, stored_signature

DELIVERY = "data/delivery.json"
SUMS = "data/sha256sums"
STORED = "data/delivery.sig"
RAW = ".sig.bin"  # a signature as its 64 bytes, as openssl takes it
# What no signature covers: itself, or the lists of the bag, which name everything.
UNLISTED = ("data/delivery.sig", "data/delivery.sig.bin", SUMS, f"{SUMS}{RAW}", "manifest-sha256.txt", "tagmanifest-sha256.txt")


@dataclass(frozen=True, slots=True)
class DiscSignature:
    """public_key: 32 bytes. delivery, sums: 64 bytes each, over delivery.json and over data/sha256sums."""

    public_key: bytes
    delivery: bytes
    sums: bytes

    def files(self, account: bytes) -> list[Entry]:
        """The files of the disc that hold them. account: delivery.json. Their lengths are the same whatever was signed."""
        return [
            Entry.of_bytes(STORED, encode(stored_signature(account, self.public_key, self.delivery))),
            Entry.of_bytes(DELIVERY.replace(".json", RAW), self.delivery),
            Entry.of_bytes(f"{SUMS}{RAW}", self.sums),
        ]


TO_COME = DiscSignature(bytes(32), bytes(64), bytes(64))  # as long as one


def sums_of(account: bytes) -> bytes:
    """data/sha256sums of a disc, from its delivery.json: every file but those of UNLISTED, as sha256sum writes them.

    Raises ValueError, KeyError, TypeError, AttributeError where that is not of the known form.
    """
    delivery: dict[str, Any] = json.loads(account)
    digests = {**delivery["sha256"], **{f["path"]: f["sha256"] for f in delivery["files"]}, DELIVERY: sha256(account).hexdigest()}
    if odd := [path for path in digests if re.search(r"[\\\r\n]", path)]:
        raise ValueError(f"sha256sum would write {odd[0]!r} in another way")
    return "".join(f"{digests[path]}  {path}\n" for path in sorted(digests)).encode()


def signer(keys: Path) -> bytes | None:
    """The public key that sign_disc would sign with; None where this PC has none: nothing is made only to sign a disc.

    Raises StorageFault, EvidenceFault.
    """
    if not (keys / PRIVATE).exists():
        return None
    return device_key(keys).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def sign_disc(account: bytes, keys: Path) -> DiscSignature:
    """Signs the disc that delivery.json describes. Raises StorageFault, EvidenceFault (the key), ValueError as sums_of."""
    key = device_key(keys)
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return DiscSignature(public, key.sign(account), key.sign(sums_of(account)))
