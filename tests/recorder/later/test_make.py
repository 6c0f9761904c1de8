"""What is composed later from the originals: the live composite's pictures and sound, marked, proven, and made once."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest

from recorder.clock.instants import PICTURE_NS, SECOND_NS
from recorder.composite.overlay import OverlayFields, OverlayText, overlay_text
from recorder.composite.part import SAMPLES_PER_PICTURE, SOUND_HZ
from recorder.composite.picture import HEIGHT, STRIP_HEIGHT
from recorder.composite.plates import render_strip
from recorder.disk import journal
from recorder.disk.durable import encode, read_json, write_json
from recorder.evidence.signature import device_key, sign_manifest
from recorder.faults import AlreadyRunning, EvidenceFault, StorageFault
from recorder.later.composing import NEW
from recorder.later.make import make_later
from recorder.later.record import clock_span, made_later
from recorder.media.live import data_message, format_message
from recorder.session.lines import LostLine, read_lines
from recorder.verify.session import verify_session
from tests.equipment.process import wait_for
from tests.recorder import later_session as sample
from tests.recorder.composite.test_process import Studio
from tests.recorder.later_session import CLOSEUP_PICTURES, GAP, SECONDS, ZONE, originals
from wording import Exit, Fault


@pytest.fixture(scope="session")
def sealed_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """storage.root with a sealed session whose composite lacks GAP; not to be changed."""
    root = tmp_path_factory.mktemp("later") / "数据 root"
    sample.seal(root, originals(tmp_path_factory.mktemp("samples"), sample.START_NS))
    return root


@pytest.fixture(scope="session")
def made_root(sealed_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, its gap made later; not to be changed."""
    copy = tmp_path_factory.mktemp("made") / "root"
    shutil.copytree(sealed_root, copy)
    record = make_later(session_of(copy), sample.settings(copy), sample.order(copy))
    assert record is not None
    return copy


@pytest.fixture
def root(sealed_root: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sealed_root, tmp_path / "数据"))


@pytest.fixture
def made(made_root: Path, tmp_path: Path) -> Path:
    """The folder of a session of one's own, its gap made later."""
    return session_of(Path(shutil.copytree(made_root, tmp_path / "made")))


def lost(path: Path) -> list[int]:
    """When a journal says that a camera was lost, room time."""
    return [line.at_ns for line in read_lines(journal.read(path)) if isinstance(line, LostLine) and line.at_ns is not None]


def session_of(root: Path) -> Path:
    return root / "sessions" / sample.SESSION


def tree(folder: Path) -> dict[str, str]:
    """Every file below, by digest."""
    return {str(p.relative_to(folder)): sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*") if p.is_file()}


def pictures_of(path: Path) -> list[npt.NDArray[np.uint8]]:
    """Luma of every picture."""
    with av.open(str(path)) as container:
        return [np.asarray(frame.to_ndarray(format="yuv420p")[:HEIGHT], np.uint8) for frame in container.decode(video=0)]


def sound_of(path: Path) -> npt.NDArray[np.float64]:
    with av.open(str(path)) as container:
        return np.concatenate([f.to_ndarray()[0].astype(np.float64) for f in container.decode(audio=0)])


def psnr(one: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8]) -> float:
    """In dB, below the overlay line."""
    difference = one[STRIP_HEIGHT + 8 :].astype(np.float64) - other[STRIP_HEIGHT + 8 :]
    return float(10 * np.log10(255**2 / max(1e-9, float(np.mean(difference**2)))))


def text_at(moment_ns: int, *, made_later: bool) -> OverlayText:
    moment = datetime.fromtimestamp(moment_ns // SECOND_NS, UTC).astimezone(ZONE)
    fields = OverlayFields("调查询问室一", "温综执〔2026〕1号", None, None, made_later=made_later)
    return overlay_text(moment, fields, "zh")


def says(picture: npt.NDArray[np.uint8], texts: list[OverlayText]) -> OverlayText:
    """Which of the texts the overlay line shows."""

    def likeness(text: OverlayText) -> float:
        mask, strip = render_strip(text).luma > 128, picture[:STRIP_HEIGHT]
        return float(strip[mask].mean() - strip[~mask].mean())

    return max(texts, key=likeness)


def told(folder: Path) -> list[str]:
    """What the verifier says: ✗ what does not agree, ! what should be known."""
    return [("✗ " if not f.ok else "! " if f.note else "✓ ") + f.say() for f in verify_session(folder).findings]


# -- the same pictures, the same sound --


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    made = Studio(tmp_path / "live", tmp_path, began_ns=2 * SECOND_NS)
    made.settings = replace(made.settings, encoder=sample.ENCODER)
    yield made
    made.close()


def test_pictures_and_sound_are_those_of_the_live_composite(studio: Studio, tmp_path: Path) -> None:
    """The real composer records a session live; another one, sealed with the same originals, lacks 2.4 s of it."""
    stored = originals(tmp_path, studio.start_ns)
    with studio.composing() as composer:
        for name, original in stored.items():
            studio.feeds[name].publish(format_message(original.format))
            for room_ns, packet in original.packets:
                studio.feeds[name].publish(data_message(packet, studio.epoch.boottime_ns(room_ns), original.ppm))
        wait_for(lambda: [run.next for run in list(composer._sound._line._runs)] == [6 * SOUND_HZ], "the sound")
        wait_for(lambda: (len(composer._main._packets), len(composer._inset._packets)) == (125, CLOSEUP_PICTURES), "the pictures")
        studio.want(SECONDS)
        studio.finished()
    live = studio.folder / "part-001.mp4"

    root = tmp_path / "root"
    folder = sample.seal(root, stored, studio.start_ns)
    record = make_later(folder, sample.settings(root), sample.order(root))
    assert record is not None
    path = folder / "later" / "part-001.mp4"

    expected, found = pictures_of(live), pictures_of(path)
    assert len(found) == GAP[1] - GAP[0], "exactly the pictures of the gap"
    for n in (0, 1, 12, 29, 30, 58, 59):
        likeness = [psnr(found[n], expected[GAP[0] + n + shift]) for shift in (-1, 0, 1)]
        assert likeness[1] > 35, f"picture {n} is the live one: {likeness}"
        assert likeness[1] == max(likeness), f"picture {n} is of its instant: {likeness}"
    lost_ns = lost(folder / "later" / "journal.jsonl")
    live_lost_ns = lost(studio.folder / "journal.jsonl")
    assert lost_ns == live_lost_ns and studio.start_ns + 2 * SECOND_NS < lost_ns[0], (
        "the tile of the lost close-up begins there too"
    )

    reference = sound_of(live)[GAP[0] * SAMPLES_PER_PICTURE : GAP[1] * SAMPLES_PER_PICTURE]
    heard = sound_of(path)
    middle = slice(SOUND_HZ // 2, SOUND_HZ * 3 // 2)
    shifts = range(-240, 241)
    scores = [float(np.dot(reference[middle], heard[middle.start + s : middle.stop + s])) for s in shifts]
    late = shifts[int(np.argmax(scores))]
    assert abs(late) <= SOUND_HZ // 1000, f"the sound is {late} samples from the live one"
    alike = max(scores) / (np.linalg.norm(reference[middle]) * np.linalg.norm(heard[middle.start + late : middle.stop + late]))
    assert alike > 0.95, "and is the live one"


def test_every_picture_says_that_it_was_made_later(made: Path) -> None:
    pictures = pictures_of(made / "later" / "part-001.mp4")
    first_ns = sample.START_NS + GAP[0] * PICTURE_NS
    texts = [text_at(first_ns + n * SECOND_NS, made_later=m) for n in range(-1, 4) for m in (True, False)]
    assert says(pictures[0], texts) == text_at(first_ns, made_later=True)
    assert says(pictures[-1], texts) == text_at(first_ns + 59 * PICTURE_NS, made_later=True)
    assert texts[0].mark == "事后合成" and "--.-°C" in texts[0].climate


# -- what lies there --


def test_what_is_made_is_listed_signed_and_apart(root: Path) -> None:
    folder = session_of(root)
    before = tree(folder)
    record: Any = make_later(folder, sample.settings(root), sample.order(root))
    after = tree(folder)
    assert {p: d for p, d in after.items() if not p.startswith("later/")} == before, "the sealed session is as it was"
    assert set(after) - set(before) == {f"later/{n}" for n in ("journal.jsonl", "manifest.json", "manifest.sig", "part-001.mp4")}
    assert record == read_json(folder / "later" / "manifest.json")
    assert (record["schema"], record["session"], record["by"]) == ("interview-room-later/1", sample.SESSION, "赵六")
    assert record["manifest_sha256"] == before["manifest.json"]
    (part,) = record["parts"]
    assert (part["path"], part["sha256"]) == ("later/part-001.mp4", after["later/part-001.mp4"])
    assert (part["first_picture"], part["pictures"], part["samples"]) == (30, 60, 60 * SAMPLES_PER_PICTURE)
    assert part["samples_missing"] == 0
    assert {s["path"]: s["sha256"] for s in part["sources"]} == {
        name: before[name]
        for name in (
            *(f"tracks/overview/00000{n}.mkv" for n in (0, 1, 2)),
            *(f"tracks/closeup/00000{n}.mkv" for n in (0, 1)),
            *(f"tracks/microphone/00000{n}.mkv" for n in (0, 1, 2)),
        )
    }
    assert not os.access(folder / "later" / "part-001.mp4", os.W_OK) or os.geteuid() == 0
    assert (folder / "later" / "part-001.mp4").stat().st_mode & 0o777 == 0o440
    known = made_later(folder)
    assert known is not None and clock_span(known[1][0], sample.START_NS) == "00:00:01–00:00:04"
    assert not [line for line in told(folder) if line.startswith("✗")]
    (said,) = [line for line in told(folder) if "Made later" in line]
    assert said.startswith("! ") and "by 赵六, not live" in said and "60 pictures" in said
    assert any("Gap in Composite" in line for line in told(folder)), "the gap stays what it is"


def test_a_second_run_makes_nothing(made: Path) -> None:
    before = tree(made)
    root = made.parents[1]
    assert make_later(made, sample.settings(root), sample.order(root)) is None
    assert tree(made) == before


def test_a_composite_without_a_gap_needs_nothing(tmp_path: Path) -> None:
    folder = sample.seal(tmp_path, originals(tmp_path, sample.START_NS), gap=(0, 0))
    assert make_later(folder, sample.settings(tmp_path), sample.order(tmp_path)) is None
    assert not (folder / "later").exists() and not [line for line in told(folder) if "later" in line]


def test_where_nothing_was_recorded_there_are_tiles_and_silence(tmp_path: Path) -> None:
    whole = originals(tmp_path, sample.START_NS)
    nothing = {name: replace(original, packets=()) for name, original in whole.items()}
    folder = sample.seal(tmp_path, nothing, gap=(0, 25))
    record: Any = make_later(folder, sample.settings(tmp_path), sample.order(tmp_path))
    (part,) = record["parts"]
    assert (part["pictures"], part["samples_missing"], part["sources"]) == (25, 25 * SAMPLES_PER_PICTURE, [])
    pictures = pictures_of(folder / "later" / "part-001.mp4")
    assert len(pictures) == 25 and pictures[-1][200:400, 200:800].mean() == pytest.approx(40, abs=6)
    assert not [line for line in told(folder) if line.startswith("✗")]


# -- what must not be --


def replaced(path: Path, old: bytes, new: bytes) -> None:
    data = path.read_bytes()
    assert old in data
    path.chmod(0o640)
    path.write_bytes(data.replace(old, new, 1))


def signed_anew(made: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """The record changed by whoever has the key."""
    path = made / "later" / "manifest.json"
    record: dict[str, Any] = json.loads(path.read_bytes())
    change(record)
    path.chmod(0o640)
    path.write_bytes(encode(record))
    signature = path.with_name("manifest.sig")
    signature.chmod(0o640)
    write_json(signature, sign_manifest(path.read_bytes(), device_key(made.parents[1] / "keys")))


def changed_source(record: dict[str, Any]) -> None:
    record["parts"][0]["sources"][0]["sha256"] = "0" * 64


def longer(made: Path) -> None:
    with open(made / "later" / "part-001.mp4", "ab") as file:
        file.write(b"\0")


def another_byte(made: Path) -> None:
    path = made / "later" / "part-001.mp4"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


TAMPERED: dict[str, tuple[Callable[[Path], object], str]] = {
    "part changed": (another_byte, "later/part-001.mp4 was changed"),
    "part longer": (longer, "later/part-001.mp4 has"),
    "part gone": (lambda m: (m / "later" / "part-001.mp4").unlink(), "later/part-001.mp4 is missing"),
    "part added": (lambda m: shutil.copy(m / "later" / "part-001.mp4", m / "later" / "part-002.mp4"), "part-002.mp4 was added"),
    "record changed": (
        lambda m: replaced(m / "later" / "manifest.json", "赵六".encode(), "孙七".encode()),
        "later/manifest.sig: the signature does not fit",
    ),
    "signature changed": (lambda m: replaced(m / "later" / "manifest.sig", b" ", b""), "later/manifest.sig was changed"),
    "signature gone": (lambda m: (m / "later" / "manifest.sig").unlink(), "later/manifest.sig is missing"),
    "journal cut": (
        lambda m: (m / "later" / "journal.jsonl").write_bytes(b""),
        "later/journal.jsonl is not the journal that was signed with it",
    ),
    "another seal": (lambda m: signed_anew(m, lambda r: r.update(manifest_sha256="0" * 64)), "belongs to another session"),
    "another source": (lambda m: signed_anew(m, changed_source), "which is not what was sealed"),
    "another span": (lambda m: signed_anew(m, lambda r: r["parts"][0].update(first_picture=31)), "does not fill the gaps"),
    "no form": (lambda m: signed_anew(m, lambda r: r.update(parts=[{}])), "not of the known form"),
    "another form": (lambda m: signed_anew(m, lambda r: r.update(schema="x")), "the unknown form x"),
}


@pytest.mark.parametrize("what", TAMPERED)
def test_tampering_is_found(made: Path, what: str) -> None:
    tamper, said = TAMPERED[what]
    (made / "later" / "part-001.mp4").chmod(0o640)
    (made / "later" / "journal.jsonl").chmod(0o640)
    tamper(made)
    wrong = [line for line in told(made) if line.startswith("✗")]
    assert any(said in line for line in wrong), wrong
    if "part" not in what:
        root = made.parents[1]
        with pytest.raises(EvidenceFault, match="made later does not agree"):
            make_later(made, sample.settings(root), sample.order(root))


def test_another_pc_s_key_makes_nothing_and_vouches_for_nothing(made: Path, root: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    device_key(other)
    with pytest.raises(EvidenceFault, match="another key"):
        make_later(session_of(root), sample.settings(root), sample.order(root, keys=other))
    with pytest.raises(EvidenceFault, match=r"device\.pub is missing"):
        make_later(session_of(root), sample.settings(root), sample.order(root, keys=tmp_path / "none"))
    assert not (session_of(root) / "later").exists()
    record = (made / "later" / "manifest.json").read_bytes()
    (made / "later" / "manifest.sig").chmod(0o640)
    write_json(made / "later" / "manifest.sig", sign_manifest(record, device_key(other)))
    assert next(line for line in told(made) if line.startswith("✗")).startswith("✗ later/manifest.sig was signed by another key")


def test_a_damaged_original_is_not_used(root: Path) -> None:
    folder = session_of(root)
    path = folder / "tracks" / "overview" / "000001.mkv"
    path.chmod(0o640)
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(data)
    with pytest.raises(EvidenceFault, match=r"000001\.mkv is not what its journal says"):
        make_later(folder, sample.settings(root), sample.order(root))
    assert not (folder / "later").exists() and not (folder / NEW).exists()


KILLED = """
import os, signal, sys
from pathlib import Path
from recorder.later.make import make_later
from tests.recorder import later_session as sample
root = Path(sys.argv[1])
def progress(ratio):
    if ratio > 0.5:
        os.kill(os.getpid(), signal.SIGKILL)
make_later(root / "sessions" / sample.SESSION, sample.settings(root), sample.order(root), progress=progress)
"""


def test_a_run_that_was_killed_counts_for_nothing_and_is_begun_again(root: Path) -> None:
    folder = session_of(root)
    run = subprocess.run(
        [sys.executable, "-c", KILLED, root],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        timeout=60,
        check=False,
    )
    assert run.returncode == -signal.SIGKILL
    assert (folder / NEW / "part-001.mp4").exists() and not (folder / "later").exists()
    assert not [line for line in told(folder) if line.startswith("✗") or "later" in line]
    assert make_later(folder, sample.settings(root), sample.order(root)) is not None
    assert not (folder / NEW).exists()
    assert len(pictures_of(folder / "later" / "part-001.mp4")) == 60


def test_it_gives_way_to_a_recording(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, settings = session_of(root), sample.settings(root)
    with pytest.raises(Fault, match="A session is being recorded") as refused:
        make_later(folder, settings, sample.order(root, recording=lambda: True))
    assert refused.value.exit_code == Exit.REFUSED and not (folder / NEW).exists()

    monkeypatch.setattr("recorder.later.composing.YIELD_S", 0.01)
    asked: list[bool] = [False, True, True, False]  # idle as it begins, then twice not
    waited: list[int] = []

    def recording() -> bool:
        waited.append(1)
        return asked.pop(0) if asked else False

    assert make_later(folder, settings, sample.order(root, recording=recording)) is not None
    assert not asked and len(waited) > 4


def test_one_run_a_room_and_not_without_room_on_the_disk(root: Path) -> None:
    folder, settings = session_of(root), sample.settings(root)
    with pytest.raises(StorageFault, match="MB free"):
        make_later(folder, settings, sample.order(root, reserve_bytes=1 << 60))
    order = sample.order(root)
    inner: list[Fault] = []

    def progress(ratio: float) -> None:
        if not inner:
            with pytest.raises(AlreadyRunning) as again:
                make_later(folder, settings, order)
            inner.append(again.value)

    assert make_later(folder, settings, order, progress=progress) is not None and inner


def test_a_session_that_is_not_sealed_is_refused(root: Path) -> None:
    folder = session_of(root)
    (folder / "manifest.sig").unlink()
    with pytest.raises(Fault, match="not sealed yet") as refused:
        make_later(folder, sample.settings(root), sample.order(root))
    assert refused.value.exit_code == Exit.REFUSED
