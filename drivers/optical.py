"""One optical drive, looked at through xorriso: a real one (``/dev/sr0``) or libburn's file drive (``stdio:/path``).

``look`` never writes. A disc with content is never called blank: for ``stdio:`` an existing file counts as blank only while it is
empty or its first and last MiB are zeros (ISO 9660, UDF, partition tables and file systems all lie there).
Output formats: xorriso(1), commands ``-toc`` and ``-pkt_output``.
"""

import errno
import fcntl
import os
import re
import stat
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from drivers.faults import DeviceAbsent, DeviceFault, DeviceSilent
from wording import Fault

BLOCK = 2048  # bytes of a block on every optical medium here
STDIO = "stdio:"
MIB = 1 << 20
SCSI_CDROM_MAJOR = 11  # <linux/major.h>

# <linux/cdrom.h>
_CDROMEJECT, _CDROMCLOSETRAY, _CDROM_DRIVE_STATUS, _CDROM_GET_CAPABILITY = 0x5309, 0x5319, 0x5326, 0x5331
_NO_DISC, _TRAY_OPEN, _DISC_OK = 1, 2, 4
_CLOSE_TRAY = 1  # CDC_CLOSE_TRAY

MOTOR_S = 20.0  # a tray that is still open then has no motor, whatever the drive says of itself
BY_HAND_S = 600.0  # until somebody has pushed it in

NOT_BLANK = "disc-not-blank"
NOT_BLANK_MEND = "insert-blank-disc-no-overwrite"
FILE_NOT_EMPTY = "target-file-not-empty"
FILE_NOT_EMPTY_MEND = "move-or-rename-target-file"


@dataclass(frozen=True, slots=True)
class DriveState:
    """A drive and its medium. present: the drive is there and answers. medium: "" without one. blank: can be burned now.

    capacity_bytes, free_bytes: of the medium; of a stdio: file, of its file system. problem: why this drive cannot burn now, with
    the mend; None where it can.
    """

    device: str
    present: bool
    medium: str = ""
    blank: bool = False
    capacity_bytes: int = 0
    free_bytes: int = 0
    problem: Fault | None = field(default=None, compare=False)

    @property
    def state(self) -> str:
        """In one word: "blank", "written", "empty" (no disc), "unusable" or "absent"."""
        if self.blank:
            return "blank"
        if not self.present:
            return "absent"
        if not self.medium:
            return "empty"
        return "unusable" if self.capacity_bytes == 0 else "written"

    def as_dict(self) -> dict[str, object]:
        """For status files and --json. fault: what is wrong with the drive itself; a disc that is merely written is none."""
        problem = self.problem.as_dict() if self.problem else None
        return {
            "device": self.device,
            "state": self.state,
            "present": self.present,
            "medium": self.medium,
            "blank": self.blank,
            "capacity_bytes": self.capacity_bytes,
            "free_bytes": self.free_bytes,
            "problem": problem,
            "fault": problem if self.state in ("absent", "unusable") else None,
        }


@dataclass(frozen=True, slots=True)
class Toc:
    """What ``xorriso -outdev DEV -toc`` printed. Blocks are of 2048 bytes. problems: texts of SORRY and worse."""

    medium: str
    status: str
    readable_blocks: int
    writable_blocks: int
    overall_blocks: int
    problems: tuple[str, ...]


_PACKET = re.compile(r"^[RIM]:\d+: ?", re.MULTILINE)
_EVENT = re.compile(r"^(\w+) : (SORRY|MISHAP|FAILURE|FATAL|ABORT) : (.*)$", re.MULTILINE)


def parse_toc(text: str) -> Toc:
    """Pure. Lines may carry the prefixes of ``-pkt_output on``; a line that appears twice counts as its last."""
    text = _PACKET.sub("", text)

    def last(label: str) -> str:
        found = re.findall(rf"^{label} *: *(.*?)\s*$", text, re.MULTILINE)
        return str(found[-1]) if found else ""

    blocks = re.search(r"\b([0-9]{1,12}) readable , *([0-9]{1,12}) writable , *([0-9]{1,12}) overall", last("Media blocks"))
    readable, writable, overall = (int(n) for n in blocks.groups()) if blocks else (0, 0, 0)
    return Toc(
        last("Media current"), last("Media status"), readable, writable, overall, tuple(m.group(3) for m in _EVENT.finditer(text))
    )


def judge(device: str, toc: Toc, *, content_bytes: int = 0) -> DriveState:
    """Pure: the state that a table of contents means. content_bytes: size of a stdio: file that is known to hold something."""
    if not toc.medium and not toc.status:
        return DriveState(device, False, problem=_no_drive(device, toc.problems))
    if "not present" in toc.status:
        return DriveState(device, True, problem=DeviceFault("no-disc-in-drive", "insert-blank-disc", device=device))
    capacity, free = toc.overall_blocks * BLOCK, toc.writable_blocks * BLOCK
    state = DriveState(device, True, toc.medium, False, capacity, free)
    if "not recognizable" in toc.medium or "not recognizable" in toc.status:
        return _with(
            state,
            DeviceFault(
                "disc-not-recognised",
                "clean-or-replace-blank-disc",
                device=device,
            ),
        )
    if content_bytes:
        return _with(state, DeviceFault(FILE_NOT_EMPTY, FILE_NOT_EMPTY_MEND, device=device, bytes=content_bytes))
    if "blank" not in toc.status:
        return _with(state, DeviceFault(NOT_BLANK, NOT_BLANK_MEND, device=device, medium=toc.medium, status=toc.status))
    return DriveState(device, True, toc.medium, True, capacity, free)


def _with(state: DriveState, problem: Fault) -> DriveState:
    return DriveState(state.device, state.present, state.medium, False, state.capacity_bytes, state.free_bytes, problem)


def _no_drive(device: str, problems: tuple[str, ...]) -> Fault:
    text = "; ".join(problems)
    if re.search(r"busy|exclusive|in use", text, re.IGNORECASE):
        return DeviceFault("drive-busy", "wait-or-close-program-using-drive", device=device)
    return DeviceAbsent(
        "drive-unusable",
        "check-drive-cable-and-setting",
        device=device,
        why=text or "-",
    )


def stdio_path(device: str) -> Path | None:
    """The path behind a ``stdio:`` drive, None for a real one."""
    return Path(device.removeprefix(STDIO)) if device.startswith(STDIO) else None


def lies_in(device: str, folders: Iterable[Path]) -> Path | None:
    """The folder in or below which the file of a ``stdio:`` drive lies, links resolved; None for any other place and drive."""
    path = stdio_path(device)
    if path is None:
        return None
    real = Path(os.path.realpath(path))
    return next((folder for folder in folders if real.is_relative_to(os.path.realpath(folder))), None)


def look(device: str, *, timeout_s: float = 60.0) -> DriveState:
    """Looks at the drive; nothing is written and nothing raised: what is wrong stands in ``problem``."""
    try:
        content = _stdio_content(device)
        return judge(device, parse_toc(run_xorriso(["-outdev", device, "-toc"], device, timeout_s)), content_bytes=content)
    except DeviceFault as fault:
        return DriveState(device, False, problem=fault)


def _stdio_content(device: str) -> int:
    """Bytes that a stdio: drive already holds, 0 where it is blank or real. Raises DeviceFault where it cannot be written."""
    path = stdio_path(device)
    if path is None:
        _check_optical(device)
        return 0
    if not path.is_absolute():
        raise DeviceFault("drive-path-not-absolute", "write-drive-as-stdio-path", device=device)
    if not path.parent.is_dir():
        raise DeviceAbsent("drive-folder-missing", "create-folder-or-correct-drive-setting", device=device)
    try:
        if not path.exists():
            if not os.access(path.parent, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            return 0
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            mode = os.fstat(fd).st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
            size = os.lseek(fd, 0, os.SEEK_END)
            ends = os.pread(fd, MIB, 0) + os.pread(fd, MIB, max(0, size - MIB))
            return size if ends.strip(b"\0") else 0
        finally:
            os.close(fd)
    except OSError as error:
        raise DeviceFault(
            "drive-target-not-writable",
            "check-target-ownership-and-permissions",
            device=device,
            why=error.strerror,
        ) from error


def _check_optical(device: str) -> None:
    """Raises DeviceFault where the device is none, or not one of the kernel's optical drives (sr)."""
    try:
        status = Path(device).stat()
    except FileNotFoundError as error:
        raise _no_drive(device, ("No such device",)) from error
    except OSError as error:
        raise _no_drive(device, (error.strerror or str(error),)) from error
    if not (stat.S_ISBLK(status.st_mode) and os.major(status.st_rdev) == SCSI_CDROM_MAJOR):
        raise DeviceFault("device-is-no-optical-drive", "name-optical-drive", device=device)


def run_xorriso(arguments: list[str], device: str, timeout_s: float) -> str:
    """xorriso's output on both channels, whatever its exit code. Raises DeviceFault (not installed), DeviceSilent (time-out)."""
    try:
        done = subprocess.run(
            ["xorriso", "-no_rc", "-pkt_output", "on", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout_s,
            check=False,
        )
    except FileNotFoundError as error:
        raise DeviceFault("burning-program-not-installed", "install-burning-program") from error
    except subprocess.TimeoutExpired as error:
        raise DeviceSilent(
            "drive-no-answer",
            "remove-disc-and-restart-drive",
            device=device,
            seconds=round(timeout_s),
        ) from error
    return done.stdout.decode(errors="replace")


def glance(device: str) -> str:
    """A token that changes when a disc was changed; cheap, the drive does not spin up. "" where the drive is not there."""
    path = stdio_path(device)
    try:
        if path is not None and not path.exists():
            return f"folder {path.parent.stat().st_ino}"
        if path is not None:
            found = path.stat()
            return f"{found.st_ino}:{found.st_size}:{found.st_mtime_ns}"
        return str(_drive_status(device))
    except OSError:
        return ""


def _drive_status(device: str) -> int:
    fd = os.open(device, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return fcntl.ioctl(fd, _CDROM_DRIVE_STATUS, 0x7FFFFFFF)
    finally:
        os.close(fd)


def cycle_tray(
    device: str,
    *,
    by_hand: Callable[[Fault | None], object] = lambda _: None,
    timeout_s: float = 60.0,
    wait: Callable[[float], object] = time.sleep,
    now: Callable[[], float] = time.monotonic,
) -> None:
    """Ejects and reloads, so that the kernel forgets the size that the medium had before the burn. Nothing for ``stdio:``.

    A slim drive has no motor to pull the tray in: then by_hand is told what a person has to do, and None once it was done. wait:
    may raise to end the waiting. Raises DeviceFault where the disc is not back in time: timeout_s, BY_HAND_S for a person.
    """
    if stdio_path(device) is not None:
        return
    try:
        motor = _eject_and_load(device, wait)
        asked, began = False, now()
        deadline = began + timeout_s
        while (status := _drive_status(device)) != _DISC_OK:
            out = status in (_TRAY_OPEN, _NO_DISC)
            if not asked and (not motor or (out and now() - began > MOTOR_S)):
                asked, deadline = True, now() + BY_HAND_S
                by_hand(_push_it_in(device))
            if now() > deadline:
                raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
            wait(0.5)
        if asked:
            by_hand(None)
    except OSError as error:
        raise DeviceFault(
            "tray-not-closed",
            "close-tray-then-verify-disc",
            device=device,
            why=error.strerror,
        ) from error


def _eject_and_load(device: str, wait: Callable[[float], object]) -> bool:
    """False where a person has to push the tray in. Raises OSError."""
    fd = os.open(device, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.ioctl(fd, _CDROMEJECT)
        wait(1.0)
        try:
            motor = bool(fcntl.ioctl(fd, _CDROM_GET_CAPABILITY) & _CLOSE_TRAY)
            if motor:
                fcntl.ioctl(fd, _CDROMCLOSETRAY)
        except OSError:
            return False
        return motor
    finally:
        os.close(fd)


def _push_it_in(device: str) -> Fault:
    return DeviceFault(
        "tray-open-disc-unverified",
        "close-tray-with-same-disc",
        device=device,
        minutes=round(BY_HAND_S / 60),
    )


def eject(device: str) -> None:
    """Opens the tray so that the disc is taken out; a tray that stays shut loses nothing. Nothing for ``stdio:``."""
    if stdio_path(device) is not None:
        return
    try:
        fd = os.open(device, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            fcntl.ioctl(fd, _CDROMEJECT)
        finally:
            os.close(fd)
    except OSError:
        return
