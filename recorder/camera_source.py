"""A camera as a source: RTSP over TCP through PyAV, packets unchanged, stamped on arrival.

Measured: demuxing and storing one 1080p25 track costs 0.4 CPU-seconds per 30 s, about what ``ffmpeg -c copy`` costs.
"""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from drivers.camera import credentialed, describe_apart
from drivers.faults import DeviceAbsent, DeviceFault, DeviceRefused, DeviceSilent
from drivers.ports import CameraAddress, CameraDescription, Stream
from recorder.durable import make_folder, read_json, write_json
from recorder.media import Connected, Format, Packet
from recorder.room_time import SECOND_NS, boottime_ns
from recorder.source import Source
from wording import Fault

OPEN_S = 4.0
READ_S = 1.5  # a stream silent for so long is given up: the gap must be noticed within 3 s
JUMP_NS = 5 * SECOND_NS  # a timestamp that leaves the arrival's line so far ends the run
DESCRIBE_AGAIN_NS = 60 * SECOND_NS
# Only the video: with a second stream the demuxer would re-base timestamps at the first RTCP report. No probing for the rate: it
# took a second. Not "nobuffer": that throws away what was read while probing, the first key frame with it.
OPTIONS = {"rtsp_transport": "tcp", "allowed_media_types": "video", "fpsprobesize": "0", "max_delay": "0"}


@dataclass(frozen=True, slots=True)
class CameraSettings:
    """Which camera, which of its streams, and where its description is kept for a day when only RTSP answers."""

    address: CameraAddress
    sub_size: tuple[int, int]
    memory: Path | None = None  # cameras/<name>.json; None: read nothing, keep nothing


def remembered(path: Path | None) -> CameraDescription | None:
    """The last description, None where there is none that can be read."""
    if path is None:
        return None
    try:
        return CameraDescription.from_dict(read_json(path))
    except (Fault, KeyError, TypeError):
        return None


class StreamReader:
    """One RTSP connection. ``demux`` yields packets until it fails."""

    def __init__(self, stream: Stream, address: CameraAddress) -> None:
        """Opens and logs in. Raises DeviceAbsent, DeviceRefused, DeviceSilent, DeviceFault."""
        self._name, self._uri = address.name, stream.uri
        url = credentialed(stream.uri, address.user, address.password)
        try:
            self.container = av.open(url, options=OPTIONS, timeout=(OPEN_S, READ_S))
        except (av.error.FFmpegError, OSError) as error:
            raise self._fault(error) from None  # the original names the address with its password
        if not self.container.streams.video:
            self.container.close()
            raise DeviceFault(
                "The camera {name} sends no video at {uri}.",
                "Check the camera's stream settings.",
                name=self._name,
                uri=self._uri,
            )
        self.stream = self.container.streams.video[0]
        context = self.stream.codec_context
        self.format = Format(
            media="video",
            codec=context.name,
            time_base=self.stream.time_base or Fraction(1, 90000),
            extradata=bytes(context.extradata or b""),
            width=context.width,
            height=context.height,
            fps=float(stream.fps or self.stream.average_rate or 0),
            template=self.stream,
        )

    def packets(self) -> Iterator[Packet]:
        """Every packet as it comes. Raises DeviceFault and its kinds when the connection ends.

        The demuxer gives a connection's first packet no timestamp: it is one interval before the second's. It hands a packet
        over when the next one's first bytes come, so that is the arrival of the next (measured: 40 ms at 25 pictures a second).
        A read that times out is hidden once, behind the packet that was held back.
        """
        fps = Fraction(self.format.fps or 25)
        interval = round(1 / (self.format.time_base * fps))
        came_ns: int | None = None
        waiting: list[tuple[bytes, bool, int]] = []
        previous: int | None = None
        asked_ns = boottime_ns()
        try:
            for packet in self.container.demux(self.stream):
                handed_ns = boottime_ns()
                silent = handed_ns - asked_ns >= READ_S * SECOND_NS
                arrival_ns = came_ns if came_ns is not None else handed_ns - round(SECOND_NS / fps)
                came_ns = handed_ns
                if packet.size == 0:
                    break
                data, key = bytes(packet), bool(packet.is_keyframe)
                stamp = packet.pts if packet.pts is not None else packet.dts
                if stamp is None and previous is None:
                    waiting.append((data, key, arrival_ns))
                    asked_ns = boottime_ns()
                    continue
                pts = int(stamp) if stamp is not None else (previous or 0) + interval
                for n, (early, early_key, arrival) in enumerate(waiting):
                    at = pts - (len(waiting) - n) * interval
                    yield Packet(at, at, early_key, early, arrival)
                waiting.clear()
                previous = pts
                yield Packet(pts, int(packet.dts if packet.dts is not None else pts), key, data, arrival_ns)
                if silent:
                    raise TimeoutError
                asked_ns = boottime_ns()
        except (av.error.FFmpegError, OSError) as error:
            raise self._fault(error) from None
        raise DeviceAbsent("The camera {name} ended the connection.", "Check its power and its network cable.", name=self._name)

    def _fault(self, error: Exception) -> DeviceFault:
        # Time-outs come as ExitError (the interrupt callback) or TimeoutError; the message may hold the address: never quote it.
        if isinstance(error, (av.error.HTTPUnauthorizedError, av.error.HTTPForbiddenError)):
            return DeviceRefused(
                "The camera {name} refuses the stream's user or password.",
                "Compare camera.{name}.user and its password with the camera's own settings.",
                name=self._name,
            )
        if isinstance(error, (av.error.ExitError, TimeoutError)):
            return DeviceSilent(
                "The camera {name} has sent nothing for {seconds} s.",
                "Check its network cable and the switch; restart the camera if it stays frozen.",
                name=self._name,
                seconds=READ_S,
            )
        if isinstance(error, OSError) and error.errno in (111, 113, 101, 104, 32, 5):
            return DeviceAbsent(
                "The camera {name} does not answer at {uri}: {why}.",
                "Check its power, its network cable and its address.",
                name=self._name,
                uri=self._uri,
                why=error.strerror,
            )
        return DeviceFault(
            "The camera {name} sends no usable stream at {uri}: {why}.",
            "Check the camera's stream settings (H.264 or H.265, RTSP).",
            name=self._name,
            uri=self._uri,
            why=type(error).__name__,
        )


class CameraSource(Source):
    """Describes the camera, connects to its main stream, delivers packets; again after every failure."""

    def __init__(self, settings: CameraSettings) -> None:
        super().__init__(settings.address.name)
        self._settings = settings
        self._description: CameraDescription | None = None
        self._described_ns = -DESCRIBE_AGAIN_NS
        self._failed = False  # the last attempt to open the stream
        self.description_fault: dict[str, object] | None = None

    def attempt(self) -> None:
        """Raises DeviceFault and its kinds."""
        description = self._describe()
        try:
            reader = StreamReader(description.main, self._settings.address)
        except DeviceFault:
            self._failed = True
            if boottime_ns() - self._described_ns >= DESCRIBE_AGAIN_NS:
                self._description = None  # its address may have changed
            raise
        self._failed = False
        self._deliver_from(reader, description)

    def _describe(self) -> CameraDescription:
        """What is known of the camera. A restarted process does not wait for ONVIF: it takes the last answer, and asks beside."""
        if self._description is None:
            known = remembered(self._settings.memory)
            if known is None or self._failed or self._settings.address.rtsp:
                self._ask()
            else:
                self._description = known
                threading.Thread(target=self._ask_beside, name="describe", daemon=True).start()
        assert self._description is not None
        return self._description

    def _ask(self) -> None:
        """Asks the camera and keeps its answer. Raises DeviceFault and its kinds, StorageFault."""
        settings = self._settings
        self._described_ns = boottime_ns()
        self._description = found = describe_apart(settings.address, sub_size=settings.sub_size)
        self.description_fault = None
        if settings.memory is not None:
            make_folder(settings.memory.parent)
            write_json(settings.memory, found.as_dict())

    def _ask_beside(self) -> None:
        try:
            self._ask()
        except Fault as fault:
            self.description_fault = fault.as_dict()

    def _deliver_from(self, reader: StreamReader, description: CameraDescription) -> None:
        gone = threading.Event()
        device = {k: v for k, v in description.as_dict().items() if k not in ("main", "sub")}
        scale = float(reader.format.time_base * SECOND_NS)
        first: Packet | None = None
        previous = 0
        announced = False
        try:
            for packet in reader.packets():
                if self.stopping:
                    return
                if first is None:
                    first = packet
                    self.connected(Connected(reader.format, device, release=gone.set))
                    announced = True
                elif abs((packet.pts - previous) * scale) > JUMP_NS:
                    drift_ns = (packet.pts - first.pts) * scale - (packet.arrival_ns - first.arrival_ns)
                    if abs(drift_ns) > JUMP_NS:
                        raise self._jumped((packet.pts - previous) * scale)
                previous = packet.pts
                self.deliver(packet)
        finally:
            if announced:
                # Whoever writes copies parameters from the demuxer's stream: it is closed when they are done with it.
                threading.Thread(target=_close_when, args=(gone, reader.container), name="release", daemon=True).start()
            else:
                reader.container.close()

    def _jumped(self, by_ns: float) -> DeviceFault:
        return DeviceFault(
            "The camera {name} jumped by {seconds} s in its timestamps.",
            "Let the camera take its time from the centre's NTP server.",
            name=self._settings.address.name,
            seconds=round(by_ns / SECOND_NS, 1),
        )


def _close_when(gone: threading.Event, container: Any) -> None:
    gone.wait()
    container.close()
