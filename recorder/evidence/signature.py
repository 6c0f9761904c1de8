"""This PC's Ed25519 key, and signatures over the manifest and over the head of a session's journal."""

import os
import re
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from recorder.disk.durable import Json, fsync_folder, make_folder, read_fault, storage_fault, write_bytes
from recorder.disk.journal import Head
from recorder.faults import EvidenceFault

ALGORITHM = "Ed25519"
PRIVATE, PUBLIC = "device.pem", "device.pub"
_RESTORE = "Restore the keys folder from its copy; a new key makes this PC another device."


def device_key(keys_folder: Path) -> Ed25519PrivateKey:
    """The key of this PC, made on first use: ``device.pem`` (PKCS 8, mode 0600) and ``device.pub`` (PEM), both durable.

    Raises StorageFault, and EvidenceFault where the private key is damaged, or missing beside its public half.
    """
    path = make_folder(keys_folder) / PRIVATE
    try:
        if not path.exists():
            if (keys_folder / PUBLIC).exists():
                raise EvidenceFault("{path} is missing.", _RESTORE, path=path)
            _create(path)
        data = path.read_bytes()
    except OSError as error:
        raise storage_fault(path, error) from error
    try:
        key = load_pem_private_key(data, None)
    except (ValueError, TypeError) as error:
        raise EvidenceFault("{path} is no readable Ed25519 key.", _RESTORE, path=path) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise EvidenceFault("{path} is no readable Ed25519 key.", _RESTORE, path=path)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    if not (keys_folder / PUBLIC).exists():
        write_bytes(keys_folder / PUBLIC, public)
    return key


def _create(path: Path) -> None:
    """A new private key, durable as a whole before it has its name; one that another process made meanwhile stays."""
    data = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(fd, 0o600)
        os.write(fd, data)
        os.fsync(fd)
    finally:
        os.close(fd)
    try:
        os.link(temporary, path)
    except FileExistsError:
        pass
    finally:
        temporary.unlink()
    fsync_folder(path.parent)


def public_key(keys_folder: Path) -> bytes | None:
    """The key of this PC, see read_public_key."""
    return read_public_key(keys_folder / PUBLIC)


def read_public_key(path: Path) -> bytes | None:
    """The 32 bytes of a ``device.pub``, to trust signatures by; None where there is none. Raises EvidenceFault, StorageFault."""
    try:
        key = load_pem_public_key(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise read_fault(path, error) from error
    except ValueError as error:
        raise EvidenceFault("{path} is no readable Ed25519 key.", _RESTORE, path=path) from error
    if not isinstance(key, Ed25519PublicKey):
        raise EvidenceFault("{path} is no readable Ed25519 key.", _RESTORE, path=path)
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def fingerprint(public_key_hex: str) -> str:
    """What people compare: the first 16 hexadecimal digits of the SHA-256 of the 32 key bytes, in groups of four."""
    digits = sha256(bytes.fromhex(public_key_hex)).hexdigest()[:16]
    return " ".join(digits[n : n + 4] for n in range(0, 16, 4))


def _signature(key: Ed25519PrivateKey, message: bytes) -> Json:
    return {
        "algorithm": ALGORITHM,
        "public_key": key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex(),
        "signature": key.sign(message).hex(),
    }


def sign_manifest(manifest: bytes, key: Ed25519PrivateKey) -> Json:
    """The content of manifest.sig for the bytes of manifest.json."""
    return {**_signature(key, manifest), "manifest_sha256": sha256(manifest).hexdigest()}


def check_signature(manifest: bytes, signature: Json, *, trusted_public_key: bytes | None = None) -> str:
    """The signer's public key (hex) where manifest.sig is of exactly these bytes of manifest.json.

    trusted_public_key: the 32 bytes the signer must have; without it any key passes, and a person must compare its fingerprint.
    Raises EvidenceFault.
    """
    signer = _check(manifest, signature, "manifest.sig", trusted_public_key)
    if signature.get("manifest_sha256") != sha256(manifest).hexdigest():
        raise EvidenceFault("{path} is of another manifest.", _COMPARE, path="manifest.sig")
    return signer


_COMPARE = "It was changed or damaged; compare it with the disc or another copy."


def _check(message: bytes, signature: Json, path: str, trusted: bytes | None) -> str:
    key, value = signature.get("public_key"), signature.get("signature")
    if (
        signature.get("algorithm") != ALGORITHM
        or not (isinstance(key, str) and re.fullmatch("[0-9a-f]{64}", key))
        or not (isinstance(value, str) and re.fullmatch("[0-9a-f]{128}", value))
    ):
        raise EvidenceFault("{path} is no Ed25519 signature.", _COMPARE, path=path)
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)).verify(bytes.fromhex(value), message)
    except (InvalidSignature, ValueError) as error:
        raise EvidenceFault("{path}: the signature does not fit what it signs.", _COMPARE, path=path) from error
    if trusted is not None and bytes.fromhex(key) != trusted:
        raise EvidenceFault(
            "{path} was signed by another key: {signer}, not {trusted}.",
            "Make sure that the recording is of the room it is said to be of; else treat it as forged.",
            path=path,
            signer=fingerprint(key),
            trusted=fingerprint(trusted.hex()),
        )
    return key


def _head_message(session: str, head: Head) -> bytes:
    return f"interview-room-journal/1\n{session}\n{head.entries}\n{head.sha256}\n".encode()


def sign_head(session: str, head: Head, key: Ed25519PrivateKey) -> Json:
    """The content of journal.sig: a signature over the session's id and the head of its journal."""
    return {**_signature(key, _head_message(session, head)), "entries": head.entries, "sha256": head.sha256}


def check_head_signature(session: str, signature: Json, *, trusted_public_key: bytes | None = None) -> Head:
    """The head that journal.sig signs. Raises EvidenceFault."""
    entries, digest = signature.get("entries"), signature.get("sha256")
    if not isinstance(entries, int) or not isinstance(digest, str):
        raise EvidenceFault("{path} is no Ed25519 signature.", _COMPARE, path="journal.sig")
    head = Head(entries, digest)
    _check(_head_message(session, head), signature, "journal.sig", trusted_public_key)
    return head
