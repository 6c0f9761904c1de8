"""Drives as xorriso tells of them, and real ``stdio:`` drives."""

import errno
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from drivers.faults import DeviceFault, DeviceSilent
from drivers.optical import DriveState, cycle_tray, eject, glance, judge, lies_in, look, parse_toc, run_xorriso
from wording import Fault

# Printed by xorriso 1.5.4 with -pkt_output on.
BLANK_FILE = """\
I:1: Drive current: -outdev 'stdio:/d/disc-1.img'
I:1: Media current: stdio file, overwriteable
I:1: Media status : is blank
I:1: Media summary: 0 sessions, 0 data blocks, 0 data, 78.5g free
R:1: Drive current: -outdev 'stdio:/d/disc-1.img'
R:1: Drive access : exclusive:unrestricted
R:1: Drive type   : vendor 'YOYODYNE' product 'WARP DRIVE' revision 'FX01'
R:1: Media current: stdio file, overwriteable
R:1: Media status : is blank
R:1: Media blocks : 0 readable , 41145356 writable , 41145356 overall
R:1: Media summary: 0 sessions, 0 data blocks, 0 data, 78.5g free
"""
ISO_FILE = """\
Drive current: -outdev 'stdio:/tmp/b/iso.img'
Drive access : exclusive:unrestricted
Drive type   : vendor 'YOYODYNE' product 'WARP DRIVE' revision 'FX01'
Media current: stdio file, overwriteable
Media status : is written , is appendable
Media blocks : 184 readable , 41145010 writable , 41145202 overall
TOC layout   : Idx ,  sbsector ,       Size , Volume Id
ISO session  :   1 ,         0 ,       184s , ISOIMAGE
Media summary: 1 session, 184 data blocks,  368k data, 78.5g free
Media nwa    : 192s
"""
NO_FOLDER = """\
libburn : SORRY : Neither stdio-path nor its directory exist
xorriso : FAILURE : Cannot acquire drive 'stdio:/tmp/b/nope/x.img'
xorriso : aborting : -abort_on 'FAILURE' encountered 'FAILURE'
"""
NO_DRIVE = """\
libburn : FAILURE : File object '/dev/sr0' not found
libburn : FAILURE : Cannot access '/dev/sr0' as SG_IO CDROM drive
xorriso : FAILURE : Cannot acquire drive '/dev/sr0'
"""
# Printed by xorriso for real drives (1.4 and 1.5).
EMPTY_TRAY = """\
xorriso : NOTE : Disc status unsuitable for writing
Drive current: -outdev '/dev/sr0'
Media current: is not recognizable
Media status : is not present
Drive current: -outdev '/dev/sr0'
Drive type   : vendor 'HL-DT-ST' product 'DVDRAM GUE0N' revision 'T.02'
Media current: is not recognizable
Media status : is not present
"""
BLANK_BD = """\
Drive current: -outdev '/dev/sr0'
Media current: BD-R sequential recording
Media product: MILLEN/MR1/0 , Millenniata Inc.
Media status : is blank
Media blocks : 0 readable , 12219392 writable , 12219392 overall
Media summary: 0 sessions, 0 data blocks, 0 data, 23.3g free
"""
SPOILED_DVD = """\
Drive current: -outdev '/dev/sr0'
Drive type   : vendor 'TSSTcorp' product 'CDDVDW SE-S084F' revision 'TS00'
Media current: DVD+R
Media product: CMC_MAG/M01/48 , CMC Magnetics Corporation
Media status : is written , is appendable
Media blocks : 1 readable , 36416 writable , 2295104 overall
TOC layout   : Idx ,  sbsector ,       Size , Volume Id
xorriso : SORRY : Cannot obtain Table Of Content
"""
CLOSED_DVD = """\
Media current: DVD-ROM
Media status : is written , is closed
Media blocks : 1079787 readable , 0 writable , 1079787 overall
"""
BUSY = "libburn : SORRY : Cannot open busy device '/dev/sr0'\nxorriso : FAILURE : Cannot acquire drive '/dev/sr0'\n"


def told(device: str, text: str) -> DriveState:
    return judge(device, parse_toc(text))


def said(state: DriveState) -> str:
    assert state.problem is not None
    return str(state.problem)


@pytest.mark.parametrize(
    ("text", "medium", "free"),
    [(BLANK_FILE, "stdio file, overwriteable", 41145356 * 2048), (BLANK_BD, "BD-R sequential recording", 12219392 * 2048)],
)
def test_blank_media_are_ready(text: str, medium: str, free: int) -> None:
    state = told("/dev/sr0", text)
    assert (state.blank, state.medium, state.free_bytes, state.problem) == (True, medium, free, None)
    assert state.state == "blank"
    assert state.as_dict()["problem"] is None


@pytest.mark.parametrize("text", [ISO_FILE, SPOILED_DVD, CLOSED_DVD])
def test_written_media_are_refused(text: str) -> None:
    state = told("/dev/sr0", text)
    assert not state.blank
    assert state.present
    assert "not blank" in said(state)
    assert "never overwritten" in said(state)
    assert state.state == "written"
    assert state.as_dict()["fault"] is None  # the drive itself is well


def test_an_empty_tray_is_no_fault_of_the_drive() -> None:
    state = told("/dev/sr0", EMPTY_TRAY)
    assert (state.present, state.medium, state.state) == (True, "", "empty")
    assert "no disc in /dev/sr0" in said(state)


@pytest.mark.parametrize(("text", "why"), [(NO_FOLDER, "Neither stdio-path"), (NO_DRIVE, "not found"), ("", "cannot be used")])
def test_a_missing_drive_is_absent(text: str, why: str) -> None:
    state = told("/dev/sr0", text)
    assert (state.present, state.state) == (False, "absent")
    assert why in said(state)
    assert state.as_dict()["fault"] is not None


def test_a_busy_drive_is_told_as_busy() -> None:
    assert "in use by another program" in said(told("/dev/sr0", BUSY))


def test_a_new_and_an_empty_file_are_blank(tmp_path: Path) -> None:
    path = tmp_path / "光盘 一.img"
    for _ in range(2):
        state = look(f"stdio:{path}")
        assert state.blank, said(state)
        assert state.capacity_bytes > 0
        path.write_bytes(b"")
    assert path.stat().st_size == 0


def test_a_preallocated_file_of_zeros_is_blank(tmp_path: Path) -> None:
    path = tmp_path / "zeros.img"
    with open(path, "wb") as file:
        file.truncate(3 << 20)
    assert look(f"stdio:{path}").blank


@pytest.mark.parametrize("place", [0, 1024, 32_768, 524_288, 3 * (1 << 20) - 1])
def test_a_file_with_any_content_is_never_blank(tmp_path: Path, place: int) -> None:
    path = tmp_path / "used.img"
    with open(path, "wb") as file:
        file.truncate(3 << 20)
        file.seek(place)
        file.write(b"x")
    state = look(f"stdio:{path}")
    assert not state.blank
    assert "already holds 3145728 bytes" in said(state)


def test_an_iso_image_is_written(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "a").write_text("a")
    made = ["xorriso", "-no_rc", "-as", "mkisofs", "-quiet", "-o", str(tmp_path / "a.iso"), str(tmp_path / "tree")]
    subprocess.run(made, check=True, capture_output=True)
    state = look(f"stdio:{tmp_path / 'a.iso'}")
    assert (state.blank, state.state) == (False, "written")


@pytest.mark.parametrize(
    ("device", "why"),
    [
        ("stdio:/nowhere/at/all/x.img", "folder of stdio:/nowhere"),
        ("stdio:relative.img", "no absolute path"),
        ("stdio:/proc/version", "cannot be written"),
        ("stdio:/tmp", "cannot be written"),
        ("/dev/sr99", "cannot be used"),
        ("/dev/null", "is no optical drive"),
    ],
)
def test_what_cannot_be_a_drive_is_told(device: str, why: str) -> None:
    state = look(device)
    assert not state.present
    assert not state.blank
    assert why in said(state)
    assert state.problem is not None
    assert state.problem.say("zh") != state.problem.say("en")


def test_a_drive_that_does_not_answer_in_time_is_silent(tmp_path: Path) -> None:
    with pytest.raises(DeviceSilent, match="did not answer"):
        run_xorriso(["-outdev", f"stdio:{tmp_path / 'x'}", "-toc"], "stdio:x", -1.0)  # its time is over before it begins


def test_a_glance_notices_a_new_disc(tmp_path: Path) -> None:
    device = f"stdio:{tmp_path / 'd.img'}"
    missing = glance(device)
    (tmp_path / "d.img").write_bytes(b"")
    empty = glance(device)
    (tmp_path / "d.img").write_bytes(b"x")
    assert len({missing, empty, glance(device)}) == 3
    assert glance("/dev/sr99") == ""
    assert glance("stdio:/nowhere/x") == ""


def test_files_have_no_tray(tmp_path: Path) -> None:
    (tmp_path / "d.img").write_bytes(b"x")
    cycle_tray(f"stdio:{tmp_path / 'd.img'}")
    eject(f"stdio:{tmp_path / 'd.img'}")
    assert (tmp_path / "d.img").read_bytes() == b"x"


class Tray:
    """A real drive as the kernel tells of it (linux/cdrom.h); time passes while it is waited for.

    motor: what the drive says of itself; closes: whether it does. pushed_s: when a person pushes the tray in.
    """

    def __init__(self, *, motor: bool, closes: bool, pushed_s: float = 1e9) -> None:
        self.motor, self.closes, self.pushed_s = motor, closes, pushed_s
        self.time_s, self.open, self.loaded_s = 0.0, False, 0.0
        self.told: list[Fault | None] = []

    def wait(self, seconds: float) -> None:
        self.time_s += seconds
        if self.open and self.time_s >= self.pushed_s:
            self.open, self.loaded_s = False, self.time_s

    def ioctl(self, _fd: int, request: int, _argument: int = 0) -> int:
        if request == 0x5309:  # CDROMEJECT
            self.open = True
        elif request == 0x5319:  # CDROMCLOSETRAY
            if not self.motor:
                raise OSError(errno.ENOSYS, "Function not implemented")
            if self.closes:
                self.open, self.loaded_s = False, self.time_s
        elif request == 0x5331:  # CDROM_GET_CAPABILITY
            return 0x2 | (0x1 if self.motor else 0)
        elif request == 0x5326:  # CDROM_DRIVE_STATUS: tray open, not ready while it spins up, disc there
            return 2 if self.open else 3 if self.time_s - self.loaded_s < 5 else 4
        return 0


@pytest.fixture
def cycle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Tray], None]:
    (tmp_path / "sr0").write_bytes(b"")

    def run(tray: Tray) -> None:
        monkeypatch.setattr("drivers.optical.fcntl.ioctl", tray.ioctl)
        cycle_tray(str(tmp_path / "sr0"), by_hand=tray.told.append, wait=tray.wait, now=lambda: tray.time_s)

    return run


def test_a_motor_closes_the_tray_and_nobody_is_asked(cycle: Callable[[Tray], None]) -> None:
    tray = Tray(motor=True, closes=True)
    cycle(tray)
    assert (tray.told, tray.time_s < 10) == ([], True)


@pytest.mark.parametrize(("motor", "asked_by_s"), [(False, 2), (True, 25)])
def test_a_tray_without_a_motor_is_waited_for(cycle: Callable[[Tray], None], motor: bool, asked_by_s: float) -> None:
    """Without a motor, and with one by the drive's own word alone."""
    asked: list[float] = []
    tray = Tray(motor=motor, closes=False, pushed_s=400)
    tray.told = Told(lambda: asked.append(tray.time_s))
    cycle(tray)
    assert asked[0] <= asked_by_s
    told, done = tray.told
    assert "same disc within 10 minutes" in str(told) and done is None
    assert 400 <= tray.time_s < 410


class Told(list[Fault | None]):
    """Notes when something was told."""

    def __init__(self, note: Callable[[], object]) -> None:
        super().__init__()
        self._note = note

    def append(self, fault: Fault | None) -> None:
        self._note()
        super().append(fault)


def test_a_tray_that_nobody_pushes_in_is_given_up(cycle: Callable[[Tray], None]) -> None:
    tray = Tray(motor=False, closes=False)
    with pytest.raises(DeviceFault, match="was not closed again"):
        cycle(tray)
    assert 600 <= tray.time_s < 610


@pytest.mark.parametrize("kind", ["/dev/null", "file", "folder", "link"])
def test_what_is_no_optical_drive_is_never_looked_at(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plain path names a device of the kernel's sr driver, or nothing is done with it."""
    monkeypatch.setattr("drivers.optical.run_xorriso", lambda *_: pytest.fail("xorriso is asked"))
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "link").symlink_to("/dev/null")
    device = kind if kind.startswith("/") else str(tmp_path if kind == "folder" else tmp_path / kind)
    state = look(device)
    assert not state.present and state.problem is not None
    assert (state.problem.code, state.problem.exit_code) == ("device-is-no-optical-drive", 7)


def test_where_the_file_of_a_drive_lies(tmp_path: Path) -> None:
    data, other = tmp_path / "data", tmp_path / "other"
    for folder in (data, other):
        folder.mkdir()
    (other / "link").symlink_to(data)
    folders = (data, tmp_path / "run")
    inside = [f"stdio:{data}/x", f"stdio:{data}/a/b", f"stdio:{other}/link/x", f"stdio:{other}/../data/x", f"stdio:{data}"]
    assert [lies_in(drive, folders) for drive in inside] == [data] * 5
    assert lies_in(f"stdio:{tmp_path}/run/x", folders) == tmp_path / "run"
    assert [lies_in(drive, folders) for drive in (f"stdio:{other}/x", f"stdio:{data}2/x", "/dev/sr0", str(data))] == [None] * 4
