"""Bounds of a process that reads what a device in the network answers: it can take neither the PC's memory nor its files."""

import resource
from contextlib import suppress
from pathlib import Path

ADDRESS_SPACE = 512 << 20  # asking a camera takes 60 MiB of it
FILES = 64  # opened at once
KILLED_FIRST = 500  # proc(5), oom_score_adj: when the PC's memory ends, this process goes before any that records


def confine() -> None:
    """Sets the bounds, for this process and for good."""
    for what, most in ((resource.RLIMIT_AS, ADDRESS_SPACE), (resource.RLIMIT_NOFILE, FILES), (resource.RLIMIT_CORE, 0)):
        hard = resource.getrlimit(what)[1]
        bound = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (bound, bound))
    with suppress(OSError):  # it stands higher already
        Path("/proc/self/oom_score_adj").write_text(str(KILLED_FIRST), encoding="ascii")
