"""What a verifier is given: a session or a disc that anybody may have made, signed with a key of his own."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from burner.check.disc import judge, verify_disc
from burner.check.read import Contents, read_target
from burner.disc.author import author
from burner.disc.image import Entry, ImagePlan
from recorder.disk.durable import encode, write_json
from recorder.disk.journal import ZERO, Head
from recorder.evidence.findings import VerifyReport, lines
from recorder.evidence.signature import device_key, sign_head, sign_manifest
from recorder.verify.session import verify_session
from tests.fuzz.files import chained
from tests.fuzz.target import LANGUAGES, Target, folder_alone, plain
from wording import Exit

[SEALED] = (Path(__file__).parents[1] / "recorder" / "verify" / "version_0_1_0" / "sealed").iterdir()
VERDICTS = {Exit.OK, Exit.NO, Exit.UNVOUCHED}


@dataclass(frozen=True, slots=True)
class Made:
    """A sealed session that a forger may change and sign again."""

    folder: Path
    key: Ed25519PrivateKey

    def sign(self) -> None:
        """The manifest and the session's journal as they are now."""
        manifest, line = (self.folder / "manifest.json").read_bytes(), (self.folder / "journal.jsonl").read_bytes()
        write_json(self.folder / "manifest.sig", sign_manifest(manifest, self.key))
        whole = line.split(b"\n")[:-1]
        head = Head(len(whole), sha256(whole[-1]).hexdigest() if whole else ZERO)
        write_json(self.folder / "journal.sig", sign_head(SEALED.name, head, self.key))

    def back(self) -> None:
        """As it was sealed."""
        for name in ("manifest.json", "journal.jsonl", "session.json", "tracks/closeup/journal.jsonl"):
            shutil.copy(SEALED / name, self.folder / name)


@contextmanager
def sealed_session(folder: Path) -> Iterator[Made]:
    made = Made(Path(shutil.copytree(SEALED, folder / "sessions" / SEALED.name)), device_key(folder / "keys"))
    made.sign()
    yield made


def told(report: VerifyReport) -> None:
    """A verdict, in words that hide nothing."""
    assert report.exit_code in VERDICTS
    for language in LANGUAGES:
        for line in lines(report, language):
            plain(line)
    json.dumps(report.as_json(), ensure_ascii=False).encode(errors="backslashreplace")


def _verified(made: Made, name: str, data: bytes) -> None:
    made.back()
    (made.folder / name).write_bytes(data)
    made.sign()
    told(verify_session(made.folder))


def manifest(data: bytes, made: Made) -> None:
    _verified(made, "manifest.json", data)


def own_journal(data: bytes, made: Made) -> None:
    _verified(made, "journal.jsonl", chained(data))


def track_journal(data: bytes, made: Made) -> None:
    _verified(made, "tracks/closeup/journal.jsonl", chained(data))


def record(data: bytes, made: Made) -> None:
    _verified(made, "session.json", data)
    with suppress(ValueError, RecursionError, TypeError):
        (made.folder / "session.json").write_bytes(encode(json.loads(data)))
        told(verify_session(made.folder))


def signature(data: bytes, made: Made) -> None:
    made.back()
    made.sign()
    for name in ("manifest.sig", "journal.sig"):
        (made.folder / name).write_bytes(data)
    told(verify_session(made.folder))


def seed(name: str) -> list[bytes]:
    return [(SEALED / name).read_bytes()]


# discs


@dataclass(frozen=True, slots=True)
class Disc:
    """A disc of the session as it was read."""

    contents: Contents
    key: Ed25519PrivateKey


@contextmanager
def disc(folder: Path) -> Iterator[Disc]:
    with sealed_session(folder) as made:
        image = folder / "disc.iso"
        author(made.folder, image, language="en", draft=True)
        yield Disc(read_target(str(image)), made.key)


SIGNED = {"data/manifest.json": "data/manifest.sig", "data/delivery.json": "data/delivery.sig"}


def disc_file(data: bytes, made: Disc) -> None:
    """The name of a file on a line, then its content: signed where it is a signed one."""
    line, _, content = data.partition(b"\n")
    name = line.decode(errors="replace")
    content = chained(content) if name.endswith(".jsonl") else content
    kept, digests = dict(made.contents.kept), dict(made.contents.digests)
    changed = {name: content}
    if name in SIGNED:
        changed[SIGNED[name]] = encode(sign_manifest(content, made.key))
    for path, new in changed.items():
        kept[path], digests[path] = new, sha256(new).hexdigest()
    told(judge(replace(made.contents, kept=kept, digests=digests), "disc"))


def disc_seeds() -> list[bytes]:
    found = [
        f"data/{name}\n".encode() + (SEALED / name).read_bytes() for name in ("manifest.json", "session.json", "journal.sig")
    ]
    found += [b"data/journals/session.jsonl\n" + (SEALED / "journal.jsonl").read_bytes()]
    found += [b"data/journals/closeup.jsonl\n" + (SEALED / "tracks" / "closeup" / "journal.jsonl").read_bytes()]
    stream = {"kind": "video", "packets": 50, "sha256": "ab" * 32, "times_sha256": "cd" * 32}
    source = {"path": "tracks/closeup/000000.mkv", "sha256": "ab" * 32}
    file: dict[str, Any] = {"path": "data/originals/closeup-01.mp4", "name": "x", "track": "closeup", "codec": "h264", "bytes": 9}
    file |= {"sha256": "ab" * 32, "first_ns": 1, "end_ns": 2, "from": "x", "to": "y", "sources": [source], "streams": [stream]}
    delivery = {"schema": "interview-room-delivery/2", "session": SEALED.name, "label": "EV20261121_001", "draft": False}
    delivery |= {"files": [file], "sha256": {"data/index.html": "ab" * 32}, "info": {"Status": "FINAL"}}
    found += [b"data/delivery.json\n" + json.dumps(delivery).encode()]
    found += [b"bag-info.txt\nBag-Software-Agent: x\nPayload-Oxum: 1.1\n", b"manifest-sha256.txt\n" + b"ab" * 32 + b"  data/x\n"]
    return found


def image(data: bytes, folder: Path) -> None:
    """An image is read or is damaged; a person is told which. data: places and bytes to change, 5 bytes each."""
    path, good = folder / "x.iso", folder / "good.iso"
    if not good.exists():
        with open(good, "wb") as out:
            ImagePlan(entries(), "EV20261121_001").write_to(out.write)
    content = bytearray(good.read_bytes())
    for at in range(0, len(data) - 4, 5):
        content[int.from_bytes(data[at : at + 4]) % len(content)] = data[at + 4]
    if data[:1] == b"<":
        del content[int.from_bytes(data[1:5]) % len(content) :]
    path.write_bytes(content)
    told_of = verify_disc(str(path), language="zh")
    assert told_of.exit_code in VERDICTS
    for line in told_of.lines:
        plain(line)


def entries() -> list[Entry]:
    names = ("bagit.txt", "data/index.html", "data/manifest.json", "data/transcript/询问笔录 王某.txt", "data/originals/a-01.mp4")
    return [Entry.of_bytes(name, name.encode() * 9) for name in names]


def places() -> list[bytes]:
    """Changes in the sectors that hold descriptors and trees, which lie at the beginning."""
    return [
        b"".join((sector * 2048 + at).to_bytes(4) + b"\xff" for at in (0, 9, 80, 158)) for sector in (16, 17, 18, 256, 257, 270)
    ]


TARGETS = (
    Target("manifest", manifest, lambda: seed("manifest.json"), cases=40, around=sealed_session),
    Target("session-journal", own_journal, lambda: seed("journal.jsonl"), cases=20, around=sealed_session),
    Target("track-journal", track_journal, lambda: seed("tracks/closeup/journal.jsonl"), cases=20, around=sealed_session),
    Target("sealed-record", record, lambda: seed("session.json"), cases=20, around=sealed_session),
    Target("signature", signature, lambda: [*seed("manifest.sig"), *seed("journal.sig")], cases=20, around=sealed_session),
    Target("disc-file", disc_file, disc_seeds, cases=60, around=disc),
    Target("disc-image", image, places, cases=15, around=folder_alone),
)
