"""What a check is, and what it looks at."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from agent.config.model import Config
from agent.config.settings import camera_address_now
from agent.selfcheck.result import NOTHING, CheckStatus, Heading
from agent.selfcheck.samples import PictureSample, SoundSample, take_pictures, take_sound
from drivers.camera import describe_apart
from drivers.ports import CameraDescription
from recorder.clock.instants import boot_id, boottime_ns
from recorder.process.status import Status as ProcessStatus
from recorder.process.status import TrackStatus, read_statuses
from recorder.session.tracks import CAMERAS, MICROPHONE
from wording.sentence import Sentence

ASK_CAMERA_S = 9.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a check found."""

    status: CheckStatus
    value: Sentence = NOTHING
    threshold: Sentence = NOTHING
    what: Sentence = NOTHING
    mend: Sentence = NOTHING


class Once(Generic[T]):
    """A look that several checks share: done once, in a thread of its own, its result or its exception given to all."""

    def __init__(self, look: Callable[[], T]) -> None:
        self._look, self._future, self._lock, self._begun = look, Future[T](), threading.Lock(), False

    def get(self) -> T:
        """The result, as soon as it is there. Raises what the look raised."""
        with self._lock:
            if not self._begun:
                self._begun = True
                threading.Thread(target=self._do, daemon=True).start()
        return self._future.result()

    def _do(self) -> None:
        try:
            self._future.set_result(self._look())
        except Exception as error:  # noqa: BLE001  (the top of this thread: whoever asks gets it)
            self._future.set_exception(error)


class Scene:
    """What the checks look at. Statuses are read afresh each time; the costly looks are shared and begin when first asked for."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.places = config.storage.places
        self._descriptions: dict[str, Once[CameraDescription]] = {name: Once(partial(self._describe, name)) for name in CAMERAS}
        self._pictures: dict[str, Once[PictureSample]] = {name: Once(partial(self._watch, name)) for name in CAMERAS}
        self._sound = Once(self._listen)

    def statuses(self) -> dict[str, ProcessStatus]:
        """The processes that live now."""
        return read_statuses(self.places.status, boottime_ns(), boot_id())

    def track(self, name: str) -> TrackStatus | None:
        """A track's status, None where its process is dead."""
        status = self.statuses().get(name)
        return status if isinstance(status, TrackStatus) else None

    def _describe(self, name: str) -> CameraDescription:
        composite = self.config.composite
        size = (composite.inset_width, composite.inset_height)
        return describe_apart(camera_address_now(self.config, name), timeout_s=3.0, sub_size=size, limit_s=ASK_CAMERA_S)

    def _watch(self, name: str) -> PictureSample:
        return take_pictures(self.places.live, name, window_s=max(3.0, self.config.selfcheck.keyframe_max_s + 0.5))

    def _listen(self) -> SoundSample:
        return take_sound(self.places.live, MICROPHONE, window_s=3.0)

    def description(self, name: str) -> CameraDescription:
        """What the camera says of itself. Raises DeviceFault, ConfigFault."""
        return self._descriptions[name].get()

    def pictures(self, name: str) -> PictureSample:
        """Some seconds of what the camera's track would record. Raises NothingArrivesError."""
        return self._pictures[name].get()

    def sound(self) -> SoundSample:
        """Some seconds of what the microphone's track would record. Raises NothingArrivesError."""
        return self._sound.get()


Measure = Callable[[Scene, str], Outcome]


@dataclass(frozen=True, slots=True)
class Check:
    """One check: its id, where it stands in the report, its English title, the duties it answers, and how it looks.

    look: takes the scene and a device. devices: what it is done on, "" for the room. required: a failure keeps a session from
    starting; otherwise it becomes a warning. place: lower ones come first in the report, within a heading.
    """

    id: str
    heading: Heading
    title: str
    clauses: tuple[str, ...]
    look: Measure
    devices: Callable[[Config], Sequence[str]] = lambda _: ("",)
    required: Callable[[Config], bool] = lambda _: True
    place: int = 0


def cameras(_: Config) -> Sequence[str]:
    """The devices of a check that looks at each camera."""
    return CAMERAS


def microphone(_: Config) -> Sequence[str]:
    """The devices of a check that listens to the microphone."""
    return (MICROPHONE,)


def never(_: Config) -> bool:
    """For a check whose failure lets a session start all the same."""
    return False


def passed(value: Sentence, threshold: Sentence = NOTHING) -> Outcome:
    """The outcome of a good measurement."""
    return Outcome("passed", value, threshold)


def failed(value: Sentence, threshold: Sentence, what: Sentence, mend: Sentence) -> Outcome:
    """The outcome of a bad one."""
    return Outcome("failed", value, threshold, what, mend)


def warned(value: Sentence, threshold: Sentence, what: Sentence, mend: Sentence) -> Outcome:
    """The outcome of one that a person should know of, and that keeps nothing from starting."""
    return Outcome("warning", value, threshold, what, mend)


def skipped(why: Sentence) -> Outcome:
    """The outcome where there is nothing to measure."""
    return Outcome("skipped", what=why)
