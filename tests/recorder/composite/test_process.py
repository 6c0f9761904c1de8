"""The composite: whole to the picture from T0 to T1, showing and sounding what was there at each instant."""

import hashlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import av
import numpy as np
import pytest

from recorder.clock.instants import PICTURE_NS, SECOND_NS, boot_id, boottime_ns, snap_start
from recorder.composite import process as composer_module
from recorder.composite.encoder import EncoderSettings
from recorder.composite.inputs import VideoInputSettings
from recorder.composite.overlay import OverlayFields, OverlayText, overlay_text
from recorder.composite.part import SAMPLES_PER_PICTURE, SOUND_HZ, Part
from recorder.composite.picture import HEIGHT, STRIP_HEIGHT, WIDTH, inset_rect, new_canvas
from recorder.composite.plates import render_strip
from recorder.composite.process import Composer
from recorder.composite.recording import Composite
from recorder.composite.settings import ComposerSettings
from recorder.disk import journal
from recorder.disk.durable import make_folder
from recorder.disk.sink import Sink
from recorder.evidence.continuity import DIED, GIVEN_UP, composite_coverage
from recorder.faults import StorageFault
from recorder.media.live import LiveKind, LiveMessage, data_message, format_message
from recorder.media.live_publisher import LivePublisher
from recorder.process.local_socket import live_socket
from recorder.process.status import ClimateStatus, ComposerStatus, read_status
from recorder.process.wanted import Wanted
from recorder.session.epoch import Epoch, session_epoch
from recorder.session.lines import read_lines
from recorder.session.tracks import TRACKS
from recorder.session.wall_clock import read_tie_now
from tests.equipment.process import wait_for
from tests.recorder import media_samples
from wording.sentence import Sentence

FAST = EncoderSettings(30, "ultrafast", 64)
T0 = 1_795_000_000_280_000_000
ZONE = ZoneInfo("Asia/Shanghai")
INSET = inset_rect(480, 270, "bottom-right")
CASE = "温综执〔2026〕1号"


def lines(folder: Path, *kinds: str) -> list[dict[str, Any]]:
    """Lines of a composite's journal, its chain checked."""
    return [dict(e) for e in journal.read(folder / "journal.jsonl") if not kinds or e["kind"] in kinds]


# one session's folder


def fill(part: Part, pictures: int) -> None:
    """So many grey pictures with silence, encoded when this returns."""
    before = part.pictures
    silence = np.zeros(SAMPLES_PER_PICTURE, np.float32)
    for n in range(pictures):
        canvas = new_canvas() if part.free.empty() else part.free.get()
        part.put(canvas, silence, boottime_ns())
        assert part.pictures <= before + n + 1
    wait_for(lambda: part.pictures == before + pictures, "the encoder")


def end(composite: Composite, due: int) -> None:
    """Until every torn part is read back."""

    def ended() -> bool:
        composite.end(due)
        return composite.ended

    wait_for(ended, "the composite's end")


def test_a_composite_lists_its_parts_and_its_end(tmp_path: Path) -> None:
    composite = Composite(tmp_path / "composite", "s1", T0, "0")
    assert composite.fresh
    part = composite.open(FAST, 0)
    assert not composite.fresh
    fill(part, 30)
    composite.sound_missing(7)
    assert (composite.pictures_now, composite.pictures) == (30, 0)
    composite.end(30)
    assert (composite.ended, composite.part, composite.pictures, composite.parts) == (True, None, 30, 1)
    composite.release()
    begin, opened, listed, ended = lines(composite.folder)
    assert (begin["kind"], begin["session"], begin["start_ns"], begin["boot_id"]) == ("begin", "s1", T0, boot_id())
    assert (opened["kind"], opened["file"], opened["first_picture"]) == ("part-open", "part-001.mp4", 0)
    data = (composite.folder / "part-001.mp4").read_bytes()
    assert {k: listed[k] for k in listed if k not in ("seq", "at", "kind", "prev")} == {
        "file": "part-001.mp4",
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "first_picture": 0,
        "pictures": 30,
        "start_ns": T0,
        "end_ns": T0 + 30 * PICTURE_NS,
        "samples": 30 * SAMPLES_PER_PICTURE,
        "samples_missing": 7,
        "damaged": {},
        "recovered": False,
    }
    assert (ended["kind"], ended["pictures_due"], ended["pictures_written"]) == ("end", 30, 30)

    again = Composite(tmp_path / "composite", "s1", T0, "0")
    assert (again.ended, again.pictures, again.parts, again.fresh) == (True, 30, 1, False)
    again.release()
    assert len(lines(composite.folder)) == 4, "an ended composite stays as it is"


KILLED = """
import os, signal, sys
from tests.recorder.composite.test_process import *
composite = Composite(Path(sys.argv[1]), "s1", T0, "0")
part = composite.open(FAST, 0)
fill(part, int(sys.argv[2]))
part.sink.sync()
os.kill(os.getpid(), signal.SIGKILL)
"""


def killed_at(folder: Path, pictures: int) -> None:
    run = subprocess.run(
        [sys.executable, "-c", KILLED, folder, str(pictures)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        timeout=30,
        check=False,
    )
    assert run.returncode == -9


def test_a_part_that_was_cut_off_is_read_back_and_kept(tmp_path: Path) -> None:
    folder = tmp_path / "composite"
    killed_at(folder, 70)
    torn = (folder / "part-001.mp4").read_bytes()
    composite = Composite(folder, "s1", T0, "0")
    assert not composite.fresh
    part = composite.open(FAST, 100)
    assert part.path.name == "part-002.mp4"
    fill(part, 20)
    end(composite, 120)
    composite.release()
    later, recovered = lines(folder, "part")
    assert (later["file"], later["first_picture"], later["pictures"], later["recovered"]) == ("part-002.mp4", 100, 20, False)
    assert (later["samples_missing"], recovered["samples_missing"]) == (0, None), "nobody knows how much of it was silence"
    assert (recovered["file"], recovered["first_picture"], recovered["recovered"]) == ("part-001.mp4", 0, True)
    assert (folder / "part-001.mp4").read_bytes() == torn, "kept as it was"
    assert (recovered["bytes"], recovered["sha256"]) == (len(torn), hashlib.sha256(torn).hexdigest())
    assert 50 <= recovered["pictures"] <= 70, "up to its last whole fragment of a second"
    assert recovered["end_ns"] == T0 + recovered["pictures"] * PICTURE_NS
    with av.open(str(folder / "part-001.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == recovered["pictures"]
    (ended,) = lines(folder, "end")
    assert ended["pictures_written"] == recovered["pictures"] + 20
    (gap,) = composite_coverage(read_lines(lines(folder)), T0, T0 + 120 * PICTURE_NS).gaps
    assert (gap.from_ns - T0, gap.to_ns - T0) == (recovered["pictures"] * PICTURE_NS, 100 * PICTURE_NS)
    assert gap.cause == Sentence(DIED)


def test_a_part_without_a_whole_picture_is_empty_and_its_name_is_not_used_again(tmp_path: Path) -> None:
    folder = tmp_path / "composite"
    killed_at(folder, 1)
    first = Composite(folder, "s1", T0, "0")
    first.note("part-open", file="part-002.mp4", first_picture=40)  # and then the process died before it made the file
    first.release()
    second = Composite(folder, "s1", T0, "0")
    assert second.open(FAST, 50).path.name == "part-003.mp4"
    second.release()
    for _ in range(2):
        composite = Composite(folder, "s1", T0, "0")
        end(composite, 60)
        composite.release()
    assert [(e["file"], e["present"]) for e in lines(folder, "empty")] == [
        ("part-003.mp4", True),  # ended in order before its first picture
        ("part-001.mp4", True),
        ("part-002.mp4", False),
    ]
    assert len(lines(folder, "end")) == 1


def full(sink: Sink) -> None:
    """The disk is full from now on."""
    os.dup2(os.open("/dev/full", os.O_WRONLY), sink._fd)


def test_a_full_disk_costs_a_part_and_no_more(tmp_path: Path) -> None:
    composite = Composite(tmp_path / "composite", "s1", T0, "0")
    part = composite.open(FAST, 0)
    fill(part, 30)
    full(part.sink)
    with pytest.raises(StorageFault, match=r"part-001\.mp4 cannot be written"):
        for _ in range(60):
            fill(part, 1)
    with pytest.raises(StorageFault):
        composite.close()
    other = os.open(tmp_path, os.O_RDONLY)
    part.abandon()
    os.fstat(other)  # the number of a file that was closed once may be another's
    os.close(other)
    fill(composite.open(FAST, 100), 5)
    end(composite, 105)
    composite.release()
    assert [(e["file"], e["pictures"], e["recovered"]) for e in lines(composite.folder, "part")] == [
        ("part-002.mp4", 5, False),
        ("part-001.mp4", 25, True),
    ]


def test_what_cannot_be_journalled_is_said_once_when_it_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    composite = Composite(tmp_path / "composite", "s1", T0, "0")
    fill(composite.open(FAST, 0), 3)
    fd = composite._journal._journal._fd
    kept = os.dup(fd)
    os.dup2(os.open("/dev/full", os.O_WRONLY), fd)
    with pytest.raises(StorageFault):
        composite.close()
    for _ in range(2):
        with pytest.raises(StorageFault):
            composite.open(FAST, 10)
        with pytest.raises(StorageFault):
            composite.end(20)
    os.dup2(kept, fd)
    os.close(kept)
    fill(composite.open(FAST, 10), 2)
    end(composite, 20)
    composite.release()
    said = [(e["kind"], e.get("file", "")) for e in lines(composite.folder)]
    assert said == [
        ("begin", ""),
        ("part-open", "part-001.mp4"),
        ("part", "part-001.mp4"),
        ("part-open", "part-002.mp4"),
        ("part", "part-002.mp4"),
        ("end", ""),
    ]
    assert lines(composite.folder, "end")[0]["pictures_written"] == 5


def test_a_folder_that_cannot_be_used_leaves_nothing_open(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "composite")
    (folder / "journal.jsonl").mkdir()
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    with pytest.raises(StorageFault):
        Composite(folder, "s1", T0, "0")
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_a_damaged_journal_is_kept_aside_and_its_parts_are_read_anew(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "composite")
    (folder / "journal.jsonl").write_text(
        '{"seq": 0, "kind": "part-open", "file": "part-001.mp4", "first_picture": 0, "prev": "x"}\n'
    )
    Composite(folder, "s1", T0, "0").release()
    composite = Composite(folder, "s1", T0, "0")  # one that was killed before the end, and begun again
    assert composite.open(FAST, 50).path.name == "part-002.mp4"
    end(composite, 60)
    composite.release()
    (damaged,) = lines(folder, "damaged")
    assert (folder / str(damaged["kept_as"])).exists()
    assert [(e["file"], e["present"]) for e in lines(folder, "empty")] == [("part-002.mp4", True), ("part-001.mp4", False)]
    assert len(lines(folder, "end")) == 1


def test_an_encoder_that_fails_is_a_fault_and_no_wait(tmp_path: Path) -> None:
    part = Part(tmp_path / "part-001.mp4", FAST, 0, boottime_ns)
    wrong = np.zeros((10, 10), np.uint8)
    silence = np.zeros(SAMPLES_PER_PICTURE, np.float32)
    with pytest.raises(StorageFault, match=r"part-001\.mp4"):
        for _ in range(50):
            part.put(wrong, silence, boottime_ns())
    with pytest.raises(StorageFault):
        part.finish()


# the whole composer, on real feeds


class Studio:
    """A room with a session to be: feeds of three tracks, what is wanted, and a composer in a thread."""

    def __init__(self, folder: Path, samples: Path, *, began_ns: int) -> None:
        """began_ns: how long ago the session's T0 was."""
        self.root, self.run = folder / "数据 data", make_folder(folder / "run")
        make_folder(self.run / "status")
        self.session = make_folder(self.root / "sessions" / "s1")
        self.folder = self.session / "composite"
        self.feeds = dict[str, LivePublisher]({name: LivePublisher(live_socket(self.run), name) for name in TRACKS})
        self.epoch: Epoch = session_epoch(self.session, read_tie_now)
        self.start_ns = snap_start(self.epoch.room_ns(boottime_ns() - began_ns))
        self.settings = ComposerSettings(
            root=self.root,
            run=self.run,
            main=VideoInputSettings("overview", 0),
            inset=VideoInputSettings("closeup", 0),
            inset_width=480,
            inset_height=270,
            inset_corner="bottom-right",
            encoder=FAST,
            delay_ns=300_000_000,
            room="调查询问室一",
            zone=ZONE,
            language="zh",
            version="0",
        )
        self.samples = media_samples.video(samples, seconds=6)
        self._failed: list[BaseException] = []

    @contextmanager
    def composing(self) -> Iterator[Composer]:
        """A composer, connected to the feeds; it ends in good order."""
        composer = Composer(self.settings)
        stop = threading.Event()

        def work() -> None:
            try:
                composer.run(stop.is_set)
            except BaseException as error:
                self._failed.append(error)
                raise

        def keep_awake() -> None:
            """A reader connects anew after a second of silence, and would be given the last group alone."""
            while not stop.wait(0.2):
                for feed in self.feeds.values():
                    feed.publish(LiveMessage(LiveKind.LOST))

        thread = threading.Thread(target=work)
        thread.start()
        awake = threading.Thread(target=keep_awake)
        awake.start()
        try:
            wait_for(lambda: all(composer.hub.takers(name) for name in TRACKS), "the composer's inputs")
            yield composer
        finally:
            stop.set()
            awake.join(10)
            thread.join(10)
            assert not thread.is_alive()
            assert not self._failed

    @contextmanager
    def signs_of_life(self) -> Iterator[None]:
        """Meanwhile two signs of life lie 1.2 s apart at most, or the composer's status says that it waits; both are seen."""
        path, silent, waits = self.run / "status" / "composer.json", list[float](), set[str]()
        stop = threading.Event()

        def watch() -> None:
            while not stop.wait(0.05):
                silent_s = time.time() - path.stat().st_mtime
                if not (waiting := self.status().waiting):
                    silent.append(silent_s)
                waits.add(waiting)

        self.until(lambda s: s.state == "armed", "the composer")
        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            yield
        finally:
            stop.set()
            watcher.join(10)
        assert max(silent) < 1.2
        assert waits == {"", "disk"}

    def close(self) -> None:
        for feed in self.feeds.values():
            feed.close()

    def show(self, camera: str, from_ns: int, pictures: int) -> None:
        """Real pictures on a camera's feed, the first 10 ms before the instant from_ns of room time."""
        format_, packets = self.samples
        feed, first = self.feeds[camera], self.epoch.boottime_ns(from_ns) - 10_000_000
        feed.publish(format_message(format_))
        for n, packet in enumerate(packets[:pictures]):
            feed.publish(data_message(packet, first + n * PICTURE_NS, 0.0))

    def sound(self, from_ns: int, seconds: float) -> None:
        """A tone of 440 Hz whose phase is 0 at the instant from_ns of room time."""
        format_, packets = media_samples.sound(seconds)
        feed, first = self.feeds["microphone"], self.epoch.boottime_ns(from_ns)
        feed.publish(format_message(format_))
        for n, packet in enumerate(packets):
            feed.publish(data_message(packet, first + n * PICTURE_NS, 0.0))

    def climate(self) -> None:
        """A fresh reading of the sensor."""
        status = ClimateStatus(name="climate", pid=1, boot_id=boot_id(), version="0", reading_ns=boottime_ns())
        status.temperature_c, status.humidity_pct = 23.4, 45.0
        status.write(self.run / "status")

    def want(self, seconds: float | None, **changes: Any) -> Wanted:
        """The session is wanted, for so many seconds where it is stopping."""
        stop_ns = None if seconds is None else self.start_ns + round(seconds * SECOND_NS)
        wanted = replace(Wanted("s1", self.start_ns, stop_ns, CASE), **changes)
        wanted.write(self.root / "wanted.json")
        return wanted

    def status(self) -> ComposerStatus:
        status = read_status(self.run / "status" / "composer.json")
        assert isinstance(status, ComposerStatus)
        return status

    def until(self, condition: Callable[[ComposerStatus], bool], what: str, limit_s: float = 15) -> ComposerStatus:
        """The composer's first status for which the condition holds."""
        wait_for((self.run / "status" / "composer.json").exists, "a status")
        wait_for(lambda: condition(self.status()), what, limit_s)
        return self.status()

    def finished(self) -> ComposerStatus:
        return self.until(lambda s: s.finished == "s1", "the composite's end")


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("samples")


@pytest.fixture
def studio(tmp_path: Path, samples: Path) -> Iterator[Callable[..., Studio]]:
    made: list[Studio] = []

    def make(**options: Any) -> Studio:
        made.append(Studio(tmp_path, samples, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


def pictures_of(path: Path) -> list[np.ndarray]:
    """Luma of every picture of an MP4, (HEIGHT, WIDTH)."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="yuv420p")[:HEIGHT] for frame in container.decode(video=0)]


def sound_of(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])


def says(picture: np.ndarray, texts: list[OverlayText]) -> OverlayText:
    """Which of the texts the overlay line shows."""

    def likeness(text: OverlayText) -> float:
        mask = render_strip(text).luma > 128
        strip = picture[:STRIP_HEIGHT]
        return float(strip[mask].mean() - strip[~mask].mean())

    return max(texts, key=likeness)


def shown(picture: np.ndarray) -> int:
    """Which sample picture fills the frame: sample *n* is grey up to column 4·n of 320, noise from there on."""
    spread = picture[STRIP_HEIGHT + 20 : 500].std(axis=0)
    return round(int(np.argmax(spread > 12)) / (WIDTH / 320) / 4)


def overlay(moment_ns: int, *, climate: bool = True) -> OverlayText:
    moment = datetime.fromtimestamp(moment_ns // SECOND_NS, UTC).astimezone(ZONE)
    return overlay_text(moment, OverlayFields("调查询问室一", CASE, *((23.4, 45.0) if climate else (None, None))), "zh")


def test_a_session_has_exactly_its_pictures_from_t0_to_t1(studio: Callable[..., Studio]) -> None:
    room = studio(began_ns=2 * SECOND_NS)
    room.climate()
    with room.composing() as composer:
        for camera in ("overview", "closeup"):
            room.show(camera, room.start_ns - SECOND_NS, 125)
        room.sound(room.start_ns - SECOND_NS, 5)
        wait_for(lambda: len(composer._main._packets) == len(composer._inset._packets) == 125, "the pictures")
        wait_for(lambda: [run.next for run in list(composer._sound._line._runs)] == [5 * SOUND_HZ], "the sound")
        room.want(3)
        status = room.finished()
    assert (status.pictures_due, status.pictures_written, status.parts, status.lost) == (75, 75, 1, [])
    (part,), (ended,) = lines(room.folder, "part"), lines(room.folder, "end")
    assert (ended["pictures_due"], ended["pictures_written"]) == (75, 75)
    assert (part["start_ns"], part["end_ns"], part["samples_missing"]) == (room.start_ns, room.start_ns + 3 * SECOND_NS, 0)
    assert composite_coverage(read_lines(lines(room.folder)), room.start_ns, room.start_ns + 3 * SECOND_NS).gaps == ()

    path = room.folder / "part-001.mp4"
    pictures = pictures_of(path)
    assert len(pictures) == 75
    stop_ns = room.start_ns + 3 * SECOND_NS
    texts = [overlay(room.start_ns + n * SECOND_NS) for n in range(-2, 6)] + [overlay(room.start_ns, climate=False)]
    assert says(pictures[0], texts) == overlay(room.start_ns), "the first picture shows T0"
    assert says(pictures[-1], texts) == overlay(stop_ns), "the last one T1"
    assert [shown(pictures[n]) for n in (0, 1, 10, 40, 54)] == [25, 26, 35, 65, 79], "each instant shows its own picture"

    heard = sound_of(path)
    assert abs(len(heard) - 3 * SOUND_HZ) <= 1024, "AAC comes in blocks of 1024"
    middle = heard[SOUND_HZ // 2 : SOUND_HZ * 5 // 2]
    times = np.arange(middle.size) / SOUND_HZ + 0.5
    phase = np.angle(np.sum(middle * np.exp(-2j * np.pi * 440 * times))) + np.pi / 2
    late_ms = -float((phase + np.pi) % (2 * np.pi) - np.pi) / (2 * np.pi * 440) * 1000
    assert abs(late_ms) < 0.1, "sound and picture are those of the same instant"
    assert np.abs(middle).max() == pytest.approx(12000 / 32768, rel=0.1)


def test_a_camera_without_pictures_is_a_tile_from_the_second_after_its_last_on(studio: Callable[..., Studio]) -> None:
    room = studio(began_ns=2 * SECOND_NS)
    with room.composing() as composer:
        room.show("overview", room.start_ns - SECOND_NS, 125)
        room.show("closeup", room.start_ns + SECOND_NS, 10)
        wait_for(lambda: (len(composer._main._packets), len(composer._inset._packets)) == (125, 10), "the pictures")
        room.want(3)
        assert room.finished().lost == ["closeup"]
    last_ns = SECOND_NS + 9 * PICTURE_NS - 10_000_000  # after T0
    told = [(e["kind"], e["camera"], e["at_ns"] - room.start_ns) for e in lines(room.folder, "lost", "back")]
    assert told == [
        ("lost", "closeup", 0),
        ("back", "closeup", SECOND_NS),
        ("lost", "closeup", (last_ns + SECOND_NS) // PICTURE_NS * PICTURE_NS + PICTURE_NS),
    ]
    (part,) = lines(room.folder, "part")
    assert part["samples_missing"] == part["samples"] == 3 * SOUND_HZ, "no microphone: silence, and so many samples of it"
    pictures = pictures_of(room.folder / "part-001.mp4")
    assert len(pictures) == 75
    inset = np.s_[INSET.y + 10 : INSET.y + 60, INSET.x + 10 : INSET.x + INSET.width - 10]
    assert pictures[10][inset].mean() == pytest.approx(40, abs=4), "a dark tile"
    assert pictures[30][inset].std() > 20, "a picture"
    assert pictures[-1][inset].mean() == pytest.approx(40, abs=4)
    assert says(pictures[0], [overlay(room.start_ns, climate=c) for c in (True, False)]) == overlay(room.start_ns, climate=False)


def test_a_composer_that_was_away_goes_on_with_a_new_part(studio: Callable[..., Studio]) -> None:
    room = studio(began_ns=SECOND_NS)
    room.want(None)
    with room.composing():
        before = room.until(lambda s: s.pictures_written >= 25, "pictures")
        assert before.state == "recording"
    assert not (room.run / "status" / "composer.json").exists()
    gone_ns = lines(room.folder, "part")[0]["end_ns"]
    wait_for(lambda: room.epoch.room_ns(boottime_ns()) - room.settings.delay_ns > gone_ns + 5 * PICTURE_NS, "pictures missed")
    with room.composing():
        room.until(lambda s: s.parts == 2, "the second part")
        elapsed_ns = room.epoch.room_ns(boottime_ns()) - room.start_ns
        seconds = elapsed_ns // SECOND_NS + 1
        room.want(seconds)
        status = room.finished()
    assert status.pictures_due == 25 * seconds
    first, second = lines(room.folder, "part")
    assert first["first_picture"] == 0
    assert first["pictures"] + 5 <= second["first_picture"] <= elapsed_ns // PICTURE_NS, (
        "the first instant that was still to come"
    )
    assert second["first_picture"] + second["pictures"] == 25 * seconds, "to T1 exactly"
    assert len(pictures_of(room.folder / second["file"])) == second["pictures"]
    (gap,) = composite_coverage(read_lines(lines(room.folder)), room.start_ns, room.start_ns + seconds * SECOND_NS).gaps
    assert (gap.from_ns, gap.to_ns) == (first["end_ns"], second["start_ns"])


def test_a_session_that_is_over_is_ended_without_a_part(studio: Callable[..., Studio]) -> None:
    room = studio(began_ns=30 * SECOND_NS)
    room.want(4)
    with room.composing():
        status = room.finished()
    assert (status.pictures_due, status.pictures_written, status.parts, status.state) == (100, 0, 0, "finished")
    assert [e["kind"] for e in lines(room.folder)] == ["begin", "end"]
    assert not list(room.folder.glob("*.mp4"))


def test_a_composer_that_comes_late_begins_with_what_is_still_to_come(studio: Callable[..., Studio]) -> None:
    room = studio(began_ns=20 * SECOND_NS)
    room.want(21)
    with room.composing():
        room.finished()
    (part,) = lines(room.folder, "part")
    assert part["first_picture"] >= (20 * SECOND_NS - room.settings.delay_ns) // PICTURE_NS
    assert part["first_picture"] + part["pictures"] == 525


def test_a_part_that_was_cut_off_is_listed_soon_after_and_not_at_the_end(studio: Callable[..., Studio]) -> None:
    """Whoever seals waits a minute for it; hours of pictures may take longer to read."""
    room = studio(began_ns=2 * SECOND_NS)
    room.want(None)
    with room.composing():
        room.until(lambda s: s.pictures_written >= 50, "pictures")
    path = room.folder / "journal.jsonl"
    path.write_bytes(b"".join(line for line in path.read_bytes().splitlines(True) if b'"kind":"part"' not in line))
    with room.composing():
        wait_for(lambda: bool(lines(room.folder, "part")), "the part that was cut off")
        (part,) = lines(room.folder, "part")
        assert (part["file"], part["recovered"]) == ("part-001.mp4", True)
        assert room.status().state == "recording"


def test_a_composer_that_comes_after_the_composite_was_given_up_opens_nothing(studio: Callable[..., Studio]) -> None:
    """Whoever seals waits for nobody who comes now."""
    room = studio(began_ns=SECOND_NS)
    room.want(2, composite=False)
    with room.composing():
        room.until(lambda s: s.seq > 2, "some rounds")
        assert (room.status().state, room.status().session) == ("armed", None)
    assert not room.folder.exists()


def test_a_composite_that_is_given_up_stops_and_says_so(studio: Callable[..., Studio]) -> None:
    room = studio(began_ns=SECOND_NS)
    room.want(None)
    with room.composing():
        room.until(lambda s: s.pictures_written > 5, "pictures")
        room.want(None, composite=False)
        room.until(lambda s: s.state == "finished" and s.finished == "s1", "the part's end")
        room.want(3, composite=False)
        room.until(lambda s: s.seq > 20, "some rounds after the session's end", 30)
    (part,) = lines(room.folder, "part")
    assert [e["kind"] for e in lines(room.folder)] == ["begin", "part-open", "lost", "lost", "given-up", "part"]
    gaps = composite_coverage(read_lines(lines(room.folder)), room.start_ns, room.start_ns + 10 * SECOND_NS).gaps
    assert [(g.from_ns, g.cause) for g in gaps] == [(part["end_ns"], Sentence(GIVEN_UP))]


def test_a_folder_that_cannot_be_written_is_said_and_tried_again(
    studio: Callable[..., Studio], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(composer_module, "RETRY_PART_NS", SECOND_NS // 5)
    room = studio(began_ns=2 * SECOND_NS)
    room.folder.write_text("in the way")
    room.want(None)
    with room.composing():
        failed = room.until(lambda s: s.state == "failed", "the fault")
        assert failed.fault is not None
        assert failed.fault["exit_code"] == 8
        room.folder.unlink()
        room.until(lambda s: s.state == "recording" and s.fault is None, "pictures")
        room.want(3)
        assert room.finished().pictures_written == 75, "it was back within the time that the inputs remember"


def test_a_session_without_an_epoch_is_tried_again(studio: Callable[..., Studio], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(composer_module, "RETRY_PART_NS", SECOND_NS // 5)
    room = studio(began_ns=2 * SECOND_NS)
    epoch = room.session / "epochs" / f"{boot_id()}.json"
    whole = epoch.read_bytes()
    epoch.write_bytes(b"{")
    room.want(None)
    with room.composing():
        room.until(lambda s: s.state == "failed", "the fault")
        epoch.write_bytes(whole)
        room.until(lambda s: s.state == "recording" and s.fault is None, "pictures")
        room.want(3)
        assert room.finished().pictures_written == 75
    assert len(lines(room.folder, "begin")) == 1


def test_a_sealed_session_is_finished_and_left_alone(studio: Callable[..., Studio]) -> None:
    """The agent died between the seal and its clearing of what is wanted."""
    room = studio(began_ns=3 * SECOND_NS)
    for name in ("manifest.json", "manifest.sig"):
        (room.session / name).write_text("{}")
    before = sorted(room.session.rglob("*"))
    room.want(2)
    with room.composing():
        status = room.finished()
        assert (status.state, status.session, status.fault) == ("finished", "s1", None)
        Wanted().write(room.root / "wanted.json")
        room.until(lambda s: s.state == "armed" and s.session is None and s.finished is None, "the room armed again")
    assert sorted(room.session.rglob("*")) == before


def test_a_slow_disk_makes_nobody_take_the_composer_for_hung(
    studio: Callable[..., Studio], monkeypatch: pytest.MonkeyPatch
) -> None:
    room = studio(began_ns=SECOND_NS)
    fsync, slow = os.fsync, str(room.folder / "journal.jsonl")

    def fsync_slowly(fd: int) -> None:
        if str(Path(f"/proc/self/fd/{fd}").readlink()) == slow:
            time.sleep(1.5)
        fsync(fd)

    monkeypatch.setattr(os, "fsync", fsync_slowly)
    with room.composing(), room.signs_of_life():
        room.want(None)
        room.until(lambda s: s.pictures_written > 20, "pictures", 30)
        room.want(None, composite=False)
        room.until(lambda s: s.state == "finished", "the part's end", 30)
    kinds = [e["kind"] for e in lines(room.folder)]
    assert kinds == ["begin", "part-open", "lost", "lost", "given-up", "part"], "each of them was waited for"


def test_another_session_is_another_composite(studio: Callable[..., Studio]) -> None:
    room = studio(began_ns=SECOND_NS)
    room.want(1)
    with room.composing():
        room.finished()
        make_folder(room.root / "sessions" / "s2")
        again_ns = snap_start(session_epoch(room.root / "sessions" / "s2", read_tie_now).room_ns(boottime_ns() - SECOND_NS))
        room.want(None, session="s2", start_ns=again_ns, stop_ns=again_ns + SECOND_NS)
        room.until(lambda s: s.finished == "s2", "the second session's end")
        Wanted().write(room.root / "wanted.json")
        room.until(lambda s: s.state == "armed" and s.session is None, "the room armed again")
    for name in ("s1", "s2"):
        (ended,) = lines(room.root / "sessions" / name / "composite", "end")
        assert (ended["pictures_due"], ended["pictures_written"]) == (25, 25)


def test_a_feed_that_begins_again_begins_with_a_key_frame(studio: Callable[..., Studio]) -> None:
    room = studio(began_ns=SECOND_NS)
    format_, packets = room.samples
    with room.composing() as composer:
        room.show("overview", room.start_ns, 20)
        wait_for(lambda: len(composer._main._packets) == 20, "the pictures")
        composer._main.take(format_message(format_))
        composer._main.take(data_message(replace(packets[3], key=False), boottime_ns(), 0.0))
        assert len(composer._main._packets) == 20
        room.show("overview", room.start_ns + SECOND_NS, 30)
        wait_for(lambda: len(composer._main._packets) == 50, "the new connection's pictures")


def test_so_many_pictures_are_due() -> None:
    wanted = Wanted("s1", T0, T0 + 10 * SECOND_NS)
    assert Composer._due(wanted) == 250
    assert Composer._due(replace(wanted, stop_ns=None)) is None
