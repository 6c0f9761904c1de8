"""The files for the stranger: are they those of this disc? What lies in them is made from the signed records again. Pure.

A disc of the form before has none of them.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from burner.check.read import Contents
from burner.disc import bag, kit, signing
from recorder.disk.durable import Json
from recorder.evidence.findings import Finding, bad, good
from recorder.evidence.signature import PUBLIC, pem, verified


def check_kit(contents: Contents, signers: Mapping[str, str]) -> Iterable[Finding]:
    """Findings. signers: the public keys (hex) of those records whose signature holds: manifest, delivery."""
    try:
        delivery = _object(contents.kept.get(signing.DELIVERY, b"{}"))
        if delivery.get("schema") != bag.DELIVERY:
            return
        wrong = [*_list(contents, signers), *_signatures(contents), *_keys(contents, signers)]
        yield from wrong or [good("disc-stranger-files-agree")]
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        yield bad("disc-records-not-understood", why=repr(error))


def _list(contents: Contents, signers: Mapping[str, str]) -> Iterable[Finding]:
    account = contents.kept[signing.DELIVERY]
    if signing.SUMS not in contents.digests:
        yield bad("file-missing", path=signing.SUMS)
    elif contents.kept.get(signing.SUMS) != signing.sums_of(account):
        yield bad("disc-list-differs-from-record")
    signer = signers.get("delivery")
    if signer is None:  # nobody signed, or the signature is another, which is told with it
        return
    key = bytes.fromhex(signer)
    for path in (signing.SUMS, signing.DELIVERY):
        raw = path.replace(".json", "") + signing.RAW
        if raw not in contents.digests:
            yield bad("file-missing", path=raw)
        elif not verified(contents.kept.get(path, b""), key, contents.kept.get(raw, b"")):
            yield bad("disc-raw-signature-differs", path=raw)


def _signatures(contents: Contents) -> Iterable[Finding]:
    """The plain signatures of the session's own records: the same as in its files."""
    session = kit.session_of(_object(contents.kept["data/manifest.json"])) if "data/manifest.json" in contents.kept else ""
    for path, stored in contents.kept.items():
        signed = kit.signed_by(path, stored, session)
        if signed is None:
            continue
        if contents.kept.get(signed.raw) != signed.signature:
            yield bad("disc-raw-signature-differs", path=signed.raw)
        if signed.message and contents.kept.get(signed.path) != signed.message:
            yield bad("disc-record-missing-or-altered", path=signed.path)


def _keys(contents: Contents, signers: Mapping[str, str]) -> Iterable[Finding]:
    """device.pub is the key that signed the disc; where nobody did, the one that sealed the recording."""
    signer = signers.get("delivery") or signers.get("manifest")
    if signer and contents.kept.get(PUBLIC) != pem(bytes.fromhex(signer)):
        yield bad("disc-key-file-differs", path=PUBLIC)


def _object(data: bytes) -> Json:
    value: Any = json.loads(data)
    if not isinstance(value, dict):
        raise ValueError("no JSON object")
    return value
