"""Whatever was changed on a disc is found, from the disc alone."""

import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pycdlib
import pytest

from burner.check.disc import DiscReport, verify_disc
from burner.disc.author import AuthorResult, author
from burner.disc.kit import HOW_TO, JOURNAL_HEAD, VERIFY
from burner.disc.signing import RAW, SUMS
from drivers.faults import DeviceFault
from recorder.composite.part import count_pictures
from recorder.disk.durable import encode, read_json
from recorder.evidence.signature import PUBLIC, device_key, fingerprint, public_key, sign_manifest
from recorder.faults import BadInput, NotFound
from tests.burner.forgery import change_text, listed_anew, recount, remake_lists, replace, sign_anew, swap_picture
from tests.burner.forgery import unsign as unsign_disc
from tests.burner.sessions import TRANSCRIPT, build, folder_of
from tests.recorder.sample_session import rechained


@pytest.fixture
def image(authored: tuple[Path, AuthorResult]) -> Path:
    return authored[1].path


@pytest.fixture
def folder(image: Path, tmp_path: Path) -> Path:
    """The disc's files, as a mounted disc shows them."""
    subprocess.run(["7z", "x", "-y", f"-o{tmp_path / 'mounted'}", str(image)], check=True, capture_output=True)
    return tmp_path / "mounted"


def found(report: DiscReport) -> str:
    return "\n".join(line for line in report.lines if line.startswith("✗"))


def extent(image: Path, path: str) -> tuple[int, int]:
    iso = pycdlib.PyCdlib()
    iso.open(str(image))
    ((start, length),) = iso.get_file_byte_extents(udf_path=f"/{path}")
    iso.close()
    return start, length


def test_a_good_disc_is_good_in_all_its_forms(image: Path, folder: Path, sealed_root: Path) -> None:
    key = public_key(sealed_root / "keys")
    assert key is not None
    for target in (str(image), f"stdio:{image}", str(folder)):
        shares: list[float] = []
        report = verify_disc(target, language="zh", trusted_public_key=key, progress=shares.append)
        assert report.ok, report.lines
        assert any("2.0" in line for line in report.lines if line.startswith("!"))  # the gap is told
    assert verify_disc(str(image)).sha256 == hashlib.sha256(image.read_bytes()).hexdigest()
    assert json.dumps(report.as_dict(), ensure_ascii=False)


def test_a_disc_of_a_session_whose_end_became_known_late(tmp_path: Path) -> None:
    session = build(tmp_path / "root", folder_of(tmp_path, "scratch"), end_s=4)
    image = author(session, tmp_path / "x.iso", language="en").path
    report = verify_disc(str(image), language="en", trusted_public_key=public_key(tmp_path / "root" / "keys"))
    assert report.ok, report.lines
    assert any(line.startswith("!") and "go on for 2.0 s after the official end" in line for line in report.lines)
    subprocess.run(["7z", "x", "-y", f"-o{tmp_path / 'mounted'}", str(image)], check=True, capture_output=True)
    assert count_pictures(tmp_path / "mounted" / "data" / "composite" / "composite-01.mp4") == 4 * 25


@pytest.mark.parametrize(
    "path",
    [
        "data/composite/composite-01.mp4",
        "data/originals/closeup-02.mp4",
        "data/manifest.json",
        f"data/transcript/{TRANSCRIPT}",
        "bagit.txt",
    ],
)
@pytest.mark.parametrize("place", [0, -1])
def test_one_changed_bit_is_found_and_its_file_named(image: Path, tmp_path: Path, path: str, place: int) -> None:
    start, length = extent(image, path)
    copy = tmp_path / "d.iso"
    shutil.copy(image, copy)
    with open(copy, "r+b") as file:
        file.seek(start + place % length)
        byte = file.read(1)[0]
        file.seek(-1, 1)
        file.write(bytes([byte ^ 4]))
    report = verify_disc(str(copy))
    assert not report.ok
    assert path in found(report) or "bagit.txt" in found(report)
    assert report.sha256 != verify_disc(str(image)).sha256


@pytest.mark.parametrize("cut", [1, 65_536, 300_000, -40_000])
def test_a_short_image_is_found(image: Path, tmp_path: Path, cut: int) -> None:
    """Down to one that ends within the volume's own structures."""
    data = image.read_bytes()
    (tmp_path / "d.iso").write_bytes(data[:-cut])
    report = verify_disc(str(tmp_path / "d.iso"))
    assert not report.ok
    assert report.sha256 is None
    assert found(report)


@pytest.mark.parametrize("sector", [16, 17, 18, 32, 256, 257, 258, 270, 280, 290])
def test_damaged_volume_structures_are_a_finding_never_a_crash(image: Path, tmp_path: Path, sector: int) -> None:
    data = bytearray(image.read_bytes())
    data[sector * 2048 : (sector + 1) * 2048] = bytes(range(256)) * 8
    (tmp_path / "d.iso").write_bytes(data)
    report = verify_disc(str(tmp_path / "d.iso"))
    assert report.sha256 != verify_disc(str(image)).sha256


def drop_track(folder: Path) -> None:
    (folder / "data" / "originals" / "closeup-02.mp4").unlink()


def change_transcript(folder: Path) -> None:
    change_text(folder / "data" / "transcript" / TRANSCRIPT, "询问", "谈话")


def change_case(folder: Path) -> None:
    change_text(folder / "data" / "manifest.json", "88号", "89号")


def hide_gap(folder: Path) -> None:
    change_text(folder / "data" / "journals" / "closeup.jsonl", "camera-ended-connection", "camera-unreachable")


def cut_journal(folder: Path) -> None:
    path = folder / "data" / "journals" / "session.jsonl"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().rstrip(b"\n").rpartition(b"\n")[0] + b"\n")


def exchange_mp4(folder: Path) -> None:
    """Another MP4 with its digest where the disc says what was made, and the signatures that would tell taken away."""
    swap_picture(folder)
    listed_anew(folder)
    unsign_disc(folder)


def unsign(folder: Path) -> None:
    (folder / "data" / "manifest.sig").unlink()


@pytest.mark.parametrize(
    ("forge", "why"),
    [
        (swap_picture, "data/originals/overview-01.mp4 is not the file"),
        (drop_track, "data/originals/closeup-02.mp4 is not the file"),
        (change_transcript, "transcript on the disc is not the one"),
        (change_case, "signature of data/manifest.json is not valid"),
        (hide_gap, "closeup.jsonl: line"),
        (cut_journal, "session.jsonl is not the journal that was signed"),
        (unsign, "data/manifest.json carries no signature"),
    ],
)
def test_a_forged_disc_with_lists_made_anew_is_found(folder: Path, forge: Callable[[Path], None], why: str) -> None:
    forge(folder)
    remake_lists(folder)
    report = verify_disc(str(folder))
    assert "disc's list" not in found(report)  # the lists alone would not have shown it
    assert not report.ok
    assert why in found(report)


def exchange_transcript(folder: Path) -> None:
    """Another transcript, its lines in the journal with a new chain, and the signature that would tell taken away."""
    data = folder / "data"
    change_text(data / "transcript" / TRANSCRIPT, "问：……", "问：好？")
    sha256 = hashlib.sha256((data / "transcript" / TRANSCRIPT).read_bytes()).hexdigest()

    def forge(entries: list[dict[str, Any]]) -> None:
        entries[-1]["sha256"] = sha256

    replace(data / "journals" / "session.jsonl", rechained((data / "journals" / "session.jsonl").read_bytes(), forge))
    record = dict(read_json(data / "session.json"))
    replace(data / "session.json", encode({**record, "transcript": {**record["transcript"], "sha256": sha256}}))  # type: ignore[dict-item]
    (data / "journal.sig").unlink()


NOT_PUT = "{path} is missing, or is not what was put on this disc."


@pytest.mark.parametrize(
    ("forge", "path"),
    [
        (lambda f: change_text(f / "data" / "session.json", "王某", "李某"), "data/session.json"),
        (lambda f: change_text(f / "data" / "session.json", "09:30:05", "09:29:05"), "data/session.json"),
        (lambda f: change_text(f / "data" / "session.json", '"match"', '"excepted"'), "data/session.json"),
        (lambda f: change_text(f / "data" / "epochs" / "test.json", "ntp", "set"), "data/epochs/test.json"),
        (lambda f: change_text(f / "data" / "index.html", "王某", "李某"), "data/index.html"),
        (lambda f: change_text(f / "index.html", "data/index.html", "data/extra.html"), "index.html"),
        (lambda f: change_text(f / "bag-info.txt", "T09:30:05", "T09:29:05"), "bag-info.txt"),
        (lambda f: (f / "data" / "epochs" / "test.json").unlink(), "data/epochs/test.json"),
        (lambda f: (f / "data" / "index.html").unlink(), "data/index.html"),
        (exchange_transcript, "data/journals/session.jsonl"),
        (exchange_transcript, "data/journal.sig"),
    ],
)
def test_every_record_is_what_was_put_on_the_disc(
    folder: Path, sealed_root: Path, forge: Callable[[Path], None], path: str
) -> None:
    key = public_key(sealed_root / "keys")
    assert verify_disc(str(folder), trusted_public_key=key).ok
    forge(folder)
    remake_lists(folder)
    text = found(verify_disc(str(folder), trusted_public_key=key))
    assert "disc's list" not in text
    assert NOT_PUT.format(path=path) in text


def test_a_file_that_was_added_with_its_line_in_the_list(folder: Path, sealed_root: Path) -> None:
    (folder / "data" / "originals" / "overview-02.mp4").write_bytes(b"another view")
    (folder / "data" / "transcript.txt").write_text("?")
    remake_lists(folder)
    assert found(verify_disc(str(folder), trusted_public_key=public_key(sealed_root / "keys"))).splitlines() == [
        "✗ data/originals/overview-02.mp4 was added after this disc was made.",
        "✗ data/transcript.txt was added after this disc was made.",
    ]
    for name in ("originals/overview-02.mp4", "transcript.txt"):
        (folder / "data" / name).unlink()
    for name in ("read me.txt", "autorun.inf", "recording/composite.mp4"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("?")
    remake_lists(folder)
    assert found(verify_disc(str(folder))).splitlines() == [
        "✗ autorun.inf is no part of the record.",
        "✗ read me.txt is no part of the record.",
        "✗ recording/composite.mp4 is no part of the record.",
    ]


def make_older(folder: Path, root: Path, change: Callable[[dict[str, Any]], object] = lambda _: None) -> None:
    """A disc as it was made before: delivery.json of the form 1, which says nothing of the pages and of bag-info.txt.

    Nothing lay on it for a stranger.
    """
    path = folder / "data" / "delivery.json"
    delivery: dict[str, Any] = {**read_json(path), "schema": "interview-room-delivery/1"}
    del delivery["info"]
    for name in ("index.html", "data/index.html", "bagit.txt", "bag-info.txt"):
        del delivery["sha256"][name]
    for name in [*delivery["sha256"], SUMS, f"{SUMS}{RAW}", "data/delivery.sig.bin"]:
        if name in (*HOW_TO.values(), VERIFY, PUBLIC, JOURNAL_HEAD, SUMS) or name.endswith(RAW):
            delivery["sha256"].pop(name, None)
            (folder / name).unlink()
    change(delivery)
    sign_again(folder, root, delivery)


def sign_again(folder: Path, root: Path, delivery: dict[str, Any]) -> None:
    """delivery.json anew, by the room's own key."""
    data = encode(delivery)
    replace(folder / "data" / "delivery.json", data)
    replace(folder / "data" / "delivery.sig", encode(sign_manifest(data, device_key(root / "keys"))))
    recount(folder)
    remake_lists(folder)


def test_an_older_disc_is_checked_as_far_as_it_goes(folder: Path, sealed_root: Path) -> None:
    key = public_key(sealed_root / "keys")
    make_older(folder, sealed_root)
    report = verify_disc(str(folder), trusted_public_key=key)
    assert report.ok, report.lines
    assert "! This disc is of an older form: its page is in nobody's signature." in report.lines
    change_text(folder / "data" / "epochs" / "test.json", "ntp", "set")
    remake_lists(folder)
    assert NOT_PUT.format(path="data/epochs/test.json") in found(verify_disc(str(folder), trusted_public_key=key))


def test_an_older_disc_that_lists_no_digests(folder: Path, sealed_root: Path) -> None:
    make_older(folder, sealed_root, lambda delivery: delivery.pop("sha256"))
    report = verify_disc(str(folder), trusted_public_key=public_key(sealed_root / "keys"))
    assert report.ok, report.lines
    assert "! This disc is of an older form: its records and its page are in nobody's signature." in report.lines


def test_the_journal_needs_its_signature_even_where_no_list_names_it(folder: Path, sealed_root: Path) -> None:
    """A session whose journal.sig was deleted before the disc was made."""
    (folder / "data" / "journal.sig").unlink()
    make_older(folder, sealed_root, lambda delivery: delivery["sha256"].pop("data/journal.sig"))
    text = found(verify_disc(str(folder), trusted_public_key=public_key(sealed_root / "keys")))
    assert "The session was sealed, and journal.sig is missing." in text
    assert "data/session.json: transcript is what an unsigned line of the session's journal says." in text


def test_a_form_that_is_not_known(folder: Path, sealed_root: Path) -> None:
    make_older(folder, sealed_root, lambda delivery: delivery.update(schema="interview-room-delivery/9"))
    assert "data/delivery.json has the unknown form interview-room-delivery/9." in found(verify_disc(str(folder)))


def test_an_mp4_that_was_exchanged_with_its_digest_needs_the_signature(folder: Path, sealed_root: Path, tmp_path: Path) -> None:
    exchange_mp4(folder)
    remake_lists(folder)
    key = public_key(sealed_root / "keys")
    report = verify_disc(str(folder), trusted_public_key=key)
    changed = "✗ data/originals/overview-01.mp4 does not hold what was recorded in tracks/overview/000003.mkv."
    assert found(report) == f"✗ data/delivery.json carries no signature.\n{changed}"
    assert (report.ok, report.vouched) == (False, "nobody")
    sign_anew(folder, device_key(tmp_path / "forger"))
    report = verify_disc(str(folder), trusted_public_key=key)
    assert "data/delivery.sig was signed by another key" in found(report)
    assert not report.ok


def test_another_film_is_found_even_where_the_room_s_own_key_signed_it(folder: Path, sealed_root: Path) -> None:
    """What the recorder wrote of its packets stands in the journals, which the seal covers."""
    whole = verify_disc(str(folder), trusted_public_key=public_key(sealed_root / "keys"))
    assert any("packet by packet" in line for line in whole.lines if line.startswith("✓"))
    exchange_mp4(folder)
    sign_anew(folder, device_key(sealed_root / "keys"))
    report = verify_disc(str(folder), trusted_public_key=public_key(sealed_root / "keys"))
    assert not report.ok
    assert found(report) == "✗ data/originals/overview-01.mp4 does not hold what was recorded in tracks/overview/000003.mkv."


def test_without_a_key_to_trust_it_is_said_by_which_key_and_no_more(folder: Path, sealed_root: Path, tmp_path: Path) -> None:
    key = public_key(sealed_root / "keys")
    assert key is not None
    name, print_ = folder.name, fingerprint(key.hex())
    whole = verify_disc(str(folder), trusted_public_key=key)
    assert (whole.vouched, whole.lines[-1]) == ("trusted", f"{name} is what was recorded and sealed.")
    alone = verify_disc(str(folder))
    told = f"{name} agrees with what the key {print_} signed: it is what was recorded and sealed if that is the room's key."
    assert (alone.ok, alone.vouched, alone.lines[-1]) == (True, "signer", told)
    assert alone.as_dict()["vouched"] == "signer"
    unsign_disc(folder)
    remake_lists(folder)
    unsigned = verify_disc(str(folder))
    told = f"{name} agrees with itself, but nobody signed its files: the key {print_} vouches for the sealed manifest alone."
    assert (unsigned.ok, unsigned.vouched, unsigned.lines[-1]) == (True, "manifest", told)
    own = device_key(tmp_path / "forger")
    sign_anew(folder, own)
    foreign = verify_disc(str(folder))
    both = f"{print_}, {fingerprint(own.public_key().public_bytes_raw().hex())}"
    assert "! Recording and disc were signed by different PCs." in foreign.lines
    assert both in foreign.lines[-1] and foreign.vouched == "signer"


def test_files_that_are_missing_or_not_listed_are_found(folder: Path) -> None:
    (folder / "data" / "originals" / "microphone-01.mp4").unlink()
    (folder / "data" / "extra.txt").write_text("?")
    text = found(verify_disc(str(folder)))
    assert "data/originals/microphone-01.mp4 is missing" in text
    assert "data/extra.txt is not in the disc's list" in text


def test_another_rooms_key_is_not_trusted(image: Path) -> None:
    report = verify_disc(str(image), trusted_public_key=bytes(32))
    assert not report.ok
    assert "another key" in found(report)


def test_what_is_no_disc_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="does not exist"):
        verify_disc(str(tmp_path / "nothing.iso"))
    with pytest.raises(BadInput, match="neither an image"):
        verify_disc("/dev/null")
    (tmp_path / "noise.iso").write_bytes(b"noise" * 100_000)
    assert "no readable disc image" in found(verify_disc(str(tmp_path / "noise.iso")))
    (tmp_path / "empty").mkdir()
    assert "bagit.txt is missing" in found(verify_disc(str(tmp_path / "empty")))
    (tmp_path / "empty.iso").write_bytes(b"")
    assert not verify_disc(str(tmp_path / "empty.iso")).ok


def test_a_drive_without_a_disc_is_a_device_fault(tmp_path: Path) -> None:
    unreadable = tmp_path / "d.iso"
    unreadable.symlink_to("/proc/self/mem")  # opens, and its first byte cannot be read
    with pytest.raises(DeviceFault, match="cannot be read"):
        verify_disc(str(unreadable))
