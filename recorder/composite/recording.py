"""One session's composite on the disk: its parts, its journal, and what is left of a part that was cut off."""

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path

from recorder.clock.instants import boot_id, boottime_ns
from recorder.composite.encoder import EncoderSettings
from recorder.composite.part import SAMPLES_PER_PICTURE, Part, count_pictures, span_ns
from recorder.disk.digest import stored_sha256
from recorder.disk.durable import make_folder, settle
from recorder.disk.journal import PatientJournal
from recorder.faults import StorageFault
from recorder.session.lines import EmptyLine, EndLine, GivenUpLine, Line, PartLine, PartOpenLine, usable


class _TornPart(threading.Thread):
    """Reads a part that was cut off: whole pictures, length, digest."""

    def __init__(self, path: Path) -> None:
        super().__init__(name="torn-part", daemon=True)
        self._path = path
        self.pictures = self.bytes = 0
        self.sha256 = ""
        self.fault: StorageFault | None = None
        self.start()

    def run(self) -> None:
        if not self._path.exists():
            return
        settle(self._path)
        try:
            self.sha256, self.bytes = stored_sha256(self._path), self._path.stat().st_size
            self.pictures = count_pictures(self._path)
        except StorageFault as fault:
            self.fault = fault


class Composite:
    """One session's composite: its folder, its journal, its parts (invariant 2).

    ended: nothing is written there any more.
    """

    def __init__(
        self,
        folder: Path,
        session: str,
        start_ns: int,
        version: str,
        *,
        waiting: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """waiting: entered around every later wait for the disk; opening waits outside it. Raises StorageFault, EvidenceFault."""
        self.folder = make_folder(folder)
        self.session = session
        self.start_ns = start_ns
        self.part: Part | None = None
        self.pictures = self.late = self.parts = 0
        self.ended = self.given_up = False
        self._waiting = waiting
        self._sound_missing = 0
        self.damaged: dict[str, int] = {}  # of each camera's pictures, in all parts of this process
        self._damaged: dict[str, int] = {}  # of them, in the open part
        self._journal = PatientJournal(self.folder / "journal.jsonl")
        self._torn: list[tuple[Path, int]] = []
        self._reader: _TornPart | None = None
        try:
            # A damaged journal's parts are read anew: what its chain no longer vouches for is not believed.
            aside = [line for line in usable(self._journal.told_aside()) if isinstance(line, PartOpenLine)]
            self._replay([*aside, *usable(self._journal.entries())])
            if not self.ended:
                self._journal.announce("begin", session=session, start_ns=start_ns, boot_id=boot_id(), software=version)
        except BaseException:
            self._journal.close()
            raise

    def _replay(self, lines: Sequence[Line]) -> None:
        torn: dict[str, int] = {}
        for line in lines:
            match line:
                case PartOpenLine():
                    torn[line.file] = line.first_picture
                case PartLine():
                    torn.pop(line.file, None)
                    self._count(line.pictures)
                case EmptyLine():
                    torn.pop(line.file, None)
                case EndLine():
                    self.ended = True
                case GivenUpLine():
                    self.given_up = True
        self._torn = [(self.folder / name, first) for name, first in torn.items()]
        names = [p.name for p in self.folder.glob("part-*.mp4")] + [line.file for line in lines if isinstance(line, PartOpenLine)]
        self._next = 1 + max((int(n[5:-4]) for n in names if n[5:-4].isdigit()), default=0)
        self.fresh = not lines

    def _count(self, pictures: int) -> None:
        self.pictures += pictures
        self.parts += 1

    def note(self, kind: str, /, **fields: object) -> None:
        """One journal line. Raises StorageFault: say it again then."""
        with self._waiting():
            self._journal.announce(kind, **fields)

    def _keep(self, kind: str, /, **fields: object) -> None:
        with self._waiting():
            self._journal.keep(kind, **fields)

    def open(self, settings: EncoderSettings, first_picture: int) -> Part:
        """A new part. Raises StorageFault."""
        path = self.folder / f"part-{self._next:03d}.mp4"
        self.note("part-open", file=path.name, first_picture=first_picture)
        self._next += 1
        with self._waiting():
            self.part = Part(path, settings, first_picture, boottime_ns)
        self.fresh = False
        self._sound_missing = 0
        self._damaged = {}
        return self.part

    def sound_missing(self, samples: int) -> None:
        """Samples of the part for which the microphone delivered nothing."""
        self._sound_missing += samples

    def add_damaged(self, camera: str, pictures: int) -> None:
        """Pictures of a camera in the part that could not be decoded whole."""
        if pictures:
            for counted in (self.damaged, self._damaged):
                counted[camera] = counted.get(camera, 0) + pictures

    def close(self) -> None:
        """Ends the part and lists it. Raises StorageFault."""
        part, self.part = self.part, None
        if part is None:
            return
        try:
            with self._waiting():
                digest = part.finish()
        except StorageFault:
            self._torn.append((part.path, part.first_picture))
            raise
        self.late += part.late
        if part.pictures:
            self._list(part.path, part.first_picture, part.pictures, digest, part.sink.bytes, recovered=False)
        else:
            self._keep("empty", file=part.path.name, first_picture=part.first_picture, present=True)

    def _list(self, path: Path, first: int, pictures: int, digest: str, size: int, *, recovered: bool) -> None:
        start, end = span_ns(first, pictures, self.start_ns)
        self._count(pictures)
        self._keep(
            "part",
            file=path.name,
            bytes=size,
            sha256=digest,
            first_picture=first,
            pictures=pictures,
            start_ns=start,
            end_ns=end,
            samples=pictures * SAMPLES_PER_PICTURE,
            samples_missing=None if recovered else self._sound_missing,
            damaged=None if recovered else self._damaged,
            recovered=recovered,
        )

    def list_torn(self) -> bool:
        """Lists parts that were cut off; a thread reads them back, since that takes as long as they are long. True when done.

        To be called again and again, soon after a death rather than at the end: whoever seals waits for so long and no longer.
        Raises StorageFault.
        """
        while self._torn:
            path, first = self._torn[0]
            if self._reader is None:
                self._reader = _TornPart(path)
            if self._reader.is_alive():
                return False
            part, self._reader = self._reader, None
            if part.fault is not None:
                raise part.fault
            del self._torn[0]
            if part.pictures:
                self._list(path, first, part.pictures, part.sha256, part.bytes, recovered=True)
            else:
                self._keep("empty", file=path.name, first_picture=first, present=path.exists())
        return True

    def end(self, due: int) -> None:
        """The official end; call it again until ``ended``. Raises StorageFault."""
        self.close()
        if not self.ended and self.list_torn():
            self.note("end", pictures_due=due, pictures_written=self.pictures)
            self.ended = True

    def give_up(self, at_ns: int) -> None:
        """The composite ends at this room time, so that the originals can go on (invariant 7); call it again until ``ended``.

        Raises StorageFault.
        """
        if not self.given_up:
            self.note("given-up", at_ns=at_ns)
            self.given_up = True
        self.close()
        self.ended = self.list_torn()

    def release(self) -> None:
        """Leaves the folder, an open part closed as well as the disk allows."""
        with suppress(StorageFault):
            self.close()
        self._journal.close()

    @property
    def pictures_now(self) -> int:
        """Pictures written in all parts."""
        return self.pictures + (self.part.pictures if self.part else 0)
