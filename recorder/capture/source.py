"""Sources: threads that keep connecting to one device and put what it delivers into a queue.

One attempt raises; the loop here is the one place that tries again.
"""

import queue
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress

from drivers.faults import DeviceFault, DeviceRefused
from recorder.clock.instants import SECOND_NS
from recorder.media.packets import Changed, Connected, Item, Jumped, Lost, Packet
from recorder.process.runner import name_thread
from wording import Fault

QUEUE_ITEMS = 6000  # minutes of packets: a slow disk must not hold the device up
BACKOFF_S = (0.2, 0.4, 0.7, 1.0)
REFUSED_BACKOFF_S = 10.0  # a camera locks an account after some wrong passwords
# A thread without a sign of life for so long is stuck in a driver. The longest that is in order: a camera that is not known yet
# is asked for 16 s, one without key frames is given up after 11 s, opening takes 9 s, a sound device's first block 5 s.
STUCK_NS = 40 * SECOND_NS
LOOK_NS = SECOND_NS // 2  # between two looks; what is longer was the looker's own pause


class Source(ABC, threading.Thread):
    """One device's thread. ``items`` carries Connected, packets, Lost, in this order, again and again."""

    def __init__(self, name: str) -> None:
        super().__init__(name=f"source-{name}", daemon=True)
        self.items: queue.Queue[Item] = queue.Queue(QUEUE_ITEMS)
        self.reconnects = -1
        self.beats = 0  # signs of life, counted: an attempt begun or ended, an item put, or a wait for room for one
        self._stop_event = threading.Event()

    @abstractmethod
    def attempt(self) -> None:
        """Connects and delivers until the device fails. Raises Fault; returns only when stopping."""

    @property
    def description_fault(self) -> dict[str, object] | None:
        """What a person should know of the device although it may be recorded, Fault.as_dict()."""
        return None

    @property
    def quiet_fault(self) -> dict[str, object] | None:
        """The connection stands and nothing comes, Fault.as_dict()."""
        return None

    def run(self) -> None:
        name_thread(self.name)
        failures = 0
        while not self._stop_event.is_set():
            delivered = self.reconnects
            fault: Fault
            self.beat()
            try:
                self.attempt()
                continue
            except Fault as error:
                fault = error
            except Exception as error:  # noqa: BLE001  # the top of this thread: whatever it was, the device is tried again
                fault = DeviceFault("source-failed", "look-at-log", why=f"{type(error).__name__}: {error}")
            failures = 0 if self.reconnects != delivered else failures + 1
            self._put(Lost(fault.as_dict()))
            refused = isinstance(fault, DeviceRefused)
            self._stop_event.wait(REFUSED_BACKOFF_S if refused else BACKOFF_S[min(failures, len(BACKOFF_S) - 1)])

    def connected(self, item: Connected) -> None:
        """Counts a connection and puts it into the queue before the packets that follow."""
        self.reconnects += 1
        self._put(item)

    def announce_loss(self, fault: Fault) -> None:
        """Something is missing although the device stays open; a Connected must follow."""
        self._put(Lost(fault.as_dict()))

    def deliver(self, item: Packet | Jumped | Changed) -> None:
        """Passes one packet on, or what is to be known before the next one."""
        self._put(item)

    def beat(self) -> None:
        """A sign of life from this thread."""
        self.beats += 1

    def _put(self, item: Item) -> None:
        while not self._stop_event.is_set():
            self.beat()
            with suppress(queue.Full):
                self.items.put(item, timeout=0.5)
                return

    @property
    def stopping(self) -> bool:
        """Whether the source was asked to stop."""
        return self._stop_event.is_set()

    def stop(self) -> None:
        """Asks the thread to end; it does at its next time-out at the latest."""
        self._stop_event.set()


class SourceWatchdog:
    """How long a source's thread has given no sign of life, as the looker lived through it.

    A PC that was suspended, or a process that was stopped, is nobody's fault: of a pause between two looks LOOK_NS count at most.
    """

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self._looked_ns = now()
        self._beats = -1
        self._still_ns = 0

    def look(self, beats: int, *, excused: bool = False) -> int:
        """The length until now, ns. moves: the source's count. excused: what passed since the last look does not count."""
        now = self._now()
        passed_ns = 0 if excused else min(now - self._looked_ns, LOOK_NS)
        self._still_ns = self._still_ns + passed_ns if beats == self._beats else 0
        self._looked_ns, self._beats = now, beats
        return self._still_ns
