"""The composer's process: one picture every 40 ms of room time, whatever its inputs do, from T0 to T1 exactly.

Picture *n* is due at T0 + n·40 ms. It is put together a fixed delay later, so that late packets are in; the delay moves nothing
in the picture or the sound, which are those of the instant itself.
"""

import logging
import math
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from recorder.clock.instants import PICTURE_NS, SECOND_NS, boot_id, boottime_ns
from recorder.composite.encoder import EncoderFault
from recorder.composite.encoder_trial import EncoderChoice
from recorder.composite.inputs import SoundInput, VideoInput
from recorder.composite.overlay import OverlayFields
from recorder.composite.part import SAMPLES_PER_PICTURE, SOUND_HZ, Part
from recorder.composite.picture import FULL, Plane, inset_rect, new_canvas
from recorder.composite.pictures import Pictures
from recorder.composite.recording import Composite
from recorder.composite.settings import ComposerSettings
from recorder.faults import EvidenceFault, StorageFault
from recorder.media.live_hub import LiveHub
from recorder.media.resampling import Samples
from recorder.process.local_socket import live_socket
from recorder.process.runner import Reporter, process
from recorder.process.status import ClimateStatus, ComposerStatus, read_status
from recorder.process.wanted import Wanted, WantedFile
from recorder.session.epoch import Epoch, session_epoch
from recorder.session.files import is_sealed
from recorder.session.lines import cause_fields
from recorder.session.tracks import TRACKS
from recorder.session.wall_clock import read_tie_now
from wording import Fault
from wording.sentence import Sentence

WANTED_NS = SECOND_NS // 10
CATCH_UP_NS = 5 * SECOND_NS  # a session's first part begins at T0 if that is no longer ago; inputs remember so much
RETRY_PART_NS = 5 * SECOND_NS
CANVASES = 6

log = logging.getLogger(__name__)


class Composer:
    """The process's state: one thread that composes; its inputs, the encoder and the disk have their own."""

    def __init__(self, settings: ComposerSettings, *, now: Callable[[], int] = boottime_ns) -> None:
        self._settings = settings
        self._now = now
        rect = inset_rect(settings.inset_width, settings.inset_height, settings.inset_corner)
        self.hub = LiveHub(live_socket(settings.run), TRACKS)
        self._main = VideoInput(settings.main, FULL, self.hub)
        self._inset = VideoInput(settings.inset, rect, self.hub)
        self._sound = SoundInput(SOUND_HZ, self.hub)
        self._pictures = Pictures(settings, self._main, self._inset, rect)
        self._status = ComposerStatus(name="composer", pid=0, boot_id="", version=settings.version)
        self._reporter = Reporter(self._status, settings.run)
        self._wanted = Wanted()
        self._wanted_file = WantedFile(settings.root / "wanted.json")
        self._wanted_at_ns = 0
        self._composite: Composite | None = None
        self._epoch: Epoch | None = None
        self._sealed = False  # the session at hand: its composite has ended, and nothing may be written there
        self._next_picture = 0
        self._made: tuple[Plane, Samples, int] | None = None  # the next picture, which the encoder has not taken yet
        self._encoder = EncoderChoice(settings.encoder)
        self._canvases: list[Plane] = [new_canvas() for _ in range(CANVASES)]
        self._fault: dict[str, Any] | None = None
        self._retry_ns = 0
        self._fields_at_ns = -SECOND_NS
        self._fields = OverlayFields(settings.room, "", None, None)
        self._marked: set[str] = set()
        self._torn_fault: StorageFault | None = None  # why parts of an earlier life wait for the end

    def run(self, stopping: Callable[[], bool]) -> None:
        """Until asked to stop."""
        inputs = (self._main, self._inset, self._sound)
        for each in inputs:
            each.start()
        try:
            while not stopping():
                try:
                    self._step()
                except EncoderFault as fault:
                    self._without_hardware(fault)
                except (StorageFault, EvidenceFault) as fault:
                    self._refused(fault)
                self._report()
        finally:
            for each in inputs:
                each.stop()
            self.hub.close()
            if self._composite is not None:
                self._composite.release()
            self._reporter.remove()

    def _without_hardware(self, fault: EncoderFault) -> None:
        """The part ends here; the next one, at once, is encoded by software. Between sessions the hardware is tried again."""
        self._encoder.refuse(fault)
        composite = self._composite
        if composite is not None:
            at_ns = composite.start_ns + self._next_picture * PICTURE_NS
            with suppress(StorageFault):
                composite.close()
                composite.note("encoder", encoder="software", at_ns=at_ns, **cause_fields(Sentence(fault.code, fault.values)))

    def _refused(self, fault: Fault) -> None:
        if self._fault is None:
            log.error("composite cannot be written", extra={"fault": str(fault)})
        self._fault = fault.as_dict()
        self._retry_ns = self._now() + RETRY_PART_NS
        if self._composite is not None and self._composite.part is not None:
            with suppress(StorageFault):
                self._composite.close()

    def _step(self) -> None:
        self._read_wanted()
        composite, epoch, wanted = self._composite, self._epoch, self._wanted
        now = self._now()
        if composite is None or epoch is None or composite.ended or now < self._retry_ns:
            if composite is None or composite.ended:
                self._encoder.idle()
            self._main.idle(now)
            self._inset.idle(now)
            self._sound.idle()
            time.sleep(0.03)
            return
        due = self._due(wanted)
        if not wanted.composite or (due is not None and self._next_picture >= due):
            self._end(composite, epoch.room_ns(now), due if wanted.composite else None)
            return
        self._list_torn(composite)
        if composite.part is None:
            self._open(composite, epoch, wanted)
            return
        self._picture(composite, composite.part, epoch, wanted)

    @staticmethod
    def _end(composite: Composite, room_ns: int, due: int | None) -> None:
        """One more step towards the composite's end; due: None where it was given up."""
        if due is None:
            composite.give_up(room_ns)
        else:
            composite.end(due)
        if not composite.ended:
            time.sleep(0.03)

    def _list_torn(self, composite: Composite) -> None:
        """What an earlier life left is read back while this one composes; what cannot be read now, at the end."""
        if self._torn_fault is None:
            try:
                composite.list_torn()
            except StorageFault as fault:
                log.error("a part that was cut off cannot be read", extra={"fault": str(fault)})
                self._torn_fault = fault

    @staticmethod
    def _due(wanted: Wanted) -> int | None:
        return None if wanted.stop_ns is None else (wanted.stop_ns - wanted.start_ns) // PICTURE_NS

    def _read_wanted(self) -> None:
        now = self._now()
        if now < self._wanted_at_ns:
            return
        self._wanted_at_ns = now + WANTED_NS
        self._wanted = wanted = self._wanted_file.read()
        if self._status.session != wanted.session:
            if self._composite is not None:
                self._composite.release()
            self._composite = self._epoch = self._status.session = None
            self._sealed = False
        folder = self._settings.root / "sessions" / (wanted.session or "")
        if wanted.session is None or self._status.session is not None or now < self._retry_ns or not folder.is_dir():
            return
        if not wanted.composite:  # whoever seals waits for nobody who comes now: nothing is opened any more
            return
        self._sealed = is_sealed(folder)
        if self._sealed:
            self._fault = None
        else:
            with self._reporter.waiting_for_disk():
                epoch = session_epoch(folder, read_tie_now, floor_ns=wanted.start_ns)
                self._composite = Composite(
                    folder / "composite",
                    wanted.session,
                    wanted.start_ns,
                    self._settings.version,
                    waiting=self._reporter.waiting_for_disk,
                )
            self._epoch = epoch
        self._status.session = wanted.session
        self._marked = set()
        self._torn_fault = None
        self._next_picture = 0

    def _open(self, composite: Composite, epoch: Epoch, wanted: Wanted) -> None:
        """A session's first part begins at T0, a later one at the first instant that is still to come."""
        with self._reporter.waiting_for_disk():  # or for the end of a trial, which the heart does not beat through either
            encoder = self._encoder.settings()
        behind = epoch.room_ns(self._now()) - wanted.start_ns - self._settings.delay_ns
        at_start = composite.fresh and behind <= CATCH_UP_NS
        first = 0 if at_start else max(0, math.ceil(behind / PICTURE_NS))
        due = self._due(wanted)
        if due is not None and first >= due:
            self._next_picture = due
            return
        composite.open(encoder, first)
        self._next_picture, self._made = first, None
        self._fault = None

    def _picture(self, composite: Composite, part: Part, epoch: Epoch, wanted: Wanted) -> None:
        room_ns = wanted.start_ns + self._next_picture * PICTURE_NS
        due_ns = epoch.boottime_ns(room_ns)
        wait_ns = due_ns + self._settings.delay_ns - self._now()
        if wait_ns > 0:
            time.sleep(min(wait_ns / SECOND_NS, 0.1))
            if wait_ns > SECOND_NS // 10:
                return
        while not part.free.empty():
            self._canvases.append(part.free.get())
        if self._made is None:
            self._made = self._make(composite, epoch, wanted, room_ns)
        if part.put(*self._made):
            self._made = None
            self._next_picture += 1
            self._mark(composite, room_ns)

    def _make(self, composite: Composite, epoch: Epoch, wanted: Wanted, room_ns: int) -> tuple[Plane, Samples, int]:
        """The picture of an instant with its sound."""
        due_ns = epoch.boottime_ns(room_ns)
        canvas = self._canvases.pop() if self._canvases else new_canvas()
        moment = datetime.fromtimestamp(room_ns // SECOND_NS, UTC).astimezone(self._settings.zone)
        self._pictures.compose(canvas, due_ns, epoch.boottime_ns(wanted.start_ns), moment, self._overlay(wanted))
        sound, missing = self._sound.read(due_ns, SAMPLES_PER_PICTURE)
        composite.sound_missing(missing)
        for camera in (self._main, self._inset):
            composite.add_damaged(camera.settings.name, camera.damaged())
        return canvas, sound, due_ns

    def _overlay(self, wanted: Wanted) -> OverlayFields:
        now = self._now()
        if now - self._fields_at_ns >= SECOND_NS:
            self._fields_at_ns = now
            climate = read_status(self._settings.run / "status" / "climate.json")
            known = climate if isinstance(climate, ClimateStatus) and climate.boot_id == boot_id() else None
            reading = known if known is not None and known.fresh(now) else None
            temperature = reading.temperature_c if reading else None
            humidity = reading.humidity_pct if reading else None
            self._fields = OverlayFields(self._settings.room, wanted.case_number, temperature, humidity)
        return self._fields

    def _mark(self, composite: Composite, room_ns: int) -> None:
        lost = set(self._pictures.lost)
        for camera in lost - self._marked:
            composite.note("lost", camera=camera, at_ns=room_ns)
        for camera in self._marked - lost:
            composite.note("back", camera=camera, at_ns=room_ns)
        self._marked = lost

    def _report(self) -> None:
        status, composite = self._status, self._composite
        state = "finished" if self._sealed else "armed"
        if composite is not None:
            due = self._due(self._wanted)
            closing = not self._wanted.composite or (due is not None and self._next_picture >= due)
            state = "closing" if closing else "recording" if composite.part is not None else "waiting"
            state = "finished" if composite.ended else state
        self._reporter.state("failed" if self._fault is not None else state)
        refused, part = self._encoder.fault, composite.part if composite is not None else None
        status.fault = self._fault or (refused.as_dict() if refused is not None else None)
        status.encoder = part.encoder_name if part is not None else self._encoder.kind
        if not self._reporter.due():
            return
        if composite is None:
            status.finished = status.session if self._sealed else None
            status.pictures_due = status.pictures_written = status.late = status.parts = 0
        else:
            status.finished = composite.session if composite.ended else None
            status.pictures_due = self._pictures_due()
            status.pictures_written = composite.pictures_now
            status.late = composite.late + (part.late if part else 0)
            status.parts = composite.parts + (1 if part else 0)
            status.lag_ms = round((part.lag_ns if part else 0) / 1e6, 1)
            status.last_disk_ns = part.last_disk_ns if part and part.last_disk_ns else status.last_disk_ns
            status.lost = sorted(self._pictures.lost)
            status.damaged = dict(composite.damaged)
        self._reporter.report()

    def _pictures_due(self) -> int:
        total = self._due(self._wanted)
        if self._epoch is None:
            return 0
        elapsed = self._epoch.room_ns(self._now()) - self._wanted.start_ns - self._settings.delay_ns
        so_far = max(0, elapsed // PICTURE_NS + 1)
        return so_far if total is None else min(so_far, total)


def run(settings: ComposerSettings) -> None:
    """The process: until SIGTERM. Raises AlreadyRunning, StorageFault."""
    with process("composer", settings.run) as stop:
        Composer(settings).run(stop.is_set)
