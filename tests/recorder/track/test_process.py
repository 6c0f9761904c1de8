"""One track's process: what is wanted is recorded, from the key frame before T0 to T1, whatever happens in between."""

import errno
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import pytest

from drivers.faults import DeviceFault
from drivers.ports import CameraAddress
from recorder.capture.camera import CameraSource
from recorder.capture.camera_identity import CameraSettings
from recorder.clock.instants import SECOND_NS, boottime_ns
from recorder.disk import journal
from recorder.disk.durable import make_folder
from recorder.disk.locks import lock_holder
from recorder.disk.sink import Sink
from recorder.evidence.continuity import Coverage, coverage
from recorder.faults import StorageFault
from recorder.media.live import LiveKind
from recorder.media.live_hub import LiveHub
from recorder.media.packets import Connected, Format, Lost, Packet
from recorder.process.local_socket import live_socket
from recorder.process.status import TrackStatus, read_status
from recorder.process.wanted import Wanted
from recorder.session.epoch import Epoch, session_epoch
from recorder.session.lines import cause_of, read_lines
from recorder.session.wall_clock import read_tie_now
from recorder.track import process, storing
from recorder.track.process import Track, TrackSettings
from recorder.track.recording import Identity, Recording
from recorder.track.storing import SETTLE_NS, STOP_GRACE_NS
from tests.equipment.camera import StandInCamera
from tests.equipment.process import wait_for
from tests.equipment.test_rtsp import pictures
from tests.recorder import media_samples
from tests.recorder.stand_ins import camera, microphone, plain, slices
from wording import Fault
from wording.sentence import Sentence

PICTURE_NS = 40_000_000


class Room:
    """The folders of one room with one session, and what its track left there."""

    def __init__(self, folder: Path, address: CameraAddress) -> None:
        self.root, self.run = folder / "数据 data", make_folder(folder / "run")
        make_folder(self.run / "status")
        self.session = make_folder(self.root / "sessions" / "s1")
        self.folder = self.session / "tracks" / "overview"
        self.epoch: Epoch = session_epoch(self.session, read_tie_now)
        self.settings = TrackSettings(
            name="overview",
            root=self.root,
            run=self.run,
            source=CameraSettings(address, (320, 180)),
            segment_ns=SECOND_NS * 14 // 25,
            preroll_ns=4 * SECOND_NS,
            latency_ns=0,
            version="0",
        )

    @property
    def now_ns(self) -> int:
        """Room time now."""
        return self.epoch.room_ns(boottime_ns())

    def want(self, start_ns: int, stop_ns: int | None = None) -> None:
        """The session is wanted."""
        Wanted("s1", start_ns, stop_ns).write(self.root / "wanted.json")

    def status(self) -> TrackStatus:
        status = read_status(self.run / "status" / "overview.json")
        assert isinstance(status, TrackStatus)
        return status

    def until(self, condition: Callable[[TrackStatus], bool], what: str, limit_s: float = 10) -> TrackStatus:
        """The track's first status for which the condition holds."""
        wait_for((self.run / "status" / "overview.json").exists, "a status")
        wait_for(lambda: condition(self.status()), what, limit_s)
        return self.status()

    @contextmanager
    def recording(self, limit_s: float = 10) -> Iterator[Track]:
        """The track at work, armed within so many seconds; it ends in good order."""
        stop, failed = threading.Event(), []
        process = Track(self.settings)

        def work() -> None:
            try:
                process.run(stop.is_set)
            except BaseException as error:
                failed.append(error)
                raise

        thread = threading.Thread(target=work)
        thread.start()
        try:
            self.until(lambda s: s.state not in ("starting", "connecting"), "a track that is ready", limit_s)
            yield process
        finally:
            stop.set()
            thread.join(10)
            assert not thread.is_alive()
            assert not failed

    def lines(self, *kinds: str) -> list[dict[str, Any]]:
        """Lines of the track's journal, its chain checked."""
        return [dict(e) for e in journal.read(self.folder / "journal.jsonl") if not kinds or e["kind"] in kinds]

    def coverage(self, start_ns: int, stop_ns: int) -> Coverage:
        return coverage(read_lines(self.lines()), start_ns, stop_ns)

    def media(self) -> list[bytes]:
        """Every packet of every listed segment, in order."""
        out = []
        for line in self.lines("segment"):
            with av.open(str(self.folder / line["file"])) as container:
                out += [bytes(p) for p in container.demux() if p.size]
        return out


# with a camera


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandInCamera]:
    with camera(tmp_path_factory.mktemp("camera")) as one:
        yield one


@pytest.fixture
def room(device: StandInCamera, tmp_path: Path) -> Iterator[Room]:
    yield Room(tmp_path, plain(device))
    device.back()


def sent(device: StandInCamera) -> list[dict[str, Any]]:
    assert device.units_log
    lines = [json.loads(line) for line in device.units_log.read_text().splitlines() if line.endswith("}")]
    return [line for line in lines if line["mount"] == "/main"]


def indexes(device: StandInCamera, media: list[bytes]) -> list[int]:
    """Which access units of the clip these are."""
    units = {pictures(unit): n for n, unit in enumerate(device._clip.units("overview", "main"))}
    return [units[slices(data)] for data in media]


def test_a_session_begins_in_memory_and_ends_at_t1_without_a_hole(room: Room, device: StandInCamera) -> None:
    with room.recording() as process:
        armed = room.until(lambda s: s.fps > 24 and s.keyframe_interval_s is not None, "measurements")
        assert (armed.state, armed.codec, armed.width, armed.height, armed.fault) == ("armed", "h264", 640, 360, None)
        assert (armed.keyframe_interval_s, armed.session, armed.bytes_session) == (0.2, None, 0)
        wait_for(lambda: len(process._writer._preroll) > 30, "a second in memory")
        assert not room.folder.exists(), "nothing is stored outside a session"
        start_ns = room.now_ns - SECOND_NS
        room.want(start_ns)
        recording = room.until(lambda s: s.segments >= 2, "segments")
        assert (recording.state, recording.session, recording.gaps, recording.finished) == ("recording", "s1", 0, None)
        assert recording.last_disk_ns is not None
        stop_ns = room.now_ns + SECOND_NS // 5
        room.want(start_ns, stop_ns)
        finished = room.until(lambda s: s.finished == "s1", "the end")
        assert finished.state == "finished"
    begin, first = room.lines()[:2]
    assert (begin["kind"], begin["session"], begin["track"], begin["start_ns"]) == ("begin", "s1", "overview", start_ns)
    assert start_ns - 200_000_000 - PICTURE_NS <= first["first_ns"] <= start_ns, "the key frame at or before T0"
    assert room.coverage(start_ns, stop_ns).gaps == ()
    ended = room.lines()[-1]
    assert (ended["kind"], ended["stop_ns"]) == ("end", stop_ns)
    media, segments = room.media(), room.lines("segment")
    assert ended["packets"] == len(media) == sum(s["packets"] for s in segments)
    at, count = indexes(device, media), len(device._clip.units("overview", "main"))
    assert at == [(at[0] + n) % count for n in range(len(at))], "none missing, none twice, over all segments"
    assert {round((s["end_ns"] - s["first_ns"]) / PICTURE_NS) for s in segments[:-1]} == {15}, "cut at the key frame that is due"
    assert all(b["first_ns"] == a["end_ns"] for a, b in pairwise(segments))
    monotonic_ns = boottime_ns() - time.monotonic_ns()
    left = [room.epoch.room_ns(line["sent_ns"] + monotonic_ns) for line in sent(device) if line["index"] % count == at[0]]
    assert min(abs(first["first_ns"] - ns) for ns in left) < 30_000_000, "room time is when the picture left the camera"


def test_a_camera_that_goes_and_comes_back_is_a_gap_with_its_cause(room: Room, device: StandInCamera) -> None:
    with closing(LiveHub(live_socket(room.run), ["overview"])) as hub, room.recording():
        room.until(lambda s: s.state == "armed", "the camera")
        live = hub.listen("overview")
        first, second = live.take(5), live.take(5)
        assert first is not None
        assert second is not None
        assert (first.kind, second.kind, second.key) == (LiveKind.FORMAT, LiveKind.DATA, True)
        start_ns = room.now_ns
        room.want(start_ns)
        room.until(lambda s: s.packets_session > 10, "packets")
        before_ns = room.now_ns
        device.gone()
        gone_ns = room.now_ns
        room.until(lambda s: s.fault is not None, "the loss")
        assert room.now_ns - gone_ns < 3 * SECOND_NS
        room.until(lambda s: s.gaps == 1, "the gap")
        wait_for(lambda: room.now_ns > gone_ns + SECOND_NS // 2, "half a second without the camera")
        device.back()
        room.until(lambda s: s.fault is None and s.reconnects == 1, "the camera")
        back = room.until(lambda s: s.session is not None and s.last_disk_ns is not None and s.fps > 24, "packets again")
        packets = back.packets_session
        room.until(lambda s: s.packets_session > packets, "packets stored")
        stop_ns = room.now_ns
        room.want(start_ns, stop_ns)
        room.until(lambda s: s.finished == "s1", "the end")
        kinds: list[LiveKind] = []
        while LiveKind.LOST not in kinds or kinds[-1] is not LiveKind.FORMAT:
            message = live.take(5)
            assert message is not None
            kinds.append(message.kind)
    (gap,) = room.coverage(start_ns, stop_ns).gaps
    assert before_ns - 2 * PICTURE_NS < gap.from_ns < gone_ns + 2 * PICTURE_NS
    assert (gap.cause.code, gap.cause.values) == ("camera-ended-connection", {"name": "overview"})
    assert [line["kind"] for line in room.lines() if line["kind"] in ("lost", "back")] == ["lost", "back"]
    assert room.lines("back")[0]["at_ns"] == gap.to_ns
    (after,) = [s for s in room.lines("segment") if s["first_ns"] == gap.to_ns]
    with av.open(str(room.folder / after["file"])) as container:
        assert next(container.demux()).is_keyframe


# timing: real packets by hand, on a clock that is set


class ByHand:
    """A track whose source and clock are moved by the test; packet *n* of the sample is sent at n·40 ms after ``zero_ns``."""

    def __init__(self, folder: Path, samples: Path, **changes: Any) -> None:
        self.room = Room(folder, CameraAddress("overview", rtsp="rtsp://127.0.0.1:9/none"))
        self.room.settings = replace(self.room.settings, **changes)
        self.format, self.packets = media_samples.video(samples, seconds=8)
        self.zero_ns = self.now_ns = boottime_ns()
        self.track = Track(self.room.settings, now=lambda: self.now_ns)

    def room_ns(self, picture: int) -> int:
        """Room time of a picture."""
        return self.room.epoch.room_ns(self.zero_ns + picture * PICTURE_NS)

    def connect(self, format_: Format | None = None) -> None:
        self.track.handle(Connected(format_ or self.format, {}))

    def turn(self) -> None:
        """What the process does between two packets."""
        self.track._writer.turn()
        self.track.report()

    def deliver(self, first: int, end: int, *, late_ns: int = 0, burst: bool = False, waiting: bool = False) -> None:
        """Pictures [first, end), late_ns late; burst: all at the time of the last; waiting: the disk's thread is held up."""
        for n in range(first, end):
            arrival_ns = self.zero_ns + (end - 1 if burst else n) * PICTURE_NS + late_ns
            self.now_ns = max(self.now_ns, arrival_ns)
            self.track.handle(replace(self.packets[n], arrival_ns=arrival_ns))
            if not waiting:
                self.turn()

    def pass_ns(self, ns: int) -> None:
        """Nothing comes for so long."""
        end = self.now_ns + ns
        while self.now_ns < end:
            self.now_ns += min(PICTURE_NS, end - self.now_ns)
            self.turn()

    def stored(self) -> list[int]:
        """Numbers of the pictures on the disk."""
        numbers = {p.data: n for n, p in enumerate(self.packets)}
        return [numbers[data] for data in self.room.media()]

    def close(self) -> None:
        """The process ends in good order."""
        self.track._writer.leave()
        self.track._live.close()

    def restart(self) -> None:
        """The process ends and another one begins."""
        self.close()
        self.track = Track(self.room.settings, now=lambda: self.now_ns)


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("samples")


@pytest.fixture
def by_hand(tmp_path: Path, samples: Path) -> Iterator[Callable[..., ByHand]]:
    made: list[ByHand] = []

    def make(**changes: Any) -> ByHand:
        made.append(ByHand(tmp_path, samples, **changes))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_the_burst_at_a_connection_s_beginning_moves_no_time(by_hand: Callable[..., ByHand]) -> None:
    hand = by_hand()
    hand.room.want(hand.room_ns(0))
    hand.connect()
    hand.deliver(0, 10, burst=True)
    assert hand.track.state == "connecting"
    assert not hand.room.folder.exists() or not hand.room.lines("open"), "its time is not known yet"
    hand.deliver(10, 60)
    assert hand.track.state == "recording"
    assert SETTLE_NS < 60 * PICTURE_NS
    hand.room.want(hand.room_ns(0), hand.room_ns(50))
    hand.pass_ns(PICTURE_NS * 4)
    hand.deliver(60, 62)
    assert hand.track.state == "finished"
    assert hand.stored()[:60] == list(range(60))
    assert hand.room.lines("open")[0]["first_ns"] == pytest.approx(hand.room_ns(0), abs=1000)
    assert hand.room.coverage(hand.room_ns(0), hand.room_ns(50)).gaps == ()


def test_the_camera_s_own_delay_is_taken_off(by_hand: Callable[..., ByHand]) -> None:
    hand = by_hand(latency_ns=120_000_000)
    hand.room.want(hand.room_ns(0))
    hand.connect()
    hand.deliver(0, 60, late_ns=120_000_000)
    assert hand.room.lines("open")[0]["first_ns"] == pytest.approx(hand.room_ns(0), abs=1000)


def test_the_end_does_not_wait_for_a_camera_that_is_silent(by_hand: Callable[..., ByHand]) -> None:
    hand = by_hand()
    start_ns, stop_ns = hand.room_ns(0), hand.room_ns(100)
    hand.room.want(start_ns)
    hand.connect()
    hand.deliver(0, 60)
    hand.room.want(start_ns, stop_ns)
    hand.pass_ns(40 * PICTURE_NS + STOP_GRACE_NS - SECOND_NS // 2)
    assert hand.track.state != "finished"
    hand.pass_ns(SECOND_NS)
    assert hand.track.state == "finished"
    (gap,) = hand.room.coverage(start_ns, stop_ns).gaps
    assert gap.from_ns - start_ns == pytest.approx(60 * PICTURE_NS, abs=1000)
    assert gap.to_ns == stop_ns


def test_what_comes_at_t1_ends_the_session_at_once(by_hand: Callable[..., ByHand]) -> None:
    hand = by_hand()
    start_ns, stop_ns = hand.room_ns(0) + 5_000_000, hand.room_ns(100) + 5_000_000
    hand.room.want(start_ns, stop_ns)
    hand.connect()
    hand.deliver(0, 101)
    assert hand.track.state != "finished"
    hand.deliver(101, 102)
    assert hand.track.state == "finished"
    assert hand.stored() == list(range(101)), "from the key frame before T0 to the last picture before T1"
    assert hand.room.coverage(start_ns, stop_ns).gaps == ()


def test_memory_begins_with_the_key_frame_before_t0(by_hand: Callable[..., ByHand]) -> None:
    hand = by_hand()
    hand.connect()
    hand.deliver(3, 110)
    start_ns = hand.room_ns(60)
    hand.room.want(start_ns, hand.room_ns(115) - 1000)
    hand.deliver(110, 125)
    assert hand.stored() == list(range(50, 115)), "a key frame is each 25 pictures"


def test_a_new_connection_goes_on_where_the_old_one_ended(by_hand: Callable[..., ByHand]) -> None:
    hand = by_hand()
    start_ns = hand.room_ns(0)
    hand.room.want(start_ns)
    hand.connect()
    hand.deliver(0, 60)
    fault = Fault("camera-ended-connection", "check-power-and-network-cable", name="overview")
    hand.track.handle(Lost(fault.as_dict()))
    hand.track.handle(Lost(fault.as_dict()))
    hand.connect(replace(hand.format))
    hand.deliver(75, 130)
    hand.room.want(start_ns, hand.room_ns(120))
    hand.deliver(130, 135)
    assert hand.track.state == "finished"
    (gap,) = hand.room.coverage(start_ns, hand.room_ns(120)).gaps
    assert [round((ns - start_ns) / PICTURE_NS) for ns in (gap.from_ns, gap.to_ns)] == [60, 75]
    assert gap.cause == Sentence("camera-ended-connection", {"name": "overview"})
    assert [len(hand.room.lines(kind)) for kind in ("lost", "back")] == [1, 1]


def test_a_process_that_was_away_goes_on_with_the_same_session(by_hand: Callable[..., ByHand]) -> None:
    hand = by_hand()
    start_ns, stop_ns = hand.room_ns(0), hand.room_ns(120)
    hand.room.want(start_ns, stop_ns)
    hand.connect()
    hand.deliver(0, 60)
    hand.restart()
    hand.connect()
    hand.deliver(50, 60, burst=True)
    hand.deliver(75, 118)
    assert (hand.track._status.session, hand.track._status.gaps) == ("s1", 1)
    hand.deliver(118, 125)
    assert hand.track.state == "finished"
    (gap,) = hand.room.coverage(start_ns, stop_ns).gaps
    assert [round((ns - start_ns) / PICTURE_NS) for ns in (gap.from_ns, gap.to_ns)] == [60, 75]
    assert gap.cause == Sentence("recording-process-asked-to-stop")
    stored = hand.stored()
    assert stored[:60] == list(range(60))
    assert stored[60:] == list(range(75, 120)), "what the new connection repeats is not stored twice"
    hand.restart()
    hand.connect()
    hand.deliver(125, 150)
    assert (hand.track.state, hand.track._status.finished) == ("finished", "s1")
    assert hand.room.lines()[-1]["kind"] == "end"


def refuse(sink: Sink) -> None:
    """The disk is full for this file from now on."""
    os.dup2(os.open("/dev/full", os.O_WRONLY), sink._fd)


def test_a_disk_that_refuses_for_a_while_costs_what_it_had_not_synced_and_no_more(by_hand: Callable[..., ByHand]) -> None:
    hand = by_hand(segment_ns=10 * SECOND_NS)
    start_ns = hand.room_ns(0)
    hand.room.want(start_ns)
    hand.connect()
    hand.deliver(0, 60)
    recording = hand.track._writer._recording
    assert recording is not None
    assert recording._open is not None
    refuse(recording._open.writer.sink)
    hand.deliver(60, 70)
    assert hand.track.state == "failed"
    assert hand.track._status.fault is not None
    hand.deliver(70, 120)
    assert hand.track.state == "recording"
    hand.room.want(start_ns, hand.room_ns(110))
    hand.deliver(120, 125)
    assert hand.track.state == "finished"
    assert hand.stored()[:110] == list(range(110)), "what the torn segment lacks came from memory; nothing is there twice"
    assert [s["recovered"] for s in hand.room.lines("segment")] == [True, False]
    assert hand.room.coverage(start_ns, hand.room_ns(110)).gaps == ()


def path_of(fd: int) -> str:
    """Of an open file."""
    return str(Path(f"/proc/self/fd/{fd}").readlink())


class ForgetfulDisk:
    """A disk that refuses one sync and never takes what was written until then, as Linux hides it: the page cache still gives it.

    ``forget`` is the cache's end, by the program's own wish or by and by.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, part: str) -> None:
        self.part, self.synced, self.lost = part, dict[str, int](), dict[str, int]()
        self.refuse = False
        self._fdatasync, self._fsync = os.fdatasync, os.fsync
        monkeypatch.setattr(os, "fdatasync", lambda fd: self._sync(fd, self._fdatasync))
        monkeypatch.setattr(os, "fsync", lambda fd: self._sync(fd, self._fsync))
        monkeypatch.setattr(os, "posix_fadvise", lambda fd, *_: self.forget(path_of(fd)))

    def _sync(self, fd: int, call: Callable[[int], None]) -> None:
        path = path_of(fd)
        if self.refuse and self.part in path:
            self.refuse = False
            self.lost[path] = self.synced.get(path, 0)
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        call(fd)
        if path not in self.lost:
            self.synced[path] = os.fstat(fd).st_size

    def forget(self, path: str) -> None:
        if path in self.lost:
            os.truncate(path, self.lost.pop(path))


def test_what_a_disk_never_took_after_a_failed_sync_is_stored_again(
    by_hand: Callable[..., ByHand], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cache gives back what the disk refused: the journal lists what the disk has, and the rest comes from memory."""
    disk = ForgetfulDisk(monkeypatch, ".mkv")
    hand = by_hand(segment_ns=10 * SECOND_NS)
    start_ns = hand.room_ns(0)
    hand.room.want(start_ns)
    hand.connect()
    hand.deliver(0, 60)
    disk.refuse = True
    hand.deliver(60, 120)
    assert not disk.refuse, "it was synced"
    hand.room.want(start_ns, hand.room_ns(110))
    hand.deliver(120, 125)
    assert hand.track.state == "finished"
    for path in list(disk.lost):
        disk.forget(path)
    for listed in hand.room.lines("segment"):
        assert (hand.room.folder / listed["file"]).stat().st_size == listed["bytes"], "what is listed is on the disk"
    assert hand.stored()[:110] == list(range(110)), "nothing is missing, nothing is there twice"
    assert hand.room.coverage(start_ns, hand.room_ns(110)).gaps == ()


def test_a_segment_that_was_cut_off_is_on_the_disk_before_it_is_listed(
    by_hand: Callable[..., ByHand], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the power may take again what the journal says is there."""
    hand = by_hand(segment_ns=10 * SECOND_NS)
    hand.room.want(hand.room_ns(0))
    hand.connect()
    hand.deliver(0, 60)
    os.close(hand.track._writer._recording._journal._journal._fd)  # type: ignore[union-attr]  # a death, as the disk sees it
    synced: list[str] = []
    fsync = os.fsync

    def sync(fd: int) -> None:
        synced.append(Path(path_of(fd)).name)
        fsync(fd)

    monkeypatch.setattr(os, "fsync", sync)
    Recording(hand.room.folder, Identity("overview", "s1", "another boot", "0"), hand.room_ns(0), SECOND_NS).close()
    assert "000000.mkv" in synced and synced.index("000000.mkv") < synced.index("journal.jsonl")
    assert [line["recovered"] for line in hand.room.lines("segment")] == [True]


def test_what_waited_in_memory_for_a_slow_disk_is_stored_to_the_last_packet(
    by_hand: Callable[..., ByHand], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storing, "TAKE_ITEMS", 16)
    hand = by_hand()
    start_ns, stop_ns = hand.room_ns(0), hand.room_ns(180)
    hand.room.want(start_ns)
    hand.connect()
    hand.deliver(0, 40)
    hand.deliver(40, 140, waiting=True)
    hand.turn()
    hand.room.want(start_ns, stop_ns)
    hand.deliver(140, 182)
    assert hand.track.state == "finished"
    assert hand.stored() == list(range(180))
    assert hand.room.coverage(start_ns, stop_ns).gaps == ()


def test_a_journal_that_refuses_for_a_while_has_every_line_once(by_hand: Callable[..., ByHand]) -> None:
    hand = by_hand(segment_ns=SECOND_NS)
    start_ns = hand.room_ns(0)
    hand.room.want(start_ns)
    hand.connect()
    hand.deliver(0, 40)
    recording = hand.track._writer._recording
    assert recording is not None
    fd = recording._journal._journal._fd
    kept = os.dup(fd)
    os.dup2(os.open("/dev/full", os.O_WRONLY), fd)
    hand.deliver(40, 90)
    assert hand.track.state == "failed"
    os.dup2(kept, fd)
    os.close(kept)
    hand.deliver(90, 120)
    assert hand.track.state == "recording"
    hand.room.want(start_ns, hand.room_ns(110))
    hand.deliver(120, 125)
    assert hand.track.state == "finished"
    assert hand.stored()[:110] == list(range(110))
    opened, listed = ([line["file"] for line in hand.room.lines(kind)] for kind in ("open", "segment"))
    assert opened == listed == sorted(set(listed))
    assert len(hand.room.lines("end")) == 1
    lost = hand.room.lines("lost")
    assert all("No space left" in cause_of(line).say() for line in lost)
    assert hand.room.coverage(start_ns, hand.room_ns(110)).gaps == ()


def test_a_disk_that_is_not_there_is_said_and_costs_nothing_when_it_is_back(by_hand: Callable[..., ByHand]) -> None:
    hand = by_hand()
    away = hand.room.session.rename(hand.room.root / "elsewhere")
    start_ns = hand.room_ns(0)
    hand.room.want(start_ns, hand.room_ns(110))
    hand.connect()
    hand.deliver(0, 50)
    status = hand.room.status()
    assert status.state == "failed"
    assert status.fault is not None
    assert (status.fault["exit_code"], status.fault["values"]) == (8, {"session": "s1", "root": str(hand.room.root)})
    away.rename(hand.room.session)
    hand.deliver(50, 80)
    assert (hand.room.status().state, hand.room.status().fault) == ("recording", None)
    hand.deliver(80, 115)
    assert hand.track.state == "finished"
    assert hand.stored() == list(range(110))
    assert hand.room.coverage(start_ns, hand.room_ns(110)).gaps == ()


def test_a_session_that_is_no_longer_wanted_is_left_in_order(by_hand: Callable[..., ByHand]) -> None:
    hand = by_hand()
    hand.room.want(hand.room_ns(0))
    hand.connect()
    hand.deliver(0, 50)
    Wanted().write(hand.room.root / "wanted.json")
    hand.deliver(50, 80)
    assert (hand.track.state, hand.track._status.session) == ("armed", None)
    assert [line["kind"] for line in hand.room.lines()][-2:] == ["segment", "lost"]


# the recording itself, where a process dies at the worst moment


def begin(folder: Path) -> Recording:
    return Recording(folder, Identity("overview", "s1", "boot-1", "0"), 0, SECOND_NS)


def write(recording: Recording, format_: Format, packets: list[Packet]) -> None:
    for packet in packets:
        recording.write(packet, packet.arrival_ns, format_, 0.0)


def test_a_segment_that_was_announced_and_never_made_is_listed_once_and_its_name_not_used_again(tmp_path: Path) -> None:
    format_, packets = media_samples.video(tmp_path)
    folder = tmp_path / "overview"
    first = begin(folder)
    write(first, format_, packets[:30])
    first.lost(Fault("camera-ended-connection", "check-power-and-network-cable", name="overview"), 0.0)
    first._journal.announce("open", file="000002.mkv", first_ns=0, codec="h264")  # and then the process died
    first.close()
    second = begin(folder)
    write(second, format_, packets[50:60])
    second.give_up(Fault("camera-ended-connection", "check-power-and-network-cable", name="overview"))
    second.flush()
    second.close()
    begin(folder).close()
    lines = [dict(e) for e in journal.read(folder / "journal.jsonl")]
    assert [(e["file"], e["present"]) for e in lines if e["kind"] == "empty"] == [("000002.mkv", False)]
    files = [e["file"] for e in lines if e["kind"] == "segment"]
    assert files == ["000000.mkv", "000001.mkv", "000003.mkv"]


def test_a_file_that_cannot_be_closed_takes_no_other_file_with_it(tmp_path: Path) -> None:
    format_, packets = media_samples.video(tmp_path)
    recording = begin(tmp_path / "overview")
    write(recording, format_, packets[:20])
    assert recording._open is not None
    recording._open.writer.sink.error = OSError(28, os.strerror(28))
    with pytest.raises(StorageFault, match="No space left") as caught:
        recording.lost(Fault("camera-ended-connection", "check-power-and-network-cable", name="overview"), 0.0)
    others = [os.open(tmp_path, os.O_RDONLY) for _ in range(5)]
    recording.give_up(caught.value)
    for other in others:
        os.fstat(other)
        os.close(other)
    recording.flush()
    recording.close()


def test_what_a_full_disk_keeps_from_being_announced_is_announced_once(tmp_path: Path) -> None:
    format_, packets = media_samples.video(tmp_path)
    recording = begin(tmp_path / "overview")
    fd = recording._journal._journal._fd
    kept = os.dup(fd)

    def full(act: Callable[[], None]) -> None:
        os.dup2(os.open("/dev/full", os.O_WRONLY), fd)
        with pytest.raises(StorageFault) as caught:
            act()
        recording.give_up(caught.value)
        os.dup2(kept, fd)

    full(lambda: write(recording, format_, packets[:1]))
    write(recording, format_, packets[:10])
    full(lambda: recording.end(10 * PICTURE_NS, 0.0))
    recording.end(10 * PICTURE_NS, 0.0)
    recording.flush()
    recording.close()
    os.close(kept)
    lines = [dict(e) for e in journal.read(tmp_path / "overview" / "journal.jsonl")]
    assert [e["kind"] for e in lines] == ["begin", "lost", "open", "back", "segment", "lost", "end"]
    assert cause_of(lines[1]) == cause_of(lines[5])
    assert "No space left" in cause_of(lines[1]).say()
    assert coverage(read_lines(lines), 0, 10 * PICTURE_NS).gaps == ()


def test_what_waits_for_the_track_is_taken_to_the_last_item(
    by_hand: Callable[..., ByHand], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "TAKE_ITEMS", 16)
    hand = by_hand()
    hand.room.want(hand.room_ns(0), hand.room_ns(150))
    hand.connect()
    hand.deliver(0, 40)
    items = hand.track._source.items
    for n in range(40, 160):
        hand.now_ns = hand.zero_ns + n * PICTURE_NS
        items.put(replace(hand.packets[n], arrival_ns=hand.now_ns))
    while not items.empty():
        hand.track._take()
        hand.turn()
    assert hand.stored() == list(range(150))


def test_pictures_that_come_out_of_order_at_t1_are_stored_with_what_they_refer_to(by_hand: Callable[..., ByHand]) -> None:
    hand = by_hand()
    start_ns, stop_ns = hand.room_ns(0), hand.room_ns(104)
    hand.room.want(start_ns, stop_ns)
    hand.connect()
    decoding = [0, *(n for third in range(1, 150, 3) for n in (third + 2, third, third + 1))]
    for place, n in enumerate(decoding):
        hand.now_ns = hand.zero_ns + place * PICTURE_NS + 2 * PICTURE_NS
        hand.track.handle(replace(hand.packets[n], arrival_ns=hand.now_ns))
        hand.turn()
    assert hand.track.state == "finished"
    assert hand.stored() == decoding[:105], "105 is shown past T1, and 103 before it refers to it"
    assert hand.room.coverage(start_ns, stop_ns).gaps == ()


def test_a_disk_that_is_back_after_the_end_gets_what_waited(by_hand: Callable[..., ByHand]) -> None:
    hand = by_hand()
    start_ns, stop_ns = hand.room_ns(0), hand.room_ns(90)
    hand.room.want(start_ns)
    hand.connect()
    hand.deliver(0, 60)
    away = hand.room.folder.with_name("away")
    hand.room.folder.rename(away)
    refuse(open_sink(hand))
    hand.room.want(start_ns, stop_ns)
    hand.deliver(60, 150)
    assert hand.now_ns > hand.zero_ns + 90 * PICTURE_NS + STOP_GRACE_NS
    assert hand.track.state == "failed"
    away.rename(hand.room.folder)
    hand.deliver(150, 190)
    assert hand.track.state == "finished"
    assert hand.stored() == list(range(90))


def open_sink(hand: ByHand) -> Sink:
    recording = hand.track._writer._recording
    assert recording is not None
    assert recording._open is not None
    return recording._open.writer.sink


def test_an_epoch_that_cannot_be_written_is_written_when_it_can(by_hand: Callable[..., ByHand]) -> None:
    hand = by_hand()
    epochs, away = hand.room.session / "epochs", hand.room.session / "away"
    epochs.rename(away)
    epochs.write_text("in the way")
    hand.room.want(hand.room_ns(0))
    hand.connect()
    hand.deliver(0, 60)
    assert hand.track.state == "failed"
    epochs.unlink()
    away.rename(epochs)
    hand.room.want(hand.room_ns(0), hand.room_ns(100))
    hand.deliver(60, 102)
    assert hand.track.state == "finished"
    assert hand.stored() == list(range(100))


def test_nothing_is_written_into_a_session_that_has_its_seal(by_hand: Callable[..., ByHand]) -> None:
    hand = by_hand()
    for name in ("manifest.json", "manifest.sig"):
        (hand.room.session / name).write_text("{}")
    (epoch,) = (hand.room.session / "epochs").iterdir()
    epoch.unlink()
    hand.room.want(hand.room_ns(0), hand.room_ns(30))
    hand.connect()
    hand.deliver(0, 40)
    assert hand.track.state == "finished"
    hand.now_ns += SECOND_NS
    hand.turn()
    assert hand.room.status().finished == "s1", "whoever waits for the end of this track has it"
    assert not hand.room.folder.exists()
    assert list((hand.room.session / "epochs").iterdir()) == []


def test_what_nobody_foresaw_stops_storing_for_a_moment_only(
    by_hand: Callable[..., ByHand], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Path) -> bool:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    hand = by_hand()
    hand.room.want(hand.room_ns(0))
    hand.connect()
    with monkeypatch.context() as disk:
        disk.setattr(storing, "is_sealed", broken)
        hand.deliver(0, 40)
        assert hand.track.state == "failed"
    hand.room.want(hand.room_ns(0), hand.room_ns(90))
    hand.deliver(40, 92)
    assert hand.track.state == "finished"
    assert hand.stored() == list(range(90))


def test_a_track_that_cannot_store_ends_so_that_it_is_started_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storing.DiskWriter, "run", lambda _: None)
    room = Room(tmp_path, CameraAddress("overview", rtsp="rtsp://127.0.0.1:9/none"))
    with pytest.raises(RuntimeError, match="storing thread"):
        Track(room.settings).run(lambda: False)


# a driver that does not come back


def test_only_what_is_lived_through_without_a_sign_of_life_counts(by_hand: Callable[..., ByHand]) -> None:
    hand = by_hand()
    source = hand.track._source

    def pass_s(seconds: float, step_s: float = 0.1) -> None:
        for _ in range(round(seconds / step_s)):
            hand.now_ns += round(step_s * SECOND_NS)
            hand.track.check_source()

    for _ in range(3):  # the longest pauses there are: a camera that refuses, or is asked who it is
        source.beat()
        pass_s(16)
    hand.now_ns += 3600 * SECOND_NS  # the PC was suspended
    hand.track.check_source()
    pass_s(20)
    source.beat()
    pass_s(30)
    hand.track._writer._busy_since_ns = hand.now_ns - 3 * SECOND_NS  # the disk stands still
    pass_s(120)
    hand.track._writer._busy_since_ns = None
    with pytest.raises(DeviceFault, match=r"driver of overview has not come back for 40 s"):
        pass_s(15)
    assert hand.track._source_fault is not None
    assert hand.track._source_fault["values"] == {"name": "overview", "seconds": 40}


def test_a_device_that_is_absent_refuses_or_delivers_into_a_full_queue_gives_signs_of_life(
    device: StandInCamera, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within each pause that is in order: of 10 s after a refusal, which is made shorter here, and of 1 s otherwise."""
    monkeypatch.setattr("recorder.capture.source.REFUSED_BACKOFF_S", 1.0)
    monkeypatch.setattr("recorder.capture.source.QUEUE_ITEMS", 10)
    nobody = CameraAddress("overview", rtsp="rtsp://127.0.0.1:9/none")
    for address in (nobody, plain(device, password="wrong"), plain(device)):
        source = CameraSource(CameraSettings(address, (320, 180)))
        source.start()
        try:
            if address.password == device.password:
                wait_for(source.items.full, "nobody takes what comes", 10)
            for _ in range(3):
                beats = source.beats
                wait_for(lambda: source.beats > beats, "a sign of life", 4)  # noqa: B023  # waited for within the loop
        finally:
            source.stop()
            source.join(5)


HUNG = """
import logging, sys
from pathlib import Path
from recorder.track import process as track
from recorder.capture.microphone import MicrophoneSettings
logging.basicConfig(level=logging.INFO)
track.STUCK_NS = 6 * 10**9
root, run = map(Path, sys.argv[1:])
track.run(track.TrackSettings("microphone", root, run, MicrophoneSettings("default", 48000, 1), 10**9, 4 * 10**9, 0, "0"))
"""


def test_a_process_whose_sound_driver_does_not_come_back_stores_what_it_has_and_ends(tmp_path: Path) -> None:
    """A sound server that hangs holds PortAudio's closing and opening up for ever."""
    room = Room(tmp_path, CameraAddress("overview", rtsp="rtsp://127.0.0.1:9/none"))
    room.folder = room.session / "tracks" / "microphone"
    start_ns = room.now_ns
    room.want(start_ns)
    status = room.run / "status" / "microphone.json"
    with (
        microphone(tmp_path) as pickup,
        subprocess.Popen(
            [sys.executable, "-c", HUNG, room.root, room.run],
            env={**os.environ, **pickup.env, "PYTHONPATH": str(Path(__file__).parents[3])},
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        try:
            wait_for(lambda: status.exists() and read_status(status).packets_session > 50, "sound is stored", 20)  # type: ignore[union-attr]
            pickup.frozen()
            wait_for(lambda: process.poll() is not None, "it ends by itself", 25)
            assert process.stderr is not None
            said = process.stderr.read()
        finally:
            process.kill()
            pickup.back()
    assert process.returncode == 1, "not a signal"
    assert "source is stuck, the process ends" in said
    assert "process stopped" in said
    assert "DeviceFault: The driver of microphone has not come back for 6 s" in said
    assert not status.exists()
    assert lock_holder(room.run / "lock" / "microphone.lock") is None
    *_, segment, lost = room.lines()
    assert (segment["kind"], segment["recovered"], lost["kind"]) == ("segment", False, "lost")
    assert "has delivered nothing" in cause_of(lost).say(), "the loss is told with its own cause"
    assert sum(line["samples"] for line in room.lines("segment")) > 48_000 * 2
