"""SHA-256 of files: the one place that computes it."""

import hashlib
from pathlib import Path
from typing import BinaryIO

from recorder.disk.durable import read_fault


def sha256_of(file: BinaryIO) -> str:
    """SHA-256 of the rest of an open binary file, in hexadecimal. Raises OSError."""
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def file_sha256(path: Path) -> str:
    """SHA-256 of a whole file, in hexadecimal. Raises OSError."""
    with open(path, "rb") as file:
        return sha256_of(file)


def stored_sha256(path: Path) -> str:
    """As file_sha256, for a file that must be there. Raises StorageFault."""
    try:
        return file_sha256(path)
    except OSError as error:
        raise read_fault(path, error) from error
