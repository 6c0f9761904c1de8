"""This PC's Ed25519 key, and signatures over the manifest and over the head of a session's journal."""

import re
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from recorder.disk.durable import Json, create_bytes, make_folder, read_fault, storage_fault, write_bytes
from recorder.disk.journal import Head
from recorder.faults import EvidenceFault

ALGORITHM = "Ed25519"
PRIVATE, PUBLIC = "device.pem", "device.pub"
FINGERPRINT_DIGITS = 32
_RESTORE = "restore-keys-folder-from-copy"


def device_key(keys_folder: Path) -> Ed25519PrivateKey:
    """The key of this PC, made on first use: ``device.pem`` (PKCS 8, mode 0600) and ``device.pub`` (PEM), both durable.

    Raises StorageFault, and EvidenceFault where the private key is damaged, or missing beside its public half.
    """
    path = make_folder(keys_folder) / PRIVATE
    try:
        if not path.exists():
            if (keys_folder / PUBLIC).exists():
                raise EvidenceFault("file-missing", _RESTORE, path=path)
            made = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            create_bytes(path, made, mode=0o600)  # one that another process made meanwhile stays
        data = path.read_bytes()
    except OSError as error:
        raise storage_fault(path, error) from error
    try:
        key = load_pem_private_key(data, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise EvidenceFault("ed25519-key-unreadable", _RESTORE, path=path) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise EvidenceFault("ed25519-key-unreadable", _RESTORE, path=path)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    if not (keys_folder / PUBLIC).exists():
        write_bytes(keys_folder / PUBLIC, public)
    return key


def public_key(keys_folder: Path) -> bytes | None:
    """The public key of this PC, as read_public_key gives it."""
    return read_public_key(keys_folder / PUBLIC)


def read_public_key(path: Path) -> bytes | None:
    """The 32 bytes of a ``device.pub``, to trust signatures by; None where there is none. Raises EvidenceFault, StorageFault."""
    try:
        key = load_pem_public_key(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise read_fault(path, error) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise EvidenceFault("ed25519-key-unreadable", _RESTORE, path=path) from error
    if not isinstance(key, Ed25519PublicKey):
        raise EvidenceFault("ed25519-key-unreadable", _RESTORE, path=path)
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def fingerprint(public_key_hex: str) -> str:
    """What people compare: the first 128 bits of the SHA-256 of the 32 key bytes, as 32 hexadecimal digits in groups of four.

    Version 0.1.0 showed 64 bits: the first half of the same digits.
    """
    digits = sha256(bytes.fromhex(public_key_hex)).hexdigest()[:FINGERPRINT_DIGITS]
    return " ".join(digits[n : n + 4] for n in range(0, FINGERPRINT_DIGITS, 4))


def pem(public_key: bytes) -> bytes:
    """A public key of 32 bytes as ``device.pub`` holds it: SubjectPublicKeyInfo in PEM (RFC 8410)."""
    return Ed25519PublicKey.from_public_bytes(public_key).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _signature(key: Ed25519PrivateKey, message: bytes) -> Json:
    return _stored(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw), key.sign(message))


def _stored(public_key: bytes, signature: bytes) -> Json:
    return {"algorithm": ALGORITHM, "public_key": public_key.hex(), "signature": signature.hex()}


def sign_manifest(manifest: bytes, key: Ed25519PrivateKey) -> Json:
    """The content of manifest.sig for the bytes of manifest.json."""
    return {**_signature(key, manifest), "manifest_sha256": sha256(manifest).hexdigest()}


def stored_signature(message: bytes, public_key: bytes, signature: bytes) -> Json:
    """The content of a file such as manifest.sig, where the 64 bytes of the signature over the message are at hand."""
    return {**_stored(public_key, signature), "manifest_sha256": sha256(message).hexdigest()}


def raw_signature(signature: Json, path: str) -> tuple[bytes, bytes]:
    """Public key (32 bytes) and signature (64 bytes) out of a file such as manifest.sig, not compared with what it signs.

    path: names the file in the EvidenceFault that is raised where it is of another form.
    """
    key, value = signature.get("public_key"), signature.get("signature")
    if (
        signature.get("algorithm") != ALGORITHM
        or not (isinstance(key, str) and re.fullmatch("[0-9a-f]{64}", key))
        or not (isinstance(value, str) and re.fullmatch("[0-9a-f]{128}", value))
    ):
        raise EvidenceFault("not-an-ed25519-signature", _COMPARE, path=path)
    return bytes.fromhex(key), bytes.fromhex(value)


def check_signature(manifest: bytes, signature: Json, *, trusted_public_key: bytes | None = None) -> str:
    """The signer's public key (hex) where manifest.sig is of exactly these bytes of manifest.json.

    trusted_public_key: the 32 bytes the signer must have; without it any key passes, and a person must compare its fingerprint.
    Raises EvidenceFault.
    """
    signer = _check(manifest, signature, "manifest.sig", trusted_public_key)
    if signature.get("manifest_sha256") != sha256(manifest).hexdigest():
        raise EvidenceFault("signature-of-other-manifest", _COMPARE, path="manifest.sig")
    return signer


_COMPARE = "compare-file-with-disc-or-copy"


def _check(message: bytes, signature: Json, path: str, trusted: bytes | None) -> str:
    key, value = raw_signature(signature, path)
    if not verified(message, key, value):
        raise EvidenceFault("signature-does-not-fit", _COMPARE, path=path)
    if trusted is not None and key != trusted:
        raise EvidenceFault(
            "signed-by-other-key",
            "confirm-room-or-treat-as-forged",
            path=path,
            signer=fingerprint(key.hex()),
            trusted=fingerprint(trusted.hex()),
        )
    return key.hex()


def verified(message: bytes, public_key: bytes, signature: bytes) -> bool:
    """Whether the signature is that key's over the message."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def head_message(session: str, head: Head) -> bytes:
    """What journal.sig signs: the session's id and the head of its journal, as text."""
    return f"interview-room-journal/1\n{session}\n{head.entries}\n{head.sha256}\n".encode()


def sign_head(session: str, head: Head, key: Ed25519PrivateKey) -> Json:
    """The content of journal.sig: a signature over the session's id and the head of its journal."""
    return {**_signature(key, head_message(session, head)), "entries": head.entries, "sha256": head.sha256}


def check_head_signature(session: str, signature: Json, *, trusted_public_key: bytes | None = None) -> Head:
    """The head that journal.sig signs. Raises EvidenceFault."""
    entries, digest = signature.get("entries"), signature.get("sha256")
    if not isinstance(entries, int) or not isinstance(digest, str):
        raise EvidenceFault("not-an-ed25519-signature", _COMPARE, path="journal.sig")
    head = Head(entries, digest)
    _check(head_message(session, head), signature, "journal.sig", trusted_public_key)
    return head
