"""Authoring a disc image, measured against xorriso as mkisofs and against cp on the same files, in interleaved runs.

    bench/author [--json] [--gib N] [--runs N] [--dir D]

The product's part is what `room-agent disc author` does once the MP4s are there: the bag, the plan, the stream into a file, with
the whole image hashed on the way (xorriso and cp hash nothing). A process of its own each; the disk is synced before each run,
not within. Ends with one JSON line: ratio_to_xorriso and ratio_to_cp, medians of the ratios of neighbouring
runs, below 1 is faster; rss_mb, the product's largest resident memory.
"""

import argparse
import hashlib
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from burner.disc.bag import bag
from burner.disc.image import Entry, ImagePlan

PARTS = {"composite/composite-01": 0.4, "originals/overview-01": 0.3, "originals/closeup-01": 0.3}


def make_files(folder: Path, gib: float) -> None:
    """data/ as a bag has it: three large files of noise."""
    noise = [os.urandom(1 << 20) for _ in range(16)]
    for name, share in PARTS.items():
        path = folder / "data" / f"{name}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "wb") as file:
            for number in range(max(1, round(gib * share * 1024))):
                file.write(noise[(number * 7) % 16])
    (folder / "data" / "manifest.json").write_bytes(noise[0][:50_000])


def author(folder: Path, digests: Path, out: Path) -> None:
    """The measured process of the product."""
    known = json.loads(digests.read_text())
    entries = [Entry(name, folder / name, (folder / name).stat().st_size, sha256) for name, sha256 in known.items()]
    plan = ImagePlan(bag(entries, {"External-Identifier": "bench"}), "EV20261121_001")
    with open(out, "wb", buffering=0) as file:
        written = plan.write_to(file.write, check=False)
    if out.stat().st_size != written.bytes:
        raise SystemExit("the image is not whole")


def timed(command: list[str], leftover: Path) -> tuple[float, int]:
    """Wall seconds and largest resident memory (MiB) of a command; what it made is removed."""
    os.sync()
    start = time.monotonic()
    null = os.open(os.devnull, os.O_RDWR)
    pid = os.posix_spawnp(command[0], command, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, null, n) for n in (0, 1, 2)])
    _, status, usage = os.wait4(pid, 0)
    seconds = time.monotonic() - start
    os.close(null)
    if status:
        raise SystemExit(f"{command[0]} failed: {os.waitstatus_to_exitcode(status)}")
    shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
    return seconds, usage.ru_maxrss // 1024


def main() -> None:
    """The outer process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="only the JSON line")
    parser.add_argument("--gib", type=float, default=1.0, help="size of the files, GiB (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=5, help="runs of each (default: %(default)s)")
    parser.add_argument(
        "--dir", type=Path, default=None, help="folder on the disk to measure (default: the system's temporary one)"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-author-", dir=arguments.dir) as temporary:
        folder, out = Path(temporary) / "bag", Path(temporary) / "out"
        make_files(folder, arguments.gib)
        known = {}
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            with open(path, "rb") as file:
                known[path.relative_to(folder).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
        digests = Path(temporary) / "digests.json"
        digests.write_text(json.dumps(known))
        commands = {
            "author": [sys.executable, "-m", "bench.author_cost", "--author", str(folder), str(digests), str(out)],
            "xorriso": [
                "xorriso",
                "-no_rc",
                "-as",
                "mkisofs",
                "-quiet",
                "-iso-level",
                "3",
                "-r",
                "-J",
                "-o",
                str(out),
                str(folder),
            ],
            "cp": ["cp", "-r", "--reflink=never", "--sparse=never", str(folder), str(out)],
        }
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        rss_mb = 0
        for run in range(arguments.runs + 1):  # the first one warms the page cache
            for name, command in commands.items():
                taken, memory = timed(command, out)
                if run:
                    seconds[name].append(taken)
                    rss_mb = max(rss_mb, memory) if name == "author" else rss_mb
            if run and not arguments.json:
                print(", ".join(f"{name} {taken[-1]:.2f} s" for name, taken in seconds.items()), flush=True)

    def ratio(other: str) -> float:
        return round(statistics.median(a / b for a, b in zip(seconds["author"], seconds[other], strict=True)), 3)

    medians = {name: round(statistics.median(taken), 3) for name, taken in seconds.items()}
    answer = {"ratio_to_xorriso": ratio("xorriso"), "ratio_to_cp": ratio("cp"), "rss_mb": rss_mb}
    print(json.dumps({**answer, "gib": arguments.gib, "runs": arguments.runs, "seconds": medians}))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--author"]:
        author(*(Path(a) for a in sys.argv[2:5]))
    else:
        main()
