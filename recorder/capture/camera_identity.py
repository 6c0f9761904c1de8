"""Who a track's camera is and where it is: asked beside the recording, remembered, and searched when it is not where it was.

A camera that took another address (DHCP) is found again by its identity: WS-Discovery tells who is in the network, and the device
with the same serial number, maker and model is the camera. Nothing here ever holds the connection's own attempts up: questions
and searches are threads that wait for a child process, and what is remembered is written by a thread that may wait for the disk.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from drivers.camera import describe_apart, find_apart
from drivers.discovery import Target
from drivers.faults import DeviceFault, DeviceRefused
from drivers.ports import CameraAddress, CameraDescription, Place
from drivers.stream_address import TAKEN_OUT, rtsp_place
from recorder.capture.camera_changes import AcceptedFile, Change, Identity, changes, since_accepted
from recorder.clock.instants import SECOND_NS, boottime_ns
from recorder.disk.durable import make_folder, read_json, write_json
from recorder.faults import StorageFault
from wording import Fault

SEARCH_AFTER_S = 3.0  # so long without the camera, then it is searched
SEARCH_AGAIN_S = (3.0, 3.0, 5.0, 5.0, 10.0)  # between searches; the last one for ever
DESCRIBE_AGAIN_NS = 60 * SECOND_NS  # while it is away
ASK_AGAIN_NS = 10 * SECOND_NS  # after it came back, at most so often
UNTOLD_AGAIN_NS = 3 * SECOND_NS  # its stream came back and its ONVIF service did not answer: a camera starts one after the other
OTHER_S = 600.0  # so long another device at the camera's address is taken for a mistake and the camera searched
KEEP_AGAIN_S = 60.0  # after the disk refused what is to be remembered

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CameraSettings:
    """Which camera, which of its streams, and where its description is kept for a day when only RTSP answers."""

    address: CameraAddress
    sub_size: tuple[int, int]
    memory: Path | None = None  # cameras/<name>.json; None: read nothing, keep nothing
    discovery: Target | None = None  # where it is searched when it is not at its address; None: nowhere
    accepted: Path | None = None  # accepted-cameras.json; None: a person's word is not looked for


def remembered(path: Path | None) -> CameraDescription | None:
    """The last description, None where there is none that can be read."""
    if path is None:
        return None
    try:
        known = CameraDescription.from_dict(read_json(path))
    except (Fault, KeyError, TypeError):
        return None
    return None if not isinstance(known.main.uri, str) or TAKEN_OUT in known.main.uri else known


def where(address: CameraAddress, known: CameraDescription | None) -> tuple[str, int]:
    """Host and port at which the camera was last, as far as that was found under the same configuration; else as configured."""
    place = known.address if known else None
    if place is None or place.configured != f"{address.host}:{address.port}":
        return address.host, address.port
    return place.host, place.port


def still_true(address: CameraAddress, known: CameraDescription) -> bool:
    """Whether the description was made under the present configuration of the camera's address."""
    if known.address is None:  # as older versions wrote it
        return urlsplit(known.main.uri).hostname == address.host.lower()
    return f"{address.host}:{address.port}" in (known.address.configured, known.address.text)


def same_device(known: CameraDescription, found: CameraDescription) -> bool:
    """Whether what answers counts as the known camera. One that says nothing of itself does, where the known one said nothing."""
    same = known.is_device(found)
    return not known.tells_who if same is None else same


def moved(name: str, found: str, configured: str) -> Fault:
    """What a person should know of a camera that is not where the configuration says. found, configured: host:port."""
    return DeviceFault(
        "camera-at-other-address",
        "correct-camera-address",
        name=name,
        found=found,
        configured=configured,
    )


class KnownCamera:
    """One track's camera. Used by the source's thread; the threads that it starts itself end with ``stop``.

    fault: what a person should know while the camera is recorded all the same, Fault.as_dict() or None.
    """

    def __init__(self, settings: CameraSettings, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.fault: dict[str, object] | None = None
        self._settings, self._now = settings, now
        self._configured = "{}:{}".format(*self._at)
        self._lock = threading.RLock()
        self._used: CameraDescription | None = None  # whose streams are opened
        self._known: CameraDescription | None = None  # the camera we look for; not _used while another stands at its address
        self._asked_ns = -DESCRIBE_AGAIN_NS
        self._asking: threading.Thread | None = None
        self._searching: threading.Thread | None = None
        self._untold = 0  # questions in a row that it did not answer
        self._untold_ns = UNTOLD_AGAIN_NS  # until the next one
        self._connected = False
        self._calm = threading.Event()  # nothing is to be searched
        self._ended = threading.Event()
        self._unkept: CameraDescription | None = None  # to be written
        self._keeping: threading.Thread | None = None  # the one writer of the memory
        self._rejected_until_ns: dict[str, int] = {}
        known = remembered(settings.memory)
        self._said: Identity | None = None if known is None else Identity.of(known)  # as the camera said it last
        self._news: list[Change] = []
        self._accepted = None if settings.accepted is None else AcceptedFile(settings.accepted)
        self._accepted_ns = 0  # when that was looked at last

    def describe(self) -> CameraDescription:
        """What is known of the camera. A restarted process does not wait for ONVIF: it takes the last answer, and asks beside.

        Raises DeviceFault and its kinds where nothing is known and the camera does not tell.
        """
        if self._used is None:
            known = remembered(self._settings.memory)
            if known is None or self._settings.address.rtsp or not still_true(self._settings.address, known):
                self._ask(())
            else:
                known = replace(known, address=known.address or self._place(*self._at))
                self._used = self._known = known
                self._hint(known.address)
                self._ask_beside(known)
        assert self._used is not None
        return self._used

    def connected(self) -> None:
        """Its stream was opened. After a loss it is asked for a key frame, and who it is, beside."""
        with self._lock:
            again, self._connected = not self._connected, True
            if self._known is self._used:
                self._calm.set()
        if again and self._used is not None and boottime_ns() - self._asked_ns >= ASK_AGAIN_NS:
            self._ask_beside(self._used)

    def failing(self) -> None:
        """Its stream cannot be opened, or broke off: after SEARCH_AFTER_S the search begins, unless it is connected before."""
        with self._lock:
            self._connected = False
        self._search(SEARCH_AFTER_S)
        if self._used is not None and boottime_ns() - self._asked_ns >= DESCRIBE_AGAIN_NS:
            self._ask_beside(self._used)  # its streams may have other addresses now

    def stay(self, description: CameraDescription) -> None:
        """Raises DeviceFault where the connection made with this description is to be given up: the camera is elsewhere."""
        used = self._used
        if self._untold and used is not None and boottime_ns() - self._asked_ns >= self._untold_ns:
            self._ask_beside(used)
        if used is not None and used is not self._known and boottime_ns() - self._accepted_ns >= SECOND_NS:
            self._accepted_ns = boottime_ns()
            self._accept_if_told(used)
        if used is description or used is None or used is not self._known or used.address is None or description.address is None:
            return
        if used.address.text != description.address.text:
            raise moved(self._settings.address.name, used.address.text, self._configured)

    def news(self) -> tuple[CameraDescription, tuple[Change, ...]] | None:
        """What the camera says of itself now, and what of it is another than before; None while nothing is. Told once."""
        if not self._news:
            return None
        with self._lock:
            found, self._news = tuple(self._news), []
            return None if self._used is None else (self._used, found)

    def stop(self) -> None:
        """Ends the search, and the wait for a disk that refused."""
        self._ended.set()
        self._calm.set()

    @property
    def _at(self) -> tuple[str, int]:
        """As configured; of a plain RTSP address its own host and port, since nothing else is ever spoken to."""
        address = self._settings.address
        return rtsp_place(address.rtsp) if address.rtsp else (address.host, address.port)

    def _place(self, host: str, port: int, how: str = "configured", before: str = "") -> Place:
        stamp = self._now().astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        return Place(host, port, self._configured, "configured" if (host, port) == self._at else how, stamp, before)

    def _hint(self, place: Place | None) -> None:
        away = place is not None and place.text != self._configured
        self.fault = moved(self._settings.address.name, place.text, self._configured).as_dict() if place and away else None

    # Asking

    def _ask_beside(self, known: CameraDescription) -> None:
        with self._lock:
            if self._settings.address.rtsp or self._asking is not None or self._ended.is_set():
                return
            self._asked_ns = boottime_ns()
            self._asking = threading.Thread(target=self._asked, args=(known,), name="describe", daemon=True)
            self._asking.start()

    def _asked(self, known: CameraDescription) -> None:
        address = self._settings.address
        places = dict.fromkeys((where(address, known), self._at))
        try:
            self._ask(tuple(places), key_frame=known.main.profile)
            self._untold = 0
        except DeviceFault as fault:
            self._untold += 1
            often = not isinstance(fault, DeviceRefused)  # a camera locks an account after some wrong passwords
            self._untold_ns = min(UNTOLD_AGAIN_NS << min(self._untold - 1, 5), DESCRIBE_AGAIN_NS) if often else DESCRIBE_AGAIN_NS
            with self._lock:
                if self._untold > 1 and (self._known is None or self._known is self._used):
                    self.fault = fault.as_dict()
        finally:
            self._asking = None

    def _ask(self, places: tuple[tuple[str, int], ...], *, key_frame: str = "") -> None:
        """Asks at each place, or where it is configured, until the camera itself answers. Raises DeviceFault."""
        settings, known = self._settings, self._known
        self._asked_ns = boottime_ns()
        failure: DeviceFault | None = None
        stranger: CameraDescription | None = None
        for host, port in places or (self._at,):
            try:
                found = describe_apart(
                    replace(settings.address, host=host, port=port), sub_size=settings.sub_size, key_frame=key_frame
                )
            except DeviceFault as fault:
                failure = fault
                continue
            if known is None or same_device(known, found):
                self._keep(found, host, port)
                return
            stranger = found
        if stranger is not None:
            self._met(stranger)
        elif failure is not None:
            raise failure

    def _keep(self, found: CameraDescription, host: str, port: int, how: str = "configured") -> None:
        """This is the camera, there. It is remembered as soon as the disk takes it."""
        with self._lock:
            old = self._known.address if self._known else None
            place = old
            if place is None or place.text != f"{host}:{port}" or place.configured != self._configured:
                place = self._place(host, port, how, before="" if old is None else old.text)
            found = replace(found, address=place, endpoint=found.endpoint or (self._known.endpoint if self._known else ""))
            if self._known is not None and found.serial and found.serial == self._known.serial:
                found = replace(found, hardware=found.hardware or self._known.hardware)  # it may fail to tell that
            self._used = self._known = found
            self._compare(found)
            if self._settings.address.rtsp:
                found = replace(found, address=None)
            self._hint(place)
            self._remember(found)

    def _compare(self, found: CameraDescription) -> None:
        """Under the lock. Whatever is another than the camera said last is news."""
        now = Identity.of(found)
        if self._said is not None:
            self._news += changes(self._said, now)
        self._said = now

    def _accept_if_told(self, stranger: CameraDescription) -> None:
        """A person may have accepted the other camera that stands here: then it is the camera."""
        name, now = self._settings.address.name, Identity.of(stranger)
        told = self._accepted.read() if self._accepted is not None else None
        if told and name in told and not since_accepted(told, name, now):
            self._accept()
            self._hint(stranger.address)

    def _remember(self, found: CameraDescription) -> None:
        """Under the lock. The source's thread asks for the lock as well: it must never wait for the disk."""
        memory = self._settings.memory
        if memory is None:
            return
        self._unkept = found
        if self._keeping is None:
            self._keeping = threading.Thread(target=self._write, args=(memory,), name="remember", daemon=True)
            self._keeping.start()

    def _write(self, memory: Path) -> None:
        """The newest description, and again where there is a newer one by then. What the disk refuses is tried again."""
        refused = False
        while True:
            with self._lock:
                found, self._unkept = self._unkept, None
                if found is None:
                    self._keeping = None
                    return
            try:
                make_folder(memory.parent)
                write_json(memory, found.without_secrets().as_dict())
                refused = False
            except StorageFault as fault:
                if not refused:
                    log.warning("what is known of the camera cannot be kept", extra={"fault": str(fault)})
                refused = True
                with self._lock:
                    self._unkept = self._unkept or found
                if self._ended.wait(KEEP_AGAIN_S):
                    return

    def _met(self, stranger: CameraDescription) -> None:
        """Another device answers at the camera's address: recorded, said, and the camera itself searched for OTHER_S."""
        with self._lock:
            known = self._known
            if known is None:
                return
            self._used = replace(stranger, address=self._place(*self._at))
            self._compare(self._used)
            self.fault = DeviceFault(
                "camera-serial-number-changed",
                "accept-changed-camera",
                name=self._settings.address.name,
                now=stranger.serial or "-",
                before=known.serial or "-",
            ).as_dict()
            self._calm.clear()
        log.warning(
            "another camera at the address",
            extra={"track": self._settings.address.name, "serial": stranger.serial, "before": known.serial},
        )
        self._search(0.0)

    # Searching

    def _search(self, after_s: float) -> None:
        with self._lock:
            known, target = self._known, self._settings.discovery
            if target is None or known is None or not known.tells_who or self._settings.address.rtsp or self._ended.is_set():
                return
            self._calm.clear()
            if self._searching is None:
                self._searching = threading.Thread(target=self._look, args=(target, after_s), name="search", daemon=True)
                self._searching.start()

    def _look(self, target: Target, after_s: float) -> None:
        """Until the camera is back or found; for a stranger in its place until it is taken for the camera."""
        began_ns, searches, wait_s = boottime_ns(), 0, after_s
        try:
            while not self._calm.wait(wait_s) and not self._find(target):
                if self._connected and boottime_ns() - began_ns > OTHER_S * SECOND_NS:
                    self._accept()
                    return
                wait_s = SEARCH_AGAIN_S[min(searches, len(SEARCH_AGAIN_S) - 1)]
                searches += 1
        finally:
            self._searching = None

    def _find(self, target: Target) -> bool:
        """One search: whether the camera was found."""
        settings, known = self._settings, self._known
        assert known is not None
        now_ns = boottime_ns()
        was = "{}:{}".format(*where(settings.address, known))
        rejected = {place for place, until_ns in self._rejected_until_ns.items() if until_ns > now_ns}
        if known is self._used:
            rejected.add(was)
        try:
            result = find_apart(
                settings.address, known, target, places=(self._at,), rejected=rejected, sub_size=settings.sub_size
            )
        except DeviceFault as fault:
            log.warning("search failed", extra={"track": settings.address.name, "fault": str(fault)})
            return False
        for place, seconds in (result.rejected_s or {}).items():
            self._rejected_until_ns[place] = boottime_ns() + round(seconds * SECOND_NS)
        if result.found is None or self._calm.is_set():
            return False
        log.warning(
            "camera found at another address",
            extra={"track": settings.address.name, "before": was, "found": f"{result.host}:{result.port}"},
        )
        self._keep(result.found, result.host, result.port, "discovery")
        return True

    def _accept(self) -> None:
        """The stranger has been there for so long that it is the camera. What was said of it stays said until the next start."""
        with self._lock:
            stranger, said = self._used, self.fault
            if stranger is not None:
                self._keep(stranger, *self._at)
                self.fault = said
                self._calm.set()
