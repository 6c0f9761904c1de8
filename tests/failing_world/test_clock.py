"""The PC's wall clock is set, or set late, or summer time ends: the recording does not notice, and the record tells of it.

The clock is changed under the product's processes (world.py); this PC's own, and the stand-ins', stay as they are.
"""

import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import av
import cv2
import numpy as np
import pytest

from recorder.clock.instants import PICTURE_NS, boottime_ns
from recorder.composite.overlay import OverlayFields, OverlayText, overlay_text
from recorder.composite.picture import STRIP_HEIGHT
from recorder.composite.plates import render_strip
from tests.demo.subscriber import Subscriber
from tests.failing_world.account import events, happened_ns, whole
from tests.failing_world.machine import Machine
from tests.live_room import SECOND, wait_for

pytestmark = [pytest.mark.timeout(180), pytest.mark.whole]

TELLS_S = 3.0
MEASURED_S = 45.0  # what a time server says is asked for every half minute
ZONE = ZoneInfo("Europe/Berlin")
Json = dict[str, Any]


class Session:
    """A session of which the test knows how long it was: between ``least_s`` and ``most_s``, by a clock that nobody sets."""

    def __init__(self, pc: Machine) -> None:
        self.pc = pc
        self._before_ns = boottime_ns()
        self.started = pc.start()
        self._after_ns = boottime_ns()

    def stop(self) -> Json:
        """Its manifest, after everything that holds of a session in which only the wall clock was set."""
        least_s = (boottime_ns() - self._after_ns) / SECOND
        stopped = self.pc.stop()
        most_s = (boottime_ns() - self._before_ns) / SECOND + 1  # the end is at a whole second
        start, end = (datetime.fromisoformat(stopped[key]) for key in ("official_start", "official_end"))
        assert stopped["official_start"] == self.started["official_start"]
        assert least_s <= (end - start).total_seconds() <= most_s
        manifest = whole(self.pc, self.started)
        assert (end - start) / timedelta(microseconds=1) * 1000 == manifest["end_ns"] - manifest["start_ns"]
        boottimes = [(tie["boottime_ns"], tie["room_ns"]) for tie in manifest["ties"]]
        assert all(b[0] - a[0] == b[1] - a[1] > 0 for a, b in pairwise(boottimes)), "room time goes as the PC's own clock goes"
        self.pc.verified(self.started)
        return manifest


def steps(pc: Machine, started: Json) -> list[Json]:
    """Of the wall clock, by the session's journal."""
    return [entry for entry in pc.session_journal(started) if entry.get("event") == "clock-step"]


def check_step(pc: Machine, feed: Subscriber, session: Session, set_ns: int, by_s: float) -> None:
    """One step, told in the journal and on the feed within 3 s."""
    (step,) = wait_for(lambda: steps(pc, session.started), "the step is in the journal")
    assert step["step_s"] == pytest.approx(by_s, abs=0.2)
    (told,) = wait_for(lambda: events(feed, "clock-step", state="recording"), "the feed tells of it")
    assert told["data"]["step_s"] == pytest.approx(by_s, abs=0.2)
    assert happened_ns(told) - pc.on_boot_ns(set_ns) < TELLS_S * SECOND


def off_s(tie: Json) -> float:
    """The wall clock against room time, by a tie."""
    return float((tie["utc_ns"] - tie["room_ns"]) / SECOND)


@pytest.mark.parametrize("hours", [1, -1])
def test_the_wall_clock_is_set_in_mid_session(pc: Machine, pc_feed: Subscriber, hours: int) -> None:
    """An hour forwards or back: every duration stays right, and the step, with a tie behind it, is in journal and manifest."""
    wait_for(pc_feed.lines, "the feed is heard")
    session = Session(pc)
    pc.record_for(2.0)
    set_ns = pc.world.set_wall(3600.0 * hours)
    check_step(pc, pc_feed, session, set_ns, 3600.0 * hours)
    pc.record_on(2.0)
    manifest = session.stop()
    before = [tie for tie in manifest["ties"] if tie["boottime_ns"] < pc.on_boot_ns(set_ns)]
    after = [tie for tie in manifest["ties"] if tie["boottime_ns"] > pc.on_boot_ns(set_ns)]
    assert before
    assert len(after) >= 2, "at the step, and at the stop"
    assert all(abs(off_s(tie)) < 0.2 for tie in before)
    assert all(abs(off_s(tie) - 3600 * hours) < 0.2 for tie in after)
    assert after[0]["boottime_ns"] - pc.on_boot_ns(set_ns) < TELLS_S * SECOND


def test_the_time_server_comes_late(pc: Machine, pc_feed: Subscriber) -> None:
    """A session begins by a clock that is 40 s slow and says so; when it is set right, that is told and moves nothing."""
    wait_for(pc_feed.lines, "the feed is heard")
    pc.world.synchronised = False
    pc.world.set_wall(-40.0)
    pc.kill_agent()  # another one measures the clock at once
    pc.start_agent()
    wait_for(lambda: clock_offset_s(pc_feed) == pytest.approx(-40.0, abs=1.0), "the agent has measured the clock", MEASURED_S)
    session = Session(pc)
    begin = datetime.fromisoformat(session.started["official_start"]).timestamp()
    assert begin - time.time() == pytest.approx(-40.0, abs=5.0)
    pc.record_for(2.0)
    pc.world.synchronised = True
    set_ns = pc.world.set_wall(0.0)
    check_step(pc, pc_feed, session, set_ns, 40.0)
    wait_for(lambda: abs(clock_offset_s(pc_feed)) < 1.0, "the agent has measured the clock again", MEASURED_S)
    pc.record_on(1.0)
    manifest = session.stop()
    first, last = manifest["ties"][0], manifest["ties"][-1]
    assert (first["source"], last["source"]) == ("unsynchronised", "ntp")
    assert first["offset_s"] == pytest.approx(-40.0, abs=0.5), "by how much the official start is wrong can be read"
    assert last["offset_s"] == pytest.approx(0.0, abs=0.5)
    assert off_s(first) == pytest.approx(0.0, abs=0.2)
    assert off_s(last) == pytest.approx(40.0, abs=0.2)
    assert {epoch["source"] for epoch in manifest["epochs"]} == {"unsynchronised"}


def clock_offset_s(feed: Subscriber) -> float:
    """What the newest health of the clock says; far off where none came."""
    for line in reversed(feed.lines()):
        if line["topic"].endswith("/device/clock"):
            offset_s = line["payload"]["measurements"].get("offset", {}).get("value")
            return 1e9 if offset_s is None else float(offset_s)
    return 1e9


def test_summer_time_ends_in_mid_session(pc: Machine) -> None:
    """At 3 it is 2 again: the official times tell which hour is meant, and so does the overlay; no second is lost or twice."""
    change = datetime(2026, 10, 25, 1, 0, 0, tzinfo=ZoneInfo("UTC"))
    pc.world.set_wall((change - timedelta(seconds=5)).timestamp() - time.time())
    session = Session(pc)
    assert session.started["official_start"].startswith("2026-10-25T02:59:5")
    assert session.started["official_start"].endswith("+02:00")
    pc.record_for(8.0)
    manifest = session.stop()
    assert manifest["official_end"].startswith("2026-10-25T02:00:0")
    assert manifest["official_end"].endswith("+01:00")
    composite = pc.session_folder(session.started) / manifest["composite"]["parts"][0]
    fields = OverlayFields("调查询问室一", manifest["case"]["number"], 23.4, 45.0)
    for n, strip in strips(composite):
        moments = [datetime.fromtimestamp((manifest["start_ns"] + n * PICTURE_NS) // SECOND + s, ZONE) for s in (0, 3600, -3600)]
        texts = [overlay_text(moment, fields, "zh") for moment in moments]
        assert len(set(texts)) == 3, "each instant has a text of its own"
        assert nearest(strip, texts) == 0, f"picture {n} shows another time than {texts[0]}"


def strips(path: Path) -> Iterator[tuple[int, np.ndarray[Any, Any]]]:
    """The overlay line of one picture a second, with the picture's number."""
    with av.open(str(path)) as container:
        for n, frame in enumerate(container.decode(video=0)):
            if n % 25 == 12:
                yield n, frame.to_ndarray(format="gray")[:STRIP_HEIGHT]


def nearest(strip: np.ndarray[Any, Any], texts: Sequence[OverlayText]) -> int:
    """Which of the texts the line shows: the one whose letters are the bright ones."""
    masks = [cv2.GaussianBlur(render_strip(text).luma, (3, 3), 0).astype(float) for text in texts]
    return int(np.argmin([np.abs(strip.astype(float) - mask).mean() for mask in masks]))
