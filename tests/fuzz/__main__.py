"""The long run: ``python -m tests.fuzz [--minutes N] [--only PARSER] [--seed N]``; ``./check --fuzz`` calls it.

Each parser is tried in a process of its own, within 3 GiB of memory: an input that kills it, hangs it or fills its memory is a
crash as well. Each crash is written to ``corpus/<parser>/``, where every later run tries it again. What reached new lines is kept
in ``.cache/fuzz/<parser>/`` for the next run. The last line is JSON: parsers that passed, failed, and were skipped.
"""

import argparse
import json
import logging
import resource
import shutil
import signal
import sys
import time
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType

from tests.fuzz.running import CORPUS, Crash, try_on
from tests.fuzz.target import Slow, Target, file_name
from tests.fuzz.targets import TARGETS

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".cache" / "fuzz"
MEMORY_BYTES = 3 << 30
HANG_S = 30  # of the wall clock, for one input
GRACE_S = 60.0  # for what stands around a parser, and for making crashes smaller


def main() -> int:
    """Zero where no parser crashed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Breaks the input of every parser, for long.")
    parser.add_argument("--minutes", type=float, default=10.0, help="of the whole run")
    parser.add_argument("--only", choices=[target.name for target in TARGETS], help="one parser")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="for the same run again")
    given = parser.parse_args()
    chosen = [target for target in TARGETS if given.only in (None, target.name)]
    seconds = 60 * given.minutes / len(chosen)
    print(f"{len(chosen)} parsers, {seconds:.0f} s each, seed {given.seed}", flush=True)
    failed = sum(not tried_apart(target, seconds, given.seed) for target in chosen)
    print(json.dumps({"passed": len(chosen) - failed, "failed": failed, "skipped": len(TARGETS) - len(chosen)}))
    return 1 if failed else 0


def tried_apart(target: Target, seconds: float, seed: int) -> bool:
    """Tries a parser in a process of its own. Whether it kept its promise."""
    with TemporaryDirectory() as folder:
        process = get_context("fork").Process(target=child, args=(target, Path(folder), seconds, seed))
        process.start()
        process.join(seconds + HANG_S + GRACE_S)
        if process.is_alive():
            process.kill()
            process.join()
        last = Path(folder) / "now"
        if process.exitcode not in (0, 1) and last.exists():
            write(Crash(target.name, last.read_bytes(), Slow(f"the process ended with {process.exitcode}")))
        return process.exitcode == 0


def child(target: Target, folder: Path, seconds: float, seed: int) -> None:
    """The process of one parser, which ends with 1 where there was a crash. folder: for the input that is tried now."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGALRM, _hangs)
    logging.disable()
    work = folder / "work"
    work.mkdir()
    began = time.monotonic()
    known = [path.read_bytes() for path in sorted((CACHE / target.name).glob("*"))]
    noted = Noted(target, folder / "now")
    crashes, tried, kept = try_on(noted.target, work, seconds, seed=seed, known=known)
    shutil.rmtree(CACHE / target.name, ignore_errors=True)
    (CACHE / target.name).mkdir(parents=True)
    for data in kept:
        (CACHE / target.name / file_name(data)).write_bytes(data)
    for crash in crashes:
        write(crash)
    spent = time.monotonic() - began
    print(f"{'FAILED' if crashes else 'ok':6} {target.name:18} {tried:8} cases {spent:6.0f} s  {len(kept):4} kept", flush=True)
    sys.exit(1 if crashes else 0)


class Noted:
    """A target whose input is on the disk while it is tried, and ends after HANG_S."""

    def __init__(self, target: Target, path: Path) -> None:
        self._call, self._path = target.call, path
        fields = {name: getattr(target, name) for name in Target.__slots__}
        self.target = Target(**{**fields, "call": self.call})

    def call(self, data: bytes, *around: object) -> object:
        self._path.write_bytes(data)
        signal.alarm(HANG_S)
        try:
            return self._call(data, *around)
        finally:
            signal.alarm(0)


def _hangs(_number: int, _frame: FrameType | None) -> None:
    raise Slow(f"more than {HANG_S} s")


def write(crash: Crash) -> None:
    """Puts the input where it is tried from now on, and says what it does."""
    path = CORPUS / crash.target / file_name(crash.data)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(crash.data)
    what = f"{type(crash.error).__name__}: {str(crash.error)[:200]!a}"
    print(f"crash of {crash.target}: {crash.kind}: {what}; {len(crash.data)} bytes in {path.relative_to(ROOT)}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
