"""A disc image as a stream: ISO 9660 level 3 with Rock Ridge and Joliet, and UDF over the same file data, laid out by pycdlib.

The exact size is known beforehand and no image file is needed: pycdlib writes its volume structures out of order but file data
strictly forward, so everything before the first file's data is held back (some tens of KB), gaps are filled with zeros, and what
lies behind the last file (the second UDF anchor) waits for the end. The image is padded to 64 KiB, because some drives lose the
end of a track that is no multiple of their packet; its last sector is a UDF anchor too, since strict readers look there.
"""

import hashlib
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any, BinaryIO

import pycdlib
from pycdlib.pycdlibexception import PyCdlibException

from burner.faults import BurnFault
from recorder.disk.durable import read_fault
from recorder.faults import EvidenceFault

SECTOR = 2048
PADDING = 64 * 1024
COPY_BYTES = 1 << 20  # of one read; small blocks cost a fifth of the speed

Data = bytes  # inside Entry, bytes is a count
ByteSink = Callable[[bytes], object]


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of the image.

    path: relative, "/" between folders. source: a closed file, or the bytes themselves. sha256: hex, as kept from its making.
    """

    path: str
    source: "Path | Data"
    bytes: int
    sha256: str

    @classmethod
    def of_bytes(cls, path: str, data: "Data") -> "Entry":
        """An entry whose content is at hand."""
        return cls(path, data, len(data), hashlib.sha256(data).hexdigest())


@dataclass(frozen=True, slots=True)
class Written:
    """What went into the sink: bytes (padding included) and their SHA-256, hex."""

    bytes: int
    sha256: str


class ImagePlan:
    """The layout of an image. The files are opened one at a time, when their data is due."""

    def __init__(self, entries: Sequence[Entry], label: str) -> None:
        """label: the volume identifier, A-Z, 0-9 and _, at most 16 (Joliet's limit).

        Raises BurnFault where a name cannot be written.
        """
        if not re.fullmatch(r"[A-Z0-9_]{1,16}", label):
            raise ValueError(f"volume identifier {label!r}")
        self.label = label
        self.entries = tuple(entries)
        self._iso: Any = pycdlib.PyCdlib()
        self._iso.new(interchange_level=3, joliet=3, rock_ridge="1.12", udf="2.60", vol_ident=label)
        self._sources = [_Source(entry) for entry in entries]
        try:
            self._lay_out()
        except PyCdlibException as error:
            raise BurnFault(
                "disc-image-layout-failed",
                "shorten-transcript-name-and-reattach",
                why=error,
            ) from error
        self._content_bytes = self._iso.pvd.space_size * SECTOR
        self.bytes = -(-self._content_bytes // PADDING) * PADDING

    def _lay_out(self) -> None:
        names = _IsoNames()
        for source in self._sources:
            path = source.entry.path
            for folder in _folders(path):
                if folder not in names.of:
                    self._iso.add_directory(names.add(folder), **_other_names(folder))
            self._iso.add_fp(source, source.entry.bytes, names.add(path) + ".;1", **_other_names(path))
        self._iso.force_consistency()
        # Places are given folder by folder; written in that order, file data goes strictly forward.
        self._iso.inodes.sort(key=lambda inode: inode.extent_location() if inode.get_data_length() else 0)

    def write_to(self, sink: ByteSink, *, check: bool = True) -> Written:
        """Sends the whole image, in order, in blocks of at most 1 MiB. The same plan sends the same bytes each time.

        check: compare each file with its SHA-256 on the way, on a thread of its own. Raises EvidenceFault where a file is not
        what it was when it was planned, StorageFault where it cannot be read, and whatever the sink raises: what was sent is then
        worthless.
        """
        whole = hashlib.sha256()
        data_at = min(
            (i.extent_location() * SECTOR for i in self._iso.inodes if i.get_data_length()), default=self._content_bytes
        )
        with _Hashing() as image_hashing, _Hashing() as file_hashing:

            def emit(data: bytes) -> None:
                image_hashing.add(whole, data)
                sink(data)

            for source in self._sources:
                source.start(file_hashing if check else None)
            try:
                stream = _Forward(emit, data_at, self._content_bytes)
                self._iso.write_fp(stream, blocksize=COPY_BYTES)
                stream.finish(self.bytes, anchor_at(self._iso.udf_anchors[-1].record(), self.bytes // SECTOR - 1))
            finally:
                for source in self._sources:
                    source.close()
        for source in self._sources:
            source.compare()
        return Written(self.bytes, whole.hexdigest())


def anchor_at(anchor: bytes, sector: int) -> bytes:
    """Pure: a UDF anchor for another sector (ECMA-167, 3/7.2: bytes 12–15 of a tag are its place, byte 4 its checksum)."""
    tag = bytearray(anchor[:16])
    tag[12:16] = sector.to_bytes(4, "little")
    tag[4] = 0
    tag[4] = sum(tag) % 256
    return (bytes(tag) + anchor[16:]).ljust(SECTOR, b"\x00")


def _folders(path: str) -> list[str]:
    parts = path.split("/")[:-1]
    return ["/".join(parts[: n + 1]) for n in range(len(parts))]


def _other_names(path: str) -> dict[str, str]:
    return {"rr_name": path.rsplit("/", 1)[-1], "joliet_path": f"/{path}", "udf_path": f"/{path}"}


class _IsoNames:
    """Names for the bare ISO 9660 tree, which few read: A-Z 0-9 _, at most 20 characters, unique in their folder."""

    def __init__(self) -> None:
        self.of: dict[str, str] = {}
        self._taken: set[str] = set()

    def add(self, path: str) -> str:
        """The ISO path of a new folder or file whose parents were added before."""
        parent, _, name = path.rpartition("/")
        plain = re.sub(r"[^A-Z0-9_]", "_", name.upper())[:20]
        number = 0
        while (iso := f"{self.of.get(parent, '')}/{plain}{f'_{number}' if number else ''}") in self._taken:
            number += 1
        self._taken.add(iso)
        self.of[path] = iso
        return iso


class _Hashing:
    """A thread that hashes in the order given; hashlib lets other threads run meanwhile."""

    def __init__(self) -> None:
        self._queue: Queue[tuple[Any, bytes] | None] = Queue(4)
        self._thread = Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            item[0].update(item[1])

    def add(self, digest: Any, data: bytes) -> None:
        self._queue.put((digest, data))

    def __enter__(self) -> "_Hashing":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._queue.put(None)
        self._thread.join()


class _Source:
    """What pycdlib reads a file through: opens late, counts, and notices what pycdlib would fill or cut in silence."""

    mode = "rb"  # pycdlib looks at it

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self._file: BinaryIO | None = None
        self._at = 0
        self._hashing: _Hashing | None = None
        self._digest: Any = None

    def start(self, hashing: _Hashing | None) -> None:
        """Before each writing."""
        self._hashing, self._digest, self._at = hashing, hashlib.sha256(), 0

    def seek(self, offset: int) -> int:
        """pycdlib seeks to 0 once, before the first byte."""
        self.close()
        self._at = offset
        if isinstance(self.entry.source, Path):
            try:
                self._file = open(self.entry.source, "rb", buffering=0)  # noqa: SIM115  # closed at its last byte, or by close
                size = os.fstat(self._file.fileno()).st_size
            except OSError as error:
                raise read_fault(self.entry.source, error) from error
            if size != self.entry.bytes:
                raise self._changed()
        return offset

    def read(self, size: int) -> bytes:
        """Exactly size bytes."""
        if isinstance(self.entry.source, bytes):
            data = self.entry.source[self._at : self._at + size]
        else:
            assert self._file is not None
            data = self._file.read(size) or b""
            while 0 < len(data) < size and (more := self._file.read(size - len(data))):
                data += more
        if len(data) != size:
            raise self._changed()
        self._at += size
        if self._hashing is not None:
            self._hashing.add(self._digest, data)
        if self._at == self.entry.bytes:
            self.close()
        return data

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def compare(self) -> None:
        """After the writing. Raises EvidenceFault."""
        if self._hashing is not None and self._digest.hexdigest() != self.entry.sha256:
            raise self._changed()

    def _changed(self) -> EvidenceFault:
        return EvidenceFault(
            "file-changed-during-disc-making",
            "discard-disc-verify-session-remake",
            path=self.entry.source if isinstance(self.entry.source, Path) else self.entry.path,
        )


def as_created(data: bytes) -> bytes:
    """A volume descriptor modified when it was created, which pycdlib dates anew at each writing; anything else as it is.

    Source: ECMA-119 8.4, the primary and supplementary volume descriptors (types 1 and 2), byte positions 814 to 847.
    """
    if len(data) != SECTOR or data[1:6] != b"CD001" or data[0] not in (1, 2):
        return data
    return data[:830] + data[813:830] + data[847:]


class _Forward:
    """The seekable file that pycdlib wants, turned into a forward stream."""

    def __init__(self, emit: ByteSink, data_at: int, total: int) -> None:
        """data_at: where the first file's data begins; total: the size without padding."""
        self._emit, self._data_at, self._total = emit, data_at, total
        self._at = 0  # where pycdlib is
        self._sent = 0  # how much has gone out
        self._held: list[tuple[int, bytes]] = []

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._total}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def write(self, data: bytes) -> int:
        data = as_created(data)
        if self._sent == 0 and self._at < self._data_at:
            self._held.append((self._at, data))
        elif self._at < self._sent:
            raise AssertionError("the image's layout is not forward")
        elif self._is_tail():
            self._held.append((self._at, data))
        else:
            if self._sent < self._data_at:
                self._release(self._data_at)
            self._zeros(self._at)
            self._send(data)
        self._at += len(data)
        return len(data)

    def _is_tail(self) -> bool:
        return self._sent == 0 and self._at >= self._total - SECTOR and self._data_at < self._at

    def _release(self, before: int) -> None:
        """Sends what is held below an offset; where two pieces overlap, the later one wins, as in a file."""
        due = [piece for piece in self._held if piece[0] < before]
        self._held = [piece for piece in self._held if piece[0] >= before]
        if not due:
            return
        start = min(at for at, _ in due)
        area = bytearray(max(at + len(data) for at, data in due) - start)
        for at, data in due:
            area[at - start : at - start + len(data)] = data
        self._zeros(start)
        self._send(bytes(area))

    def _zeros(self, until: int) -> None:
        while self._sent < until:
            self._send(bytes(min(COPY_BYTES, until - self._sent)))

    def _send(self, data: bytes) -> None:
        self._sent += len(data)
        self._emit(data)

    def finish(self, padded: int, last_sector: bytes) -> None:
        """The tail, and the padding with its last sector, where there is any."""
        self._release(self._total)
        if self._sent < padded:
            self._zeros(padded - SECTOR)
            self._send(last_sector)
