"""Failures of the disk and of the evidence on it."""

from wording import Exit, Fault


class StorageFault(Fault):
    """A folder cannot be written, a disk is full or fails."""

    exit_code = Exit.STORAGE


class EvidenceFault(Fault):
    """What lies on the disk is not what a journal, the manifest or the signature says."""

    exit_code = Exit.EVIDENCE


class AlreadyRunning(Fault):
    """Another process holds the lock (invariant 2: one folder, one writer)."""

    exit_code = Exit.ALREADY_RUNNING


class NotFound(Fault):
    """No such session, track or file."""

    exit_code = Exit.NOT_FOUND


class BadInput(Fault):
    """A file or value that was given cannot be used."""

    exit_code = Exit.INPUT
