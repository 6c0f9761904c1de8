"""Failures of burning; the mends are for the technician at the drive."""

from wording import Exit, Fault


class BurnFault(Fault):
    """A disc cannot be made, or was not made well."""

    exit_code = Exit.DEVICE


class DiscSpoiled(BurnFault):
    """A medium is lost: it was written in part, or reads back differently. Another one is needed; the sources are untouched."""

    exit_code = Exit.NO


class NotFinal(Fault):
    """The session may not go on a final disc yet (W-7.3.5 c)."""

    exit_code = Exit.REFUSED


class DoesNotFit(Fault):
    """The image is larger than the medium, or the disk has no room for the files that go into it."""

    exit_code = Exit.STORAGE


class Stopped(Exception):
    """The process was asked to end; what is begun is taken up again at the next start."""
