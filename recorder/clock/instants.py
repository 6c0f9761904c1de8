"""Instants: CLOCK_BOOTTIME, the wall clock as RFC 3339, the grid of pictures on which a session begins and ends. Pure."""

import time
from datetime import UTC, datetime, tzinfo
from functools import cache
from pathlib import Path

SECOND_NS = 1_000_000_000
MS_NS = 1_000_000
CLOCK_STEP_NS = SECOND_NS // 2  # a wall clock that moves more than this against CLOCK_BOOTTIME was set, not slewed
PICTURE_NS = 40_000_000  # 25 pictures a second
# Five pictures. A hole up to this is no gap, and a silence up to it ends no segment; between segments it is rounding of the
# fitted clock.
GAP_FLOOR_NS = 5 * PICTURE_NS


@cache
def boot_id() -> str:
    """The kernel's identity of this boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def boottime_ns() -> int:
    """CLOCK_BOOTTIME: monotonic, runs through suspend, untouched by clock steps."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def snap_start(now_ns: int) -> int:
    """The official start for a start command at now_ns: back on the picture grid of the UTC second, never on its first slot.

    With whole seconds between start and end, the first picture then shows the official start's second and the last one,
    40 ms before the end, shows the official end's second.
    """
    start = now_ns - now_ns % PICTURE_NS
    return start - PICTURE_NS if start % SECOND_NS == 0 else start


def snap_end(start_ns: int, now_ns: int) -> int:
    """The official end for a stop command at now_ns: the first whole number of seconds after start_ns, at least one."""
    seconds = max(1, -(-(now_ns - start_ns) // SECOND_NS))
    return start_ns + seconds * SECOND_NS


def rfc3339(room_ns: int, zone: tzinfo = UTC) -> str:
    """Room time as RFC 3339 with milliseconds in the zone."""
    seconds, rest = divmod(room_ns, SECOND_NS)
    moment = datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest // 1000)
    return moment.astimezone(zone).isoformat(timespec="milliseconds").replace("+00:00", "Z")
