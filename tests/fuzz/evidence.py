"""What a verifier is given: a session or a disc that anybody may have made, signed with a key of his own."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from burner.check.disc import judge, verify_disc
from burner.check.read import Contents
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
READ = Path(__file__).with_name("disc.json")
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


@cache
def read_disc() -> Disc:
    """A disc of six seconds, as far as it was read: making one takes longer than all parsers together."""
    told = json.loads(READ.read_text(encoding="utf-8"))
    kept = {name: text.encode() for name, text in told["kept"].items()}
    contents = Contents(told["digests"], told["sizes"], kept, [], told["label"], told["image_bytes"], told["image_sha256"])
    return Disc(contents, Ed25519PrivateKey.from_private_bytes(bytes(32)))


@contextmanager
def disc(_: Path) -> Iterator[Disc]:
    yield read_disc()


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
    """Every small file of a disc, the records first."""
    kept = read_disc().contents.kept
    names = sorted(kept, key=lambda name: (not name.endswith((".json", ".jsonl", ".sig", ".txt")), name))
    return [f"{name}\n".encode() + kept[name] for name in names if kept[name]]


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
