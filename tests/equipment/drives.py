"""Stand-in burners: plain files that libburn takes as overwritable media (``stdio:`` drives), by its real code path."""

from pathlib import Path


class StandInDrive:
    """A drive with a blank medium in it: the file that is there and empty."""

    FAULTS = ("back", "gone", "blank")

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def device(self) -> str:
        """The drive's name for the product and for xorriso."""
        return f"stdio:{self.path}"

    def start(self) -> None:
        """Puts a blank in, unless a medium is there."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.touch()

    def back(self) -> None:
        """The drive is there again, its medium as it was, or blank."""
        self.start()

    def gone(self) -> None:
        """The drive and its medium are away."""
        self.path.unlink(missing_ok=True)

    def blank(self) -> None:
        """A new blank medium."""
        self.start()
        self.path.write_bytes(b"")
