"""Jobs end to end on ``stdio:`` drives: two verified discs, or a plain word why not; killed workers go on."""

import hashlib
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from burner.check.disc import verify_disc
from burner.disc.sealed_session import content
from burner.faults import BurnFault, Stopped
from burner.work.burning import Burner, room_faults
from burner.work.drive import DriveBurn, read_back
from burner.work.jobs import CancelWord, Job, JobStore
from burner.work.process import BurnerSettings, _Worker
from drivers.faults import DeviceFault
from drivers.optical import DriveState, look
from recorder.clock.instants import boot_id, boottime_ns
from recorder.disk.durable import read_json, write_json
from recorder.faults import AlreadyRunning, BadInput
from recorder.process.status import BurnerStatus, read_statuses
from tests.burner.sessions import SESSION, TRANSCRIPT
from tests.equipment.process import wait_for
from wording import Exit, Fault

Say = Callable[[str, float], object]


@pytest.fixture
def drives(tmp_path: Path) -> list[str]:
    (tmp_path / "光盘 架").mkdir()
    return [f"stdio:{tmp_path / '光盘 架' / f'disc-{n}.img'}" for n in (1, 2)]


def image_of(device: str) -> Path:
    return Path(device.removeprefix("stdio:"))


def job(drives: list[str], name: str = "job-1", copies: int = 2) -> Job:
    return Job(name, SESSION, tuple(drives), copies)


def burn(root: Path, wanted: Job, say: Say = lambda _state, _progress: None, stopped: Callable[[], bool] = lambda: False) -> Any:
    return Burner(root, "zh", 0, say, stopped).run(wanted)


def fault_of(result: Any) -> str:
    return Fault.from_dict(result["fault"]).say()


def mp4s(session: Path) -> list[str]:
    return [p.name for p in (session / "disc").glob("*.mp4")]


def test_two_discs_are_burned_at_once_and_verified(root: Path, session: Path, drives: list[str]) -> None:
    told: list[tuple[str, float]] = []
    result = burn(root, job(drives), lambda state, progress: told.append((state, progress)))
    assert (result["ok"], result["verified"], result["fault"]) == (True, 2, None)
    assert [d["verified"] for d in result["discs"]] == [True, True]
    assert {d["sha256"] for d in result["discs"]} == {result["image_sha256"]}
    for device, disc in zip(drives, result["discs"], strict=True):
        assert disc["image"] == str(image_of(device))
        assert image_of(device).stat().st_size == result["image_bytes"]
        report = verify_disc(device)
        assert report.ok, report.lines
        assert (report.sha256, report.label) == (result["image_sha256"], result["label"])
    assert mp4s(session) == []
    assert list(dict.fromkeys(state for state, _ in told)) == ["preparing", "burning", "verifying"]
    assert all(0 <= progress <= 1 for _, progress in told)
    assert read_json(root / "burn" / "jobs" / "job-1.json") == result
    assert list((root / "burn" / "progress").iterdir()) == []
    assert json.dumps(result)


@pytest.mark.parametrize("content", [b"something", b"\0" * 40_000 + b"CD001"])
def test_a_written_disc_is_never_overwritten(root: Path, session: Path, drives: list[str], content: bytes) -> None:
    image_of(drives[0]).write_bytes(content)
    result = burn(root, job(drives))
    assert image_of(drives[0]).read_bytes() == content
    assert (result["ok"], result["verified"]) == (False, 1)
    assert "already holds" in fault_of(result)
    assert [d["verified"] for d in result["discs"]] == [True, False]  # the good one first
    assert mp4s(session) != []  # the second copy will need them


def test_a_later_job_adds_the_missing_copy(root: Path, session: Path, drives: list[str]) -> None:
    first = burn(root, job(drives[:1], "job-1"))
    assert (first["ok"], first["verified"]) == (False, 1)
    assert fault_of(first) == "1 of 2 discs are verified."
    second = burn(root, job([drives[1]], "job-2"))
    assert (second["ok"], second["verified"], second["verified_before"], len(second["discs"])) == (True, 2, 1, 1)
    assert mp4s(session) == []


def replace_transcript(session: Path, text: str) -> None:
    """As the agent keeps another transcript, with the verdict that the session has."""
    name = f"transcript/{hashlib.sha256(text.encode()).hexdigest()[:8]}.txt"
    (session / name).write_text(text, encoding="utf-8")
    record: dict[str, Any] = dict(read_json(session / "session.json"))
    record["transcript"] |= {"file": name, "sha256": hashlib.sha256(text.encode()).hexdigest()}
    write_json(session / "session.json", record)


def test_a_disc_with_a_transcript_that_was_replaced_is_no_copy(root: Path, session: Path, drives: list[str]) -> None:
    first = burn(root, job(drives[:1], "job-1"))
    replace_transcript(session, "询问时间：2026年11月21日09时30分至09时30分\n更正")
    second = burn(root, job([drives[1]], "job-2"))
    assert first["content_sha256"] != second["content_sha256"]
    assert (second["ok"], second["verified"], second["verified_before"]) == (False, 1, 0)
    assert fault_of(second) == "1 of 2 discs are verified."
    third = burn(root, job([f"{drives[1]}.second"], "job-3"))
    assert (third["ok"], third["verified"], third["verified_before"]) == (True, 2, 1)


def test_discs_that_lack_what_was_damaged_say_so_and_are_no_copies_of_whole_ones(
    root: Path, session: Path, drives: list[str]
) -> None:
    first = burn(root, job(drives[:1], "job-1"))
    name = "tracks/overview/000001.mkv"
    (session / name).unlink()
    second = burn(root, job([drives[1]], "job-2"))
    assert (first["damaged"], second["damaged"]) == ([], [name])
    assert (second["ok"], second["verified"], second["verified_before"]) == (False, 1, 0)
    third = burn(root, job([f"{drives[1]}.second"], "job-3"))
    assert (third["ok"], third["verified"], third["verified_before"], third["damaged"]) == (True, 2, 1, [name])
    report = verify_disc(drives[1])
    assert not report.ok
    assert any("not complete on this disc" in line for line in report.lines)


def test_what_a_disc_lacks_outlives_a_cut_while_verifying(root: Path, session: Path, drives: list[str]) -> None:
    (session / "tracks" / "overview" / "000001.mkv").unlink()
    at: list[str] = []
    with pytest.raises(Stopped):
        burn(root, job(drives), lambda now, _progress: at.append(now), lambda: "verifying" in at)
    result = burn(root, job(drives))
    assert (result["ok"], result["damaged"]) == (True, ["tracks/overview/000001.mkv"])


def test_a_result_that_does_not_tell_its_content_is_not_counted(root: Path, drives: list[str]) -> None:
    known = {k: v for k, v in burn(root, job(drives[:1], "job-1")).items() if k != "content_sha256"}
    write_json(root / "burn" / "jobs" / "job-1.json", known)
    assert burn(root, job([drives[1]], "job-2"))["verified_before"] == 0


def test_what_makes_discs_different(session: Path) -> None:
    """A burn, which is written down in session.json and the journal, does not; what is on the disc for its own sake does."""
    seen = {content(session)}
    record: dict[str, Any] = dict(read_json(session / "session.json"))
    write_json(session / "session.json", {**record, "disc": {"verified": 1}, "state": "on-disc"})
    assert content(session) in seen
    excepted = {**record["transcript"], "verdict": "excepted", "exception": {"by": "赵六", "reason": "…"}}
    for change in ({**record["transcript"], "sha256": "ab"}, excepted, None):
        write_json(session / "session.json", {**record, "transcript": change})
        seen.add(content(session))
    (session / "later").mkdir()
    (session / "later" / "manifest.json").write_text("{}")
    seen.add(content(session))
    assert len(seen) == 5


def test_only_as_many_drives_are_used_as_copies_are_missing(root: Path, drives: list[str]) -> None:
    result = burn(root, job(drives, copies=1))
    assert (result["ok"], len(result["discs"])) == (True, 1)
    assert not image_of(drives[1]).exists()


def test_an_unwritable_target_and_a_missing_folder_are_told(root: Path, drives: list[str]) -> None:
    result = burn(root, job(["stdio:/proc/version", "stdio:/nowhere/at/all.img"]))
    assert (result["ok"], result["verified"], result["image_sha256"]) == (False, 0, None)
    assert [d["fault"] is not None for d in result["discs"]] == [True, True]
    assert "cannot be written" in fault_of(result)


def test_a_file_system_without_room_is_noticed_before_a_byte_is_burned(root: Path, drives: list[str], tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(small)], capture_output=True, check=False).returncode:
        pytest.skip("may not mount a tmpfs here")
    try:  # room for one image of some 3 MB, not for two
        result = burn(root, job([f"stdio:{small}/1.img", f"stdio:{small}/2.img"]))
        assert [d["verified"] for d in result["discs"]] == [True, False]
        assert "has room for" in fault_of(result)
        assert not (small / "2.img").exists()
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_the_room_on_media() -> None:
    def blank(device: str, free: int) -> DriveState:
        return DriveState(device, True, "BD-R", True, free, free)

    states = {"/dev/sr0": blank("/dev/sr0", 100), "/dev/sr1": blank("/dev/sr1", 99), "/dev/sr2": blank("/dev/sr2", 0)}
    assert list(room_faults(states, 100, 0)) == ["/dev/sr1"]  # a drive that tells nothing is tried
    assert list(room_faults(states, 100, 50)) == ["/dev/sr1", "/dev/sr2"]


def test_a_session_that_may_not_go_on_a_disc_is_refused(root: Path, session: Path, drives: list[str]) -> None:
    record: dict[str, Any] = dict(read_json(session / "session.json"))
    record["transcript"]["verdict"] = "mismatch"
    write_json(session / "session.json", record)
    assert "does not agree" in fault_of(burn(root, job(drives)))
    assert "There is no session nobody" in fault_of(burn(root, Job("job-2", "nobody", tuple(drives), 1)))
    assert "There is no session" in fault_of(burn(root, Job("job-3", "../sessions", tuple(drives), 1)))
    assert not image_of(drives[0]).exists()


def children(pid: int) -> list[int]:
    """Processes that a process started, theirs included."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*"):
        try:
            direct = [int(p) for p in (task / "children").read_text().split()]
        except OSError:
            continue
        for child in direct:
            found += [child, *children(child)]
    return found


def burning(pid: int, device: str) -> int | None:
    """The xorriso below a process that burns to the device."""
    for child in children(pid):
        try:
            if f"dev={device}".encode() in Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0"):
                return child
        except OSError:
            continue
    return None


def test_a_drive_that_dies_while_burning_spoils_one_disc_only(root: Path, session: Path, drives: list[str]) -> None:
    killed: list[int] = []

    def say(state: str, _progress: float) -> None:
        if state == "burning" and not killed and (pid := burning(os.getpid(), drives[1])):
            killed.append(pid)
            os.kill(pid, signal.SIGKILL)

    result = burn(root, job(drives), say)
    assert killed
    assert [d["verified"] for d in result["discs"]] == [True, False]
    assert "SIGKILL" in fault_of(result)
    assert verify_disc(drives[0]).ok
    assert mp4s(session) != []


@pytest.mark.parametrize("gone", [False, True])
def test_a_source_that_changes_while_it_is_burned_names_the_discs_that_are_spoiled(
    root: Path, session: Path, drives: list[str], gone: bool
) -> None:
    changed: list[Path] = []

    def say(state: str, _progress: float) -> None:
        if state == "burning" and not changed:
            changed.extend((session / "disc").glob("*.mp4"))
            for path in changed:
                data = path.read_bytes()
                path.unlink()
                if not gone:
                    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))

    result = burn(root, job(drives), say)
    assert changed
    assert (result["ok"], result["verified"], len(result["discs"])) == (False, 0, 2)
    assert [d["verified"] for d in result["discs"]] == [False, False]
    for disc in result["discs"]:
        assert disc["fault"]["code"] == "disc-burning-interrupted"
        assert disc["fault"]["mend"] == "replace-spoiled-disc-and-burn-again"
    assert "mp4" in fault_of(result)


def test_a_disc_that_was_never_begun_is_not_called_spoiled(
    root: Path, session: Path, drives: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sources fail while the files are made; and: xorriso can no longer be started for the second drive."""
    changed = session / "transcript" / TRANSCRIPT
    data = changed.read_bytes()
    changed.write_bytes(data[:-1])
    result = burn(root, job(drives))
    assert (result["discs"], "changed since it was attached" in fault_of(result)) == ([], True)
    changed.write_bytes(data)
    started: list[str] = []

    class OneBurn(DriveBurn):
        def __init__(self, device: str, image_bytes: int) -> None:
            if started:
                raise BurnFault("burning-program-cannot-start", "install-burning-program", why="none")
            started.append(device)
            super().__init__(device, image_bytes)

    monkeypatch.setattr("burner.work.burning.DriveBurn", OneBurn)
    result = burn(root, job(drives, "job-2"))
    assert [(d["device"], d["fault"]["code"]) for d in result["discs"]] == [(drives[0], "disc-burning-interrupted")]
    assert "cannot be started" in fault_of(result)
    assert look(drives[1]).blank


def test_a_disc_that_reads_back_differently_is_spoiled(root: Path, session: Path, drives: list[str]) -> None:
    """xorriso said success; one bit is another on the medium."""
    changed: list[bool] = []

    def say(state: str, _progress: float) -> None:
        if state == "verifying" and not changed:
            changed.append(True)
            with open(image_of(drives[0]), "r+b") as file:
                file.seek(1_500_000)
                byte = file.read(1)[0]
                file.seek(1_500_000)
                file.write(bytes([byte ^ 1]))
            with open(image_of(drives[1]), "r+b") as file:
                file.truncate(image_of(drives[1]).stat().st_size - 1)

    result = burn(root, job(drives), say)
    assert (result["ok"], result["verified"]) == (False, 0)
    assert [d["fault"]["code"] for d in result["discs"]] == ["disc-readback-differs", "burned-disc-ends-early"]
    assert all(d["fault"]["mend"] == "replace-spoiled-disc-and-burn-again" for d in result["discs"])


def test_an_open_tray_is_told_while_it_is_waited_for(root: Path, drives: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two drives: one is pushed in, nobody comes for the other."""
    order = threading.Barrier(2)

    def cycle(device: str, *, by_hand: Callable[[Fault | None], object], wait: Callable[[float], object]) -> None:
        wait(0)
        by_hand(BurnFault("tray-open-disc-unverified", "close-tray-with-same-disc", device=device, minutes=10))
        order.wait()
        if device == drives[0]:
            by_hand(None)
            return
        raise DeviceFault("tray-not-closed", "close-tray-then-verify-disc", device=device, why="no motor")

    monkeypatch.setattr("burner.work.drive.cycle_tray", cycle)
    told: list[Fault | None] = []
    result: Any = Burner(root, "en", 0, hindered=told.append).run(job(drives))
    assert [d["verified"] for d in result["discs"]] == [True, False]
    assert {str(f.values["device"]) for f in told if f} <= set(drives)
    assert told[0] is not None and told[-1] is None
    assert fault_of(result) == f"The tray of {drives[1]} was not closed again: no motor."


def test_the_wait_for_a_tray_ends_when_the_process_is_asked_to_end(drives: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("burner.work.drive.cycle_tray", lambda _device, by_hand, wait: wait(0))
    with pytest.raises(Stopped):
        read_back(drives[0], 1, stopped=lambda: True)


@pytest.mark.parametrize("state", ["preparing", "burning"])
def test_a_job_that_was_cut_off_is_done_again(root: Path, session: Path, drives: list[str], state: str) -> None:
    at: list[str] = []
    with pytest.raises(Stopped):
        burn(root, job(drives), lambda now, _progress: at.append(now), lambda: state in at)
    assert not (root / "burn" / "jobs" / "job-1.json").exists()
    assert (state == "burning") == (JobStore(root).left(job(drives)) is not None)
    result = burn(root, job(drives))
    assert (result["ok"], result["fault"]) == (True, None)
    assert all(verify_disc(d).ok for d in drives)


def test_what_was_burned_is_not_burned_again_after_a_cut_while_verifying(root: Path, session: Path, drives: list[str]) -> None:
    at: list[str] = []
    with pytest.raises(Stopped):
        burn(root, job(drives), lambda now, _progress: at.append(now), lambda: "verifying" in at)
    before = [image_of(d).stat().st_mtime_ns for d in drives]
    told: list[str] = []
    result = burn(root, job(drives), lambda state, _progress: told.append(state))
    assert result["ok"]
    assert set(told) == {"verifying"}
    assert [image_of(d).stat().st_mtime_ns for d in drives] == before


def test_a_foreign_file_in_the_place_of_an_interrupted_burn_stays(root: Path, drives: list[str]) -> None:
    at: list[str] = []
    with pytest.raises(Stopped):
        burn(root, job(drives), lambda now, _progress: at.append(now), lambda: "burning" in at)
    image_of(drives[0]).unlink()
    image_of(drives[0]).write_bytes(b"another file of that name")
    result = burn(root, job(drives))
    assert image_of(drives[0]).read_bytes() == b"another file of that name"
    assert result["verified"] == 1
    assert "was interrupted" in fault_of(result)


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"job": "../x", "session": "s", "drives": ["d"], "copies": 1},
        {"job": "j", "session": "", "drives": ["d"], "copies": 1},
        {"job": "j", "session": "s", "drives": [], "copies": 1},
        {"job": "j", "session": "s", "drives": ["d"], "copies": 0},
    ],
)
def test_an_unusable_wish_is_told(data: dict[str, object]) -> None:
    with pytest.raises(BadInput, match="burn job is not usable"):
        Job.from_dict(data)


# --- a job that is taken back ---------------------------------------------------------------------------------------------


def cancelled_at(root: Path, drives: list[str], state: str) -> Any:
    """The result of a job that is cancelled once the burner says this state, by the word in its order."""
    wanted, store = job(drives), JobStore(root)
    want(root, drives)

    def say(now: str, _progress: float) -> None:
        if now == state:
            order = dict(read_json(root / "burn" / "wanted.json"))
            write_json(root / "burn" / "wanted.json", {**order, "cancelled": True})

    return Burner(root, "zh", 0, say, cancelled=CancelWord(store, wanted)).run(wanted)


@pytest.mark.parametrize(
    ("state", "told"),
    [("preparing", []), ("burning", ["disc-burning-interrupted"] * 2), ("verifying", ["disc-not-read-back"] * 2)],
)
def test_a_cancelled_job_ends_at_the_next_safe_point_and_names_the_discs_that_are_spoiled(
    root: Path, session: Path, drives: list[str], state: str, told: list[str]
) -> None:
    result = cancelled_at(root, drives, state)
    assert (result["ok"], result["verified"], result["fault"]["code"]) == (False, 0, "burn-job-cancelled")
    assert [disc["fault"]["code"] for disc in result["discs"]] == told
    assert {disc["fault"]["mend"] for disc in result["discs"]} <= {"replace-spoiled-disc-and-burn-again"}
    assert mp4s(session) == [], "they can be made again, and the data disk is for recordings"
    assert list((root / "burn").glob("progress/*")) == [] and burning(os.getpid(), drives[0]) is None
    again = burn(root, job([f"{drive}.next" for drive in drives], "job-2"))
    assert (again["ok"], again["verified"], again["verified_before"]) == (True, 2, 0)


def test_a_disc_that_was_verified_before_the_cancelling_counts(root: Path, drives: list[str]) -> None:
    burn(root, job(drives[:1], "job-0"))
    result = cancelled_at(root, drives[1:], "preparing")
    assert (result["fault"]["code"], result["verified"], result["discs"]) == ("burn-job-cancelled", 1, [])


def test_an_interrupted_job_that_is_cancelled_before_it_goes_on_names_its_discs(root: Path, drives: list[str]) -> None:
    at: list[str] = []
    with pytest.raises(Stopped):
        burn(root, job(drives), lambda now, _progress: at.append(now), lambda: "burning" in at)
    result: Any = Burner(root, "zh", cancelled=lambda: True).run(job(drives))
    assert [disc["fault"]["code"] for disc in result["discs"]] == ["disc-burning-interrupted"] * 2


def test_the_end_of_the_process_goes_before_the_end_of_the_job(root: Path, drives: list[str]) -> None:
    """Its result is written by the next process, which finds the word as well."""
    with pytest.raises(Stopped):
        Burner(root, "zh", stopped=lambda: True, cancelled=lambda: True).run(job(drives))
    assert JobStore(root).result(job(drives)) is None


# --- what a burn may take, and where it may write ---------------------------------------------------------------------------


def test_a_burn_leaves_what_is_kept_for_the_next_recording(root: Path, session: Path, drives: list[str]) -> None:
    free = shutil.disk_usage(root).free
    result: Any = Burner(root, "zh", reserve_bytes=free + (1 << 30)).run(job(drives))
    assert (result["fault"]["code"], result["fault"]["exit_code"]) == ("disc-files-would-take-reserve", Exit.STORAGE)
    assert result["fault"]["values"]["reserve_mb"] == (free + (1 << 30)) // 1_000_000
    assert mp4s(session) == [] and not image_of(drives[0]).exists()
    assert burn(root, job(drives, "job-2"))["ok"]


def test_images_on_the_data_disk_count_against_what_is_kept() -> None:
    here = Path(__file__).parent
    states = {f"stdio:{here}/{n}.img": DriveState(f"stdio:{here}/{n}.img", True, "stdio", True, 1000, 1000) for n in (1, 2)}
    disk = here.stat().st_dev
    assert room_faults(states, 450, 0, {disk: 200}).keys() == {f"stdio:{here}/2.img"}
    assert room_faults(states, 450, 0, {disk + 1: 900}) == {}


@pytest.mark.parametrize("place", ["root", "link to root", "run"])
def test_nothing_is_burned_among_the_products_own_files(root: Path, session: Path, tmp_path: Path, place: str) -> None:
    """Whoever asks for it: the file would be taken for evidence, or for an order."""
    run_folder = tmp_path / "run"
    run_folder.mkdir()
    link = tmp_path / "link"
    link.symlink_to(root)
    target = {"root": session / "tracks" / "overview" / "zz.mp4", "link to root": link / "x.img", "run": run_folder / "x"}[place]
    result: Any = Burner(root, "zh", run_folder=run_folder).run(job([f"stdio:{target}"], copies=1))
    assert [disc["fault"]["code"] for disc in result["discs"]] == ["drive-file-lies-in-storage"]
    assert not target.exists()


# --- the worker's process ---------------------------------------------------------------------------------------------------

WORKER = """
import sys
from pathlib import Path
from burner.work.process import BurnerSettings, run_worker
root, run, *drives = sys.argv[1:]
run_worker(BurnerSettings(Path(root), Path(run), tuple(drives), "zh", "0.1.0"))
"""

Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path / "run"


@pytest.fixture
def start(root: Path, run: Path, drives: list[str]) -> Iterator[Start]:
    """Starts workers; ends those still running, and what they started."""
    started: list[subprocess.Popen[bytes]] = []

    def begin(**environment: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", WORKER, str(root), str(run), *drives]
        started.append(
            subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(Path.cwd()), **environment}, stderr=subprocess.PIPE)
        )
        return started[-1]

    yield begin
    for worker in started:
        left = children(worker.pid)
        worker.kill()
        worker.communicate()
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue


def want(root: Path, drives: list[str], name: str = "job-1") -> Path:
    (root / "burn").mkdir(exist_ok=True)
    write_json(root / "burn" / "wanted.json", {"job": name, "session": SESSION, "drives": drives, "copies": 2})
    return root / "burn" / "jobs" / f"{name}.json"


def status(run: Path) -> BurnerStatus | None:
    found = read_statuses(run / "status", boottime_ns(), boot_id()).get("burner")
    return found if isinstance(found, BurnerStatus) else None


def test_the_worker_shows_its_drives_takes_a_job_up_once_and_goes_in_good_order(
    start: Start, root: Path, run: Path, drives: list[str]
) -> None:
    worker = start()
    idle = wait_for(lambda: (s := status(run)) and s.drives and s, "the drives in the status", 30.0)
    assert (idle.state, [d["state"] for d in idle.drives]) == ("idle", ["blank", "blank"])
    stored = want(root, drives)
    wait_for(stored.exists, "the stored result", 30.0)
    done = wait_for(lambda: (s := status(run)) and s.last and s, "a result in the status", 30.0)
    assert done.last["ok"] is True
    assert (done.state, done.job, done.fault) == ("idle", None, None)
    wait_for(lambda: (s := status(run)) and [d["state"] for d in s.drives] == ["written", "written"], "both discs written", 30.0)
    before = stored.stat().st_mtime_ns
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(10) == 0
    assert not (run / "status" / "burner.json").exists()
    start()
    wait_for(lambda: (s := status(run)) and s.last, "a result in the status", 30.0)
    assert stored.stat().st_mtime_ns == before  # a job with a result is not done twice


def test_a_failed_job_stays_in_the_status(start: Start, root: Path, run: Path, drives: list[str]) -> None:
    image_of(drives[0]).write_bytes(b"full")
    start()
    wait_for(want(root, drives).exists, "the stored result", 30.0)
    failed = wait_for(lambda: (s := status(run)) and s.state == "failed" and s, "a failed worker", 30.0)
    assert failed.fault["code"] == "target-file-not-empty"
    assert failed.last["verified"] == 1
    image_of(drives[0]).unlink()
    wait_for(want(root, drives[:1], "job-2").exists, "the stored result", 30.0)
    assert wait_for(lambda: (s := status(run)) and s.state == "idle" and s, "an idle worker", 30.0).last["ok"] is True


def test_a_defect_in_the_middle_of_a_burn_names_the_discs(root: Path, run: Path, drives: list[str]) -> None:
    def say(state: str, _progress: float) -> None:
        if state == "verifying":
            raise ZeroDivisionError

    class Defective(Burner):
        def run(self, job: Job) -> Any:
            return Burner(self.root, self.language, 0, say).run(job)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("burner.work.burning.Burner", Defective)
        result: Any = _Worker(BurnerSettings(root, run, tuple(drives), "en", "0.1.0"), threading.Event())._take_up(job(drives))
    assert "ZeroDivisionError" in fault_of(result)
    assert [d["fault"]["code"] for d in result["discs"]] == ["disc-burning-interrupted"] * 2


def test_the_worker_ends_a_job_by_the_word_in_its_order(start: Start, root: Path, run: Path, drives: list[str]) -> None:
    """One that waits for the worker, and one whose drives stand still."""
    waiting = want(root, drives)
    order = dict(read_json(root / "burn" / "wanted.json"))
    write_json(root / "burn" / "wanted.json", {**order, "cancelled": True})
    start()
    wait_for(waiting.exists, "the result of the job that waited", 30.0)
    assert read_json(waiting)["discs"] == []
    idle = wait_for(lambda: (s := status(run)) and s.last and s, "an idle worker", 30.0)
    assert (idle.state, idle.fault) == ("idle", None), "a job that a person ended is no failure of the worker"


def test_one_worker_at_a_time(start: Start, run: Path) -> None:
    first = start()
    wait_for(lambda: status(run), "a status", 30.0)
    second = start()
    _, errors = second.communicate(timeout=20)
    assert second.returncode != 0
    assert AlreadyRunning.__name__.encode() in errors
    assert first.poll() is None


def test_nonsense_in_the_wish_is_a_fault_and_the_worker_stays(start: Start, root: Path, run: Path, drives: list[str]) -> None:
    worker = start()
    (root / "burn").mkdir(exist_ok=True)
    (root / "burn" / "wanted.json").write_text("{nonsense")
    wait_for(lambda: (s := status(run)) and s.state == "failed" and s.fault, "a failed worker", 30.0)
    wait_for(want(root, drives).exists, "the stored result", 30.0)
    assert worker.poll() is None


@pytest.fixture
def halting(tmp_path: Path) -> dict[str, str]:
    """An environment in which xorriso halts itself before it burns, until it is sent SIGCONT."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "xorriso"
    program.write_text('#!/bin/sh\ncase "$*" in *cdrecord*) kill -STOP $$;; esac\nPATH=/usr/bin:/bin exec xorriso "$@"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_worker_killed_while_burning_is_taken_up_by_the_next(
    start: Start, session: Path, run: Path, drives: list[str], halting: dict[str, str]
) -> None:
    root = session.parent.parent
    worker = start(**halting)
    stored = want(root, drives)

    def halted_at(device: str) -> int | None:
        pid = burning(worker.pid, device)
        return pid if pid and state_of(pid) == "T" else None

    halted: list[int] = [wait_for(partial(halted_at, device), "the drive stands still", 30.0) for device in drives]
    assert wait_for(lambda: (s := status(run)) and s.state == "burning" and s, "a worker that burns", 30.0).job == "job-1"
    before = status(run)
    assert before is not None
    wait_for(
        lambda: (s := status(run)) and s.seq > before.seq, "a newer status", 30.0
    )  # it goes on saying so while the drives are silent
    worker.kill()
    worker.wait()
    assert not stored.exists()
    for pid in halted:  # the burners that were left now see that their stream is over
        os.kill(pid, signal.SIGCONT)
    start()
    wait_for(stored.exists, "the stored result", 30.0)
    result = read_json(stored)
    assert (result["ok"], result["verified"]) == (True, 2)
    assert all(verify_disc(d).ok for d in drives)
    assert mp4s(session) == []
